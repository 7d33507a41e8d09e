/* sflow: datagrams taken apart word by word, sequences, sizes, and beside a collector of flow records. */
#include "sink.h"

#include "pitot/packet_sample.h"

struct reader {
	const uint8_t *p, *end;
};

static uint32_t word(struct reader *r)
{
	uint32_t v;

	assert_true(r->end - r->p >= 4);
	v = (uint32_t)r->p[0] << 24 | (uint32_t)r->p[1] << 16 | (uint32_t)r->p[2] << 8 | r->p[3];
	r->p += 4;
	return v;
}

static struct packet_sample sample(uint32_t i)
{
	struct packet_sample s = {.pool = 10,
				  .drops = i == 5,
				  .source = 2,
				  .rate = 10,
				  .input = 2,
				  .frame_len = 60 + i,
				  .protocol = PACKET_SAMPLE_ETHERNET,
				  .vlan = 5,
				  .priority = 6,
				  .header_len = (uint16_t)(60 + i % 69)};

	for (unsigned k = 0; k < s.header_len; k++)
		s.header[k] = (uint8_t)(i + k);
	return s;
}

static struct interface_counters counters(uint32_t index)
{
	struct interface_counters n = {
		.index = index,
		.type = 6,
		.speed = UINT64_C(10000000000),
		.direction = 1,
		.admin_up = true,
		.oper_up = true,
		.in = {UINT64_C(0x123456789), 11, COUNTER_UNKNOWN, COUNTER_UNKNOWN, 14, 15},
		.out = {21, 22, 23, 24, 25, 26},
		.in_unknown_protocols = COUNTER_UNKNOWN,
	};

	return n;
}

/* The header; the number of samples. */
static uint32_t open_datagram(struct reader *r, const struct sink_message *m, uint32_t sequence)
{
	*r = (struct reader){m->data, m->data + m->size};
	assert_int_equal(m->size % 4, 0);
	assert_int_equal(word(r), 5);
	assert_int_equal(word(r), 1);
	assert_int_equal(word(r), 0xc0000201);
	assert_int_equal(word(r), 7); /* sub-agent: the domain */
	assert_int_equal(word(r), sequence);
	word(r); /* uptime */
	return word(r);
}

static void read_sample(struct reader *r, const struct packet_sample *s, uint32_t sequence)
{
	const uint8_t *end;
	uint32_t length;

	assert_int_equal(word(r), 1);
	length = word(r);
	end = r->p + length;
	assert_int_equal(word(r), sequence);
	assert_int_equal(word(r), s->source);
	assert_int_equal(word(r), s->rate);
	assert_int_equal(word(r), s->pool * sequence);
	assert_int_equal(word(r), sequence > 5);
	assert_int_equal(word(r), s->input);
	assert_int_equal(word(r), s->output);
	assert_int_equal(word(r), 2);
	assert_int_equal(word(r), 1);
	assert_int_equal(word(r), 16 + (s->header_len + 3u) / 4 * 4);
	assert_int_equal(word(r), 1);
	assert_int_equal(word(r), s->frame_len + 4); /* with the frame check sequence, which is stripped */
	assert_int_equal(word(r), 4);
	assert_int_equal(word(r), s->header_len);
	assert_memory_equal(r->p, s->header, s->header_len);
	for (unsigned k = s->header_len; k % 4; k++)
		assert_int_equal(r->p[k], 0);
	r->p += (s->header_len + 3u) / 4 * 4;
	assert_int_equal(word(r), 1001);
	assert_int_equal(word(r), 16);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(word(r), s->vlan);
		assert_int_equal(word(r), s->priority);
	}
	assert_ptr_equal(r->p, end);
}

static struct exporter_config config(void)
{
	struct exporter_config c = sink_config();

	c.agent = (struct export_agent){.family = 4, .address = {192, 0, 2, 1}};
	return c;
}

static void test_samples(void **state)
{
	struct sink *sink = sink_new(65000, false);
	struct exporter *e = sink_exporter(config(), 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	struct clock_time now = sink_time(0);
	struct collector_stats stats;
	uint32_t next = 0;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		struct packet_sample s = sample(i);

		exporter_sample(e, &s, &now);
	}
	exporter_finish(e, &now);
	for (unsigned i = 0; i < sink->n; i++) {
		struct reader r;
		uint32_t n = open_datagram(&r, &sink->messages[i], i);

		assert_true(sink->messages[i].size <= 1400);
		assert_int_equal(sink->messages[i].load.samples, n);
		for (; n > 0; n--, next++) {
			struct packet_sample s = sample(next);

			read_sample(&r, &s, next + 1);
		}
		assert_ptr_equal(r.p, r.end);
	}
	assert_int_equal(next, 100);
	exporter_get_collector_stats(e, 0, &stats);
	assert_int_equal(stats.samples, 100);
	assert_int_equal(stats.lost_samples, 0);
	exporter_free(e);
	sink_free(sink);
}

/* Of a header that no datagram has room for there is as much as fits, and no packet is missing in the pool.
 */
static void test_narrow(void **state)
{
	struct sink *sink = sink_new(268, false);
	struct exporter *e = sink_exporter(config(), 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	struct clock_time now = sink_time(0);
	struct packet_sample big = sample(0);
	struct collector_stats stats;

	(void)state;
	big.header_len = 256;
	memset(big.header + 60, 0, sizeof(big.header) - 60);
	for (uint32_t i = 0; i < 3; i++)
		exporter_sample(e, &big, &now);
	exporter_finish(e, &now);
	assert_int_equal(sink->n, 3);
	big.header_len = 128;
	for (uint32_t i = 0; i < 3; i++) {
		struct reader r;

		assert_int_equal(open_datagram(&r, &sink->messages[i], i), 1);
		read_sample(&r, &big, i + 1);
		assert_ptr_equal(r.p, r.end);
	}
	exporter_get_collector_stats(e, 0, &stats);
	assert_int_equal(stats.samples, 3);
	assert_int_equal(stats.unfit_samples, 0);
	exporter_free(e);
	sink_free(sink);
}

/* A sample does not wait for a full datagram. */
static void test_waits_no_second(void **state)
{
	struct sink *sink = sink_new(1400, false);
	struct exporter *e = sink_exporter(config(), 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	struct clock_time now = sink_time(0);
	struct packet_sample s = sample(0);

	(void)state;
	exporter_sample(e, &s, &now);
	now = sink_time(NS_PER_SEC / 4);
	exporter_tick(e, &now);
	assert_int_equal(sink->n, 0);
	now = sink_time(NS_PER_SEC * 6 / 10);
	exporter_tick(e, &now);
	assert_int_equal(sink->n, 1);
	exporter_free(e);
	sink_free(sink);
}

static void test_counters(void **state)
{
	struct sink *sink = sink_new(1400, false);
	struct exporter *e = sink_exporter(config(), 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	static const uint32_t wanted[] = {
		2,  6,	2,	    0x540be400, 1,  3,	1,  0x23456789, 11, UINT32_MAX, UINT32_MAX,
		14, 15, UINT32_MAX, 0,		21, 22, 23, 24,		25, 26,		2};
	static const uint32_t sequences[] = {1, 2, 1}; /* the third is of an interface made anew */
	struct clock_time now = sink_time(0);
	struct reader r;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct interface_counters n = counters(2);

		n.anew = i == 2;
		exporter_counters(e, &n, &now);
	}
	exporter_finish(e, &now);
	assert_int_equal(sink->n, 1);
	assert_int_equal(open_datagram(&r, &sink->messages[0], 0), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(word(&r), 2);
		assert_int_equal(word(&r), 108);
		assert_int_equal(word(&r), sequences[i]);
		assert_int_equal(word(&r), 2);
		assert_int_equal(word(&r), 1);
		assert_int_equal(word(&r), 1);
		assert_int_equal(word(&r), 88);
		for (unsigned k = 0; k < ARRAY_SIZE(wanted); k++)
			assert_int_equal(word(&r), wanted[k]);
	}
	assert_ptr_equal(r.p, r.end);
	exporter_free(e);
	sink_free(sink);
}

/* An index of more than 24 bits: everything is expanded. */
static void test_expanded(void **state)
{
	struct exporter_config c = config();
	struct export_interface big = {UINT32_C(1) << 24, "eth0", "eth0"};
	struct sink *sink = sink_new(1400, false);
	struct packet_sample s = sample(0);
	struct interface_counters n = counters(big.ifindex);
	struct clock_time now = sink_time(0);
	struct exporter *e;
	struct reader r;

	(void)state;
	c.interfaces = &big;
	c.n_interfaces = 1;
	e = sink_exporter(c, 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	s.source = s.input = big.ifindex;
	exporter_sample(e, &s, &now);
	exporter_counters(e, &n, &now);
	exporter_finish(e, &now);
	assert_int_equal(open_datagram(&r, &sink->messages[0], 0), 2);
	assert_int_equal(word(&r), 3);
	r.p += word(&r) & 0;
	assert_int_equal(word(&r), 1);
	assert_int_equal(word(&r), 0);
	assert_int_equal(word(&r), big.ifindex);
	r.p += 12;
	assert_int_equal(word(&r), 0);
	assert_int_equal(word(&r), big.ifindex);
	assert_int_equal(word(&r), 0);
	assert_int_equal(word(&r), 0);
	exporter_free(e);
	sink_free(sink);
}

/* Flow records do not reach it, samples reach nobody else, and each is accounted for by itself. */
static void test_beside_flows(void **state)
{
	struct sink *sinks[2] = {sink_new(1400, false), sink_new(1400, false)};
	struct exporter *e =
		sink_exporter(config(), 2, (enum export_format[]){FORMAT_SFLOW, FORMAT_IPFIX}, sinks);
	struct clock_time now = sink_time(0);
	struct collector_stats stats;
	struct exporter_stats all;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		struct flow_record record = sink_record(i, now.realtime_ns);
		struct packet_sample s = sample(i);

		exporter_record(e, &record, &now);
		exporter_sample(e, &s, &now);
	}
	exporter_finish(e, &now);
	exporter_get_stats(e, &all);
	assert_int_equal(all.taken.records, 50);
	assert_int_equal(all.exported, 50);
	assert_int_equal(all.unwanted, 0);
	exporter_get_collector_stats(e, 0, &stats);
	assert_int_equal(stats.samples, 50);
	assert_int_equal(stats.taken.records + stats.sent.records, 0);
	exporter_get_collector_stats(e, 1, &stats);
	assert_int_equal(stats.samples, 0);
	assert_int_equal(stats.sent.records, 50);
	exporter_free(e);
	sink_free(sinks[0]);
	sink_free(sinks[1]);
}

static void test_no_flow_collector(void **state)
{
	struct sink *sink = sink_new(1400, false);
	struct exporter *e = sink_exporter(config(), 1, (enum export_format[]){FORMAT_SFLOW}, &sink);
	struct clock_time now = sink_time(0);
	struct flow_record record = sink_record(1, now.realtime_ns);
	struct packet_sample s = sample(1);
	struct collector_stats stats;
	struct exporter_stats all;

	(void)state;
	exporter_record(e, &record, &now);
	sink->lose = true;
	exporter_sample(e, &s, &now);
	exporter_finish(e, &now);
	exporter_get_stats(e, &all);
	assert_int_equal(all.unwanted, 1);
	assert_int_equal(all.exported + all.not_sent.records, 0);
	exporter_get_collector_stats(e, 0, &stats);
	assert_int_equal(stats.samples, 0);
	assert_int_equal(stats.lost_samples, 1);
	exporter_free(e);
	sink_free(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_waits_no_second),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_expanded),
		cmocka_unit_test(test_beside_flows),
		cmocka_unit_test(test_no_flow_collector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
