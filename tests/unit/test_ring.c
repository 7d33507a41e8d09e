/* ring: bounded, in order, and the same between two threads.  Covers base/ring.c. */
#include "cm.h"

#include <pthread.h>

#include <stdlib.h>

#include "pitot/ring.h"

struct slot {
	uint64_t number;
	uint64_t rest[15];
};

/* A ring and both its ends. */
struct both {
	struct ring ring;
	struct ring_writer w;
	struct ring_reader r;
	void *memory;
};

static void open_both(struct both *b, uint64_t slots)
{
	slots = ring_round_up(slots);
	*b = (struct both){.memory = aligned_alloc(64, slots * sizeof(struct slot))};
	assert_non_null(b->memory);
	ring_write_at(&b->w, &b->ring, b->memory, slots, sizeof(struct slot));
	ring_read_at(&b->r, &b->ring, b->memory, slots, sizeof(struct slot));
}

static void test_bounded_and_in_order(void **state)
{
	struct both b;
	uint64_t put = 0, got = 0;

	(void)state;
	open_both(&b, 5); /* 8: the next power of two */
	for (unsigned round = 0; round < 100; round++) {
		struct slot *s;
		unsigned n = 0;

		while ((s = ring_reserve(&b.w))) {
			s->number = put++;
			n++;
			if (round % 3 == 0 && n == 3)
				break;
		}
		assert_true(n <= 8);
		if (round % 3)
			assert_int_equal(put - got, 8);
		assert_int_equal(ring_used(&b.r.at), put - got - n); /* not visible before it is published */
		ring_publish(&b.w);
		assert_int_equal(ring_used(&b.r.at), put - got);
		for (uint64_t take = round % 5; take && got < put;) {
			uint64_t there = ring_peek(&b.r);

			assert_true(there > 0);
			if (there > take)
				there = take;
			for (uint64_t i = 0; i < there; i++)
				assert_int_equal(((struct slot *)ring_slot(&b.r, i))->number, got + i);
			ring_consume(&b.r, there);
			got += there;
			take -= there;
		}
	}
	free(b.memory);
}

static void test_empty(void **state)
{
	struct both b;

	(void)state;
	open_both(&b, 1);
	assert_int_equal(ring_peek(&b.r), 0);
	assert_int_equal(ring_used(&b.r.at), 0);
	assert_non_null(ring_reserve(&b.w));
	assert_null(ring_reserve(&b.w));
	assert_int_equal(ring_peek(&b.r), 0);
	ring_publish(&b.w);
	assert_int_equal(ring_peek(&b.r), 1);
	ring_consume(&b.r, 1);
	assert_non_null(ring_reserve(&b.w));
	free(b.memory);
}

enum { NUMBERS = 300000 };

static void *produce(void *arg)
{
	struct ring_writer *w = arg;

	for (uint64_t i = 0; i < NUMBERS;) {
		struct slot *s = ring_reserve(w);

		if (!s) {
			ring_publish(w);
			continue;
		}
		*s = (struct slot){.number = i, .rest = {[14] = ~i}};
		if (++i % 7 == 0)
			ring_publish(w);
	}
	ring_publish(w);
	return NULL;
}

static void test_two_threads(void **state)
{
	struct both b;
	pthread_t producer;
	uint64_t got = 0;

	(void)state;
	open_both(&b, 64);
	assert_int_equal(pthread_create(&producer, NULL, produce, &b.w), 0);
	while (got < NUMBERS) {
		uint64_t n = ring_peek(&b.r);

		for (uint64_t i = 0; i < n; i++) {
			const struct slot *s = ring_slot(&b.r, i);

			if (s->number != got + i || s->rest[14] != ~s->number)
				fail_msg("slot %lu came as %lu", (unsigned long)(got + i),
					 (unsigned long)s->number);
		}
		ring_consume(&b.r, n);
		got += n;
	}
	pthread_join(producer, NULL);
	assert_int_equal(ring_used(&b.r.at), 0);
	free(b.memory);
}

/* Each end is taken up by another where it was left: what was read is not read again. */
static void test_taken_up(void **state)
{
	struct both b;

	(void)state;
	open_both(&b, 8);
	for (uint64_t i = 0; i < 5; i++)
		((struct slot *)ring_reserve(&b.w))->number = i;
	ring_publish(&b.w);
	((struct slot *)ring_reserve(&b.w))->number = 99; /* and it dies */
	assert_int_equal(ring_peek(&b.r), 5);
	ring_consume(&b.r, 2);
	ring_write_at(&b.w, &b.ring, b.memory, 8, sizeof(struct slot));
	ring_read_at(&b.r, &b.ring, b.memory, 8, sizeof(struct slot));
	assert_int_equal(ring_peek(&b.r), 3);
	assert_int_equal(((struct slot *)ring_slot(&b.r, 0))->number, 2);
	((struct slot *)ring_reserve(&b.w))->number = 5;
	ring_publish(&b.w);
	ring_consume(&b.r, 3);
	assert_int_equal(ring_peek(&b.r), 1);
	assert_int_equal(((struct slot *)ring_slot(&b.r, 0))->number, 5);
	free(b.memory);
}

/* A producer that was taken over writes what it likes: the other end stays within its memory. */
static void test_nonsense(void **state)
{
	struct both b;

	(void)state;
	open_both(&b, 8);
	atomic_store(&b.ring.head, UINT64_MAX / 2);
	assert_int_equal(ring_peek(&b.r), 8);
	for (uint64_t i = 0; i < 8; i++)
		assert_in_range((uintptr_t)ring_slot(&b.r, i), (uintptr_t)b.memory,
				(uintptr_t)b.memory + 7 * sizeof(struct slot));
	free(b.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounded_and_in_order),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_two_threads),
		cmocka_unit_test(test_taken_up),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
