/* pressure: what the kernel's files say, what others say that are not such files, and processor time. */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pressure.h"

static void test_parses(void **state)
{
	(void)state;
	assert_int_equal(pressure_parse("some avg10=0.12 avg60=0.00 avg300=0.00 total=1234567\n"
					"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"),
			 1234567 * NS_PER_USEC);
	assert_int_equal(pressure_parse("full total=7\nsome total=0\n"), 0);
	assert_int_equal(pressure_parse(""), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("some avg10=0.12\n"), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("full avg10=0.12 total=5\n"), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("some total=-5\n"), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("some total=\n"), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("some total=99999999999999999999999\n"), PRESSURE_UNKNOWN);
	assert_int_equal(pressure_parse("some total=18446744073709551615\n"), PRESSURE_UNKNOWN);
}

static void test_reads_again(void **state)
{
	char path[] = "/tmp/pitot-pressure-XXXXXX";
	int fd = mkstemp(path), reading;
	struct diag diag;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pressure_open(path, &diag), -EINVAL); /* it is empty */
	assert_non_null(strstr(diag.text, path));
	assert_int_equal(pwrite(fd, "some total=5\n", 13, 0), 13);
	reading = pressure_open(path, &diag);
	assert_true(reading >= 0);
	assert_int_equal(pressure_read(reading), 5 * NS_PER_USEC);
	assert_int_equal(pwrite(fd, "some total=6\n", 13, 0), 13);
	assert_int_equal(pressure_read(reading), 6 * NS_PER_USEC);
	assert_int_equal(pwrite(fd, "what", 4, 0), 4);
	assert_int_equal(pressure_read(reading), PRESSURE_UNKNOWN);
	close(reading);
	close(fd);
	unlink(path);
	assert_int_equal(pressure_open(path, &diag), -ENOENT);
	assert_int_equal(pressure_read(-1), PRESSURE_UNKNOWN);
}

static void test_processor_time(void **state)
{
	uint64_t before = pressure_cpu_ns(getpid());

	(void)state;
	assert_true(before > 0);
	while (pressure_cpu_ns(getpid()) < before + NS_PER_MSEC)
		;
	assert_int_equal(pressure_cpu_ns(0), 0);
	assert_int_equal(pressure_cpu_ns(-1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parses), cmocka_unit_test(test_reads_again),
					   cmocka_unit_test(test_processor_time)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
