/*
 * losses: numbers of a process that died, which add up afterwards.  Covers process/losses.c, process/watch.c,
 * base/task.c.
 */
#include "cm.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "losses.h"
#include "pitot/clock.h"
#include "watch.h"

static struct shared shared;

static void open_shared(void)
{
	const struct shared_config config = {
		.n_metering = 2, .ring_records = 16, .record_size = sizeof(struct flow_record)};
	struct diag diag = {""};

	assert_int_equal(shared_new(&shared, &config, &diag), 0);
}

/* n records of so many packets each; published or not. */
static void put(unsigned ring, unsigned n, uint64_t packets, bool publish)
{
	struct ring_writer w;

	shared_write_records(&shared, ring, &w);
	for (unsigned i = 0; i < n; i++)
		*(struct flow_record *)ring_reserve(&w) =
			(struct flow_record){.packets = packets, .octets = 100 * packets};
	if (publish)
		ring_publish(&w);
}

/* Flows in the table are lost; records that were counted and not shown yet are not. */
static void test_metering(void **state)
{
	struct metering_stats n = {.flows = {.created = 10,
					     .ended = {[FLOW_END_IDLE] = 6},
					     .in_table = {4, 40, 400},
					     .handed_on = {6, 60, 600}},
				   .lost = {1, 10, 100}},
			      zero = {0};
	struct ring_reader r;

	(void)state;
	open_shared();
	put(0, 3, 10, true);
	put(0, 2, 10, false); /* it died before it could say so */
	published_put(&shared.metering[0].numbers, &n);
	losses_settle_metering(&shared);
	published_get(&shared.metering[0].numbers, &n);
	assert_int_equal(n.flows.in_table.records, 0);
	assert_int_equal(n.flows.handed_on.records, 10);
	assert_int_equal(n.flows.handed_on.packets, 100);
	assert_int_equal(n.flows.ended[FLOW_END_FORCED], 4);
	assert_int_equal(n.lost.records, 5);
	assert_int_equal(n.lost.octets, 500);
	shared_read_records(&shared, 0, &r);
	assert_int_equal(ring_peek(&r), 5);
	published_get(&shared.metering[1].numbers, &n);
	assert_memory_equal(&n, &zero, sizeof(n));
	shared_free(&shared);
}

/* So many records of two packets each. */
static struct totals of(uint64_t records)
{
	return (struct totals){records, 2 * records, 200 * records};
}

static struct exporting_stats exported(uint64_t taken, uint64_t pending)
{
	struct exporting_stats e = {.exporter = {.taken = of(taken), .exported = taken}, .n_collectors = 2};

	for (unsigned i = 0; i < 2; i++)
		e.collectors[i] = (struct collector_stats){.takes = true,
							   .reliable = true,
							   .taken = of(taken),
							   .sent = of(taken - pending - i),
							   .pending = of(pending + i)};
	return e;
}

static void check_totals(const struct totals *t, uint64_t records)
{
	struct totals expected = of(records);

	assert_memory_equal(t, &expected, sizeof(expected));
}

static void check_sums(const struct exporting_stats *e)
{
	assert_int_equal(e->exporter.exported + e->exporter.not_sent.records + e->exporter.unwanted,
			 e->exporter.taken.records);
	for (unsigned i = 0; i < e->n_collectors; i++) {
		const struct collector_stats *c = &e->collectors[i];
		struct totals sum = c->sent;

		totals_add(&sum, &c->lost);
		totals_add(&sum, &c->pending);
		assert_memory_equal(&sum, &c->taken, sizeof(sum));
	}
}

/* In hand when it died, counted or not: it is not taken twice. */
static void test_in_hand(void **state)
{
	(void)state;
	for (unsigned counted = 0; counted < 2; counted++) {
		struct exporting_stats e = exported(counted ? 3 : 0, 0);
		struct ring_reader r;

		open_shared();
		e.collectors[1].sent = e.collectors[1].taken;
		e.collectors[1].pending = of(0);
		put(0, 5, 2, true);
		atomic_store(&shared.metering[0].taking, 3);
		published_put(&shared.exporting->numbers, &e);
		losses_settle_exporting(&shared, false);
		published_get(&shared.exporting->numbers, &e);
		check_totals(&e.exporter.taken, 3);
		check_totals(&e.exporter.not_sent, counted ? 0 : 3);
		check_sums(&e);
		shared_read_records(&shared, 0, &r);
		assert_int_equal(ring_peek(&r), 2);
		shared_free(&shared);
	}
}

/* It was for one of two collectors that share records, for a file, and for none that takes samples only. */
static void test_in_hand_of_some(void **state)
{
	for (unsigned kind = 0; kind < 3; kind++) {
		struct exporting_stats e = exported(0, 0);

		(void)state;
		open_shared();
		e.n_collectors = kind == 1 ? 3 : 2;
		e.collectors[1].sent = e.collectors[1].taken;
		e.collectors[1].pending = of(0);
		e.collectors[2] = (struct collector_stats){.takes = true};
		for (unsigned i = 0; i < 2; i++) {
			e.collectors[i].takes = kind != 2;
			e.collectors[i].shares = kind != 2;
		}
		put(0, 5, 2, true);
		atomic_store(&shared.metering[0].taking, 5);
		published_put(&shared.exporting->numbers, &e);
		losses_settle_exporting(&shared, false);
		published_get(&shared.exporting->numbers, &e);
		check_totals(&e.exporter.not_sent, kind == 2 ? 0 : 5);
		assert_int_equal(e.exporter.unwanted, kind == 2 ? 5 : 0);
		check_totals(&e.collectors[0].lost, kind == 2 ? 0 : 5);
		check_totals(&e.collectors[1].lost, 0);
		check_totals(&e.collectors[2].lost, kind == 1 ? 5 : 0);
		check_sums(&e);
		shared_free(&shared);
	}
}

/* What waited is lost, with the packets and octets that it told of, or on disk. */
static void test_waiting(void **state)
{
	struct exporting_stats e = exported(10, 2), later;

	(void)state;
	open_shared();
	atomic_store(&shared.metering[0].records.head, 10);
	atomic_store(&shared.metering[0].records.tail, 10);
	published_put(&shared.exporting->numbers, &e);
	losses_settle_exporting(&shared, true);
	published_get(&shared.exporting->numbers, &e);
	check_totals(&e.exporter.not_sent, 0);
	check_totals(&e.collectors[1].pending, 3);
	check_sums(&e);
	later = exported(4, 0);
	later.collectors[1].resent_records = 2;
	losses_add_exporting(&later, &e);
	assert_int_equal(later.exporter.taken.records, 14);
	check_totals(&later.collectors[1].pending, 1 + 1);
	assert_int_equal(later.collectors[1].resent_records, 0);
	check_sums(&later);
	/* or it dropped them there: one is of the run before both */
	later = exported(4, 0);
	later.collectors[1].spool_dropped_records = 4;
	losses_add_exporting(&later, &e);
	check_totals(&later.collectors[1].pending, 1);
	check_totals(&later.collectors[1].lost, e.collectors[1].lost.records + 3);
	assert_int_equal(later.collectors[1].spool_dropped_records, 1);
	check_sums(&later);
	later = exported(4, 0);
	later.collectors[1].resent_records = 2;
	losses_add_exporting(&later, &e);
	losses_settle_exporting(&shared, false);
	published_get(&shared.exporting->numbers, &e);
	check_totals(&e.exporter.not_sent, 2);
	check_totals(&e.collectors[0].lost, 2);
	check_totals(&e.collectors[1].lost, 3);
	check_sums(&e);
	/* and to what another process has lost it adds up */
	later = exported(4, 4);
	later.collectors[1].sent = of(0);
	later.collectors[1].pending = of(4);
	losses_add_exporting(&later, &e);
	check_totals(&later.exporter.not_sent, 2);
	published_put(&shared.exporting->numbers, &later);
	losses_settle_exporting(&shared, false);
	published_get(&shared.exporting->numbers, &e);
	check_totals(&e.exporter.not_sent, 6);
	check_sums(&e);
	shared_free(&shared);
}

/* A spool has what waits for a session, but not the message that was not full, nor what a file was to have.
 */
static void test_kept(void **state)
{
	struct exporting_stats e = exported(10, 4);

	(void)state;
	open_shared();
	e.collectors[0].open = of(3);
	e.collectors[1].reliable = false;
	published_put(&shared.exporting->numbers, &e);
	losses_settle_exporting(&shared, true);
	published_get(&shared.exporting->numbers, &e);
	check_totals(&e.collectors[0].lost, 3);
	check_totals(&e.collectors[0].pending, 1);
	check_totals(&e.collectors[1].lost, 5);
	check_totals(&e.collectors[1].pending, 0);
	check_totals(&e.exporter.not_sent, 3);
	check_sums(&e);
	shared_free(&shared);
}

static _Atomic bool stop;

static void *spin(void *arg)
{
	atomic_store(&shared.metering[0].thread, (int32_t)gettid());
	while (!atomic_load(&stop))
		if (!arg)
			usleep(1000);
	return NULL;
}

/* One that stands still although it gets processor time hangs; one that sleeps does not. */
static void test_hangs(void **state)
{
	(void)state;
	for (unsigned busy = 0; busy < 2; busy++) {
		uint64_t begin_ns = clock_monotonic_ns();
		struct watch w;
		pthread_t thread;
		bool hangs = false;

		open_shared();
		atomic_store(&stop, false);
		assert_int_equal(watch_init(&w, 2, begin_ns), 0);
		assert_int_equal(pthread_create(&thread, NULL, spin, busy ? &stop : NULL), 0);
		while (!atomic_load(&shared.metering[0].thread))
			usleep(1000);
		/* as long as it takes on a machine that has no time for it; the other one is asked for a
		 * while */
		while (!hangs && clock_monotonic_ns() - begin_ns < (busy ? 120 : 2) * NS_PER_SEC) {
			watch_look(&w, &shared, false, clock_monotonic_ns());
			hangs = watch_hangs(&w, &shared, 0, getpid());
			usleep(20000);
		}
		assert_int_equal(hangs, busy);
		/* it had its time, and does not starve; nor does one that is not there */
		assert_false(busy && watch_starves(&w, &shared, 0, getpid()));
		assert_false(watch_starves(&w, &shared, 1, getpid()));
		/* and is forgiven when it moves */
		atomic_fetch_add(&shared.metering[0].turns, 1);
		watch_look(&w, &shared, false, clock_monotonic_ns());
		assert_false(watch_hangs(&w, &shared, 0, getpid()));
		/* and one that wants to run, and was not let since, does */
		assert_true(!busy || watch_starves(&w, &shared, 0, getpid()));
		atomic_store(&stop, true);
		pthread_join(thread, NULL);
		watch_deinit(&w);
		shared_free(&shared);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metering),
		cmocka_unit_test(test_in_hand),
		cmocka_unit_test(test_in_hand_of_some),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
