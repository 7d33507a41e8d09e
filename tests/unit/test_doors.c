/*
 * A format that opens all three doors of an exporter: flow records, packet samples and counters; and one that
 * has only the first.  export/exporter.c, export/message.c, export/format.h.
 */
#include "sink.h"

/* A message: a line for what it begins with, then a letter and a number for each thing that came. */
static void doors_header(struct collector *c)
{
	memcpy(c->message.wire.start, "doors\n", 6);
}

static void doors_put(struct collector *c, char what, uint32_t number)
{
	struct message *m = &c->message;

	for (unsigned tries = 0; tries < 2; tries++) {
		uint8_t *mark;

		if (!m->open) {
			c->session = c->transport->session;
			message_begin(c, 6, 0);
		}
		mark = wire_mark(&m->wire);
		wire_put_u8(&m->wire, (uint8_t)what);
		wire_put_u32(&m->wire, number);
		if (!wire_overflowed(&m->wire))
			return;
		wire_rewind(&m->wire, mark);
		message_finish(c);
	}
	fail();
}

static void doors_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	doors_put(c, 'R', (uint32_t)r->id);
	message_count(&c->message, r->packets, r->octets, now->monotonic_ns);
}

static void doors_sample(struct collector *c, const struct packet_sample *s)
{
	doors_put(c, 'S', s->frame_len);
	c->message.load.samples++;
}

static void doors_counters(struct collector *c, const struct interface_counters *n)
{
	doors_put(c, 'C', n->index);
	c->message.load.samples++;
}

static const struct format_ops doors_ops = {
	.name = "doors",
	.record = doors_record,
	.sample = doors_sample,
	.counters = doors_counters,
	.header = doors_header,
};
static const struct format_ops records_only_ops = {
	.name = "records only",
	.record = doors_record,
	.header = doors_header,
};
static const struct format_ops *const formats[FORMAT_COUNT] = {
	[FORMAT_IPFIX] = &doors_ops,
	[FORMAT_NETFLOW9] = &records_only_ops,
};

static unsigned count(const struct sink *s, char what)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		assert_memory_equal(s->messages[i].data, "doors\n", 6);
		assert_int_equal((s->messages[i].size - 6) % 5, 0);
		for (size_t at = 6; at < s->messages[i].size; at += 5)
			n += s->messages[i].data[at] == (uint8_t)what;
	}
	return n;
}

enum { EACH = 300 };

static void run(struct exporter *e)
{
	struct clock_time now = sink_time(0);

	for (unsigned i = 0; i < EACH; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns);
		struct packet_sample s = {.frame_len = i};
		struct interface_counters n = {.index = i};

		exporter_record(e, &r, &now);
		exporter_sample(e, &s, &now);
		exporter_counters(e, &n, &now);
	}
	exporter_finish(e, &now);
}

static void test_all_doors(void **state)
{
	struct sink *sinks[] = {sink_new(100, false), sink_new(100, false)};
	struct exporter_config config = sink_config();
	struct collector_stats all, records;
	struct exporter *e;

	(void)state;
	config.formats = formats;
	e = sink_exporter(config, 2, (enum export_format[]){FORMAT_IPFIX, FORMAT_NETFLOW9}, sinks);
	run(e);
	assert_true(sinks[0]->n > 1);
	assert_int_equal(count(sinks[0], 'R'), EACH);
	assert_int_equal(count(sinks[0], 'S'), EACH);
	assert_int_equal(count(sinks[0], 'C'), EACH);
	assert_int_equal(count(sinks[1], 'R'), EACH);
	assert_int_equal(count(sinks[1], 'S') + count(sinks[1], 'C'), 0);
	exporter_get_collector_stats(e, 0, &all);
	exporter_get_collector_stats(e, 1, &records);
	assert_int_equal(all.sent.records, EACH);
	assert_int_equal(all.samples, 2 * EACH);
	assert_int_equal(records.sent.records, EACH);
	assert_int_equal(records.samples, 0);
	exporter_free(e);
	sink_free(sinks[0]);
	sink_free(sinks[1]);
}

/* What is lost by one door is counted as what came in by it. */
static void test_losses(void **state)
{
	struct sink *sink = sink_new(100, false);
	struct exporter_config config = sink_config();
	struct exporter_stats es;
	struct collector_stats s;
	struct exporter *e;

	(void)state;
	config.formats = formats;
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	sink->lose = true;
	run(e);
	exporter_get_collector_stats(e, 0, &s);
	exporter_get_stats(e, &es);
	assert_int_equal(s.lost.records, EACH);
	assert_int_equal(s.lost_samples, 2 * EACH);
	assert_int_equal(s.sent.records + s.samples, 0);
	assert_int_equal(es.not_sent.records, EACH);
	exporter_free(e);
	sink_free(sink);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_doors), cmocka_unit_test(test_losses)};

	return cmocka_run_group_tests_name("doors", tests, NULL, NULL);
}
