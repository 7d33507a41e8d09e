/*
 * Messages that wait for a session and get their number and time when they enter it: export/netflow9.c and
 * export/ipfix.c behind a transport that is spooled.
 */
#include "reader.h"
#include "sink.h"

static struct sink *sink;
static struct exporter *e;
static struct reader reader;
static struct transport_ops spooled_ops;
static struct {
	uint8_t data[2000];
	size_t size;
	unsigned templates;
} preamble;

static int spooled_announce(struct transport *t, const uint8_t *message, size_t size, unsigned templates)
{
	(void)t;
	assert_in_range(size, 1, sizeof(preamble.data));
	memcpy(preamble.data, message, size);
	preamble.size = size;
	preamble.templates = templates;
	return 0;
}

static void open_spooled(enum export_format format)
{
	spooled_ops = sink_ops;
	spooled_ops.announce = spooled_announce;
	sink = sink_new(1472, true);
	sink->t.ops = &spooled_ops;
	sink->t.limits.spooled = true;
	e = sink_exporter(sink_config(), 1, &format, &sink);
}

/* What a transport does when a message enters the session; its sequence number must be this one. */
static void enter(const uint8_t *message, size_t size, uint32_t records, uint32_t sequence)
{
	uint8_t *copy = malloc(size);

	assert_non_null(copy);
	memcpy(copy, message, size);
	sink->t.restamp(sink->t.context, copy, size, records);
	reader_message(&reader, copy, size);
	assert_int_equal(reader.sequence, sequence);
	assert_int_equal(reader.domain, 7);
	free(copy);
}

/* One session: templates, then everything that was committed until now; returns the flow records. */
static unsigned session(bool v9, uint64_t now_s)
{
	uint32_t sequence = v9;
	unsigned flows = 0;

	reader = (struct reader){.n_templates = 0};
	enter(preamble.data, preamble.size, 0, 0);
	assert_int_equal(reader.template_records, preamble.templates);
	assert_int_equal(reader.seconds, now_s);
	for (unsigned i = 0; i < sink->n; i++) {
		const struct sink_message *m = &sink->messages[i];
		uint32_t seconds = reader.seconds;

		enter(m->data, m->size, m->load.flows.records + m->load.options, sequence);
		assert_int_equal(reader.template_records, 0);
		assert_true(m->load.flows.records == 0 ||
			    m->load.options == 0); /* flow records are in messages of their own */
		assert_int_equal(reader.flow_records, m->load.flows.records);
		assert_true(v9 || reader.seconds >= seconds);
		sequence += v9 ? 1 : m->load.flows.records + m->load.options;
		flows += reader.flow_records;
	}
	return flows;
}

static void test_sessions(void **state)
{
	static const enum export_format formats[] = {FORMAT_NETFLOW9, FORMAT_IPFIX};

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct clock_time now = sink_time(0);
		uint8_t withdrawal[TRANSPORT_WITHDRAWAL];
		size_t size;

		open_spooled(formats[f]);
		exporter_tick(e, &now);
		for (unsigned i = 0; i < 200; i++) {
			struct flow_record r = sink_record(i, now.realtime_ns - NS_PER_SEC);

			exporter_record(e, &r, &now);
		}
		now = sink_time(2 * NS_PER_SEC);
		exporter_tick(e, &now);
		assert_int_equal(session(f == 0, SINK_EPOCH + 2), 200);
		sink->t.session = 2; /* the same again, counted from 0 */
		now = sink_time(5 * NS_PER_SEC);
		exporter_tick(e, &now);
		assert_int_equal(session(f == 0, SINK_EPOCH + 5), 200);
		size = sink->t.withdraw(sink->t.context, withdrawal);
		assert_int_equal(size,
				 f == 0 ? 0 : 32); /* v9 knows none; RFC 7011 §8.1: all, of both kinds */
		if (size) {
			assert_int_equal(reader_uint(withdrawal + 16, 8), UINT64_C(0x0002000800020000));
			assert_int_equal(reader_uint(withdrawal + 24, 8), UINT64_C(0x0003000800030000));
		}
		exporter_finish(e, &now);
		exporter_free(e);
		sink_free(sink);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests_name("spooled", tests, NULL, NULL);
}
