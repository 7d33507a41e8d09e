/* progress: what its line says; whether there is one is for a terminal to show: tests/e2e/files.py. */
#include "cm.h"

#include <stdio.h>
#include <string.h>

#include "pitot/clock.h"
#include "process/progress.h"

static void expect(uint64_t octets, uint64_t done, uint64_t packets, uint64_t seconds, const char *want)
{
	const struct progress p = {.octets = octets, .begun_ns = 5 * NS_PER_SEC};
	char text[128];

	progress_text(&p, done, packets, (5 + seconds) * NS_PER_SEC, text, sizeof(text));
	assert_string_equal(text, want);
}

static void test_text(void **state)
{
	(void)state;
	expect(1000, 250, 4000, 2, " 25 %, 4000 packets, 2000 a second, 6 s left");
	expect(1000, 0, 0, 1, "  0 %, 0 packets, 0 a second");
	expect(1000, 1000, 10, 1, "100 %, 10 packets, 10 a second, 0 s left");
	expect(1000, 2000, 10, 1, "100 %, 10 packets, 10 a second, 0 s left"); /* it grew */
	expect(0, 250, 10, 1, "10 packets, 10 a second");		       /* a pipe */
	expect(1000, 1, 10, 0, "  0 %, 10 packets, 0 a second, 0 s left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
