/* control_socket: lines in and out, one at a time, many at once, and clients that misbehave. */
#include "cm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control_socket.h"
#include "pitot/clock.h"
#include "pitot/control_protocol.h"

static char directory[64], path[80];
static size_t answer_size;

/* ---- an answer of lines_left lines, of 10000 octets each */

static unsigned lines_left, streams_open, lines_made, lines_asked;

static char *lines_next(struct control_stream *s, bool *ended)
{
	char *line;

	(void)s;
	if (++lines_asked % 2 == 0) /* nothing yet */
		return NULL;
	line = malloc(10001);
	assert_non_null(line);
	memset(line, 'z', 10000);
	line[10000] = '\0';
	lines_made++;
	*ended = --lines_left == 0;
	return line;
}

static void lines_free(struct control_stream *s)
{
	(void)s;
	streams_open--;
}

static struct control_stream lines = {.next = lines_next, .free = lines_free};

static char *echo(void *ctx, const char *line, size_t size, struct control_stream **stream)
{
	char *text = malloc(size + answer_size + 3);

	(void)ctx;
	if (!text)
		return NULL;
	if (lines_left && size == 4 && !memcmp(line, "many", 4)) {
		free(text);
		streams_open++;
		*stream = &lines;
		return NULL;
	}
	snprintf(text, size + answer_size + 3, "<%.*s>", (int)size, line);
	if (answer_size) {
		memset(text, 'x', answer_size);
		text[answer_size] = '\0';
	}
	return text;
}

static struct control_socket *open_socket(void)
{
	struct control_socket_config config = {.path = path, .user = geteuid(), .answer = echo};
	struct control_socket *s = NULL;
	struct diag diag = {""};

	if (control_socket_open(&s, &config, &diag))
		fail_msg("%s", diag.text);
	answer_size = 0;
	return s;
}

static int client(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

/* What the client has been sent so far. */
static const char *heard(int fd)
{
	static char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return n == 0 ? "(end)" : n < 0 ? "" : text;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void test_lines(void **state)
{
	struct control_socket *s = open_socket();
	int a = client(), b = client();
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	control_socket_step(s, 1);
	say(a, "on");
	say(b, "two\nthree\n");
	control_socket_step(s, 2);
	assert_string_equal(heard(a), "");
	assert_string_equal(heard(b), "<two>\n<three>\n");
	say(a, "e\n\n");
	control_socket_step(s, 3);
	assert_string_equal(heard(a), "<one>\n<>\n");
	say(b, "last\n");
	shutdown(b, SHUT_WR); /* its answer still comes */
	control_socket_step(s, 4);
	control_socket_step(s, 5);
	assert_string_equal(heard(b), "<last>\n");
	assert_string_equal(heard(b), "(end)");
	close(a);
	close(b);
	control_socket_step(s, 6);
	control_socket_close(s);
}

/* Many requests at once are answered in order, some in each turn. */
static void test_turns(void **state)
{
	struct control_socket *s = open_socket();
	int a = client();
	unsigned turns = 0;
	char all[512] = "";

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		say(a, "x\n");
	for (; strlen(all) < 80 && turns < 20; turns++) {
		control_socket_step(s, turns);
		strcat(all, heard(a));
	}
	assert_int_equal(strlen(all), 80);
	assert_in_range(turns, 5, 10);
	close(a);
	control_socket_close(s);
}

static void test_too_long(void **state)
{
	static char line[CONTROL_LINE_MAX + 1];
	struct control_socket_stats stats;
	struct control_socket *s = open_socket();
	int a = client();

	(void)state;
	memset(line, 'y', sizeof(line) - 1);
	for (size_t sent = 0; sent < sizeof(line) - 1;) {
		ssize_t n = send(a, line + sent, sizeof(line) - 1 - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		control_socket_step(s, 1);
	}
	control_socket_step(s, 2);
	assert_string_equal(heard(a), "(end)");
	control_socket_get_stats(s, &stats);
	assert_int_equal(stats.cut_off, 1);
	assert_int_equal(stats.requests, 0);
	close(a);
	control_socket_close(s);
}

/* One that asks and does not read is cut off, whatever it was asked to hold. */
static void test_never_reads(void **state)
{
	struct control_socket_stats stats = {0};
	struct control_socket *s = open_socket();
	int a = client();

	(void)state;
	answer_size = 1 << 20;
	for (unsigned i = 0; i < 100 && !stats.cut_off; i++) {
		(void)!send(a, "x\n", 2, MSG_NOSIGNAL);
		control_socket_step(s, i);
		control_socket_get_stats(s, &stats);
	}
	assert_int_equal(stats.cut_off, 1);
	close(a);
	control_socket_close(s);
}

/*
 * A long answer takes no more memory than its reader has taken, whatever it is; what was asked behind it is
 * answered behind it; others are served meanwhile.
 */
static void test_stream(void **state)
{
	struct control_socket *s = open_socket();
	int a = client(), b = client();
	unsigned made;
	size_t n = 0;
	char last[64] = "";
	uint64_t now_ns = 1;

	(void)state;
	lines_left = 400;
	lines_made = 0;
	say(a, "many\nafter\n");
	for (unsigned i = 0; i < 500; i++) /* it does not read */
		control_socket_step(s, now_ns += NS_PER_SEC);
	assert_int_equal(streams_open, 1);
	assert_in_range(lines_made, 7, 150); /* what the kernel holds, and 64 KiB */
	made = lines_made;
	say(b, "x\n");
	control_socket_step(s, now_ns += NS_PER_SEC);
	assert_string_equal(heard(b), "<x>\n");
	assert_int_equal(lines_made, made);
	assert_int_equal(control_socket_wait_ms(s, now_ns, 77), 77); /* nothing to do */
	for (unsigned i = 0; i < 10000 && !strstr(last, "<after>"); i++) {
		const char *text = heard(a);
		size_t size = strlen(text);

		n += size;
		if (size)
			snprintf(last, sizeof(last), "%s", text + (size > 20 ? size - 20 : 0));
		control_socket_step(s, now_ns += NS_PER_SEC);
	}
	assert_non_null(strstr(last, "zzz\n<after>\n"));
	assert_int_equal(streams_open, 0);
	assert_int_equal(n, lines_made * 10001 + strlen("<after>\n"));
	/* one that goes away takes its answer along */
	lines_left = 400;
	say(a, "many\n");
	control_socket_step(s, now_ns += NS_PER_SEC);
	assert_int_equal(streams_open, 1);
	close(a);
	for (unsigned i = 0; i < 10; i++)
		control_socket_step(s, now_ns += NS_PER_SEC);
	assert_int_equal(streams_open, 0);
	lines_left = 0;
	close(b);
	control_socket_close(s);
}

/* There is always room for one more: the one that was silent longest goes. */
static void test_many(void **state)
{
	struct control_socket *s = open_socket();
	struct control_socket_stats stats;
	struct pollfd polls[CONTROL_POLLS];
	int fds[CONTROL_CLIENTS_MAX + 8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client();
		control_socket_step(s, 1 + i);
	}
	assert_int_equal(control_socket_polls(s, polls), CONTROL_POLLS);
	say(fds[ARRAY_SIZE(fds) - 1], "here\n");
	control_socket_step(s, 100);
	assert_string_equal(heard(fds[ARRAY_SIZE(fds) - 1]), "<here>\n");
	assert_string_equal(heard(fds[0]), "(end)");
	control_socket_get_stats(s, &stats);
	assert_int_equal(stats.cut_off, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	control_socket_step(s, 101);
	assert_int_equal(control_socket_polls(s, polls), 1);
	control_socket_close(s);
}

static void test_paths(void **state)
{
	struct control_socket_config config = {.path = path, .answer = echo};
	struct control_socket *s = open_socket(), *other = NULL;
	char longest[256];
	struct diag diag;
	FILE *f;

	(void)state;
	assert_int_equal(control_socket_open(&other, &config, &diag), -EADDRINUSE);
	assert_non_null(strstr(diag.text, "in use"));
	/* one that was killed leaves its socket behind */
	if (fork() == 0) {
		char name[96];

		snprintf(name, sizeof(name), "%s2", path);
		config.path = name;
		_exit(control_socket_open(&other, &config, &diag) ? 1 : 0);
	}
	usleep(0);
	while (access(strcat(strcpy(longest, path), "2"), F_OK) < 0)
		usleep(1000);
	config.path = longest;
	while (control_socket_open(&other, &config, &diag) == -EADDRINUSE)
		usleep(1000);
	assert_non_null(other);
	control_socket_close(other);
	unlink(longest);
	/* what is no socket stays */
	f = fopen(longest, "w");
	fclose(f);
	assert_int_equal(control_socket_open(&other, &config, &diag), -EADDRINUSE);
	assert_int_equal(access(longest, F_OK), 0);
	unlink(longest);
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(control_socket_open(&other, &config, &diag), -ENAMETOOLONG);
	control_socket_close(s);
	control_socket_close(NULL);
	control_socket_step(NULL, 0);
	assert_int_equal(control_socket_polls(NULL, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),	 cmocka_unit_test(test_turns),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_never_reads),
		cmocka_unit_test(test_many),	 cmocka_unit_test(test_paths),
		cmocka_unit_test(test_stream),
	};
	int r;

	strcpy(directory, "/tmp/pitot-control-XXXXXX");
	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/socket", directory);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	rmdir(directory);
	return r;
}
