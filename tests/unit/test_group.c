/* Which collectors get a record: export/group.c. */
#include <string.h>

#include "sink.h"

static struct exporter *group_of(enum collector_group mode, struct sink **sinks, unsigned n, uint64_t members)
{
	static const enum export_format formats[] = {FORMAT_IPFIX, FORMAT_IPFIX, FORMAT_IPFIX, FORMAT_IPFIX};
	struct exporter_config config = sink_config();
	struct exporter *e;

	config.group = mode;
	for (unsigned i = 0; i < n; i++)
		sinks[i] = sink_new(1400, false);
	e = sink_exporter(config, n, formats, sinks);
	assert_int_equal(e->group, 0); /* sinks stand for files */
	e->group = members;
	return e;
}

static void group_end(struct exporter *e, struct sink **sinks, unsigned n)
{
	exporter_free(e);
	for (unsigned i = 0; i < n; i++)
		sink_free(sinks[i]);
}

static struct flow_record turned(struct flow_record r)
{
	struct flow_record back = r;

	memcpy(back.key.src, r.key.dst, 16);
	memcpy(back.key.dst, r.key.src, 16);
	back.key.src_port = r.key.dst_port;
	back.key.dst_port = r.key.src_port;
	return back;
}

static void test_replicate(void **state)
{
	struct sink *sinks[3];
	struct exporter *e = group_of(COLLECTOR_GROUP_REPLICATE, sinks, 3, 7);
	struct flow_record r = sink_record(1, 1);

	(void)state;
	assert_int_equal(group_choose(e, &r), 7);
	group_end(e, sinks, 3);
}

static void test_hash(void **state)
{
	struct sink *sinks[4];
	struct exporter *e = group_of(COLLECTOR_GROUP_HASH, sinks, 4, 7);
	unsigned share[3] = {0};

	(void)state;
	for (uint64_t i = 0; i < 3000; i++) {
		struct flow_record r = sink_record(i, 1), back;
		uint64_t chosen;

		r.key.src[0] = (uint8_t)(i >> 8);
		back = turned(r);
		chosen = group_choose(e, &r);
		assert_int_equal(chosen & 8, 8); /* no member: gets everything */
		assert_int_equal(__builtin_popcountll(chosen & 7), 1);
		assert_int_equal(chosen, group_choose(e, &back));
		share[__builtin_ctzll(chosen & 7)]++;
	}
	for (unsigned i = 0; i < 3; i++)
		assert_in_range(share[i], 800, 1200);
	/* one that is down keeps its share */
	sinks[0]->t.state = TRANSPORT_STATE_FAILED;
	for (uint64_t i = 0, n = 0; i < 300; i++) {
		struct flow_record r = sink_record(i, 1);

		n += group_choose(e, &r) & 1;
		assert_true(i < 299 || n > 50);
	}
	group_end(e, sinks, 4);
}

static void test_failover(void **state)
{
	struct sink *sinks[4];
	struct exporter *e = group_of(COLLECTOR_GROUP_FAILOVER, sinks, 4, 7);
	struct flow_record r = sink_record(1, 1);

	(void)state;
	assert_int_equal(group_choose(e, &r), 8 | 1);
	sinks[0]->t.state = TRANSPORT_STATE_CONNECTING;
	assert_int_equal(group_choose(e, &r), 8 | 2);
	sinks[1]->t.state = TRANSPORT_STATE_FAILED;
	assert_int_equal(group_choose(e, &r), 8 | 4);
	sinks[2]->t.state = TRANSPORT_STATE_FAILED;
	assert_int_equal(group_choose(e, &r), 8 | 1); /* none is up: who may come up first */
	sinks[0]->t.state = TRANSPORT_STATE_FAILED;
	sinks[2]->t.state = TRANSPORT_STATE_CONNECTING;
	assert_int_equal(group_choose(e, &r), 8 | 4);
	sinks[0]->t.state = TRANSPORT_STATE_UP; /* and back */
	assert_int_equal(group_choose(e, &r), 8 | 1);
	e->collectors[0].error_ns = 1; /* datagrams that are refused */
	sinks[1]->t.state = TRANSPORT_STATE_UP;
	assert_int_equal(group_choose(e, &r), 8 | 2);
	group_end(e, sinks, 4);
}

/* Each keeps its own ledger, and records that went to different collectors are each counted once. */
static void test_ledger(void **state)
{
	struct sink *sinks[3];
	struct exporter *e = group_of(COLLECTOR_GROUP_HASH, sinks, 3, 3);
	struct clock_time now = sink_time(0);
	struct collector_stats a, b, c;
	struct exporter_stats es;

	(void)state;
	sinks[1]->lose = true;
	sinks[2]->refuse = true;
	for (uint64_t i = 0; i < 5000; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	exporter_get_collector_stats(e, 0, &a);
	exporter_get_collector_stats(e, 1, &b);
	exporter_get_collector_stats(e, 2, &c);
	exporter_get_stats(e, &es);
	assert_int_equal(a.taken.records + b.taken.records, 5000);
	assert_int_equal(c.taken.records, 5000);
	assert_int_equal(a.sent.records, a.taken.records);
	assert_int_equal(b.lost.records, b.taken.records);
	assert_int_equal(c.lost.records, 5000);
	assert_int_equal(es.not_sent.records, b.taken.records);
	assert_int_equal(es.exported, a.taken.records);
	group_end(e, sinks, 3);
}

static struct sink *group_sinks[3];

/* The second answers after 4 s. */
static void second_comes(uint64_t now_ns)
{
	if (now_ns >= 4 * NS_PER_SEC)
		group_sinks[1]->t.state = TRANSPORT_STATE_UP;
}

/* The first is gone by then: it is not waited for again. */
static void first_fails(uint64_t now_ns)
{
	if (now_ns >= 2 * NS_PER_SEC)
		group_sinks[0]->t.state = TRANSPORT_STATE_FAILED;
	second_comes(now_ns);
}

/* Of a savefile the first that may come up is waited for, once, and not longer than --stop-timeout or 10 s.
 */
static void test_failover_offline(void **state)
{
	static const struct {
		enum transport_state first, second;
		void (*pass)(uint64_t now_ns);
		uint64_t stop_ns, passed_ns, chosen;
	} cases[] = {
		{TRANSPORT_STATE_CONNECTING, TRANSPORT_STATE_FAILED, NULL, 60 * NS_PER_SEC, 10 * NS_PER_SEC,
		 1},
		{TRANSPORT_STATE_CONNECTING, TRANSPORT_STATE_FAILED, NULL, 3 * NS_PER_SEC, 3 * NS_PER_SEC, 1},
		{TRANSPORT_STATE_CONNECTING, TRANSPORT_STATE_CONNECTING, second_comes, 60 * NS_PER_SEC,
		 10 * NS_PER_SEC, 2},
		{TRANSPORT_STATE_CONNECTING, TRANSPORT_STATE_CONNECTING, first_fails, 60 * NS_PER_SEC,
		 4 * NS_PER_SEC, 2},
		{TRANSPORT_STATE_UP, TRANSPORT_STATE_CONNECTING, NULL, 60 * NS_PER_SEC, 0, 1},
		{TRANSPORT_STATE_FAILED, TRANSPORT_STATE_UP, NULL, 60 * NS_PER_SEC, 0, 2},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct sink_clock clock = {.pass = cases[i].pass};
		struct waiting waiting = sink_waiting(&clock);
		struct exporter *e = group_of(COLLECTOR_GROUP_FAILOVER, group_sinks, 3, 7);
		struct flow_record r = sink_record(1, 1);

		e->config.offline = true;
		e->config.waiting = &waiting;
		e->config.stop_ns = cases[i].stop_ns;
		group_sinks[0]->t.state = cases[i].first;
		group_sinks[1]->t.state = cases[i].second;
		group_sinks[2]->t.state = TRANSPORT_STATE_FAILED;
		assert_int_equal(group_choose(e, &r), cases[i].chosen);
		assert_int_equal(clock.now_ns, cases[i].passed_ns);
		assert_int_equal(group_choose(e, &r), cases[i].chosen);
		assert_int_equal(clock.now_ns, cases[i].passed_ns); /* once */
		group_end(e, group_sinks, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_replicate), cmocka_unit_test(test_hash),
					   cmocka_unit_test(test_failover),
					   cmocka_unit_test(test_failover_offline),
					   cmocka_unit_test(test_ledger)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
