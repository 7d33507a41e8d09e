/* A token bucket: never more than the rate and a tenth of a second's burst, and never much less. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pace.h"
#include "pitot/clock.h"

/* Takes all that there is every step_ns for a number of seconds. */
static uint64_t taken(uint32_t rate, uint64_t step_ns, uint64_t seconds)
{
	struct pace p = {0};
	uint64_t sum = 0, start_ns = 5 * NS_PER_SEC;

	for (uint64_t t = start_ns; t <= start_ns + seconds * NS_PER_SEC; t += step_ns) {
		uint64_t n = pace_tokens(&p, rate, t);

		pace_take(&p, n);
		sum += n;
	}
	return sum;
}

static void test_rate(void **state)
{
	static const uint32_t rates[] = {1, 7, 10, 1000, 30000, 4294967295u};
	static const uint64_t steps[] = {1000003, 20 * NS_PER_MSEC, 99 * NS_PER_MSEC};

	(void)state;
	for (unsigned r = 0; r < 6; r++) {
		for (unsigned s = 0; s < 3; s++) {
			uint64_t n = taken(rates[r], steps[s], 10), burst = rates[r] / 10 + 2;

			assert_in_range(n, 10 * (uint64_t)rates[r] - burst, 10 * (uint64_t)rates[r] + burst);
		}
	}
}

static void test_burst(void **state)
{
	struct pace p = {0};

	(void)state;
	assert_int_equal(pace_tokens(&p, 1000, NS_PER_SEC), 100);
	pace_take(&p, 100);
	assert_int_equal(pace_tokens(&p, 1000, NS_PER_SEC), 0);
	assert_int_equal(pace_tokens(&p, 1000, NS_PER_SEC + pace_wait_ns(&p, 1000)), 1);
	pace_take(&p, 1);
	assert_int_equal(pace_tokens(&p, 1000, 3600 * NS_PER_SEC), 100); /* silence saves nothing up */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_burst),
	};

	return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
