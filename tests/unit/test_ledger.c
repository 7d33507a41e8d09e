/*
 * ledger: rows, equations, and the three reports that are made of them.
 * Covers process/report_json.c, process/report_text.c, process/report_openmetrics.c.
 */
#include "cm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static char text[1 << 20];

/* 10 received = 6 metered + 4 ignored; 5 flows: 2 in the table, 1 queued, 1 exported, 1 not sent */
static struct report sample(void)
{
	struct report r = {
		.metering = {.meter = {.received_packets = 10,
				       .received_octets = 1000,
				       .metered_packets = 6,
				       .metered_octets = 500,
				       .metered_link_octets = 600,
				       .ignored = {[PACKET_NOT_IP] = 3, [PACKET_CUT_IP] = 1},
				       .ignored_octets = 400},
			     .flows = {.created = 5,
				       .ended = {[FLOW_END_IDLE] = 2, [FLOW_END_FORCED] = 1},
				       .in_table = {2, 3, 250},
				       .handed_on = {3, 3, 250}}},
		.exporting = {.exporter = {.taken = {2, 2, 150}, .exported = 1, .not_sent = {1, 1, 50}},
			      .n_collectors = 1,
			      .collectors = {{.url = "udp://a\"b\\c:1",
					      .sent.records = 1,
					      .lost = {1, 1, 50},
					      .last_error = 5,
					      .last_cause = "a cause",
					      .state = TRANSPORT_STATE_UP}}},
		.duration_ns = UINT64_C(61500000000),
		.interfaces = {.gaps = 1, .gap_ns = UINT64_C(2250000000)},
		.control = {.accepted = 4, .refused = 3, .cut_off = 2, .requests = 7},
	};

	return r;
}

static const char *write_report(void (*report)(FILE *, const struct ledger *), const struct report *r)
{
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct ledger l;

	ledger_take(&l, r);
	report(f, &l);
	fclose(f);
	return text;
}

static void test_values(void **state)
{
	struct report r = sample();
	struct ledger l;

	(void)state;
	ledger_take(&l, &r);
	assert_true(l.balanced);
	assert_null(l.unbalanced);
	assert_int_equal(l.values[LEDGER_packets_received], 10);
	assert_int_equal(l.values[LEDGER_flows_queued], 1);
	assert_int_equal(l.values[LEDGER_octets_queued], 100);
	assert_int_equal(l.values[LEDGER_packets_ignored_NOT_IP], 3);
	assert_int_equal(ledger_family(&l, "packets", "ignored"), 4);
	assert_int_equal(ledger_family(&l, "flows", "ended"), 3);
	assert_int_equal(l.collectors[0].values[LEDGER_COLLECTOR_not_sent_octets], 50);
	assert_int_equal(l.values[LEDGER_control_refused], 3);
	assert_int_equal(l.values[LEDGER_control_cut_off], 2);
	assert_string_equal(l.collectors[0].state, "up");
}

/* One off anywhere is seen, and named. */
static void test_equations(void **state)
{
	struct report r = sample();
	uint64_t *const numbers[] = {
		&r.metering.meter.received_packets,
		&r.metering.meter.received_octets,
		&r.metering.meter.metered_packets,
		&r.metering.meter.metered_octets,
		&r.metering.meter.metered_link_octets,
		&r.metering.meter.ignored[PACKET_NOT_IP],
		&r.metering.meter.ignored_octets,
		&r.metering.meter.unselected_packets,
		&r.metering.meter.unselected_octets,
		&r.metering.flows.created,
		&r.metering.flows.ended[1],
		&r.metering.flows.in_table.records,
		&r.metering.flows.in_table.packets,
		&r.metering.flows.in_table.octets,
		&r.metering.flows.sliced.packets,
		&r.metering.flows.sliced.octets,
		&r.metering.flows.handed_on.records,
		&r.metering.flows.handed_on.packets,
		&r.metering.flows.handed_on.octets,
		&r.exporting.exporter.taken.records,
		&r.exporting.exporter.exported,
		&r.exporting.exporter.not_sent.records,
	};
	struct ledger l;

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		++*numbers[i];
		ledger_take(&l, &r);
		if (l.balanced || !l.unbalanced)
			fail_msg("number %zu is one too many, and the ledger calls itself balanced", i);
		--*numbers[i];
	}
	/* a packet of a flow that was not begun is metered, and in no record; what stands for it is in no
	 * balance */
	r.metering.meter.received_packets++;
	r.metering.meter.received_octets += 114;
	r.metering.meter.metered_packets++;
	r.metering.meter.metered_octets += 100;
	r.metering.meter.metered_link_octets += 114;
	r.metering.flows.sliced = (struct totals){.packets = 1, .octets = 100};
	r.exporting.exporter.estimated = (struct totals){1, 15, 1500};
	r.exporting.collectors[0].estimated = r.exporting.exporter.estimated;
	ledger_take(&l, &r);
	assert_true(l.balanced);
	assert_int_equal(l.values[LEDGER_packets_sliced], 1);
	assert_int_equal(l.values[LEDGER_octets_sliced], 100);
	assert_int_equal(l.values[LEDGER_packets_estimated], 15);
	assert_int_equal(l.values[LEDGER_octets_estimated], 1500);
	assert_int_equal(l.collectors[0].values[LEDGER_COLLECTOR_estimated_packets], 15);
	assert_int_equal(l.collectors[0].values[LEDGER_COLLECTOR_estimated_octets], 1500);
	assert_non_null(
		strstr(write_report(report_text, &r),
		       "\n  sliced: 1 metered packet of flows that were not begun; 15 estimated in what was "
		       "sent\n"));
	r.exporting.exporter.taken.octets = 251; /* more than was handed on */
	ledger_take(&l, &r);
	assert_false(l.balanced);
	r = sample();
	r.final = true; /* and something is queued */
	ledger_take(&l, &r);
	assert_false(l.balanced);
}

static void test_json(void **state)
{
	struct report r = sample();
	const char *json = write_report(report_json, &r);
	int depth = 0;

	(void)state;
	for (const char *p = json; *p; p++) {
		depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		assert_true(depth >= 0 && *p != '\t');
	}
	assert_int_equal(depth, 0);
	assert_non_null(strstr(json, "\"seconds\": 61.500"));
	assert_non_null(
		strstr(json, "\"packets\": {\"received\": 10, \"metered\": 6, \"ignored\": {\"not_ip\": 3,"));
	assert_non_null(strstr(json, "\"notes\": {\"transport_header_cut\": 0,"));
	assert_non_null(strstr(json, "\"gap_seconds\": 2.250"));
	assert_non_null(strstr(json, "\"ended\": {\"idle\": 2,"));
	assert_non_null(strstr(json, "\"resources\": 0}, \"lost_on_the_way\": 0"));
	assert_non_null(strstr(
		json, "\"not_sent\": {\"records\": 1, \"packets\": 1, \"octets\": 50, \"samples\": 0}"));
	assert_non_null(strstr(json, "\"url\": \"udp://a\\\"b\\\\c:1\""));
	assert_non_null(strstr(json, "\"last_error\": \"a cause\""));
	assert_non_null(strstr(json, "\"ledger\": {\"balanced\": true}"));
	r.metering.meter.metered_packets++;
	assert_non_null(
		strstr(write_report(report_json, &r), "\"balanced\": false, \"unbalanced\": \"packets"));
}

static void test_text(void **state)
{
	struct report r = sample();
	const char *s = write_report(report_text, &r);

	(void)state;
	assert_non_null(strstr(s, "packets: 10 received = 6 metered + 4 ignored\n"));
	assert_non_null(strstr(s, "3 ignored: no IP header"));
	assert_non_null(strstr(s, "1 time an interface was down, gone or not there yet, 2.250 s"));
	assert_non_null(strstr(
		s, "flows: 5 created = 1 exported + 1 NOT SENT + 2 in the table + 1 queued; 500 octets"));
	assert_null(strstr(s, "NOT BALANCED"));
	r.metering.meter.received_packets++;
	assert_non_null(strstr(write_report(report_text, &r), "NOT BALANCED (packets: received"));
}

/* Every metric is announced once, before its samples, and a counter's name ends in _total. */
static void test_openmetrics(void **state)
{
	struct report r = sample();
	char *s = strdup(write_report(report_prometheus, &r)), *save = NULL, last[128] = "";

	(void)state;
	assert_non_null(strstr(s, "\npitot_received_packets_total 10\n"));
	assert_non_null(strstr(s, "\npitot_ignored_packets_total{reason=\"not_ip\"} 3\n"));
	assert_non_null(strstr(s, "\npitot_interface_gap_seconds_total 2.250\n"));
	assert_non_null(strstr(s, "\npitot_table_packets 3\n"));
	assert_non_null(
		strstr(s, "\npitot_collector_not_sent_bytes_total{collector=\"udp://a\\\"b\\\\c:1\"} 50\n"));
	assert_non_null(strstr(s, "\npitot_collector_up{collector=\"udp://a\\\"b\\\\c:1\"} 1\n"));
	assert_non_null(strstr(s, "\npitot_ledger_balanced 1\n"));
	for (char *line = strtok_r(s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t n = strcspn(line, "{ ");

		if (!strncmp(line, "# TYPE ", 7)) {
			char want[160];

			n = strcspn(line + 7, " ");
			snprintf(last, sizeof(last), "%.*s", (int)n, line + 7);
			snprintf(want, sizeof(want), "# TYPE %s ", last);
			assert_null(strstr(line + 7 + n, want));
			assert_true(!strcmp(line + 7 + n, " gauge") ||
				    (!strcmp(line + 7 + n, " counter") && n > 6 &&
				     !strcmp(last + n - 6, "_total")));
		} else if (line[0] != '#') {
			assert_int_equal(n, strlen(last));
			assert_memory_equal(line, last, n);
		}
	}
	free(s);
}

/* The other format: a counter without _total where it is announced, and an end. */
static void test_openmetrics_form(void **state)
{
	struct report r = sample();
	const char *s = write_report(report_openmetrics, &r);

	(void)state;
	assert_non_null(
		strstr(s, "# TYPE pitot_received_packets counter\npitot_received_packets_total 10\n"));
	assert_string_equal(s + strlen(s) - 6, "# EOF\n");
}

static void test_add(void **state)
{
	struct metering_stats sum = {0}, one = {.meter = {.received_packets = 1,
							  .first_ignored_ns = 9,
							  .last_ignored_ns = 9}};

	(void)state;
	ledger_add(&sum, &one);
	one.meter.first_ignored_ns = 5;
	one.meter.last_ignored_ns = 6;
	ledger_add(&sum, &one);
	assert_int_equal(sum.meter.received_packets, 2);
	assert_int_equal(sum.meter.first_ignored_ns, 5);
	assert_int_equal(sum.meter.last_ignored_ns, 9);
	assert_int_equal(ledger_facts(&sum, false).first_ignored_ns, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	    cmocka_unit_test(test_equations),
		cmocka_unit_test(test_json),	    cmocka_unit_test(test_text),
		cmocka_unit_test(test_openmetrics), cmocka_unit_test(test_openmetrics_form),
		cmocka_unit_test(test_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
