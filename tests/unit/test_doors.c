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
	message_count(c, r->packets, r->octets, now->monotonic_ns);
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

/* ---- records of sliced flows */

static struct record_layout slice_layout;
static struct totals told; /* by messages, whatever becomes of them */
static uint64_t told_frames;

static void slices_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	const struct block_frames *f = flow_record_block(&slice_layout, r, BLOCK_FRAMES);

	doors_put(c, 'R', (uint32_t)r->packets);
	message_count(c, r->packets, r->octets, now->monotonic_ns);
	totals_count(&told, r->packets, r->octets);
	told_frames += f->octets;
}

static bool slices_fits(const struct flow_record *r)
{
	return r->key.ip_version == 4;
}

static const struct format_ops slices_ops = {
	.name = "slices", .record = slices_record, .fits = slices_fits, .header = doors_header};
static const struct format_ops *const slice_formats[FORMAT_COUNT] = {[FORMAT_IPFIX] = &slices_ops};

/* Of records with these steps: three packets, of 1000 octets the first, 100 the others; frames are longer
 * by 14. */
static void export_slices(struct exporter *e, const uint8_t *steps, unsigned n, uint8_t ip_version)
{
	static _Alignas(64) uint8_t octets[512];
	struct flow_record *r = (void *)octets;
	struct clock_time now = sink_time(0);

	assert_in_range(slice_layout.record_size, 1, sizeof(octets));
	for (unsigned i = 0; i < n; i++) {
		struct block_slice *slice = (void *)(octets + slice_layout.record_at[BLOCK_SLICE]);
		struct block_frames *frames = (void *)(octets + slice_layout.record_at[BLOCK_FRAMES]);

		*r = sink_record(i, now.realtime_ns);
		r->key.ip_version = ip_version;
		r->packets = 3;
		r->octets = 1200;
		*slice = (struct block_slice){1000, 1014, steps[i]};
		*frames = (struct block_frames){1242, 114, 1014};
		exporter_record(e, r, &now);
		assert_int_equal(r->packets, 3); /* the ring's slot stays as it is */
	}
}

/*
 * A flow that came in by chance is told of with what its first packet stands for; the ledger has what was
 * metered, and how much was added to what was sent: to the digit, whatever gets lost or does not fit.
 */
static void test_slices(void **state)
{
	static const uint8_t steps[] = {0, 4, 1, 0, 10}, one[] = {3};
	const uint64_t missed = 15 + 1 + 1023;
	struct sink *sink = sink_new(100, false);
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	struct collector_stats s;
	struct exporter_stats es;
	struct exporter *e;

	(void)state;
	record_layout_init(&slice_layout, 1u << BLOCK_LINK | 1u << BLOCK_FRAMES | 1u << BLOCK_SLICE, 0);
	config.layout = slice_layout;
	config.formats = slice_formats;
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	export_slices(e, steps, 5, 4);
	assert_int_equal(told.packets, 15 + missed);
	assert_int_equal(told.octets, 5 * 1200 + missed * 1000);
	assert_int_equal(told_frames, 5 * 1242 + missed * 1014);
	export_slices(e, one, 1, 6); /* does not fit */
	exporter_refresh(e, &now);   /* sends it */
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.sent.packets, 15);
	assert_int_equal(s.sent.octets, 6000);
	assert_int_equal(s.sent.packets + s.estimated.packets, told.packets);
	assert_int_equal(s.sent.octets + s.estimated.octets, told.octets);
	assert_int_equal(s.estimated.records, 3);
	assert_int_equal(s.unfit.packets, 3);
	assert_int_equal(s.unfit.octets, 1200);
	sink->lose = true;
	export_slices(e, one, 1, 4);
	exporter_finish(e, &now);
	exporter_get_collector_stats(e, 0, &s);
	exporter_get_stats(e, &es);
	assert_int_equal(s.lost.packets, 3);
	assert_int_equal(s.estimated.packets, missed); /* as before: nobody got that one */
	assert_int_equal(es.estimated.packets, missed);
	assert_int_equal(es.estimated.octets, missed * 1000);
	assert_int_equal(es.taken.packets, 21);
	assert_int_equal(es.not_sent.packets, 6);
	exporter_free(e);
	sink_free(sink);
}

/* What was sent and did not arrive takes its estimate with it. */
static void test_slices_taken_back(void **state)
{
	static const uint8_t steps[] = {4, 0};
	struct sink *sink = sink_new(100, false);
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	struct collector_stats s;
	struct exporter *e;

	(void)state;
	config.layout = slice_layout;
	config.formats = slice_formats;
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	export_slices(e, steps, 2, 4);
	exporter_refresh(e, &now);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.estimated.packets, 15);
	assert_int_equal(s.sent.packets, 6);
	transport_revoke(&sink->t, &sink->messages[0].load, sink->messages[0].size);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.estimated.packets, 0);
	assert_int_equal(s.estimated.octets, 0);
	assert_int_equal(s.sent.packets, 0);
	assert_int_equal(s.lost.packets, 6);
	exporter_free(e);
	sink_free(sink);
}

/* Of several collectors the one that got most counts; those that share a record are one. */
static void test_slices_of_several(void **state)
{
	static const uint8_t steps[] = {4, 4, 4, 4, 4, 4, 4, 4};
	enum export_format both[] = {FORMAT_IPFIX, FORMAT_IPFIX};

	(void)state;
	for (unsigned shares = 0; shares < 2; shares++) {
		struct sink *sinks[] = {sink_new(100, false), sink_new(100, false)};
		struct collector_stats c[2];
		struct exporter_config config = sink_config();
		struct clock_time now = sink_time(0);
		struct exporter_stats es;
		struct exporter *e;

		config.layout = slice_layout;
		config.formats = slice_formats;
		e = sink_exporter(config, 2, both, sinks);
		sinks[0]->lose = true;
		export_slices(e, steps, 8, 4);
		exporter_finish(e, &now);
		exporter_get_stats(e, &es);
		for (unsigned i = 0; i < 2; i++) {
			exporter_get_collector_stats(e, i, &c[i]);
			c[i].shares = shares;
		}
		assert_int_equal(c[0].estimated.packets, 0);
		assert_int_equal(c[1].estimated.packets, 8 * 15);
		assert_int_equal(es.estimated.packets, 8 * 15);
		c[0].estimated = (struct totals){1, 15, 15000};
		assert_int_equal(collectors_estimated(c, 2).packets, shares ? 9 * 15 : 8 * 15);
		exporter_free(e);
		sink_free(sinks[0]);
		sink_free(sinks[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_doors), cmocka_unit_test(test_losses),
					   cmocka_unit_test(test_slices),
					   cmocka_unit_test(test_slices_taken_back),
					   cmocka_unit_test(test_slices_of_several)};

	return cmocka_run_group_tests_name("doors", tests, NULL, NULL);
}
