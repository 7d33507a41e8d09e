/*
 * The exporter's ledger and its collectors: export/exporter.c, export/collector.c, export/collector_ledger.c,
 * export/json.c, export/text.c; and base/utf8.c, by names of interfaces.
 *
 * Conservation: whatever transports lose, refuse or delay, records = sent + lost + unfit + pending for each
 * collector, the messages that were sent have those that count as sent, and what is "not sent" altogether is
 * what the collector that lost least has not.
 */
#include <errno.h>
#include <stdio.h>

#include "reader.h"
#include "sink.h"

static void check_identity(struct exporter *e)
{
	struct exporter_stats es;

	exporter_get_stats(e, &es);
	assert_int_equal(es.taken.records, es.exported + es.not_sent.records);
	for (unsigned i = 0; i < exporter_collectors(e); i++) {
		struct collector_stats s;

		exporter_get_collector_stats(e, i, &s);
		assert_true(s.pending.records <= es.taken.records);
		assert_int_equal(es.taken.records,
				 s.sent.records + s.lost.records + s.unfit.records + s.pending.records);
		if (e->collectors[i].transport)
			assert_int_equal(s.pending.records,
					 e->collectors[i].waiting.records + s.open.records);
	}
}

/* What was read of each collector is what it says that it was sent; the least that one was not is not sent.
 */
static void check_sums(struct exporter *e, const uint64_t *n_got, unsigned total)
{
	struct totals least = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
	struct exporter_stats es;

	for (unsigned i = 0; i < exporter_collectors(e); i++) {
		struct collector_stats s;

		exporter_get_collector_stats(e, i, &s);
		assert_int_equal(s.pending.records, 0);
		if (e->collectors[i].config.format != FORMAT_NETFLOW5) {
			assert_int_equal(s.sent.records, n_got[i]);
			assert_int_equal(s.lost.records, total - n_got[i]);
		}
		totals_add(&s.lost, &s.unfit);
		totals_least(&least, &s.lost);
	}
	exporter_get_stats(e, &es);
	assert_int_equal(es.not_sent.records, least.records);
	assert_int_equal(es.not_sent.packets, least.packets);
	assert_int_equal(es.not_sent.octets, least.octets);
}

/* Which records each collector's sent messages carry, by flowId. */
static bool got[3][20001];
static uint64_t n_got[3], packets_got[3];
static unsigned reading;

static void on_record(struct reader *r, const struct reader_record *record)
{
	int64_t id = reader_value(record, 148);

	(void)r;
	if (record->template->options)
		return;
	assert_in_range(id, 1, 20000);
	assert_false(got[reading][id]);
	got[reading][id] = true;
	n_got[reading]++;
	packets_got[reading] += (uint64_t)reader_value(record, 2);
}

static void test_conservation(void **state)
{
	static const enum export_format formats[] = {FORMAT_IPFIX, FORMAT_NETFLOW9, FORMAT_NETFLOW5};
	uint64_t seed = 7;

	(void)state;
	for (unsigned round = 0; round < 12; round++) {
		struct exporter_config config = sink_config();
		struct sink *sinks[3];
		struct exporter *e;
		unsigned n = 1 + round % 3, total = 20000;
		uint64_t packets = 0;

		config.fields = "standard,flowId";
		for (unsigned i = 0; i < n; i++)
			sinks[i] = sink_new(1472, false);
		e = sink_exporter(config, n, round < 6 ? formats : formats + (n == 1 ? 2 : 0), sinks);
		for (unsigned i = 0; i < total; i++) {
			struct clock_time now = sink_time(i * NS_PER_MSEC);
			struct flow_record r = sink_record(i, now.realtime_ns);

			if (test_random(&seed) % 50 == 0) {
				struct sink *s = sinks[test_random(&seed) % n];

				s->lose = test_random(&seed) % 3 == 0;
				s->refuse = test_random(&seed) % 4 == 0;
				s->hold = test_random(&seed) % 2 == 0;
			}
			r.octets = r.packets * 100;
			packets += r.packets;
			exporter_record(e, &r, &now);
			if (i % 100 == 0)
				exporter_tick(e, &now);
			if (i % 997 == 0)
				check_identity(e);
		}
		exporter_finish(e, &(struct clock_time){.realtime_ns = SINK_EPOCH * NS_PER_SEC * 2,
							.monotonic_ns = 1});
		check_identity(e);
		memset(got, 0, sizeof(got));
		memset(n_got, 0, sizeof(n_got));
		memset(packets_got, 0, sizeof(packets_got));
		for (reading = 0; reading < n; reading++) {
			struct reader reader = {.record = on_record};
			struct collector_stats s;

			if (e->collectors[reading].config.format == FORMAT_NETFLOW5)
				continue; /* cannot be read by flowId */
			for (unsigned i = 0; i < sinks[reading]->n; i++)
				if (sinks[reading]->messages[i].sent)
					reader_message(&reader, sinks[reading]->messages[i].data,
						       sinks[reading]->messages[i].size);
			exporter_get_collector_stats(e, reading, &s);
			assert_int_equal(s.lost.packets, packets - packets_got[reading]);
		}
		check_sums(e, n_got, total);
		exporter_free(e);
		for (unsigned i = 0; i < n; i++)
			sink_free(sinks[i]);
	}
}

/* One collector that tells nothing for very long: nothing breaks, and nothing is lost. */
static void test_held_back(void **state)
{
	struct clock_time now = sink_time(0);
	struct sink *sink = sink_new(65535, false);
	struct exporter_stats es;
	struct exporter *e;

	(void)state;
	e = sink_exporter(sink_config(), 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	sink->hold = true;
	for (unsigned i = 0; i < 70000; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	check_identity(e);
	exporter_get_stats(e, &es);
	assert_int_equal(es.not_sent.records, 0);
	exporter_free(e);
	sink_free(sink);
}

/* No session yet (a name that is being looked up): lost and counted; then a stream from its beginning. */
static void test_late_session(void **state)
{
	static const enum export_format formats[] = {FORMAT_IPFIX, FORMAT_NETFLOW9, FORMAT_NETFLOW5};

	(void)state;
	for (unsigned f = 0; f < 3; f++) {
		struct clock_time now = sink_time(0);
		struct sink *sink = sink_new(1472, false);
		struct collector_stats s;
		struct exporter *e;

		sink->t.session = 0;
		sink->t.state = TRANSPORT_STATE_CONNECTING;
		e = sink_exporter(sink_config(), 1, formats + f, &sink);
		for (unsigned i = 0; i < 300; i++) {
			struct flow_record r = sink_record(3 * i, now.realtime_ns);

			if (i == 150) {
				sink->t.session = 1;
				sink->t.state = TRANSPORT_STATE_UP;
				exporter_tick(e, &now);
			}
			exporter_record(e, &r, &now);
		}
		exporter_finish(e, &now);
		exporter_get_collector_stats(e, 0, &s);
		assert_int_equal(s.lost.records, 150);
		assert_int_equal(s.sent.records, 150);
		assert_int_equal(reader_uint(sink->messages[0].data + (f == 0 ? 8 : f == 1 ? 12 : 16), 4), 0);
		exporter_free(e);
		sink_free(sink);
	}
}

/* Without any collector nothing is sent, and nothing is lost: nobody wants it. */
static void test_no_collector(void **state)
{
	struct clock_time now = sink_time(0);
	struct exporter_config config = sink_config();
	struct flow_record r = sink_record(0, now.realtime_ns);
	struct exporter *e = NULL;
	struct exporter_stats s;
	struct diag diag;

	(void)state;
	assert_int_equal(exporter_new(&e, &config, &diag), 0);
	exporter_record(e, &r, &now);
	exporter_finish(e, &now);
	exporter_get_stats(e, &s);
	assert_int_equal(s.exported, 0);
	assert_int_equal(s.taken.records, 1);
	assert_int_equal(s.unwanted, 1);
	assert_int_equal(s.not_sent.records, 0);
	exporter_free(e);
}

/* Templates that were lost are announced anew before more data. */
static void test_lost_templates(void **state)
{
	struct clock_time now = sink_time(0);
	struct sink *sink = sink_new(1472, false);
	struct reader reader = {.n_templates = 0};
	struct exporter *e;

	(void)state;
	e = sink_exporter(sink_config(), 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	sink->lose = true;
	exporter_tick(e, &now);
	sink->lose = false;
	for (unsigned i = 0; i < 100; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	for (unsigned i = 0; i < sink->n; i++)
		if (sink->messages[i].sent) /* fails at data without template */
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
	assert_true(reader_find(&reader, 256)->seen >= 2);
	exporter_free(e);
	sink_free(sink);
}

/* A collector that refused datagrams and takes them again gets templates at once. */
static void test_errors_clear(void **state)
{
	struct sink *sink = sink_new(1472, false);
	struct exporter *e;
	unsigned before = 0, templates = 0;

	(void)state;
	e = sink_exporter(sink_config(), 1, (enum export_format[]){FORMAT_IPFIX}, &sink);
	for (unsigned i = 0; i < 100; i++) {
		struct clock_time now = sink_time(i * 100 * NS_PER_MSEC);
		struct flow_record r = sink_record(i, now.realtime_ns);

		if (i < 20)
			sink->t.stats.errors++;
		if (i == 20)
			before = sink->n;
		exporter_record(e, &r, &now);
		exporter_tick(e, &now);
	}
	for (unsigned i = before; i < sink->n; i++)
		templates += sink->messages[i].load.templates;
	assert_int_equal(templates, 10);
	exporter_free(e);
	sink_free(sink);
}

/* Who had a session and made no error was reached, whatever was not sent. */
static void test_cause(void **state)
{
	struct collector_stats c = {.reliable = true};

	(void)state;
	assert_string_equal(collector_cause(&c), "not reached");
	c.sessions = 1;
	assert_string_equal(collector_cause(&c), "reached, but not sent everything");
	c.last_error = ECONNRESET;
	assert_string_equal(collector_cause(&c), strerror(ECONNRESET));
	c = (struct collector_stats){.sessions = 1}; /* of UDP: nobody has answered */
	assert_string_equal(collector_cause(&c), "not reached");
}

/* Whoever sleeps until a tick is due misses nothing: before that a tick does nothing, and then it does. */
static void test_due(void **state)
{
	static const enum export_format formats[] = {FORMAT_IPFIX, FORMAT_NETFLOW9, FORMAT_NETFLOW5,
						     FORMAT_JSON};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(formats); f++) {
		struct exporter_config config = sink_config();
		struct sink *sink = sink_new(1472, false);
		bool announces = formats[f] == FORMAT_IPFIX || formats[f] == FORMAT_NETFLOW9;
		struct clock_time now = sink_time(0);
		struct exporter *e;

		config.stats_ns = 7 * NS_PER_SEC;
		e = sink_exporter(config, 1, formats + f, &sink);
		exporter_tick(e, &now);
		for (unsigned i = 0; i < 100; i++) {
			struct flow_record r = sink_record(0, now.realtime_ns);
			uint64_t due_ns, n;

			if (i % 4 == 0)
				exporter_record(e, &r, &now);
			due_ns = exporter_due_ns(e);
			if (due_ns == UINT64_MAX && !announces && i % 4)
				continue;
			assert_in_range(due_ns, now.monotonic_ns + 1, now.monotonic_ns + 7 * NS_PER_SEC);
			now = sink_time(due_ns - NS_PER_SEC - 1);
			n = sink->n;
			exporter_tick(e, &now);
			assert_int_equal(sink->n, n);
			assert_int_equal(exporter_due_ns(e), due_ns);
			now = sink_time(due_ns - NS_PER_SEC);
			exporter_tick(e, &now);
			assert_true(sink->n > n || exporter_due_ns(e) > due_ns);
		}
		sink->hold = true; /* it is not out yet */
		exporter_record(e, &(struct flow_record){.key.ip_version = 4}, &now);
		exporter_refresh(e, &now);
		assert_int_equal(exporter_due_ns(e), 0);
		exporter_free(e);
		sink_free(sink);
	}
}

/* What is dropped before a collector gets it is its loss only if it could have had it. */
static void test_drop(void **state)
{
	static const enum export_format formats[] = {FORMAT_IPFIX, FORMAT_NETFLOW5};
	struct sink *sinks[2] = {sink_new(1472, false), sink_new(1472, false)};
	struct exporter *e = sink_exporter(sink_config(), 2, formats, sinks);
	struct clock_time now = sink_time(NS_PER_SEC);
	struct flow_record r = sink_record(0, now.realtime_ns);
	struct collector_stats s;
	struct exporter_stats es;

	(void)state;
	r.key.ip_version = 6;
	exporter_drop(e, &r, &now);
	r.key.ip_version = 4;
	exporter_record(e, &r, &now);
	exporter_finish(e, &now);
	check_identity(e);
	exporter_get_stats(e, &es);
	assert_int_equal(es.not_sent.records, 1);
	assert_int_equal(es.dropped, 1);
	exporter_get_collector_stats(e, 0, &s);
	assert_int_equal(s.lost.records, 1);
	exporter_get_collector_stats(e, 1, &s);
	assert_int_equal(s.lost.records, 0);
	assert_int_equal(s.unfit.records, 1);
	assert_int_equal(s.unfit.packets, r.packets);
	assert_int_equal(sinks[1]->n, 1);
	assert_memory_equal(sinks[1]->messages[0].data + 16, "\0\0\0\0", 4); /* flow_sequence */
	exporter_free(e);
	sink_free(sinks[0]);
	sink_free(sinks[1]);
}

static void test_text_and_json(void **state)
{
	static const enum export_format formats[] = {FORMAT_TEXT, FORMAT_JSON};
	struct clock_time now = sink_time(0);
	struct sink *sinks[2] = {sink_new(65535, true), sink_new(65535, true)};
	struct exporter *e;
	char *text, *json;

	(void)state;
	e = sink_exporter(sink_config(), 2, formats, sinks);
	for (unsigned i = 0; i < 6; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns + i * NS_PER_MSEC);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	text = strndup((char *)sinks[0]->messages[0].data, sinks[0]->messages[0].size);
	json = strndup((char *)sinks[1]->messages[0].data, sinks[1]->messages[0].size);
	assert_memory_equal(text, "start (UTC) ", 12);
	assert_non_null(strstr(text, "\n2023-11-14 22:13:20.000        0.000 TCP"));
	assert_non_null(strstr(text, "1.4.7.10:1024 -> 2.3.4.5:443"));
	assert_non_null(strstr(text, "[306:90c:f12:1518:1b1e:2124:272a:2d30]"));
	assert_non_null(strstr(text, "........."));
	assert_non_null(strstr(text, "forced\n"));
	assert_ptr_equal(
		strstr(json, "{\"sourceIPv4Address\":\"1.4.7.10\",\"destinationIPv4Address\":\"2.3.4.5\","),
		json);
	assert_non_null(strstr(
		json, "\"flowStartMilliseconds\":1700000000000,\"flowEndMilliseconds\":1700000000000,"));
	assert_non_null(strstr(json, "\"sourceMacAddress\":\"02:03:04:05:06:07\""));
	assert_non_null(strstr(json, "\"sourceIPv6Address\":\"306:90c:f12:1518:1b1e:2124:272a:2d30\""));
	assert_non_null(strstr(json, "\"icmpTypeCodeIPv6\":32768"));
	assert_non_null(strstr(json, "}\n{"));
	assert_int_equal(json[strlen(json) - 1], '\n');
	free(text);
	free(json);
	exporter_free(e);
	sink_free(sinks[0]);
	sink_free(sinks[1]);
}

/* Every element there is, names with anything in them, and many records: whole lines of proper JSON. */
static void test_json_all(void **state)
{
	static const struct export_interface odd[] = {{1, "a\"b\\c\x01\xff\xc3\xa4", ""}};
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	struct sink *sink = sink_new(2000, true);
	struct exporter *e;
	unsigned lines = 0;
	char *text;

	(void)state;
	config.interfaces = odd;
	config.n_interfaces = 1;
	config.fields = "standard,82,150,151,154,155,156,157,161,34,148,25,26,31,243";
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_JSON}, &sink);
	for (unsigned i = 0; i < 500; i++) {
		struct flow_record r = sink_record(i, now.realtime_ns + 123456789);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	for (unsigned i = 0; i < sink->n; i++) {
		assert_int_equal(sink->messages[i].data[0], '{');
		assert_int_equal(sink->messages[i].data[sink->messages[i].size - 1], '\n');
		for (size_t k = 0; k < sink->messages[i].size; k++)
			lines += sink->messages[i].data[k] == '\n';
	}
	assert_int_equal(lines, 500);
	text = strndup((char *)sink->messages[0].data, sink->messages[0].size);
	assert_non_null(strstr(text, "\"interfaceName\":\"a\\\"b\\\\c??\xc3\xa4\""));
	assert_non_null(strstr(text, "\"flowEndNanoseconds\":1700000000123.456789,"));
	free(text);
	exporter_free(e);
	sink_free(sink);
}

static void test_setup_errors(void **state)
{
	struct collector_config c = {
		.url = "ipfix+tls://h", .format = FORMAT_IPFIX, .transport = TRANSPORT_SCTP};
	struct exporter_config config = sink_config();
	struct exporter *e;
	struct diag diag;

	(void)state;
	config.collectors = &c;
	config.n_collectors = 1;
	assert_int_equal(exporter_new(&e, &config, &diag), -EPROTONOSUPPORT);
	assert_non_null(strstr(diag.text, "ipfix+tls://h"));
	c = (struct collector_config){.url = "json:/nonexistent/x",
				      .format = FORMAT_JSON,
				      .transport = TRANSPORT_FILE,
				      .path = "/nonexistent/x"};
	assert_int_equal(exporter_new(&e, &config, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/nonexistent/x"));
	config.fields = "bogus";
	assert_int_equal(exporter_new(&e, &config, &diag), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conservation),  cmocka_unit_test(test_held_back),
		cmocka_unit_test(test_late_session),  cmocka_unit_test(test_lost_templates),
		cmocka_unit_test(test_no_collector),  cmocka_unit_test(test_drop),
		cmocka_unit_test(test_errors_clear),  cmocka_unit_test(test_cause),
		cmocka_unit_test(test_text_and_json), cmocka_unit_test(test_json_all),
		cmocka_unit_test(test_setup_errors),  cmocka_unit_test(test_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
