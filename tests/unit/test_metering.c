/*
 * The metering process and the exporting process together, without a main: savefiles in, records out, and the
 * ledger that is reported over both.
 * Covers process/metering.c, process/metering_commands.c,
 * process/metering_files.c, process/metering_live.c, process/intake.c, process/exporting.c,
 * process/exporting_commands.c, process/ledger.c,
 * process/savefiles.c, process/dealing.c, process/account.c, base/gate.c.
 */
#include "cm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exporting.h"
#include "pitot/gate.h"
#include "report.h"
#include "metering.h"

static struct exporter *exporter; /* of the latest run: its report points into it */
static char paths[4][4096];
static struct capture_config captures[4];

static struct metering_config metering_config(struct shared *shared, unsigned workers, uint64_t ring)
{
	struct shared_config sc = {
		.n_metering = workers, .ring_records = ring, .record_size = sizeof(struct flow_record)};
	struct diag diag = {""};
	struct metering_config config = {
		.shared = shared,
		.decode = {.max_layers = 32},
		.max_fragments = 64,
		.fragment_timeout_ns = 30 * NS_PER_SEC,
		.table = {.max_flows = 1000,
			  .active_ns = 1000000 * NS_PER_SEC,
			  .inactive_ns = 1000000 * NS_PER_SEC,
			  .tcp_end_ns = UINT64_MAX},
		.cpu = -1,
	};

	assert_int_equal(shared_new(shared, &sc, &diag), 0);
	hash_seed_fixed(&config.table.seed, 1);
	return config;
}

static int open_files(struct metering_config *w, const char *const *names, unsigned n, struct diag *diag)
{
	const char *root = getenv("PITOT_SOURCE_ROOT");
	struct savefiles_config config = {
		.files = captures, .n_files = n, .decode = w->decode, .shared = w->shared};

	for (unsigned i = 0; i < n; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/tests/data/%s", root ? root : ".", names[i]);
		captures[i] = (struct capture_config){.path = paths[i]};
	}
	return savefiles_new(&w->files, &config, diag);
}

static void deal(struct metering_config *w, unsigned lanes, struct diag *diag)
{
	struct dealing_config config = {
		.files = w->files, .n_lanes = lanes, .seed = w->table.seed, .shared = w->shared->files};

	w->track_fragments = lanes == 1;
	if (lanes == 1)
		return;
	assert_int_equal(fragment_table_new(&config.fragments, w->max_fragments, w->fragment_timeout_ns,
					    &config.seed, diag),
			 0);
	assert_int_equal(dealing_new(&w->dealing, &config, diag), 0);
}

static void *run_exporting(void *arg)
{
	exporting_run(arg);
	return NULL;
}

/* Runs the files through metering processes into an exporter that writes JSON nowhere; the report of all. */
static struct report *run_with(unsigned workers, const char *const *names, unsigned n, size_t ring,
			       int *outcome)
{
	static struct report report;
	struct shared shared;
	struct metering_config config = metering_config(&shared, workers, ring);
	struct exporting_config xc = {
		.shared = &shared, .mailbox = &shared.to_exporting, .first_facts_ns = UINT64_MAX};
	pthread_t thread;
	struct collector_config collector = {.format = FORMAT_JSON,
					     .transport = TRANSPORT_FILE,
					     .url = "json:/dev/null",
					     .path = "/dev/null"};
	struct clock_time now = clock_now();
	struct exporter_config ec = {.collectors = &collector,
				     .n_collectors = 1,
				     .offline = true,
				     .template_ns = NS_PER_SEC,
				     .template_messages = 20,
				     .flush_ns = NS_PER_SEC,
				     .start_ns = now.realtime_ns,
				     .start_monotonic_ns = now.monotonic_ns};
	struct exporting *exporting = NULL;
	struct metering *w[4] = {NULL};
	struct diag diag = {""};

	exporter_free(exporter);
	exporter = NULL;
	report = (struct report){.final = true};
	ec.transport.offline = true;
	assert_int_equal(open_files(&config, names, n, &diag), 0);
	deal(&config, workers, &diag);
	assert_int_equal(exporter_new(&exporter, &ec, &diag), 0);
	assert_int_equal(exporting_new(&exporting, exporter, &xc, &diag), 0);
	for (unsigned i = 0; i < workers; i++) {
		config.number = i;
		assert_int_equal(metering_new(&w[i], &config, &diag), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, run_exporting, exporting), 0);
	for (unsigned i = 0; i < workers; i++)
		assert_int_equal(metering_start(w[i], &diag), 0);
	for (unsigned i = 0; i < workers; i++) {
		*outcome = metering_join(w[i], &diag);
		assert_true(atomic_load(&shared.metering[i].done));
		if (*outcome < 0)
			assert_true(diag.text[0] != '\0');
	}
	assert_int_equal(command_tell_finish(&shared.to_exporting, &(struct command_none){0}), 0);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&shared.exporting->ended));
	/* what was published outlives who counted it */
	for (unsigned i = 0; i < workers; i++)
		metering_free(w[i]);
	dealing_free(config.dealing);
	savefiles_free(config.files);
	exporting_free(exporting);
	shared_sum_metering(&shared, &report.metering);
	published_get(&shared.exporting->numbers, &report.exporting);
	shared_free(&shared);
	return &report;
}

static bool balanced(const struct report *r)
{
	struct ledger l;

	ledger_take(&l, r);
	return l.balanced;
}

static struct report *run(const char *const *names, unsigned n, size_t ring, int *outcome)
{
	return run_with(1, names, n, ring, outcome);
}

/* Records and counters are the same however many processes share the work. */
static void test_workers_agree(void **state)
{
	static const char *const names[] = {"web.pcap", "fragments.pcap", "mixed.pcapng"};
	struct report alone;
	int outcome;

	(void)state;
	alone = *run_with(1, names, 3, 64, &outcome);
	assert_int_equal(outcome, 0);
	for (unsigned workers = 2; workers <= 4; workers++) {
		struct report *r = run_with(workers, names, 3, 64, &outcome);

		assert_int_equal(outcome, 0);
		assert_memory_equal(&r->metering.meter, &alone.metering.meter, sizeof(alone.metering.meter));
		assert_memory_equal(&r->metering.flows, &alone.metering.flows, sizeof(alone.metering.flows));
		assert_int_equal(r->exporting.exporter.taken.records, alone.exporting.exporter.taken.records);
		assert_true(balanced(r));
	}
}

static void test_one_file(void **state)
{
	static const char *const names[] = {"web.pcap"};
	int outcome;
	struct report *r = run(names, 1, 64, &outcome);

	(void)state;
	assert_int_equal(outcome, 0);
	assert_int_equal(r->metering.meter.received_packets, 76);
	assert_int_equal(r->metering.meter.received_octets, 14621);
	assert_int_equal(r->metering.meter.metered_packets, 74);
	assert_int_equal(r->metering.meter.ignored[PACKET_NOT_IP], 2);
	assert_int_equal(r->metering.flows.created, 27);
	assert_int_equal(r->exporting.exporter.exported, 27);
	assert_int_equal(r->exporting.exporter.taken.packets, 74);
	assert_true(balanced(r));
}

/* A way out that has room for one record: offline the worker waits, and nothing is lost. */
static void test_narrow_way_out(void **state)
{
	static const char *const names[] = {"web.pcap", "mixed.pcap", "fragments.pcap", "icmp.pcap"};
	int outcome;
	struct report *r = run(names, 4, 1, &outcome);

	(void)state;
	assert_int_equal(outcome, 0);
	assert_int_equal(r->metering.lost.records, 0);
	assert_int_equal(r->metering.flows.created, r->exporting.exporter.exported);
	assert_true(r->metering.flows.fragments.joined > 0);
	assert_true(balanced(r));
}

/* A file that is cut short: an error, and all that was in it before. */
static void test_cut_file(void **state)
{
	static const char *const names[] = {"bad-truncated.pcap"};
	int outcome;
	struct report *r = run(names, 1, 64, &outcome);

	(void)state;
	assert_true(outcome < 0);
	assert_int_equal(r->metering.meter.received_packets, 75);
	assert_int_equal(r->exporting.exporter.taken.packets, r->metering.meter.metered_packets);
	assert_true(balanced(r));
}

/* What this process sends itself, by the last of n exports, is ignored under its name; its neighbour is not.
 */
static void check_own_flows(unsigned n)
{
	struct flow_key own_key = {.src = {192, 0, 2, 1},
				   .dst = {198, 51, 100, 2},
				   .src_port = 40000,
				   .dst_port = 80,
				   .protocol = 6,
				   .ip_version = 4};
	struct own_flows own = {.n = n};
	struct packet packets[3] = {{.key = own_key, .link_octets = 60, .octets = 40},
				    {.key = own_key, .link_octets = 70, .octets = 50},
				    {.key = own_key, .link_octets = 80, .octets = 60}};
	struct meter_stats meter = {0};
	struct flow_stats flows = {0};

	own.flows[n - 1] = own_key;
	packets[1].key.src_port = 40001;
	assert_int_equal(account_sort(&meter, &flows, NULL, &own, packets, sizeof(packets[0]), 3, 0), 1);
	assert_int_equal(packets[0].key.src_port, 40001);
	assert_int_equal(meter.ignored[PACKET_OWN_EXPORT], 2);
	assert_int_equal(meter.ignored_octets, 140);
	account_count(&meter, packets, sizeof(packets[0]), 1);
	assert_int_equal(meter.received_packets, 3);
	assert_int_equal(meter.received_octets, 210);
	assert_int_equal(meter.metered_octets, 50);
}

static void test_own_flows(void **state)
{
	(void)state;
	check_own_flows(1);
	check_own_flows(4);
	check_own_flows(OWN_FLOWS_MAX);
}

static void test_missing_file(void **state)
{
	static const char *const names[] = {"web.pcap", "none.pcap"};
	struct shared shared;
	struct metering_config config = metering_config(&shared, 1, 64);
	struct diag diag = {""};

	(void)state;
	assert_int_equal(open_files(&config, names, 2, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "none.pcap"));
	shared_free(&shared);
}

/* One off anywhere is seen. */
static void test_balance_sees_everything(void **state)
{
	static const char *const names[] = {"mixed.pcap"};
	static struct report good;
	int outcome;
	size_t n = 0;

	(void)state;
	good = *run(names, 1, 64, &outcome);
	uint64_t *const numbers[] = {
		&good.metering.meter.received_packets,	&good.metering.meter.metered_packets,
		&good.metering.meter.metered_octets,	&good.metering.meter.ignored[PACKET_NOT_IP],
		&good.metering.flows.created,		&good.metering.flows.in_table.records,
		&good.metering.flows.handed_on.packets, &good.metering.flows.ended[FLOW_END_FORCED],
		&good.exporting.exporter.taken.packets, &good.exporting.exporter.taken.octets,
		&good.exporting.exporter.taken.records, &good.metering.flows.handed_on.octets,
	};
	assert_true(balanced(&good));
	for (n = 0; n < ARRAY_SIZE(numbers); n++) {
		++*numbers[n];
		if (balanced(&good))
			fail_msg("number %zu is one too many, and the ledger calls itself balanced", n);
		--*numbers[n];
	}
	assert_true(balanced(&good));
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
	gate_sleep(&g, 100 * NS_PER_SEC);
	assert_true(clock_monotonic_ns() - start < 90 * NS_PER_SEC);
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
		cmocka_unit_test(test_one_file),
		cmocka_unit_test(test_narrow_way_out),
		cmocka_unit_test(test_cut_file),
		cmocka_unit_test(test_own_flows),
		cmocka_unit_test(test_workers_agree),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_balance_sees_everything),
		cmocka_unit_test(test_gate),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
