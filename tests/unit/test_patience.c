/* Where the exporting process waits for collectors: export/patience.c, on a clock of the test:
 * base/waiting.c. */
#include "sink.h"

#define COLLECTORS 4u

static struct sink *sinks[COLLECTORS];
static struct exporter *e;
static _Atomic uint64_t stop_by_ns = UINT64_MAX;
static struct sink_clock test_clock;
static struct waiting waiting;
static bool crowded[COLLECTORS], ended[COLLECTORS], finished[COLLECTORS];
static unsigned ticks, progress_for; /* ticks of collector 0 with progress; then it has room */

static unsigned index_of(const struct transport *t)
{
	for (unsigned i = 0; i < COLLECTORS; i++)
		if (&sinks[i]->t == t)
			return i;
	fail();
	return 0;
}

static bool busy_crowded(const struct transport *t)
{
	return crowded[index_of(t)];
}

static bool busy_idle(const struct transport *t, uint64_t until_ns)
{
	(void)until_ns;
	return ended[index_of(t)];
}

static void busy_finish(struct transport *t)
{
	finished[index_of(t)] = true;
}

static void busy_tick(struct transport *t, const struct clock_time *now)
{
	(void)now;
	if (index_of(t) != 0)
		return;
	ticks++;
	if (progress_for && ticks <= progress_for)
		t->progress++;
	else if (progress_for)
		crowded[0] = false;
}

static struct transport_ops busy_ops;

static void open_busy(uint64_t stop_ns)
{
	enum export_format formats[COLLECTORS] = {FORMAT_IPFIX, FORMAT_IPFIX, FORMAT_IPFIX, FORMAT_IPFIX};
	struct exporter_config config = sink_config();

	config.offline = true;
	config.stop_ns = stop_ns;
	config.stop_by_ns = &stop_by_ns;
	atomic_store(&stop_by_ns, UINT64_MAX);
	test_clock = (struct sink_clock){.now_ns = 77 * NS_PER_SEC};
	waiting = sink_waiting(&test_clock);
	config.waiting = &waiting;
	busy_ops = sink_ops;
	busy_ops.crowded = busy_crowded;
	busy_ops.idle = busy_idle;
	busy_ops.finish = busy_finish;
	busy_ops.tick = busy_tick;
	for (unsigned i = 0; i < COLLECTORS; i++) {
		sinks[i] = sink_new(1472, true);
		sinks[i]->t.ops = &busy_ops;
		crowded[i] = ended[i] = finished[i] = false;
	}
	ticks = progress_for = 0;
	e = sink_exporter(config, COLLECTORS, formats, sinks);
}

static uint64_t passed_ns(void)
{
	return test_clock.now_ns - 77 * NS_PER_SEC;
}

static void close_busy(void)
{
	exporter_free(e);
	for (unsigned i = 0; i < COLLECTORS; i++)
		sink_free(sinks[i]);
}

static void put(unsigned n)
{
	struct clock_time now = sink_time(0);

	for (unsigned i = 0; i < n; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns);

		exporter_record(e, &r, &now);
	}
}

/* Whoever takes something is waited for, as long as it does. */
static void test_progress(void **state)
{
	(void)state;
	open_busy(NS_PER_SEC);
	crowded[0] = true;
	progress_for = 300; /* 1.5 s and more */
	put(10);
	assert_true(ticks > 300);
	assert_in_range(passed_ns(), 1500 * NS_PER_MSEC, 1600 * NS_PER_MSEC);
	assert_false(crowded[0]);
	close_busy();
}

/* Many that stand still are waited for at the same time, and once, whatever follows and at the end, too. */
static void test_standing_still(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_busy(NS_PER_SEC);
	for (unsigned i = 0; i < COLLECTORS; i++)
		crowded[i] = true;
	put(1000);
	assert_int_equal(passed_ns(), NS_PER_SEC);
	ticks = 0;
	put(1000);
	assert_int_equal(passed_ns(), NS_PER_SEC);
	assert_in_range(ticks, 0, 1000); /* one for each record, as its session has not begun */
	ticks = 0;
	exporter_finish(e, &now);
	assert_in_range(ticks, 1, 10);
	assert_int_equal(passed_ns(), NS_PER_SEC);
	close_busy();
}

/* At the end: first what is left, then the last messages, then the sessions, and no longer than allowed. */
static void test_end(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_busy(NS_PER_SEC);
	put(10);
	exporter_finish(e, &now);
	assert_int_equal(passed_ns(), NS_PER_SEC); /* a file that stands still is waited for no longer */
	for (unsigned i = 0; i < COLLECTORS; i++)
		assert_true(finished[i]);
	close_busy();
}

/* Whoever asked for the end says when it is: nobody is waited for beyond that. */
static void test_deadline(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_busy(1000 * NS_PER_SEC);
	crowded[0] = true;
	atomic_store(&stop_by_ns, test_clock.now_ns + NS_PER_SEC / 10);
	put(1000);
	assert_int_equal(passed_ns(), NS_PER_SEC / 10);
	exporter_finish(e, &now);
	assert_int_equal(passed_ns(), NS_PER_SEC / 10);
	assert_true(finished[0]);
	close_busy();
}

/* Its session is back after 5 s, and has everything after 7. */
static void comes_back(uint64_t now_ns)
{
	if (now_ns >= (77 + 5) * NS_PER_SEC && sinks[0]->t.session == 0)
		sinks[0]->t.session = 1;
	if (now_ns >= (77 + 7) * NS_PER_SEC && !ended[0]) {
		sinks[0]->t.progress++;
		sinks[0]->hold = false;
		ended[0] = true;
	}
}

/* A session that ends and comes back within --stop-timeout: what is left is sent, and not a moment is waited
 * more. */
static void test_session_comes_back(void **state)
{
	struct clock_time now = sink_time(0);
	struct collector_stats s;

	(void)state;
	open_busy(20 * NS_PER_SEC);
	for (unsigned i = 1; i < COLLECTORS; i++)
		ended[i] = true;
	sinks[0]->hold = true;
	put(100);
	sinks[0]->t.session = 0;
	test_clock.pass = comes_back;
	exporter_finish(e, &now);
	assert_int_equal(passed_ns(), 7 * NS_PER_SEC);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.lost.records + s.sent.records, 100);
	assert_int_equal(s.pending.records, 0);
	close_busy();
}

/* Sessions that do not end have a little more time to say goodbye than what is left has. */
static void test_goodbye(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_busy(3 * NS_PER_SEC);
	e->config.offline = false;
	for (unsigned i = 0; i < COLLECTORS; i++)
		e->collectors[i].config.transport = TRANSPORT_TCP;
	put(10);
	exporter_finish(e, &now);
	assert_int_equal(passed_ns(), 3800 * NS_PER_MSEC);
	close_busy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_standing_still),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_session_comes_back),
		cmocka_unit_test(test_goodbye),
	};

	return cmocka_run_group_tests_name("patience", tests, NULL, NULL);
}
