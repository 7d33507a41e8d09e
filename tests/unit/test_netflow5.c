/* NetFlow v5: layout, splitting of large counters, what it cannot carry. */
#include "reader.h"
#include "sink.h"

static struct sink *sink;
static struct exporter *e;

static void open_exporter(struct exporter_config config, size_t max_message)
{
	sink = sink_new(max_message, false);
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_NETFLOW5}, &sink);
}

static void close_exporter(void)
{
	exporter_free(e);
	sink_free(sink);
}

static uint64_t field(unsigned message, unsigned record, unsigned at, unsigned n)
{
	return reader_uint(sink->messages[message].data + 24 + 48 * record + at, n);
}

/* Lengths, counts, sequence, clocks of all messages; returns the number of records. */
static unsigned check_stream(void)
{
	uint32_t sequence = 0;

	for (unsigned i = 0; i < sink->n; i++) {
		const struct sink_message *m = &sink->messages[i];
		unsigned count = (unsigned)reader_uint(m->data + 2, 2);
		uint32_t uptime = (uint32_t)reader_uint(m->data + 4, 4);

		assert_int_equal(reader_uint(m->data, 2), 5);
		assert_in_range(count, 1, 30);
		assert_int_equal(m->size, 24 + 48 * count);
		assert_int_equal(reader_uint(m->data + 16, 4), sequence);
		assert_int_equal(reader_uint(m->data + 22, 2), 0);
		sequence += count;
		for (unsigned k = 0; k < count; k++) {
			uint32_t first = (uint32_t)field(i, k, 24, 4), last = (uint32_t)field(i, k, 28, 4);

			assert_true(first <= last && last <= uptime);
			assert_int_equal(field(i, k, 8, 4), 0);	 /* next hop */
			assert_int_equal(field(i, k, 36, 1), 0); /* pad1 */
			assert_int_equal(field(i, k, 40, 8), 0); /* AS, masks, pad2 */
			assert_true(field(i, k, 16, 4) >= 1);
			assert_true(field(i, k, 20, 4) >= 20 * field(i, k, 16, 4));
		}
	}
	return sequence;
}

static void test_records(void **state)
{
	struct clock_time now = sink_time(0);
	struct collector_stats s;
	struct exporter_stats es;
	unsigned v4 = 0;

	(void)state;
	open_exporter(sink_config(), 1472);
	for (unsigned i = 0; i < 1000; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns - NS_PER_SEC);

		r.octets = r.packets * 100;
		v4 += r.key.ip_version == 4;
		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	assert_int_equal(check_stream(), v4);
	assert_int_equal(reader_uint(sink->messages[0].data + 20, 2), 7); /* engine: the domain */
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.sent.records, v4);
	assert_int_equal(s.unfit.records, 1000 - v4);
	assert_int_equal(s.pending.records, 0);
	exporter_get_stats(e, &es);
	assert_int_equal(es.not_sent.records, 1000 - v4);
	assert_int_equal(es.exported, v4);
	assert_int_equal(es.not_sent.packets, s.unfit.packets);
	assert_int_equal(es.not_sent.octets, s.unfit.octets);
	close_exporter();
}

/* V5-8: sums are exact, no part is empty, none looks saturated. */
static void split(uint64_t packets, uint64_t octets, unsigned least)
{
	struct clock_time now = sink_time(0);
	struct flow_record r = sink_record(0, now.realtime_ns - NS_PER_SEC);
	uint64_t p = 0, o = 0;
	struct collector_stats s;

	open_exporter(sink_config(), 1472);
	r.packets = packets;
	r.octets = octets;
	exporter_record(e, &r, &now);
	exporter_finish(e, &now);
	if (check_stream() < least)
		fail_msg("%llu packets, %llu octets", (unsigned long long)packets,
			 (unsigned long long)octets);
	for (unsigned i = 0; i < sink->n; i++)
		for (unsigned k = 0; k < reader_uint(sink->messages[i].data + 2, 2); k++) {
			assert_in_range(field(i, k, 16, 4), 1, UINT32_MAX - 1);
			assert_in_range(field(i, k, 20, 4), 20, UINT32_MAX - 1);
			p += field(i, k, 16, 4);
			o += field(i, k, 20, 4);
		}
	assert_int_equal(p, packets);
	assert_int_equal(o, octets);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.sent.records, 1);
	assert_int_equal(s.saturated, 0);
	close_exporter();
}

static void test_split(void **state)
{
	(void)state;
	split(1, 20, 1);
	split(4500000, UINT64_C(6) << 30, 2);
	split(UINT64_C(322122547), UINT64_C(322122547) * 20, 2); /* the shortest packets there are */
	split(UINT32_MAX - UINT64_C(1), UINT64_C(20) * (UINT32_MAX - UINT64_C(1)), 20);
	split(100000, UINT32_MAX, 2);
	split(100000, UINT32_MAX - UINT64_C(1), 1);
	split(UINT64_C(10000000000), UINT64_C(15000000000000), 3000);
	split(3, UINT64_C(8589934585), 3);
	split(3, UINT64_C(10000000000), 3); /* jumbograms: as many parts as packets */
}

static void test_indexes(void **state)
{
	struct clock_time now = sink_time(0);
	struct flow_record r = sink_record(0, now.realtime_ns - NS_PER_SEC);
	struct collector_stats s;

	(void)state;
	open_exporter(sink_config(), 1472);
	r.ingress = 65535;
	r.egress = 65536 + 7;
	exporter_record(e, &r, &now);
	exporter_finish(e, &now);
	assert_int_equal(field(0, 0, 12, 2), 65535);
	assert_int_equal(field(0, 0, 14, 2), 0);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.saturated, 1);
	close_exporter();
}

/* A path of 512 octets; and messages that are lost move the sequence. */
static void test_small_and_lost(void **state)
{
	struct clock_time now = sink_time(0);
	struct collector_stats s;

	(void)state;
	open_exporter(sink_config(), 484);
	for (unsigned i = 0; i < 90; i++) {
		struct flow_record r = sink_record(3 * i, now.realtime_ns);

		r.octets = r.packets * 100;
		sink->refuse = i >= 30 && i < 60;
		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	assert_true(sink->messages[0].size <= 484);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.sent.records + s.lost.records, 90);
	assert_in_range(s.lost.records, 20, 40);
	assert_int_equal(reader_uint(sink->messages[sink->n - 1].data + 16, 4) +
				 reader_uint(sink->messages[sink->n - 1].data + 2, 2),
			 90);
	close_exporter();
}

/* Thirty records, however much room there is. */
static void test_large(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_exporter(sink_config(), 65535);
	for (unsigned i = 0; i < 100; i++) {
		struct flow_record r = sink_record(3 * i, now.realtime_ns);

		r.octets = r.packets * 100;
		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	assert_int_equal(check_stream(), 100);
	assert_int_equal(sink->n, 4);
	close_exporter();
}

static void test_sequence_wrap(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_exporter(sink_config(), 1472);
	exporter_tick(e, &now);
	e->collectors[0].sequence = UINT32_MAX - 9;
	for (unsigned i = 0; i < 60; i++) {
		struct flow_record r = sink_record(3 * i, now.realtime_ns);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	assert_int_equal(reader_uint(sink->messages[0].data + 16, 4), UINT32_MAX - 9);
	assert_int_equal(reader_uint(sink->messages[1].data + 16, 4), 20);
	close_exporter();
}

/* A session ends while a message is open and the clock steps: its records are not for the next session. */
static void test_step_between_sessions(void **state)
{
	struct clock_time now = sink_time(0);
	struct flow_record r = sink_record(0, now.realtime_ns);
	struct collector_stats s;

	(void)state;
	open_exporter(sink_config(), 1472);
	exporter_tick(e, &now);
	exporter_record(e, &r, &now);
	sink->t.session++;
	now.realtime_ns += 3600 * NS_PER_SEC;
	exporter_tick(e, &now);
	exporter_finish(e, &now);
	assert_int_equal(sink->n, 0);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.lost.records, 1);
	close_exporter();
}

/* Polite mode: a message has records of one selector, and its header the rate of that. */
static void test_selectors(void **state)
{
	static const uint16_t selectors[] = {0, 0, 2, 10, 10, 0, 700};
	static const unsigned counts[] = {2, 1, 2, 1, 1}, headers[] = {0, 0x8004, 0x8400, 0, 0};
	struct clock_time now = sink_time(0);
	struct exporter_config config = sink_config();

	(void)state;
	config.sampling = (struct export_sampling){.n_selectors = EXPORT_SELECTORS};
	open_exporter(config, 1472);
	for (unsigned i = 0; i < 7; i++) {
		struct flow_record r = sink_record(0, now.realtime_ns - NS_PER_SEC);

		r.octets = r.packets * 100;
		r.selector = selectors[i];
		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	assert_int_equal(sink->n, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(reader_uint(sink->messages[i].data + 2, 2), counts[i]);
		assert_int_equal(reader_uint(sink->messages[i].data + 22, 2), headers[i]);
	}
	close_exporter();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_indexes),
		cmocka_unit_test(test_small_and_lost),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_sequence_wrap),
		cmocka_unit_test(test_step_between_sessions),
		cmocka_unit_test(test_selectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
