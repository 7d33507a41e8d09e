/*
 * opener, sandbox/opener_serve.c: it does what it was told at its start, by number, and nothing else; it ends
 * with its parent.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/opener.h"
#include "pitot/sandbox.h"
#include "sandbox/opener_internal.h"

static char directory[64], stats[128], output[128], part[128], other[128];
static const char *const files[] = {stats, output};

static int open_capture(void *ctx, unsigned index, struct opener_answer *answer, struct diag *diag)
{
	(void)ctx;
	if (index == 1)
		return diag_set(diag, -ENODEV, "veth7: gone");
	if (index == 2) { /* what it is not allowed to do */
		char *const argv[] = {(char[]){"true"}, NULL};

		execv("/bin/true", argv);
	}
	memcpy(answer->facts, "facts", 6);
	answer->fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	answer->fds[1] = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	answer->n_fds = 2;
	return answer->fds[0] < 0 || answer->fds[1] < 0 ? -errno : 0;
}

static struct opener *start(unsigned n_captures, bool sandbox)
{
	struct opener_config config = {.n_captures = n_captures,
				       .open_capture = open_capture,
				       .files = files,
				       .n_files = 2,
				       .sandbox = sandbox};
	struct diag diag = {""};
	struct opener *o = NULL;

	if (opener_start(&o, &config, &diag) < 0)
		fail_msg("%s", diag.text);
	return o;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test_opener.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(stats, sizeof(stats), "%s/stats", directory);
	snprintf(output, sizeof(output), "%s/output", directory);
	snprintf(part, sizeof(part), "%s/output.part", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(stats);
	unlink(output);
	unlink(part);
	unlink(other);
	return rmdir(directory);
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "old text", 8), 8);
	close(fd);
}

static void test_files(void **state)
{
	struct opener *o = start(0, true);
	struct stat st;
	int fd;

	(void)state;
	touch(stats);
	fd = opener_file(o, stats);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	close(fd);
	touch(part);
	assert_int_equal(opener_rename(o, output), 0);
	assert_int_equal(access(part, F_OK), -1);
	assert_int_equal(access(output, F_OK), 0);
	assert_int_equal(opener_rename(o, output), -ENOENT);
	assert_int_equal(opener_remove(o, output), 0);
	assert_int_equal(access(output, F_OK), -1);
	opener_stop(o);
}

/* After the sandbox nothing but the opener can do this. */
static void test_files_after_the_sandbox(void **state)
{
	struct opener *o = start(0, true);
	int status;
	pid_t pid;

	(void)state;
	touch(part);
	assert_int_equal(chmod(directory, 0700), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sandbox *s;
		struct diag diag;

		if (sandbox_enter(&s, &(struct sandbox_config){0}, &diag) < 0)
			_exit(1);
		if (open(stats, O_WRONLY | O_CREAT, 0600) >= 0 && !strstr(sandbox_missing(s), "Landlock"))
			_exit(2);
		if (opener_file(o, stats) < 0)
			_exit(3);
		if (opener_rename(o, output) < 0)
			_exit(4);
		_exit(opener_file(o, other) < 0 || strstr(sandbox_missing(s), "Landlock") ? 0 : 5);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	opener_stop(o);
}

static void test_without_opener(void **state)
{
	int fd = opener_file(NULL, stats);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	touch(part);
	assert_int_equal(opener_rename(NULL, output), 0);
	assert_int_equal(opener_remove(NULL, output), 0);
	assert_int_equal(opener_remove(NULL, output), -ENOENT);
}

static void test_captures(void **state)
{
	struct opener *o = start(3, true);
	struct opener_answer answer;
	struct diag diag;
	char byte;

	(void)state;
	for (int i = 0; i < 100; i++) { /* no descriptor stays behind on either side */
		assert_int_equal(opener_capture(o, 0, &answer, &diag), 0);
		assert_int_equal(answer.n_fds, 2);
		assert_string_equal((char *)answer.facts, "facts");
		assert_int_equal(read(answer.fds[0], &byte, 1), 0);
		assert_int_equal(read(answer.fds[1], &byte, 1), 1);
		close(answer.fds[0]);
		close(answer.fds[1]);
	}
	assert_int_equal(opener_capture(o, 1, &answer, &diag), -ENODEV);
	assert_string_equal(diag.text, "veth7: gone");
	assert_int_equal(answer.n_fds, 0);
	assert_int_equal(opener_capture(o, 3, &answer, &diag), -EBADRQC);
	assert_int_equal(opener_capture(o, 65535, &answer, &diag), -EBADRQC);
	opener_stop(o);
}

/* What was left of the opener's privileges, from /proc. */
static unsigned long long status_of(int pid, const char *name, int base)
{
	unsigned long long value = ~0ull;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = strtoull(line + strlen(name) + 1, NULL, base);
	if (f)
		fclose(f);
	return value;
}

static void test_privileges(void **state)
{
	struct opener *o = start(1, true), *plain = start(0, false);

	(void)state;
	assert_int_equal(status_of(opener_pid(o), "CapEff", 16) & ~(1ull << 13), 0); /* CAP_NET_RAW */
	assert_int_equal(status_of(opener_pid(o), "CapPrm", 16) & ~(1ull << 13), 0);
	assert_int_equal(status_of(opener_pid(o), "NoNewPrivs", 10), 1);
	if (!strstr(opener_missing(o), "seccomp"))
		assert_int_equal(status_of(opener_pid(o), "Seccomp", 10), 2);
	assert_int_equal(status_of(opener_pid(o), "Threads", 10), 1);
	assert_int_equal(status_of(opener_pid(plain), "CapEff", 16), 0);
	assert_int_equal(status_of(opener_pid(plain), "Seccomp", 10), 0);
	opener_stop(o);
	opener_stop(plain);
}

static void test_subverted(void **state)
{
	struct opener *o = start(3, true);
	struct opener_answer answer;
	struct diag diag;

	(void)state;
	if (strstr(opener_missing(o), "seccomp")) {
		opener_stop(o);
		skip();
	}
	assert_int_equal(opener_capture(o, 2, &answer, &diag), -EPIPE); /* SIGSYS */
	assert_non_null(strstr(diag.text, "ended"));
	assert_true(opener_capture(o, 0, &answer, &diag) < 0); /* and nothing hangs or dies of SIGPIPE */
	opener_stop(o);
}

/* Whatever comes over the socket: an answer or the end. */
static void test_garbage(void **state)
{
	uint64_t random = 88172645463325252ull;
	struct opener_config config = {
		.n_captures = 1, .open_capture = open_capture, .files = files, .n_files = 2};

	(void)state;
	for (int round = 0; round < 64; round++) {
		struct opener_reply reply;
		int fds[2], got[OPENER_FDS], status;
		unsigned n_fds;
		char message[64];
		pid_t pid;

		config.sandbox = round % 4 < 2;
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int r;

			close(fds[0]);
			r = opener_serve(fds[1], &config);
			if (config.sandbox)
				_exit(r);
			exit(r); /* where coverage is counted, this is what writes it */
		}
		close(fds[1]);
		assert_int_equal(opener_receive(fds[0], &reply, got, &n_fds), 0);
		assert_int_equal(reply.result, 0);
		for (size_t i = 0; i < sizeof(message); i++)
			message[i] = (char)test_random(&random);
		if (round % 2) /* of the right size: numbers that do not exist */
			message[5] = 1;
		(void)send(fds[0], message, round % 2 ? sizeof(struct opener_request) : (size_t)round + 1,
			   MSG_NOSIGNAL);
		shutdown(fds[0], SHUT_WR);
		while (opener_receive(fds[0], &reply, got, &n_fds) == 0)
			assert_int_equal(reply.result, -EBADRQC);
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_true(WEXITSTATUS(status) <= 1);
	}
}

/* The parent dies of SIGKILL: the opener does not stay behind. */
static void test_orphan(void **state)
{
	int pipe_fds[2], opener = -1;
	uint64_t end_ns;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		struct opener *o = start(0, true);
		int p = opener_pid(o);

		(void)!write(pipe_fds[1], &p, sizeof(p));
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(pipe_fds[0], &opener, sizeof(opener)), sizeof(opener));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	end_ns = clock_monotonic_ns() + 30 * NS_PER_SEC;
	/* it may stay a zombie where nobody collects orphans */
	while (status_of(opener, "Seccomp", 10) != ~0ull && status_of(opener, "VmSize", 10) != ~0ull) {
		assert_true(clock_monotonic_ns() < end_ns);
		usleep(1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files_after_the_sandbox, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_opener, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_captures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_privileges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_subverted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_orphan, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
