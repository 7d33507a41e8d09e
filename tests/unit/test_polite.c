/* polite: the ladder on a time of our own: when it is climbed, how it is left, and that it stays where it
 * should. */
#include "cm.h"

#include <stdio.h>
#include <string.h>

#include "polite.h"

#define MS NS_PER_MSEC

static const struct polite_config config = {.cpu = 30, .yield = 20, .spare = 2, .slice = true};

/* A host and a pitot on it, of which a test says how they are. */
struct host {
	struct polite p;
	struct polite_sample s;
	unsigned cpu, stalled; /* percent from now on */
};

static struct host host_new(const struct polite_config *c)
{
	struct host h = {.s = {.now_ns = 1000 * NS_PER_SEC}};

	polite_init(&h.p, c, h.s.now_ns);
	(void)polite_step(&h.p, &h.s);
	return h;
}

static bool host_step(struct host *h, uint64_t ns)
{
	h->s.now_ns += ns;
	h->s.cpu_ns += ns * h->cpu / 100;
	if (h->s.stalled_ns != POLITE_UNKNOWN)
		h->s.stalled_ns += ns * h->stalled / 100;
	return polite_step(&h->p, &h->s);
}

/* How long until the next change, in samples; 0: none within n. */
static unsigned host_until_change(struct host *h, unsigned n)
{
	for (unsigned i = 1; i <= n; i++)
		if (host_step(h, POLITE_EVERY_NS))
			return i;
	return 0;
}

static void host_is_at(const struct host *h, enum polite_rung rung, unsigned step)
{
	assert_int_equal(h->p.rung, rung);
	assert_int_equal(h->p.step, step);
}

/* One rung at a time, each after 300 ms, and N doubles. */
static void test_climbs(void **state)
{
	struct host h = host_new(&config);
	static const struct {
		enum polite_rung rung;
		unsigned step, interval;
	} way[] = {{POLITE_DEFER, 0, 1},    {POLITE_SAMPLE, 1, 2},     {POLITE_SAMPLE, 2, 4},
		   {POLITE_SAMPLE, 3, 8},   {POLITE_SAMPLE, 4, 16},    {POLITE_SAMPLE, 5, 32},
		   {POLITE_SAMPLE, 6, 64},  {POLITE_SAMPLE, 7, 128},   {POLITE_SAMPLE, 8, 256},
		   {POLITE_SAMPLE, 9, 512}, {POLITE_SAMPLE, 10, 1024}, {POLITE_COUNT, 10, 0},
		   {POLITE_PAUSE, 10, 0}};

	(void)state;
	h.cpu = 40;
	assert_int_equal(polite_interval(&h.p), 1);
	for (unsigned i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
		assert_int_equal(host_until_change(&h, 10), 3);
		host_is_at(&h, way[i].rung, way[i].step);
		assert_int_equal(polite_interval(&h.p), way[i].interval);
		assert_int_equal(h.p.changes, i + 1);
		assert_int_equal(h.p.because, POLITE_BECAUSE_CPU);
	}
	assert_int_equal(host_until_change(&h, 1000), 0); /* there is no more */
	for (unsigned r = 0; r < POLITE_RUNGS; r++)
		assert_int_equal(h.p.entered[r], r != POLITE_SLICE); /* the table has room */
	assert_int_equal(h.p.spent_ns[POLITE_FULL], 300 * MS);
	assert_int_equal(h.p.spent_ns[POLITE_SAMPLE], 3000 * MS);
}

/* From the last rung to full service within 15 s of the end of the load. */
static void test_comes_down(void **state)
{
	struct host h = host_new(&config);
	unsigned samples, steps = 0;

	(void)state;
	h.cpu = 100;
	while (h.p.rung != POLITE_PAUSE)
		(void)host_step(&h, POLITE_EVERY_NS);
	h.cpu = 0;
	samples = host_until_change(&h, 200);
	assert_int_equal(samples, 100);
	host_is_at(&h, POLITE_COUNT, 10);
	while (h.p.rung != POLITE_FULL) {
		unsigned n = host_until_change(&h, 100);

		assert_int_equal(n, 2);
		samples += n;
		steps++;
	}
	assert_int_equal(steps, 12);
	assert_in_range(samples, 100, 149);
	host_is_at(&h, POLITE_FULL, 0);
	assert_int_equal(host_until_change(&h, 1000), 0);
	assert_int_equal(h.p.entered[POLITE_FULL], 2);
}

/* Two bad samples and a good one are nothing; nor is what is neither, however long. */
static void test_has_patience(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		h.cpu = 50;
		assert_false(host_step(&h, POLITE_EVERY_NS));
		assert_false(host_step(&h, POLITE_EVERY_NS));
		h.cpu = i % 2 ? 1 : 25;
		assert_false(host_step(&h, POLITE_EVERY_NS));
	}
	h.cpu = 50;
	assert_int_equal(host_until_change(&h, 10), 3);
	h.cpu = 25; /* more than half: a step down could double it */
	assert_int_equal(host_until_change(&h, 10000), 0);
	host_is_at(&h, POLITE_DEFER, 0);
	/* as often good as not: it does not come down, either */
	for (unsigned i = 0; i < 1000; i++) {
		h.cpu = i % 2 ? 1 : 25;
		assert_false(host_step(&h, POLITE_EVERY_NS));
	}
	/* and a sample of trouble now and then is forgiven */
	for (unsigned i = 0; i < 120; i++) {
		h.cpu = i % 20 == 0 ? 25 : 1;
		if (host_step(&h, POLITE_EVERY_NS))
			break;
	}
	host_is_at(&h, POLITE_FULL, 0);
}

/* A step down that was too much is taken back, and the next one waits again. */
static void test_goes_back_up(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	h.cpu = 50;
	for (unsigned i = 0; i < 3; i++)
		(void)host_until_change(&h, 10);
	host_is_at(&h, POLITE_SAMPLE, 2);
	h.cpu = 10;
	assert_int_equal(host_until_change(&h, 200), 100);
	host_is_at(&h, POLITE_SAMPLE, 1);
	h.cpu = 35;
	assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_SAMPLE, 2);
	h.cpu = 10;
	assert_int_equal(host_until_change(&h, 200), 100);
}

/* Under pressure records wait at once; packets are shed only for what pitot takes. */
static void test_pressure(void **state)
{
	const struct polite_config nothing = {.cpu = 30, .yield = 20, .spare = 0};
	struct host h = host_new(&config);

	(void)state;
	h.stalled = 60;
	h.cpu = 1;
	assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_DEFER, 0);
	assert_int_equal(h.p.because, POLITE_BECAUSE_PRESSURE);
	assert_int_equal(host_until_change(&h, 1000), 0); /* nor does it come down */
	h.cpu = 5;
	assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_SAMPLE, 1);
	/* one that may keep nothing goes to the end */
	h = host_new(&nothing);
	h.stalled = 60;
	for (unsigned i = 0; i < 13; i++)
		assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_PAUSE, 10);
}

/* Where nobody tells of pressure the rest works all the same. */
static void test_without_pressure(void **state)
{
	struct host h = {.s = {.now_ns = NS_PER_SEC, .stalled_ns = POLITE_UNKNOWN}};

	(void)state;
	polite_init(&h.p, &config, h.s.now_ns);
	(void)polite_step(&h.p, &h.s);
	assert_int_equal(host_until_change(&h, 100), 0);
	h.cpu = 50;
	assert_int_equal(host_until_change(&h, 10), 3);
	h.cpu = 1;
	assert_int_equal(host_until_change(&h, 200), 100);
	host_is_at(&h, POLITE_FULL, 0);
}

/* A buffer that is nearly full does not wait for three samples; one that does not fill is no reason. */
static void test_buffer(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		h.s.buffer_percent = 60 + i;
		assert_int_equal(host_step(&h, POLITE_EVERY_NS), i == 2);
	}
	assert_int_equal(host_until_change(&h, 100), 0); /* what is in it was drawn before */
	h.s.buffer_percent = 80;
	assert_int_equal(host_until_change(&h, 10), 1);
	host_is_at(&h, POLITE_SAMPLE, 1);
	assert_int_equal(h.p.because, POLITE_BECAUSE_BUFFER);
	for (unsigned i = 0; i < 20; i++) {
		h.s.buffer_percent -= 2;
		assert_false(host_step(&h, POLITE_EVERY_NS));
	}
	h.s.dropped = 5; /* and what is lost is reason enough */
	assert_int_equal(host_until_change(&h, 10), 1);
	host_is_at(&h, POLITE_SAMPLE, 2);
	assert_int_equal(host_until_change(&h, 10), 0);
}

/* The queue of records is to be full where they wait. */
static void test_queue(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	h.s.queue_percent = 60;
	assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_DEFER, 0);
	h.s.queue_percent = 80;
	assert_int_equal(host_until_change(&h, 10), 0);
	h.s.queue_percent = 95;
	assert_int_equal(host_until_change(&h, 10), 3);
	host_is_at(&h, POLITE_SAMPLE, 1);
	assert_int_equal(h.p.because, POLITE_BECAUSE_QUEUE);
}

/* The next n steps up, each after three bad samples. */
static void host_climbs(struct host *h, unsigned n)
{
	h->cpu = 40;
	while (n-- > 0)
		assert_int_equal(host_until_change(h, 10), 3);
}

/* With a full table the step from sampling is the one to slicing, whatever is drawn; then less is drawn
 * again. */
static void test_slices(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	h.s.table_percent = 100;
	h.cpu = 1;
	assert_int_equal(host_until_change(&h, 1000), 0); /* that is no trouble by itself */
	h.s.table_percent = 90;
	host_climbs(&h, 4);
	host_is_at(&h, POLITE_SAMPLE, 3);
	h.s.table_percent = 91;
	host_climbs(&h, 1);
	host_is_at(&h, POLITE_SLICE, 3);
	assert_int_equal(polite_interval(&h.p), 8);
	assert_int_equal(h.p.because, POLITE_BECAUSE_CPU);
	h.s.table_percent = 20; /* it goes on from there */
	for (unsigned step = 4; step <= POLITE_STEPS; step++) {
		host_climbs(&h, 1);
		host_is_at(&h, POLITE_SLICE, step);
	}
	host_climbs(&h, 1);
	host_is_at(&h, POLITE_COUNT, 10);
	assert_int_equal(polite_interval(&h.p), 0);
	assert_int_equal(h.p.entered[POLITE_SLICE], 1);
	assert_int_equal(h.p.spent_ns[POLITE_SLICE], 2400 * MS);
}

/* Where the table has room, or the user does not want it, it is passed over: up and down. */
static void test_slices_not(void **state)
{
	struct polite_config off = config;
	struct host h = host_new(&config);

	(void)state;
	off.slice = false;
	for (unsigned turn = 0; turn < 2; turn++) {
		h.s.table_percent = turn ? 100 : 90;
		host_climbs(&h, 11);
		host_is_at(&h, POLITE_SAMPLE, 10);
		host_climbs(&h, 1);
		host_is_at(&h, POLITE_COUNT, 10);
		h.cpu = 1;
		assert_int_equal(host_until_change(&h, 200), 100);
		host_is_at(&h, POLITE_SAMPLE, 10);
		h = host_new(&off);
	}
}

/* Down: from the last rung by all the others, within 15 s; what is drawn stays for a step. */
static void test_slices_down(void **state)
{
	struct host h = host_new(&config);
	unsigned samples = 0;

	(void)state;
	h.s.table_percent = 95;
	host_climbs(&h, 3);
	host_is_at(&h, POLITE_SLICE, 1);
	host_climbs(&h, 11);
	host_is_at(&h, POLITE_PAUSE, 10);
	h.cpu = 1;
	samples += host_until_change(&h, 200);
	samples += host_until_change(&h, 200);
	host_is_at(&h, POLITE_SLICE, 10);
	samples += host_until_change(&h, 200);
	host_is_at(&h, POLITE_SAMPLE, 10);
	while (h.p.rung != POLITE_FULL)
		samples += host_until_change(&h, 200);
	assert_in_range(samples, 100, 149);
	host_is_at(&h, POLITE_FULL, 0);
}

/* It is left, too, when the table has been half empty for ten seconds; and is not entered again before it is
 * full. */
static void test_slices_until_there_is_room(void **state)
{
	struct host h = host_new(&config);
	char text[400];

	(void)state;
	h.s.table_percent = 95;
	host_climbs(&h, 3);
	host_is_at(&h, POLITE_SLICE, 1);
	polite_describe(&h.p, text, sizeof(text));
	assert_string_equal(
		text, "polite: rung 3, slice 1 in 2: packets are drawn by chance, and one in 16 of those "
		      "that would begin a flow does (pitot itself took 40 % of a processor; the flow "
		      "table was 95 % full)");
	h.cpu = 25; /* neither bad nor good */
	h.s.table_percent = 50;
	assert_int_equal(host_until_change(&h, 1000), 0);
	for (unsigned i = 0; i < 1000; i++) { /* now and then is not enough */
		h.s.table_percent = i % 2 ? 49 : 60;
		assert_false(host_step(&h, POLITE_EVERY_NS));
	}
	h.s.table_percent = 49;
	assert_in_range(host_until_change(&h, 200), 99, 100);
	host_is_at(&h, POLITE_SAMPLE, 1);
	polite_describe(&h.p, text, sizeof(text));
	assert_non_null(strstr(text, "rung 2, sample 1 in 2"));
	assert_non_null(strstr(text, "(the flow table has had room)"));
	assert_int_equal(host_until_change(&h, 1000), 0);
	h.s.table_percent = 90;
	host_climbs(&h, 1);
	host_is_at(&h, POLITE_SAMPLE, 2);
	h.s.table_percent = 91;
	host_climbs(&h, 1);
	host_is_at(&h, POLITE_SLICE, 2);
}

/* Times that begin anew, because a process did, samples at one instant, and a long one. */
static void test_odd_times(void **state)
{
	struct host h = host_new(&config);

	(void)state;
	h.s.cpu_ns = 500 * NS_PER_SEC;
	h.s.now_ns += NS_PER_SEC;
	(void)polite_step(&h.p, &h.s);
	h.s.cpu_ns = 0;
	h.s.stalled_ns = 0;
	for (unsigned i = 0; i < 10; i++)
		assert_false(host_step(&h, 0));
	assert_false(host_step(&h, 3600 * NS_PER_SEC));
	host_is_at(&h, POLITE_FULL, 0);
	h.cpu = 100;
	assert_false(host_step(&h, 3600 * NS_PER_SEC)); /* one sample, however long */
	assert_false(host_step(&h, 1));
	host_is_at(&h, POLITE_FULL, 0);
}

/* What other processes read, and may not have been written by a process of ours. */
static void test_words(void **state)
{
	(void)state;
	for (unsigned r = 0; r < POLITE_RUNGS; r++)
		for (unsigned step = 0; step <= POLITE_STEPS; step++) {
			uint32_t word = polite_word((enum polite_rung)r, step);

			assert_int_equal(polite_word_rung(word), r);
			assert_int_equal(polite_word_step(word), step);
			assert_int_equal(polite_word_interval(word), r >= POLITE_COUNT ? 0 : 1u << step);
			assert_int_equal(polite_word_row(word)->slicing, r == POLITE_SLICE ? 4 : 0);
		}
	assert_int_equal(polite_word_rung(UINT32_MAX), POLITE_FULL);
	assert_int_equal(polite_word_step(UINT32_MAX), 0);
	assert_int_equal(polite_word_interval(11), 1);
}

static void test_describes(void **state)
{
	struct host h = host_new(&config);
	char text[400];

	(void)state;
	h.stalled = 63;
	h.cpu = 12;
	(void)host_until_change(&h, 10);
	(void)host_until_change(&h, 10);
	(void)host_until_change(&h, 10);
	polite_describe(&h.p, text, sizeof(text));
	assert_string_equal(
		text, "polite: rung 2, sample 1 in 4: packets are drawn by chance (somebody waited for a "
		      "processor during 63 % of the time, and pitot took 12 % of one)");
	h.stalled = h.cpu = 0;
	while (h.p.rung)
		(void)host_until_change(&h, 200);
	polite_describe(&h.p, text, sizeof(text));
	assert_non_null(strstr(text, "rung 0, full: every packet is measured"));
	assert_non_null(strstr(text, "(the host has been quiet)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_climbs),
		cmocka_unit_test(test_comes_down),
		cmocka_unit_test(test_has_patience),
		cmocka_unit_test(test_goes_back_up),
		cmocka_unit_test(test_pressure),
		cmocka_unit_test(test_without_pressure),
		cmocka_unit_test(test_buffer),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_odd_times),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_describes),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_slices_not),
		cmocka_unit_test(test_slices_down),
		cmocka_unit_test(test_slices_until_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
