/*
 * The metering process and the exporting process together, without a main: savefiles in, records out, and the
 * ledger that is reported over both.
 * Covers worker.c, exporting.c, report.c, base/gate.c.
 */
#include "cm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "exporting.h"
#include "pitot/gate.h"
#include "report.h"
#include "worker.h"

static struct exporter *exporter; /* of the latest run: its report points into it */
static char paths[4][4096];
static struct capture_config captures[4];

static struct worker_config worker_for(const char *const *names, unsigned n)
{
	const char *root = getenv("PITOT_SOURCE_ROOT");
	struct worker_config config = {
		.captures = captures,
		.n_captures = n,
		.decode = { .max_layers = 32 },
		.table = { .max_flows = 1000,
			   .active_ns = 1000000 * NS_PER_SEC,
			   .inactive_ns = 1000000 * NS_PER_SEC,
			   .tcp_end_ns = UINT64_MAX,
			   .key_size = FLOW_KEY_SIZE },
		.track_fragments = true,
		.max_fragments = 64,
		.fragment_timeout_ns = 30 * NS_PER_SEC,
		.done_fd = eventfd(0, EFD_CLOEXEC),
	};

	hash_seed_fixed(&config.table.seed, 1);
	for (unsigned i = 0; i < n; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/tests/data/%s", root ? root : ".", names[i]);
		captures[i] = (struct capture_config){ .path = paths[i] };
	}
	return config;
}

/* Runs the files through a worker into an exporter that writes JSON nowhere; the report of both. */
static struct report *run(const char *const *names, unsigned n, size_t ring, const struct own_flows *own, int *outcome)
{
	static struct report report;
	struct worker_config config = worker_for(names, n);
	struct collector_config collector = { .format = FORMAT_JSON, .transport = TRANSPORT_FILE, .url = "json:/dev/null",
					      .path = "/dev/null" };
	struct clock_time now = clock_now();
	struct exporter_config ec = { .collectors = &collector, .n_collectors = 1, .offline = true, .template_ns = NS_PER_SEC,
				      .template_messages = 20, .flush_ns = NS_PER_SEC, .start_ns = now.realtime_ns,
				      .start_monotonic_ns = now.monotonic_ns };
	struct exporting *exporting = NULL;
	struct worker *w = NULL;
	struct diag diag = { "" };
	uint64_t done;

	exporter_free(exporter);
	exporter = NULL;
	report = (struct report){ .final = true };
	ec.transport.offline = true;
	assert_int_equal(worker_new(&w, &config, &diag), 0);
	assert_int_equal(exporter_new(&exporter, &ec, &diag), 0);
	assert_int_equal(exporting_new(&exporting, exporter, 1, ring, &diag), 0);
	worker_set_outlet(w, exporting_outlet(exporting, 0));
	if (own)
		worker_set_own_flows(w, own);
	assert_int_equal(exporting_start(exporting, &diag), 0);
	assert_int_equal(worker_start(w, &diag), 0);
	assert_int_equal(read(config.done_fd, &done, sizeof(done)), sizeof(done));
	assert_true(worker_done(w));
	*outcome = worker_join(w, &diag);
	if (*outcome < 0)
		assert_true(diag.text[0] != '\0');
	exporting_finish(exporting);
	worker_get_stats(w, &report.metering);
	exporting_get_stats(exporting, &report.exporting);
	worker_free(w);
	exporting_free(exporting);
	close(config.done_fd);
	return &report;
}

static void test_one_file(void **state)
{
	static const char *const names[] = { "web.pcap" };
	int outcome;
	struct report *r = run(names, 1, 64, NULL, &outcome);

	(void)state;
	assert_int_equal(outcome, 0);
	assert_int_equal(r->metering.meter.received_packets, 76);
	assert_int_equal(r->metering.meter.received_octets, 14621);
	assert_int_equal(r->metering.meter.metered_packets, 74);
	assert_int_equal(r->metering.meter.ignored[PACKET_NOT_IP], 2);
	assert_int_equal(r->metering.flows.created, 27);
	assert_int_equal(r->exporting.exporter.exported, 27);
	assert_int_equal(r->exporting.exporter.packets, 74);
	assert_true(report_balanced(r));
}

/* A way out that has room for one record: offline the worker waits, and nothing is lost. */
static void test_narrow_way_out(void **state)
{
	static const char *const names[] = { "web.pcap", "mixed.pcap", "fragments.pcap", "icmp.pcap" };
	int outcome;
	struct report *r = run(names, 4, 1, NULL, &outcome);

	(void)state;
	assert_int_equal(outcome, 0);
	assert_int_equal(r->metering.lost_records, 0);
	assert_int_equal(r->metering.flows.created, r->exporting.exporter.exported);
	assert_true(r->metering.flows.fragments_joined > 0);
	assert_true(report_balanced(r));
}

/* A file that is cut short: an error, and all that was in it before. */
static void test_cut_file(void **state)
{
	static const char *const names[] = { "bad-truncated.pcap" };
	int outcome;
	struct report *r = run(names, 1, 64, NULL, &outcome);

	(void)state;
	assert_true(outcome < 0);
	assert_int_equal(r->metering.meter.received_packets, 75);
	assert_int_equal(r->exporting.exporter.packets, r->metering.meter.metered_packets);
	assert_true(report_balanced(r));
}

static void test_own_flows(void **state)
{
	static const char *const names[] = { "mixed.pcap" };
	struct own_flows own = { .n = 1 };
	struct flow_key *k = &own.flows[0];
	int outcome;
	struct report *r;

	(void)state;
	*k = (struct flow_key){ .src = { 192, 0, 2, 1 }, .dst = { 198, 51, 100, 2 }, .src_port = 40000, .dst_port = 80,
				.protocol = 6, .ip_version = 4 };
	r = run(names, 1, 64, &own, &outcome);
	assert_int_equal(r->metering.meter.ignored[PACKET_OWN_EXPORT], 5);
	assert_true(report_balanced(r));
}

static void test_missing_file(void **state)
{
	static const char *const names[] = { "web.pcap", "none.pcap" };
	struct worker_config config = worker_for(names, 2);
	struct worker *w = NULL;
	struct diag diag = { "" };

	(void)state;
	assert_int_equal(worker_new(&w, &config, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "none.pcap"));
	close(config.done_fd);
}

/* One off anywhere is seen. */
static void test_balance_sees_everything(void **state)
{
	static const char *const names[] = { "mixed.pcap" };
	static struct report good;
	int outcome;
	size_t n = 0;

	(void)state;
	good = *run(names, 1, 64, NULL, &outcome);
	uint64_t *const numbers[] = {
		&good.metering.meter.received_packets, &good.metering.meter.metered_packets,
		&good.metering.meter.metered_octets,   &good.metering.meter.ignored[PACKET_NOT_IP],
		&good.metering.flows.created,	       &good.metering.flows.active,
		&good.metering.flows.ended_packets,    &good.metering.flows.ended[FLOW_END_FORCED],
		&good.exporting.exporter.packets,      &good.exporting.exporter.octets,
		&good.exporting.exporter.records,      &good.metering.flows.ended_octets,
	};
	assert_true(report_balanced(&good));
	for (n = 0; n < ARRAY_SIZE(numbers); n++) {
		++*numbers[n];
		if (report_balanced(&good))
			fail_msg("number %zu is one too many, and the ledger calls itself balanced", n);
		--*numbers[n];
	}
	assert_true(report_balanced(&good));
}

static void test_json(void **state)
{
	static const char *const names[] = { "mixed.pcap" };
	static char text[65536];
	int outcome, depth = 0;
	FILE *f = fmemopen(text, sizeof(text), "w");

	(void)state;
	report_json(f, run(names, 1, 64, NULL, &outcome));
	fclose(f);
	for (const char *p = text; *p; p++) {
		depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		assert_true(depth >= 0 && *p != '\t');
	}
	assert_int_equal(depth, 0);
	assert_non_null(strstr(text, "\"balanced\": true"));
	assert_non_null(strstr(text, "\"received\": 76"));
	f = fmemopen(text, sizeof(text), "w");
	report_summary(f, run(names, 1, 64, NULL, &outcome));
	fclose(f);
	assert_non_null(strstr(text, "76"));
}

static void *wake(void *arg)
{
	usleep(20000);
	gate_wake(arg);
	return NULL;
}

static void test_gate(void **state)
{
	static struct gate g;
	uint64_t start = clock_monotonic_ns();
	pthread_t waker;

	(void)state;
	gate_wake(&g); /* nobody sleeps */
	gate_arm(&g);
	gate_sleep(&g, 20 * NS_PER_MSEC);
	assert_true(clock_monotonic_ns() - start >= 19 * NS_PER_MSEC);
	start = clock_monotonic_ns();
	gate_arm(&g);
	pthread_create(&waker, NULL, wake, &g);
	gate_sleep(&g, 10 * NS_PER_SEC);
	assert_true(clock_monotonic_ns() - start < 5 * NS_PER_SEC);
	pthread_join(waker, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	exporter_free(exporter);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_file),     cmocka_unit_test(test_narrow_way_out),
		cmocka_unit_test(test_cut_file),     cmocka_unit_test(test_own_flows),
		cmocka_unit_test(test_missing_file), cmocka_unit_test(test_balance_sees_everything),
		cmocka_unit_test(test_json),	     cmocka_unit_test(test_gate),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
