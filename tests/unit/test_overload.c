/* overload: the first drops are told at once, later ones once a minute, and none twice. */
#include "cm.h"

#include "overload.h"
#include "pitot/clock.h"

static void test_tells_once_a_minute(void **state)
{
	struct overload o = {0};
	uint64_t now = 5 * NS_PER_SEC, told = 0, lines = 0;

	(void)state;
	assert_int_equal(overload_look(&o, 0, now), 0);
	assert_int_equal(overload_look(&o, 7, now), 7);
	assert_int_equal(overload_look(&o, 7, now), 0);
	assert_int_equal(overload_look(&o, 9, now + 59 * NS_PER_SEC), 0);
	assert_int_equal(overload_look(&o, 10, now + 60 * NS_PER_SEC), 3);
	/* ten minutes of it */
	o = (struct overload){0};
	for (uint64_t i = 1; i <= 6000; i++) {
		uint64_t n = overload_look(&o, i * 100, now + i * NS_PER_SEC / 10);

		told += n;
		lines += n > 0;
	}
	assert_int_equal(lines, 10);
	assert_in_range(told, 540000, 600000);
	/* a quiet time, and then at once again */
	now += 10000 * NS_PER_SEC;
	assert_true(overload_look(&o, 600001, now) > 0);
	assert_int_equal(overload_look(&o, 600001, now + 3600 * NS_PER_SEC), 0);
}

/* A sum that is smaller for a moment (a process that is started again) is no news. */
static void test_goes_back(void **state)
{
	struct overload o = {0};

	(void)state;
	assert_int_equal(overload_look(&o, 100, NS_PER_SEC), 100);
	assert_int_equal(overload_look(&o, 50, 100 * NS_PER_SEC), 0);
	assert_int_equal(overload_look(&o, 101, 200 * NS_PER_SEC), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_tells_once_a_minute),
					   cmocka_unit_test(test_goes_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
