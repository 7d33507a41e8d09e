/*
 * opener, sandbox/opener_serve.c, sandbox/opener_keep.c, base/descriptors.c: it does what it was told at its
 * start, by number, and nothing else; it ends with its parent; each of its two processes is started again
 * when it is killed or stopped.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lacking.h"
#include "pitot/clock.h"
#include "pitot/opener.h"
#include "pitot/capture.h"
#include "pitot/sandbox.h"
#include "refused.h"
#include "sandbox/opener_internal.h"

static bool is_part;
static char directory[64], stats[128], stats_part[140], output[128], part[128], pid_file[128], other[128],
	series[128], lines[128];
static const struct opener_file files[] = {
	{stats, "--stats", OPENER_REWRITES | OPENER_FINISHES},
	{output, "--collector", OPENER_FINISHES},
	{pid_file, "--pidfile", OPENER_REMOVES},
	{series, "--collector", OPENER_ROTATES},
	{lines, "--collector", OPENER_CONTINUES},
};

static int open_capture(void *ctx, unsigned index, int group, struct opener_answer *answer, struct diag *diag)
{
	(void)ctx;
	assert_int_equal(group, CAPTURE_GROUP_NONE);
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
				       .n_files = 5,
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
	snprintf(stats_part, sizeof(stats_part), "%s.part", stats);
	snprintf(output, sizeof(output), "%s/output", directory);
	snprintf(part, sizeof(part), "%s/output.part", directory);
	snprintf(series, sizeof(series), "%s/series-%%S", directory);
	snprintf(lines, sizeof(lines), "%s/lines", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	snprintf(pid_file, sizeof(pid_file), "%s/pid", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(stats);
	unlink(stats_part);
	unlink(output);
	unlink(part);
	unlink(other);
	unlink(pid_file);
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
	struct diag diag;
	struct stat st;
	int fd;

	(void)state;
	touch(stats);
	fd = opener_rewrite(o, stats, &is_part, &diag);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_not_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	assert_int_equal(st.st_mode & 0777, 0600); /* as the old one was */
	close(fd);
	/* whoever reads it has the old one until the new one is complete */
	assert_true(is_part);
	assert_int_equal(stat(stats, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(opener_finish(o, stats, &diag), 0);
	assert_int_equal(stat(stats, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_equal(access(stats_part, F_OK), -1);
	touch(part);
	assert_int_equal(opener_finish(o, output, &diag), 0);
	assert_int_equal(access(part, F_OK), -1);
	assert_int_equal(access(output, F_OK), 0);
	assert_int_equal(opener_finish(o, output, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, output));
	touch(pid_file);
	assert_int_equal(opener_remove(o, pid_file, &diag), 0);
	assert_int_equal(access(pid_file, F_OK), -1);
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
		if (opener_rewrite(o, stats, &is_part, &diag) < 0)
			_exit(3);
		if (opener_finish(o, output, &diag) < 0)
			_exit(4);
		_exit(opener_rewrite(o, other, &is_part, &diag) < 0 || strstr(sandbox_missing(s), "Landlock")
			      ? 0
			      : 5);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	opener_stop(o);
}

/* The opener has the name from an instant, and makes one file of it after the other. */
static void test_one_after_the_other(void **state)
{
	struct opener *o = start(0, true);
	struct path_time time = {.seconds = 7};
	char name[PATH_NAME_SIZE], path[512];
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		int fd = opener_begin(o, series, &time, &diag);

		assert_true(fd >= 0);
		assert_int_equal(time.number, i);
		close(fd);
		assert_int_equal(opener_complete(o, series, &time, &diag), 0);
		assert_int_equal(opener_complete(o, series, &time, &diag), -ENOENT);
		snprintf(path, sizeof(path), i ? "%s/series-07-%u" : "%s/series-07", directory, i);
		assert_int_equal(access(path, F_OK), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), i ? "%s/series-07-%u" : "%s/series-07", directory, i);
		unlink(path);
	}
	touch(lines);
	is_part = false;
	int fd = opener_continue(o, lines, &diag);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 9);
	close(fd);
	assert_int_equal(opener_set_aside(o, lines, name, &diag), 0);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	assert_int_equal(unlink(path), 0);
	/* neither is there for anything else */
	assert_int_equal(opener_continue(o, series, &diag), -EBADRQC);
	assert_int_equal(opener_set_aside(o, series, name, &diag), -EBADRQC);
	assert_int_equal(opener_begin(o, lines, &time, &diag), -EBADRQC);
	assert_int_equal(opener_begin(o, output, &time, &diag), -EBADRQC);
	assert_int_equal(opener_continue(o, stats, &diag), -EBADRQC);
	assert_int_equal(opener_finish(o, series, &diag), -EBADRQC);
	opener_stop(o);
}

/* What is kept open is handed over from its beginning, each time, whatever became of its name; nothing else
 * is. */
static void test_kept_open(void **state)
{
	const char *const reads[] = {other, output};
	struct opener_config config = {.reads = reads, .n_reads = 2, .sandbox = true};
	struct opener *o = NULL;
	struct diag diag;
	char text[16];

	(void)state;
	touch(other);
	assert_int_equal(chmod(other, 0600), 0);
	assert_int_equal(opener_start(&o, &config, &diag), 0);
	assert_int_equal(unlink(other), 0);
	for (unsigned i = 0; i < 2; i++) {
		int fd = opener_read(o, other, &diag);

		assert_true(fd >= 0);
		assert_int_equal(read(fd, text, sizeof(text)), 8);
		assert_int_equal(write(fd, "x", 1), -1);
		close(fd);
	}
	assert_int_equal(opener_read(o, output, &diag), -ENOENT); /* was not there */
	assert_int_equal(opener_read(o, stats, &diag), -ENOENT);
	assert_int_equal(opener_read(NULL, other, &diag), -ENOENT);
	opener_stop(o);
}

static void test_without_opener(void **state)
{
	struct diag diag;
	int fd = opener_rewrite(NULL, stats, &is_part, &diag);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	touch(part);
	assert_int_equal(opener_finish(NULL, output, &diag), 0);
	assert_int_equal(opener_remove(NULL, output, &diag), 0);
	assert_int_equal(opener_remove(NULL, output, &diag), -ENOENT);
}

/* What is asked of each file by whoever took over the other end: only what it is listed for is done. */
static void test_rights(void **state)
{
	static const char *const paths[] = {stats, output, pid_file};
	struct opener *o = start(0, true);
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		int fd;

		touch(paths[i]);
		touch(part);
		if (i != 0)
			assert_int_equal(opener_rewrite(o, paths[i], &is_part, &diag), -EBADRQC);
		if (i == 2)
			assert_int_equal(opener_finish(o, paths[i], &diag), -EBADRQC);
		if (i != 2)
			assert_int_equal(opener_remove(o, paths[i], &diag), -EBADRQC);
		fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		assert_int_equal(lseek(fd, 0, SEEK_END), 8); /* as it was */
		close(fd);
	}
	opener_stop(o);
}

/* The opener's answers, from here. */
static void answer_with(int fd, unsigned n_fds, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(16 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(n_fds * sizeof(int))}};
	struct opener_reply reply[2] = {{0}};
	struct iovec iov = {.iov_base = reply, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};

	for (unsigned i = 0; i < n_fds; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &fd, sizeof(fd));
	assert_int_equal(sendmsg(fd, &msg, 0), size);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* An answer that is cut off, too long, or has more descriptors than there is room for: no descriptor stays.
 */
static void test_bad_answers(void **state)
{
	static const struct {
		unsigned n_fds;
		size_t size;
		int expected;
	} cases[] = {
		{OPENER_FDS, sizeof(struct opener_reply), 0},
		{OPENER_FDS + 1, sizeof(struct opener_reply), -EPROTO},
		{16, sizeof(struct opener_reply), -EPROTO},
		{2, sizeof(struct opener_reply) - 1, -EPROTO},
		{2, sizeof(struct opener_reply) + 1, -EPROTO},
		{1, 1, -EPROTO},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opener_reply reply;
		int pair[2], fds[OPENER_FDS];
		unsigned n_fds, before;

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		answer_with(pair[0], cases[i].n_fds, cases[i].size);
		before = open_descriptors();
		assert_int_equal(opener_receive(pair[1], &reply, fds, &n_fds), cases[i].expected);
		assert_int_equal(n_fds, cases[i].expected ? 0 : cases[i].n_fds);
		assert_int_equal(open_descriptors(), before + n_fds);
		for (unsigned k = 0; k < n_fds; k++)
			close(fds[k]);
		close(pair[0]);
		close(pair[1]);
	}
}

static void test_captures(void **state)
{
	struct opener *o = start(3, true);
	struct opener_answer answer;
	struct diag diag;
	char byte;

	(void)state;
	for (int i = 0; i < 100; i++) { /* no descriptor stays behind on either side */
		assert_int_equal(opener_capture(o, 0, CAPTURE_GROUP_NONE, &answer, &diag), 0);
		assert_int_equal(answer.n_fds, 2);
		assert_string_equal((char *)answer.facts, "facts");
		assert_int_equal(read(answer.fds[0], &byte, 1), 0);
		assert_int_equal(read(answer.fds[1], &byte, 1), 1);
		close(answer.fds[0]);
		close(answer.fds[1]);
	}
	assert_int_equal(opener_capture(o, 1, CAPTURE_GROUP_NONE, &answer, &diag), -ENODEV);
	assert_string_equal(diag.text, "veth7: gone");
	assert_int_equal(answer.n_fds, 0);
	assert_int_equal(opener_capture(o, 3, CAPTURE_GROUP_NONE, &answer, &diag), -EBADRQC);
	assert_int_equal(opener_capture(o, 65535, CAPTURE_GROUP_NONE, &answer, &diag), -EBADRQC);
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
	/* it has none of its own; a sanitizer may have one in each process */
	assert_int_equal(status_of(opener_pid(o), "Threads", 10), status_of(getpid(), "Threads", 10));
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
	int status;

	(void)state;
	if (strstr(opener_missing(o), "seccomp")) {
		opener_stop(o);
		lacking_here("no seccomp in this kernel or this build");
	}
	/* SIGSYS: the question is not tried again, and the next ones are answered */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(opener_capture(o, 2, CAPTURE_GROUP_NONE, &answer, &diag), -EINTR);
		assert_string_equal(diag.text, "the process pitot-opener has ended while it was at it");
		assert_int_equal(opener_capture(o, 0, CAPTURE_GROUP_NONE, &answer, &diag), 0);
		close(answer.fds[0]);
		close(answer.fds[1]);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_true(opener_look(o, &status));
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
	assert_false(opener_look(o, &status));
	opener_stop(o);
}

/* Whatever comes over the socket: an answer or the end. */
static void test_garbage(void **state)
{
	uint64_t random = 88172645463325252ull;
	struct opener_config config = {
		.n_captures = 1, .open_capture = open_capture, .files = files, .n_files = 3};

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
			static struct opener_life life;
			int r = opener_serve(fds[1], &config, &life);

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

/* The process that does what is asked: the child of the one that is ours. */
static int younger_of(int elder)
{
	uint64_t end_ns = clock_monotonic_ns() + 30 * NS_PER_SEC;
	char path[64], text[32];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", elder, elder);
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

		if (fd >= 0)
			close(fd);
		if (n > 0) {
			text[n] = '\0';
			return (int)strtol(text, NULL, 10);
		}
		assert_true(clock_monotonic_ns() < end_ns);
		usleep(1000);
	}
}

static void answers(struct opener *o)
{
	struct opener_answer answer;
	struct diag diag;

	if (opener_capture(o, 0, CAPTURE_GROUP_NONE, &answer, &diag) < 0)
		fail_msg("%s", diag.text);
	close(answer.fds[0]);
	close(answer.fds[1]);
}

static unsigned look_until(struct opener *o, unsigned n, int *status)
{
	uint64_t end_ns = clock_monotonic_ns() + 30 * NS_PER_SEC;
	unsigned seen = 0;

	while (seen < n) {
		seen += opener_look(o, status);
		assert_true(clock_monotonic_ns() < end_ns);
		usleep(1000);
	}
	return seen;
}

/* One that hangs is not waited for longer than that, and in time of need hardly at all. */
static void test_hangs(void **state)
{
	struct opener *o = start(0, true);
	uint64_t begun_ns = clock_monotonic_ns();
	int fds[2], status, elder = opener_pid(o), younger = younger_of(elder);
	_Atomic uint64_t until_ns;
	struct diag diag;

	(void)state;
	assert_false(opener_has_ended(o));
	/* both: nobody ends the other one until we look */
	assert_int_equal(kill(elder, SIGSTOP), 0);
	assert_int_equal(kill(younger, SIGSTOP), 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	opener_hurry(o, fds[0], NULL); /* it can be read: a signal, in pitot */
	assert_int_equal(opener_rewrite(o, stats, &is_part, &diag), -ETIMEDOUT);
	assert_string_equal(diag.text, "the process pitot-opener does not answer");
	assert_int_equal(opener_rewrite(o, stats, &is_part, &diag), -EBUSY);
	atomic_init(&until_ns, begun_ns);
	opener_hurry(o, -1, &until_ns);
	assert_int_equal(opener_finish(o, stats, &diag), -EBUSY);
	assert_true(clock_monotonic_ns() - begun_ns < 5 * NS_PER_SEC);
	/* when it goes on its late answer is not taken for another one's */
	assert_int_equal(look_until(o, 2, &status), 2);
	opener_hurry(o, -1, NULL);
	touch(part);
	while (opener_finish(o, output, &diag) == -EBUSY)
		poll(NULL, 0, 1);
	assert_int_equal(access(output, F_OK), 0);
	while (kill(opener_pid(o), SIGSTOP) < 0) /* who steps up does so after the other one's end */
		usleep(1000);
	opener_stop(o); /* comes back */
	close(fds[0]);
	close(fds[1]);
}

static bool is_gone(int pid)
{
	return status_of(pid, "VmSize", 10) == ~0ull; /* or a zombie */
}

/* It steps up after it has seen the other one's end, which we may see first. */
static void wait_elder(const struct opener *o, int pid)
{
	uint64_t end_ns = clock_monotonic_ns() + 30 * NS_PER_SEC;

	while (opener_pid(o) != pid && clock_monotonic_ns() < end_ns)
		usleep(1000);
	assert_int_equal(opener_pid(o), pid);
}

/* Either of the two, killed or stopped: another one is in its place, and what is asked is answered. */
static void test_revived(void **state)
{
	static const int how[] = {SIGKILL, SIGSTOP, SIGTRAP}; /* cmocka and sanitizers catch SIGSEGV */
	struct opener *o = start(1, true);
	int status, last = 0;

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(how); i++) {
		int elder = opener_pid(o), younger = younger_of(elder), struck = i % 2 ? younger : elder;

		assert_int_equal(kill(struck, how[i / 2]), 0);
		answers(o);
		assert_int_equal(look_until(o, 1, &status), 1);
		if (how[i / 2] == SIGSTOP)
			assert_true(WIFSTOPPED(status));
		else
			assert_true(WIFSIGNALED(status) && WTERMSIG(status) == how[i / 2]);
		while (!is_gone(struck))
			usleep(1000);
		wait_elder(o, i % 2 ? elder : younger);
		answers(o);
		assert_false(opener_has_ended(o));
		last = younger_of(opener_pid(o));
	}
	assert_false(opener_look(o, &status));
	opener_stop(o);
	while (!is_gone(last))
		usleep(1000);
}

/* A parent that is killed while all are stopped leaves none of them behind. */
static void test_stopped_orphans(void **state)
{
	int pipe_fds[2], pids[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	if (pid == 0) {
		struct opener *o = start(0, true);

		pids[0] = opener_pid(o);
		pids[1] = younger_of(pids[0]);
		kill(pids[0], SIGSTOP);
		kill(pids[1], SIGSTOP);
		(void)!write(pipe_fds[1], pids, sizeof(pids));
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(pipe_fds[0], pids, sizeof(pids)), sizeof(pids));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	for (unsigned i = 0; i < 2; i++)
		while (!is_gone(pids[i]))
			usleep(1000);
}

static void test_killed(void **state)
{
	struct opener *o = start(1, true);
	struct opener_answer answer;
	struct diag diag;
	int younger;

	(void)state;
	younger = younger_of(opener_pid(o));
	assert_int_equal(kill(opener_pid(o), SIGTERM), 0); /* the parent's business */
	assert_int_equal(kill(younger, SIGTERM), 0);
	answers(o);
	assert_int_equal(kill(opener_pid(o), SIGSTOP), 0); /* both at once: the end */
	assert_int_equal(kill(younger, SIGKILL), 0);
	assert_int_equal(kill(opener_pid(o), SIGKILL), 0);
	while (!opener_has_ended(o))
		poll(NULL, 0, 1);
	assert_true(opener_capture(o, 0, CAPTURE_GROUP_NONE, &answer, &diag) < 0);
	assert_string_equal(diag.text, "the process pitot-opener has ended");
	opener_stop(o);
	assert_false(opener_has_ended(NULL));
	opener_hurry(NULL, -1, NULL);
}

/* What is no file can be read once: it is not handed over again, and no descriptor stays behind for that. */
static void test_kept_pipe(void **state)
{
	const char *const reads[] = {other};
	struct opener_config config = {.reads = reads, .n_reads = 1, .sandbox = true};
	unsigned long long before;
	struct opener *o = NULL;
	struct diag diag;
	char sentence[256];
	int younger;

	(void)state;
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_int_equal(opener_start(&o, &config, &diag), 0);
	younger = younger_of(opener_pid(o));
	before = status_of(younger, "FDSize", 10);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(opener_read(o, other, &diag), -ESPIPE);
	snprintf(sentence, sizeof(sentence), "%s: is no file, so it can be read once only", other);
	assert_string_equal(diag.text, sentence);
	assert_int_equal(status_of(younger, "FDSize", 10), before);
	opener_stop(o);
}

/* ---- kernels that lack something, or refuse it */

struct poor_kernel {
	int call, error;
	unsigned argument; /* the first; 0: whatever it is */
	int result;	   /* of opener_start() */
	const char *sentence;
	bool root; /* only for root */
};

#define WHO "the process pitot-opener: "

static const struct poor_kernel poor_kernels[] = {
	{SYS_LANDLOCK_CREATE, ENOSYS, 0, 0, "Landlock (this kernel has none)", false},
	{SYS_seccomp, ENOSYS, 0, 0, "seccomp (libseccomp does not know this kernel)", false},
	{SYS_LANDLOCK_ADD, ENOMEM, 0, -ENOMEM, WHO "Landlock: Cannot allocate memory", false},
	{SYS_LANDLOCK_RESTRICT, E2BIG, 0, -E2BIG, WHO "Landlock: Argument list too long", false},
	{SYS_seccomp, ENOMEM, SECCOMP_SET_MODE_FILTER, -ENOMEM, WHO "seccomp: Cannot allocate memory", false},
	{SYS_memfd_create, EMFILE, 0, -EMFILE, WHO "Too many open files", false},
	{SYS_socketpair, EMFILE, 0, -EMFILE, WHO "Too many open files", false},
	{SYS_clone, EAGAIN, 0, -EAGAIN, WHO "Resource temporarily unavailable", false},
	{SYS_capset, EPERM, 0, -EPERM, WHO "cannot give up capabilities: Operation not permitted", false},
	{SYS_prctl, EINVAL, PR_SET_NO_NEW_PRIVS, -EINVAL,
	 WHO "cannot give up new privileges: Invalid argument", false},
	{SYS_prctl, EINVAL, PR_SET_DUMPABLE, -EINVAL, WHO "cannot refuse debuggers: Invalid argument", false},
	{SYS_prctl, EINVAL, PR_SET_KEEPCAPS, -EINVAL, WHO "cannot keep capabilities: Invalid argument", true},
	{SYS_setresuid, EAGAIN, 0, -EAGAIN, WHO "cannot become uid 4321: Resource temporarily unavailable",
	 true},
	{SYS_setresuid, EINVAL, 0, 0, "", true}, /* this user namespace has no such user: it stays root */
};

static void check_poor_kernel(const struct poor_kernel *k)
{
	struct opener_config config = {.sandbox = true, .user = k->root ? 4321 : 0, .group = 4321};
	struct diag diag = {""};
	struct opener *o = NULL;
	const char *said;
	bool wrong;
	int r, status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (!refused_call(k->call, k->argument, k->error))
			_exit(77);
		r = opener_start(&o, &config, &diag);
		said = r < 0 ? diag.text : opener_missing(o);
		wrong = r != k->result || strcmp(said, k->sentence) != 0;
		if (wrong)
			fprintf(stderr, "call %d fails (%s): %d instead of %d, '%s' instead of '%s'\n",
				k->call, strerror(k->error), r, k->result, said, k->sentence);
		opener_stop(o);
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		lacking_here("no seccomp in this kernel");
	assert_int_equal(status, 0);
}

/* What is not there is told, and what was to be given up and is not ends the start. */
static void test_poor_kernels(void **state)
{
	struct opener *o = start(0, true);
	bool rich = !opener_missing(o)[0];

	(void)state;
	opener_stop(o);
	if (!rich)
		lacking_here("no Landlock or no seccomp in this kernel or this build");
	for (size_t i = 0; i < ARRAY_SIZE(poor_kernels); i++)
		if (geteuid() == 0 || !poor_kernels[i].root)
			check_poor_kernel(&poor_kernels[i]);
}

/* What cannot be done later is told at the start, with the option that it belongs to. */
static void test_bad_starts(void **state)
{
	static struct opener_file many[129];
	struct opener_config config = {.files = many, .n_files = 1, .sandbox = true};
	char path[128], sentence[256];
	struct diag diag = {""};
	struct opener *o = NULL;

	(void)state;
	snprintf(path, sizeof(path), "%s/no/such/file", directory);
	many[0] = (struct opener_file){path, "--stats", OPENER_REWRITES};
	snprintf(sentence, sizeof(sentence),
		 "--stats %s: No such file or directory: there is no directory \"no\"", path);
	assert_int_equal(opener_start(&o, &config, &diag), -ENOENT);
	assert_string_equal(diag.text, sentence);
	many[0].path = directory; /* a directory is no file */
	assert_true(opener_start(&o, &config, &diag) < 0);
	assert_memory_equal(diag.text, "--stats ", 8);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct opener_file){stats, "--stats", OPENER_REWRITES};
	config.n_files = ARRAY_SIZE(many);
	assert_int_equal(opener_start(&o, &config, &diag), -E2BIG);
	assert_string_equal(diag.text, WHO "more than 128 output files");
	assert_null(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kept_pipe, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_starts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_poor_kernels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_files_after_the_sandbox, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_after_the_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_kept_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_opener, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rights, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_captures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_privileges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_subverted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_orphan, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hangs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_revived, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stopped_orphans, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
