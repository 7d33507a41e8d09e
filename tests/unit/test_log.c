/*
 * log: whatever is in an argument, a line stays one printable line.
 * Covers base/log.c, base/log_sink.c, base/diag.c, base/clock.c.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/diag.h"
#include "pitot/log.h"

/* What log_write() wrote to stderr. */
static size_t capture_log(char *dst, size_t size, enum log_level level, const char *argument)
{
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	log_write(level, "interface %s", argument);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	n = read(pipes[0], dst, size - 1);
	close(pipes[0]);
	assert_true(n >= 0);
	dst[n] = '\0';
	return (size_t)n;
}

static void test_escape(void **state)
{
	char out[64];

	(void)state;
	log_escape(out, sizeof(out), "plain text 123 ~");
	assert_string_equal(out, "plain text 123 ~");
	log_escape(out, sizeof(out), "a\nb\tc\033[31m\x7f\x80\xff");
	assert_string_equal(out, "a\\x0ab\\x09c\\x1b[31m\\x7f\\x80\\xff");
	log_escape(out, sizeof(out), "");
	assert_string_equal(out, "");
}

static void test_escape_never_overruns(void **state)
{
	(void)state;
	for (size_t size = 0; size < 40; size++) {
		char out[48];

		memset(out, 'x', sizeof(out));
		log_escape(out, size, "\n\n\n\nabcdefgh\n\n\n\n\n\n");
		for (size_t i = size; i < sizeof(out); i++)
			assert_int_equal(out[i], 'x');
		if (size)
			assert_true(memchr(out, '\0', size) != NULL);
	}
}

static void test_one_line(void **state)
{
	char out[4096];
	size_t n;

	(void)state;
	n = capture_log(out, sizeof(out), LOG_LEVEL_ERROR, "eth0\npitot: error: forged\r\033[2K");
	assert_true(n > 0 && out[n - 1] == '\n');
	assert_ptr_equal(strchr(out, '\n'), out + n - 1);
	assert_null(strchr(out, '\033'));
	assert_null(strchr(out, '\r'));
	assert_non_null(strstr(out, "pitot: error: interface eth0"));
}

static void test_long_line(void **state)
{
	static char argument[5000], out[8192];
	size_t n;

	(void)state;
	memset(argument, '\n', sizeof(argument) - 1);
	n = capture_log(out, sizeof(out), LOG_LEVEL_WARNING, argument);
	assert_true(n > 100);
	assert_ptr_equal(strchr(out, '\n'), out + n - 1);
}

static void test_level(void **state)
{
	char out[256];

	(void)state;
	log_set_level(LOG_LEVEL_WARNING);
	assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "x"), 0);
	assert_true(capture_log(out, sizeof(out), LOG_LEVEL_WARNING, "x") > 0);
	log_set_level(LOG_LEVEL_INFO);
}

/* While another program has the terminal: afterwards, in order, and what had no room is told. */
static void test_hold(void **state)
{
	static char argument[1000], out[80 << 10];
	int pipes[2], saved = dup(STDERR_FILENO);
	unsigned lines = 0, lost = 0;
	size_t n = 0;
	ssize_t more;

	(void)state;
	memset(argument, 'y', sizeof(argument) - 1);
	assert_int_equal(pipe(pipes), 0);
	assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) >= 80 << 10);
	dup2(pipes[1], STDERR_FILENO);
	close(pipes[1]);
	log_hold();
	log_error("first");
	assert_true(log_text("a summary\nof two lines\n", 0));
	for (unsigned i = 0; i < 100; i++)
		log_error("%u %s", i, argument);
	assert_false(log_text(argument, 0));
	assert_int_equal(fcntl(pipes[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(pipes[0], out, sizeof(out)), -1);
	log_release();
	log_error("last");
	dup2(saved, STDERR_FILENO);
	close(saved);
	while ((more = read(pipes[0], out + n, sizeof(out) - 1 - n)) > 0)
		n += (size_t)more;
	close(pipes[0]);
	out[n] = '\0';
	assert_int_equal(
		strncmp(out, "pitot: error: first\na summary\nof two lines\npitot: error: 0 yyy", 62), 0);
	for (const char *p = out; (p = strstr(p, " yyy")); p++)
		lines++;
	assert_true(lines > 50 && lines < 100);
	for (const char *p = out; (p = strstr(p, "pitot: warning: ")); p++)
		lost += (unsigned)strtoul(p + 16, NULL, 10);
	assert_int_equal(lines + lost, 100);
	assert_string_equal(out + n - 19, "pitot: error: last\n");
}

/* ---- where lines go */

static char journal_path[64], syslog_path[64];

static int listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static const char *heard(int fd)
{
	static char text[4096];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int open_log(enum log_target target, bool background, struct diag *diag)
{
	return log_open(&(struct log_config){.target = target,
					     .background = background,
					     .journal_path = journal_path,
					     .syslog_path = syslog_path},
			diag);
}

static void test_targets(void **state)
{
	char directory[] = "/tmp/test_log.XXXXXX", out[400];
	struct diag diag;
	int journal, syslog;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(journal_path, sizeof(journal_path), "%s/journal", directory);
	snprintf(syslog_path, sizeof(syslog_path), "%s/syslog", directory);
	assert_int_equal(open_log(LOG_JOURNAL, true, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, journal_path));
	assert_int_equal(open_log(LOG_SYSLOG, true, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, syslog_path));
	assert_int_equal(open_log(LOG_AUTO, true, &diag),
			 0); /* then it is standard error, while there is one */
	assert_true(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "a0") > 0);

	syslog = listen_at(syslog_path);
	assert_int_equal(open_log(LOG_AUTO, false, &diag), 0);
	assert_true(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "a1") > 0);
	assert_string_equal(heard(syslog), "");
	assert_int_equal(open_log(LOG_AUTO, true, &diag), 0);
	assert_true(capture_log(out, sizeof(out), LOG_LEVEL_WARNING, "a2") > 0);
	assert_int_equal(strncmp(heard(syslog), "<28>", 4), 0);
	log_divert();
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_ERROR, "a3"), 0);
	assert_non_null(strstr(heard(syslog), "error: interface a3"));

	journal = listen_at(journal_path);
	assert_int_equal(open_log(LOG_AUTO, true, &diag), 0);
	log_divert();
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_ERROR, "a4\nb"), 0);
	assert_non_null(strstr(heard(journal), "PRIORITY=3\n"));
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "a5\nPRIORITY=0"), 0);
	assert_non_null(strstr(heard(journal), "\nMESSAGE=interface a5\\x0aPRIORITY=0\n"));
	assert_string_equal(heard(syslog), "");
	assert_true(log_text("one\ntwo\n", 0));
	assert_non_null(strstr(heard(journal), "MESSAGE=one\n"));
	assert_non_null(strstr(heard(journal), "MESSAGE=two\n"));

	/* a log that is started again is found, and what was lost is told */
	close(journal);
	unlink(journal_path);
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "a6"), 0);
	journal = listen_at(journal_path);
	log_tick(clock_monotonic_ns());
	assert_int_equal(capture_log(out, sizeof(out), LOG_LEVEL_INFO, "a7"), 0);
	assert_non_null(strstr(heard(journal), "1 line before this could not be written"));
	assert_non_null(strstr(heard(journal), "a7"));
	close(journal);
	close(syslog);
	unlink(journal_path);
	unlink(syslog_path);
	rmdir(directory);
	log_close();
}

/* A reader of standard error that does not read costs lines, and their number is told. */
static void test_stuck(void **state)
{
	char line[4096] = "";
	int pipes[2], saved = dup(STDERR_FILENO);
	unsigned n = 0;

	(void)state;
	assert_int_equal(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
	while (write(pipes[1], line, sizeof(line)) > 0)
		n++;
	assert_int_equal(fcntl(pipes[1], F_SETFL, 0), 0); /* writing to it waits */
	dup2(pipes[1], STDERR_FILENO);
	log_warning("stuck 1");
	log_warning("stuck 2");
	assert_false(log_text("a summary\n", 1));
	while (n--)
		assert_int_equal(read(pipes[0], line, sizeof(line)), sizeof(line));
	log_warning("stuck 3");
	dup2(saved, STDERR_FILENO);
	close(saved);
	line[0] = '\0';
	assert_true(read(pipes[0], line, sizeof(line) - 1) > 0);
	assert_non_null(strstr(line, "2 lines before this could not be written"));
	assert_non_null(strstr(line, "stuck 3"));
	close(pipes[0]);
	close(pipes[1]);
}

/* The same line again and again: five of them, then how often it came. */
static void test_again(void **state)
{
	uint64_t now_ns = clock_monotonic_ns();
	char out[400];
	unsigned written = 0;
	int pipes[2], saved = dup(STDERR_FILENO);

	(void)state;
	for (int i = 0; i < 100; i++)
		written += capture_log(out, sizeof(out), LOG_LEVEL_WARNING, "again") > 0;
	assert_int_equal(written, 5);
	assert_true(capture_log(out, sizeof(out), LOG_LEVEL_WARNING, "another") > 0);
	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	log_tick(now_ns + NS_PER_SEC); /* too early */
	log_tick(now_ns + 20 * NS_PER_SEC);
	log_tick(now_ns + 21 * NS_PER_SEC);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipes[1]);
	out[read(pipes[0], out, sizeof(out) - 1)] = '\0';
	assert_string_equal(out, "pitot: warning: interface again (95 times more)\n");
	close(pipes[0]);
}

static void test_diag(void **state)
{
	struct diag d;
	char text[2000];

	(void)state;
	assert_int_equal(diag_set(&d, -ENOENT, "%s: %d", "eth0", 5), -ENOENT);
	assert_string_equal(d.text, "eth0: 5");
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	diag_set(&d, -EINVAL, "%s", text);
	assert_int_equal(strlen(d.text), sizeof(d.text) - 1);
}

static void test_clock(void **state)
{
	struct clock_time a = clock_now(), b;

	(void)state;
	assert_true(clock_monotonic_ns() >= a.monotonic_ns);
	assert_true(a.realtime_ns > UINT64_C(1700000000) * NS_PER_SEC);
	clock_shift(-(int64_t)(3600 * NS_PER_SEC), (int64_t)(50 * 86400 * NS_PER_SEC));
	b = clock_now();
	assert_true(b.realtime_ns < a.realtime_ns);
	assert_true(b.monotonic_ns >= a.monotonic_ns + 50 * 86400 * NS_PER_SEC);
	clock_shift(0, 0);
}

static void test_diag_prefix(void **state)
{
	char name[600];
	struct diag d;

	(void)state;
	diag_set(&d, -1, "not found");
	assert_int_equal(diag_prefix(&d, -2, "--read %s: ", "x.pcap"), -2);
	assert_string_equal(d.text, "--read x.pcap: not found");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	diag_prefix(&d, -2, "%s: ", name); /* what has no room is cut */
	assert_int_equal(strlen(d.text), sizeof(d.text) - 1);
	diag_set(&d, -1, "%.500s", name);
	diag_prefix(&d, -2, "--option %s: ", "value");
	assert_int_equal(strlen(d.text), sizeof(d.text) - 1);
	assert_int_equal(strncmp(d.text, "--option value: nnn", 19), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_diag_prefix),
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_escape_never_overruns),
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_diag),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
