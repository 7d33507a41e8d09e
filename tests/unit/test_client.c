/*
 * pitotctl's side of the control socket, against a peer that answers what the test says: answers of several
 * lines, answers that are none, a peer that is gone or silent; and which socket is found.
 * Covers ctl/client.c.
 */
#include "cm.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/client.h"
#include "lacking.h"
#include "pitot/clock.h"
#include "pitot/control_protocol.h"

static char folder[] = "/tmp/pitot-client-XXXXXX";
static struct diag diag;

/* ---- the peer */

static int listen_at(const char *path, int backlog)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* A conversation whose answers are there before they are asked for: the peer's end. */
static int begin(struct client *c, const char *answers)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	client_init(c, ends[0]);
	assert_int_equal(write(ends[1], answers, strlen(answers)), strlen(answers));
	diag.text[0] = '\0';
	return ends[1];
}

static void check_said(const char *answers, int error, const char *sentence)
{
	struct client c;
	int peer = begin(&c, answers);
	json_t *result = NULL;

	shutdown(peer, SHUT_WR);
	assert_int_equal(client_ask(&c, "version", &result, &diag), error);
	assert_string_equal(diag.text, sentence);
	assert_null(result);
	client_close(&c);
	assert_int_equal(c.fd, -1);
	close(peer);
}

/* ---- answers */

static void test_answers(void **state)
{
	struct client c;
	int peer = begin(&c, "{\"ok\":true,\"result\":7}\n{\"ok\":true}\n{\"ok\":true,\"result\":[8]}\n");
	json_t *result = NULL;
	char request[64] = "";

	(void)state;
	assert_int_equal(client_ask(&c, "version", &result, &diag), 0);
	assert_int_equal(json_integer_value(result), 7);
	json_decref(result);
	assert_int_equal(read(peer, request, sizeof(request)), 22);
	assert_string_equal(request, "{\"command\":\"version\"}\n");
	assert_int_equal(client_ask(&c, "version", &result, &diag),
			 0); /* nothing to tell is an answer, too */
	assert_null(result);
	assert_int_equal(client_ask(&c, "version", &result, &diag), 0);
	assert_int_equal(json_array_size(result), 1);
	json_decref(result);
	client_close(&c);
	close(peer);
}

static void test_no_answers(void **state)
{
	(void)state;
	check_said("", -ECONNRESET, "pitot has ended, or has cut this off");
	check_said("{\"ok\":tr", -ECONNRESET, "pitot has ended, or has cut this off");
	check_said("SSH-2.0-OpenSSH_9.2\r\n", -EPROTO,
		   "what listens there is no pitot: its answer is no object");
	check_said("[true]\n", -EPROTO, "what listens there is no pitot: its answer is no object");
	check_said("\n", -EPROTO, "what listens there is no pitot: its answer is no object");
	check_said("{\"ok\":false,\"error\":\"not now\"}\n", -EREMOTEIO, "not now");
	check_said("{\"ok\":false,\"error\":5}\n", -EREMOTEIO, "refused, without a reason");
	check_said("{}\n", -EREMOTEIO, "refused, without a reason");
}

static void add_part(void *ctx, const json_t *result)
{
	*(json_int_t *)ctx = *(json_int_t *)ctx * 10 + json_integer_value(result);
}

/* Parts come one by one; one that is refused ends the answer. */
static void test_parts(void **state)
{
	json_t *request = json_pack("{s:s}", "command", "flows"), *result = NULL;
	json_int_t sum = 0;
	struct client c;
	int peer = begin(
		&c, "{\"ok\":true,\"more\":true,\"result\":1}\n{\"ok\":true,\"more\":true,\"result\":2}\n"
		    "{\"ok\":true,\"result\":9}\n{\"ok\":true,\"more\":true,\"result\":3}\n"
		    "{\"ok\":false,\"more\":true,\"error\":\"it went away\"}\n");

	(void)state;
	assert_int_equal(client_ask_parts(&c, request, add_part, &sum, &result, &diag), 0);
	assert_int_equal(sum, 12);
	assert_int_equal(json_integer_value(result), 9);
	json_decref(result);
	result = NULL;
	assert_int_equal(client_ask_parts(&c, request, add_part, &sum, &result, &diag), -EREMOTEIO);
	assert_int_equal(sum, 123);
	assert_string_equal(diag.text, "it went away");
	assert_null(result);
	json_decref(request);
	client_close(&c);
	close(peer);
}

/* A line may be longer than what is made room for at first. */
static void test_long_answer(void **state)
{
	enum { LENGTH = 150000 };
	static char answer[LENGTH + 64];
	json_t *result = NULL;
	struct client c;
	int peer, n = snprintf(answer, sizeof(answer), "{\"ok\":true,\"result\":\"%0*d\"}\n", LENGTH, 1);

	(void)state;
	assert_true(n > LENGTH);
	peer = begin(&c, answer);
	assert_int_equal(client_ask(&c, "metrics", &result, &diag), 0);
	assert_int_equal(json_string_length(result), LENGTH);
	json_decref(result);
	client_close(&c);
	close(peer);
}

static void test_gone(void **state)
{
	json_t *result = NULL;
	struct client c;

	(void)state;
	close(begin(&c, ""));
	assert_int_equal(client_ask(&c, "version", &result, &diag), -EPIPE);
	assert_string_equal(diag.text, "pitot is gone: Broken pipe");
	client_close(&c);
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Nothing is waited for longer than it was said, whatever signals come: a terminal that changes its size. */
static void test_silent(void **state)
{
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART}, before;
	struct itimerval often = {{.tv_usec = 3000}, {.tv_usec = 3000}}, never = {0};
	uint64_t begun_ns = clock_monotonic_ns();
	json_t *result = NULL;
	struct client c;
	int peer = begin(&c, "{\"ok\":");

	(void)state;
	c.wait_ms = 50;
	sigaction(SIGALRM, &act, &before);
	setitimer(ITIMER_REAL, &often, NULL);
	assert_int_equal(client_ask(&c, "version", &result, &diag), -ETIMEDOUT);
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_string_equal(diag.text, "pitot does not answer");
	assert_true(clock_monotonic_ns() - begun_ns >= 50 * NS_PER_MSEC);
	client_close(&c);
	close(peer);
}

/* ---- which socket */

static void check_open(const char *path, int error, const char *sentence)
{
	struct client c;

	diag.text[0] = '\0';
	assert_int_equal(client_open(&c, path, &diag), error);
	assert_string_equal(diag.text, sentence);
	client_close(&c);
}

static void test_open(void **state)
{
	char path[80], sentence[200], length[200];
	int listener;

	(void)state;
	snprintf(path, sizeof(path), "%s/socket", folder);
	snprintf(sentence, sizeof(sentence), "%s: No such file or directory", path);
	check_open(path, -ENOENT, sentence);
	listener = listen_at(path, 8);
	check_open(path, 0, "");
	assert_int_equal(chmod(path, 0), 0);
	snprintf(sentence, sizeof(sentence),
		 "%s: you may not: be root, or a member of pitot's --control-group", path);
	if (geteuid() == 0)
		assert_int_equal(chmod(folder, 0755) | seteuid(65534), 0);
	check_open(path, -EACCES, sentence);
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	close(listener);
	assert_int_equal(chmod(path, 0700), 0);
	snprintf(sentence, sizeof(sentence), "%s: no pitot listens there any more", path);
	check_open(path, -ECONNREFUSED, sentence);
	unlink(path);

	memset(length, 'x', sizeof(length) - 1);
	length[sizeof(length) - 1] = '\0';
	snprintf(sentence, sizeof(sentence), "%.60s...: a socket's path has at most 107 octets", length);
	check_open(length, -ENAMETOOLONG, sentence);
}

/* With a /run of its own. */
static void test_find(void **state)
{
	int one, two, three;

	(void)state;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", "/run", "tmpfs", 0, NULL) != 0)
		lacking_here("a mount namespace of the test's own: %s", strerror(errno));
	check_open(NULL, -ENOENT,
		   "no pitot listens in " CONTROL_DIRECTORY
		   ": start it as root with -i, or give it --control PATH and say -c PATH here");
	assert_int_equal(mkdir(CONTROL_DIRECTORY "-edge", 0755) | mkdir(CONTROL_DIRECTORY, 0755), 0);
	one = listen_at(CONTROL_DIRECTORY "-edge/eth0" CONTROL_SUFFIX, 8);
	check_open(NULL, 0, "");
	two = listen_at(CONTROL_DIRECTORY "/eth1" CONTROL_SUFFIX, 8);
	check_open(NULL, -EEXIST,
		   "several pitots listen (" CONTROL_DIRECTORY "/eth1" CONTROL_SUFFIX ", " CONTROL_DIRECTORY
		   "-edge/eth0" CONTROL_SUFFIX "): say which with -c PATH");
	/* one that hangs takes no more connections: it is no reason to wait */
	three = listen_at(CONTROL_DIRECTORY "/eth2" CONTROL_SUFFIX, 0);
	check_open(CONTROL_DIRECTORY "/eth2" CONTROL_SUFFIX, 0, "");
	check_open(NULL, -EEXIST,
		   "several pitots listen (" CONTROL_DIRECTORY "/eth1" CONTROL_SUFFIX ", " CONTROL_DIRECTORY
		   "/eth2" CONTROL_SUFFIX " ...): say which with -c PATH");
	/* those that nobody listens at any more do not count */
	close(one);
	close(three);
	check_open(NULL, 0, "");
	close(two);
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers), cmocka_unit_test(test_no_answers),
		cmocka_unit_test(test_parts),	cmocka_unit_test(test_long_answer),
		cmocka_unit_test(test_gone),	cmocka_unit_test(test_silent),
		cmocka_unit_test(test_open),	cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests_name("client", tests, set_up, tear_down);
}
