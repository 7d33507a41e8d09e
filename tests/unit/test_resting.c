/*
 * How long control sleeps: long when all is quiet, until what is due, and short while something is under way.
 * Covers process/resting.c.
 */
#include "cm.h"

#include "resting.h"
#include "pitot/clock.h"

enum { CALM = 250, UNREST = 50 };

static const uint64_t now_ns = 1000 * NS_PER_SEC;

struct quiet {
	struct control r;
	struct config config;
	struct interfaces_interface one;
	struct watch_thread threads[3];
};

static void begin(struct quiet *q)
{
	*q = (struct quiet){.one = {.measured = true}};
	q->r = (struct control){.config = &q->config,
				.live = true,
				.heir = {.fd = -1},
				.metrics = {.listener = -1},
				.interfaces = {.each = &q->one, .n = 1},
				.watch = {.threads = q->threads, .n_metering = 2}};
	for (unsigned i = 0; i < 3; i++)
		q->threads[i].moved_ns = now_ns - 100 * NS_PER_MSEC;
}

static void test_due(void **state)
{
	static char path[] = "-";
	struct quiet q;

	(void)state;
	begin(&q);
	assert_int_equal(resting_wait_ms(&q.r, now_ns), CALM);
	q.r.heard_of_child = true;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 0);
	q.r.heard_of_child = false;
	q.r.service = (struct service){.interval_ns = NS_PER_SEC, .next_ns = now_ns + 200 * NS_PER_MSEC - 1};
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 200);
	q.config.stats_path = path;
	q.r.next_report_ns = now_ns + 100 * NS_PER_MSEC;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 200); /* without --stats-every */
	q.config.stats_every_ns = NS_PER_SEC;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 100);
	q.config.metrics_path = path;
	q.r.next_metrics_ns = now_ns + 1;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 1);
	q.r.next_metrics_ns = now_ns - 1;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 0);
	begin(&q);
	q.config.polite.on = true;
	q.r.stepping.next_ns = now_ns + 70 * NS_PER_MSEC - 1;
	assert_int_equal(resting_wait_ms(&q.r, now_ns), 70);
}

static void test_unrest(void **state)
{
	struct quiet q;

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		begin(&q);
		if (i == 0)
			q.r.live = false;
		else if (i == 1)
			q.r.stop_by_ns = now_ns + NS_PER_SEC;
		else if (i == 2)
			q.r.finishing = true;
		else if (i == 3)
			q.r.heir.fd = 7;
		else if (i == 4)
			q.r.of_metering.due_ns = now_ns + NS_PER_SEC;
		else if (i == 5)
			q.r.of_exporting.due_ns = now_ns + NS_PER_SEC;
		else if (i == 6)
			q.r.metrics.listener = 7; /* and nobody serves */
		else if (i == 7)
			q.one.measured = false;
		else
			q.r.names_untold = true;
		assert_int_equal(resting_wait_ms(&q.r, now_ns), UNREST);
	}
}

/* One that stands still for longer than any sleeps: whether it hangs is to be known soon. */
static void test_uneasy(void **state)
{
	struct quiet q;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		begin(&q);
		q.threads[i].moved_ns = now_ns - 199 * NS_PER_MSEC;
		assert_int_equal(resting_wait_ms(&q.r, now_ns), CALM);
		q.threads[i].moved_ns = now_ns - 200 * NS_PER_MSEC;
		assert_int_equal(resting_wait_ms(&q.r, now_ns), UNREST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_unrest),
		cmocka_unit_test(test_uneasy),
	};

	return cmocka_run_group_tests_name("resting", tests, NULL, NULL);
}
