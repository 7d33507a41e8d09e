/*
 * NetFlow v9 and IPFIX streams: export/templated.c, export/templated_tell.c, export/netflow9.c,
 * export/ipfix.c, export/message.c.
 *
 * The reader fails where data come before their template, sets do not tile, or v9's Count is wrong.
 */
#include "reader.h"
#include "sink.h"

static struct sink *sink;
static struct exporter *e;
static struct reader reader;
static const enum export_format both[] = {FORMAT_NETFLOW9, FORMAT_IPFIX};

static void open_exporter(enum export_format format, struct exporter_config config, size_t max_message,
			  bool reliable)
{
	sink = sink_new(max_message, reliable);
	e = sink_exporter(config, 1, &format, &sink);
	reader = (struct reader){.n_templates = 0};
}

static void close_exporter(void)
{
	exporter_free(e);
	sink_free(sink);
}

static void put_records(unsigned from, unsigned n, const struct clock_time *now)
{
	for (unsigned i = from; i < from + n; i++) {
		struct flow_record r = sink_record(i, now->realtime_ns - NS_PER_SEC);

		exporter_record(e, &r, now);
	}
}

/* Reads all messages in order and checks sequence numbers; returns flow records.  Lost messages are not read.
 */
static unsigned read_all(bool all_sent)
{
	unsigned flows = 0;
	uint32_t sequence = 0;

	for (unsigned i = 0; i < sink->n; i++) {
		if (!sink->messages[i].sent)
			continue;
		reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		assert_int_equal(reader.domain, 7);
		if (all_sent)
			assert_int_equal(reader.sequence, sequence);
		sequence = reader.sequence +
			   (reader.version == 9 ? 1 : reader.option_records + reader.flow_records);
		flows += reader.flow_records;
	}
	return flows;
}

static void test_stream(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (size_t size = 452; size <= 65535; size = size < 1472 ? size + 255 : size * 44) {
			struct clock_time now = sink_time(0);
			struct collector_stats s;

			open_exporter(both[f], sink_config(), size, false);
			put_records(0, 1000, &now);
			exporter_finish(e, &now);
			assert_int_equal(read_all(true), 1000);
			exporter_get_collector_stats(e, 0, &s);
			assert_int_equal(s.sent.records, 1000);
			assert_int_equal(s.messages, sink->n);
			assert_int_equal(s.saturated, 0);
			close_exporter();
		}
}

/* TM-3: two messages with every template before its first data; TM-10: flow keys stand with the templates. */
static void test_start(void **state)
{
	struct clock_time now = sink_time(0);

	(void)state;
	open_exporter(FORMAT_IPFIX, sink_config(), 1472, false);
	put_records(0, 100, &now);
	exporter_finish(e, &now);
	reader_message(&reader, sink->messages[0].data, sink->messages[0].size);
	assert_int_equal(reader.template_records, 10);
	assert_int_equal(reader.option_records + reader.flow_records, 0);
	reader_message(&reader, sink->messages[1].data, sink->messages[1].size);
	assert_int_equal(reader.template_records, 10);
	assert_int_equal(reader.flow_records, 0);
	for (unsigned i = 0; i < reader.n_templates; i++)
		assert_int_equal(reader.templates[i].seen, 2);
	assert_int_equal(reader.option_records, 2 + 1 + 1 + 1 + 2);
	close_exporter();
}

static unsigned announcements(uint16_t id, unsigned positions[], unsigned most)
{
	unsigned n = 0;

	reader = (struct reader){.n_templates = 0};
	for (unsigned i = 0; i < sink->n; i++) {
		struct reader_template *t;

		reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		t = reader_find(&reader, id);
		if (t && t->message == reader.messages && n < most)
			positions[n++] = i;
	}
	return n;
}

static unsigned messages_of_flows(unsigned from, unsigned to)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++) {
		reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		n += reader.flow_records > 0;
	}
	return n;
}

/* By count: never more than N messages of flow records from one announcement to the next. */
static void test_refresh_by_count(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (unsigned n = 1; n <= 21; n += 5) {
			struct exporter_config config = sink_config();
			struct clock_time now = sink_time(0);
			unsigned at[4096], count;

			config.template_messages = n;
			open_exporter(both[f], config, 1472, false);
			put_records(0, 3000, &now);
			exporter_finish(e, &now);
			count = announcements(256, at, ARRAY_SIZE(at));
			assert_true(count > 3000 / 19 / n);
			for (unsigned i = 1; i < count; i++)
				assert_in_range(messages_of_flows(at[i - 1], at[i]), i > 1, n);
			close_exporter();
		}
}

/* By time, with nothing else to send; and statistics with it. */
static void test_refresh_when_idle(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		unsigned at[64], count;

		open_exporter(both[f], sink_config(), 1472, false);
		for (uint64_t s = 0; s < 3600; s++) {
			struct clock_time now = sink_time(s * NS_PER_SEC / 2);

			exporter_tick(e, &now);
		}
		count = announcements(256, at, ARRAY_SIZE(at));
		assert_int_equal(count, 2 + 29);
		close_exporter();
	}
}

/* RFC 7011 §8.1: once a session; a new session begins anew. */
static void test_reliable(void **state)
{
	struct clock_time now = sink_time(0);
	unsigned at[64];

	(void)state;
	open_exporter(FORMAT_IPFIX, sink_config(), 65535, true);
	for (uint64_t s = 0; s < 600; s++) {
		now = sink_time(s * NS_PER_SEC);
		put_records((unsigned)s * 100, 100, &now);
		exporter_tick(e, &now);
	}
	assert_int_equal(announcements(256, at, 64), 1);
	assert_int_equal(at[0], 0);
	/* the connection is lost and made again */
	sink->t.session++;
	for (unsigned i = 0; i < sink->n; i++)
		free(sink->messages[i].data);
	sink->n = sink->resolved = 0;
	exporter_tick(e, &now);
	put_records(0, 100, &now);
	exporter_finish(e, &now);
	reader = (struct reader){.n_templates = 0};
	assert_int_equal(read_all(true), 100); /* from 0, templates first */
	close_exporter();
}

static void test_sequence_wrap(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct clock_time now = sink_time(0);
		uint32_t expected = UINT32_MAX - 20;
		bool wrapped = false;

		open_exporter(both[f], sink_config(), 1472, false);
		exporter_tick(e, &now);
		message_flush(&e->collectors[0]);
		for (unsigned i = 0; i < sink->n; i++)
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		unsigned begun = sink->n;

		e->collectors[0].sequence = expected;
		put_records(0, 2000, &now);
		exporter_finish(e, &now);
		for (unsigned i = begun; i < sink->n; i++) {
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
			assert_int_equal(reader.sequence, expected);
			expected += f ? reader.option_records + reader.flow_records : 1;
			wrapped |= expected < 1000;
		}
		assert_true(wrapped);
		close_exporter();
	}
}

/* What is lost shows: IPFIX and v9 sequence numbers go on (IP-6). */
static void test_lost_messages(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (unsigned how = 0; how < 2; how++) {
			struct clock_time now = sink_time(0);
			struct collector_stats s;
			unsigned flows;

			open_exporter(both[f], sink_config(), 1472, false);
			put_records(0, 500, &now);
			exporter_tick(e, &now);
			*(how ? &sink->refuse : &sink->lose) = true;
			put_records(500, 500, &now);
			message_flush(&e->collectors[0]);
			sink->refuse = sink->lose = false;
			put_records(1000, 500, &now);
			exporter_finish(e, &now);
			flows = read_all(false);
			exporter_get_collector_stats(e, 0, &s);
			assert_int_equal(s.sent.records, flows);
			assert_int_equal(s.sent.records + s.lost.records, 1500);
			assert_in_range(s.lost.records, 480, 530);
			assert_true(s.lost.packets > 0 && s.lost.octets > s.lost.packets);
			if (both[f] == FORMAT_IPFIX) /* the next number is what was made, sent or not */
				assert_true(e->collectors[0].sequence >= 1500);
			close_exporter();
		}
}

struct statistics {
	uint64_t messages, octets, flows;
	uint64_t seen, not_sent, ignored, dropped;
};

static void on_statistics(struct reader *r, const struct reader_record *record)
{
	struct statistics *s = r->context;

	if (reader_value(record, 41) >= 0) { /* RFC 7011 §4.1: before this message */
		assert_int_equal(reader_value(record, 41), s->messages);
		assert_int_equal(reader_value(record, 40), s->octets);
		assert_int_equal(reader_value(record, 42), s->flows);
		assert_int_equal(reader_value(record, 149), 7);
		s->seen++;
	}
	if (reader_value(record, 164) >= 0) {
		s->ignored = (uint64_t)reader_value(record, 164);
		s->dropped = (uint64_t)reader_value(record, 135);
	}
	if (reader_value(record, 166) >= 0) {
		s->not_sent = (uint64_t)reader_value(record, 166);
		assert_true((s->not_sent == 0) == (reader_value(record, 323) == 0));
	}
}

static void test_statistics(void **state)
{
	struct exporter_config config = sink_config();
	struct statistics s = {.messages = 0};
	struct collector_stats cs;
	struct export_process_facts facts = {.ignored_packets = 11,
					     .ignored_octets = 1100,
					     .first_ignored_ns = 5,
					     .last_ignored_ns = 6,
					     .dropped_packets = 3};
	struct clock_time now = sink_time(0);

	(void)state;
	config.stats_ns = 10 * NS_PER_SEC;
	open_exporter(FORMAT_IPFIX, config, 1472, false);
	exporter_set_facts(e, &facts);
	for (uint64_t t = 0; t < 100; t++) {
		now = sink_time(t * NS_PER_SEC);
		sink->lose = t == 50;
		put_records((unsigned)t * 40, 40, &now);
		exporter_tick(e, &now);
	}
	facts.lost.records = 5; /* in front of the exporter */
	facts.lost.packets = 50;
	facts.lost.octets = 5000;
	exporter_set_facts(e, &facts);
	exporter_finish(e, &now);
	reader.record = on_statistics;
	reader.context = &s;
	for (unsigned i = 0; i < sink->n; i++) {
		if (!sink->messages[i].sent)
			continue;
		reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		s.messages++;
		s.octets += sink->messages[i].size;
		s.flows += reader.flow_records;
	}
	exporter_get_collector_stats(e, 0, &cs);
	assert_true(s.seen >= 10);
	assert_int_equal(s.ignored, 11);
	assert_int_equal(s.dropped, 3);
	assert_true(cs.lost.records > 0);
	assert_int_equal(s.not_sent, cs.lost.records + 5);
	close_exporter();
}

/* Offline nothing leaves before the first record, and Export Time follows the records. */
static void test_offline(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct exporter_config config = sink_config();
		struct clock_time now = sink_time(NS_PER_SEC * 1000000);
		struct flow_record r;

		config.offline = true;
		config.has_direction = false;
		open_exporter(both[f], config, 1472, false);
		for (unsigned i = 0; i < 50; i++)
			exporter_tick(e, &now);
		assert_int_equal(sink->n, 0);
		r = sink_record(1, UINT64_C(1000000000) * NS_PER_SEC + NS_PER_MSEC);
		exporter_record(e, &r, &now);
		exporter_finish(e, &now);
		for (unsigned i = 0; i < sink->n; i++) {
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
			assert_int_equal(reader.seconds, 1000000001);
		}
		close_exporter();
		/* no record at all: what is announced is all there is */
		open_exporter(both[f], config, 1472, false);
		exporter_tick(e, &now);
		exporter_finish(e, &now);
		assert_int_equal(read_all(true), 0);
		assert_true(reader.n_templates >= 4);
		close_exporter();
	}
}

/* A partly filled message leaves after flush_ns; SIGHUP announces at once. */
static void test_flush_and_refresh(void **state)
{
	struct clock_time now = sink_time(0), later = sink_time(NS_PER_SEC);
	unsigned before;

	(void)state;
	open_exporter(FORMAT_IPFIX, sink_config(), 1472, false);
	exporter_tick(e, &now);
	before = sink->n;
	put_records(0, 3, &now);
	exporter_tick(e, &now);
	assert_int_equal(sink->n, before);
	exporter_tick(e, &later);
	assert_int_equal(sink->n, before + 1);
	exporter_refresh(e, &later);
	assert_true(sink->n > before + 1);
	reader_message(&reader, sink->messages[before + 1].data, sink->messages[before + 1].size);
	assert_int_equal(reader.template_records, 10);
	close_exporter();
}

/* Many interfaces: the table goes over several messages; names are UTF-8. */
static void test_interfaces(void **state)
{
	static struct export_interface many[300];
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	unsigned options = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		many[i] = (struct export_interface){
			.ifindex = i + 1, .name = "eth\xff", .description = "an interface"};
	}
	many[7].ifindex = 0; /* unknown: not announced */
	config.interfaces = many;
	config.n_interfaces = 300;
	for (unsigned f = 0; f < 2; f++) {
		options = 0;
		open_exporter(both[f], config, 484, false);
		exporter_tick(e, &now);
		exporter_finish(e, &now);
		for (unsigned i = 0; i < sink->n; i++) {
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
			options += reader.option_records;
		}
		assert_in_range(options, 299 + 2, 299 + 30);
		close_exporter();
	}
}

/* Other interfaces: told at once, over a reliable transport too; what is gone is told no more. */
static void test_interfaces_change(void **state)
{
	static const struct export_interface now[] = {{.ifindex = 3, .name = "eth3", .description = "eth3"},
						      {.ifindex = 1, .name = "eth0", .gone = true}};

	(void)state;
	for (unsigned f = 0; f < 4; f++) {
		struct exporter_config config = sink_config();
		struct clock_time time = sink_time(0);
		unsigned begun, options = 0;

		config.template_ns = 3600 * NS_PER_SEC;
		config.stats_ns = 3600 * NS_PER_SEC;
		open_exporter(both[f % 2], config, 1472, f >= 2);
		exporter_tick(e, &time);
		begun = sink->n;
		assert_int_equal(exporter_set_interfaces(e, now, 2), 0);
		time.monotonic_ns += NS_PER_SEC / 50;
		exporter_tick(e, &time);
		for (unsigned i = 0; i < sink->n; i++) {
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
			if (i >= begun)
				options += reader.option_records;
		}
		/* sampling, one interface; with the templates flow keys and the selector, v9 the exporter */
		assert_int_equal(options, f == 0 ? 3 : f == 1 ? 2 + 1 + 1 + 1 + 1 : 2);
		close_exporter();
	}
}

/* The wall clock steps: a new line, and templates with it (V9-11). */
static void test_clock_step(void **state)
{
	struct clock_time now = sink_time(0);
	unsigned at[16];
	uint32_t uptime = 0;

	(void)state;
	open_exporter(FORMAT_NETFLOW9, sink_config(), 1472, false);
	put_records(0, 10, &now);
	exporter_tick(e, &now);
	now.realtime_ns -= 3600 * NS_PER_SEC;
	now.monotonic_ns += NS_PER_SEC;
	put_records(10, 10, &now);
	exporter_finish(e, &now);
	assert_int_equal(announcements(256, at, 16), 3);
	reader = (struct reader){.n_templates = 0};
	for (unsigned i = 0; i < sink->n; i++) {
		reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		assert_true((int32_t)(reader.uptime - uptime) >= 0);
		uptime = reader.uptime;
	}
	assert_int_equal(reader.seconds, SINK_EPOCH - 3600);
	close_exporter();
}

/* A session ends while a message is open and the clock steps: its records are not for the next session. */
static void test_step_between_sessions(void **state)
{
	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		struct clock_time now = sink_time(0);
		struct collector_stats s;
		unsigned before;

		open_exporter(both[f], sink_config(), 1472, false);
		put_records(0, 1, &now);
		before = sink->n;
		sink->t.session++;
		now.realtime_ns += 3600 * NS_PER_SEC;
		exporter_tick(e, &now);
		exporter_finish(e, &now);
		for (unsigned i = before; i < sink->n; i++)
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
		assert_true(sink->n > before);
		exporter_get_collector_stats(e, 0, &s);
		assert_int_equal(s.sent.records, 0);
		assert_int_equal(s.lost.records, 1);
		close_exporter();
	}
}

/* Variable lengths and tiny records: sets and padding stay right. */
static void test_odd_records(void **state)
{
	static const char *const lists[] = {"protocolIdentifier", "4,60", "4,60,136", "82,4",
					    "4,5,52,53,60,7",	  "27,82"};

	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (unsigned i = 0; i < ARRAY_SIZE(lists); i++) {
			struct exporter_config config = sink_config();
			struct clock_time now = sink_time(0);

			config.fields = lists[i];
			open_exporter(both[f], config, 484, false);
			put_records(0, 500, &now);
			exporter_finish(e, &now);
			assert_int_equal(read_all(true), 500);
			close_exporter();
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_refresh_by_count),
		cmocka_unit_test(test_refresh_when_idle),
		cmocka_unit_test(test_reliable),
		cmocka_unit_test(test_sequence_wrap),
		cmocka_unit_test(test_lost_messages),
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_offline),
		cmocka_unit_test(test_flush_and_refresh),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_interfaces_change),
		cmocka_unit_test(test_clock_step),
		cmocka_unit_test(test_odd_records),
		cmocka_unit_test(test_step_between_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
