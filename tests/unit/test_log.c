/*
 * log: whatever is in an argument, a line stays one printable line.
 * Covers base/log.c, base/diag.c, base/clock.c.
 */
#include "cm.h"

#include <errno.h>
#include <string.h>
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

static void test_gate(void **state)
{
	struct log_gate gate = {0};

	(void)state;
	assert_true(log_gate_open(&gate, 100, 1000));
	assert_false(log_gate_open(&gate, 101, 1000));
	assert_false(log_gate_open(&gate, 1099, 1000));
	assert_int_equal(gate.held_back, 2);
	assert_true(log_gate_open(&gate, 1100, 1000));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),	 cmocka_unit_test(test_escape_never_overruns),
		cmocka_unit_test(test_one_line), cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_level),	 cmocka_unit_test(test_gate),
		cmocka_unit_test(test_diag),	 cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
