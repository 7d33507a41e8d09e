/* ring: bounded, in order, and the same between two threads.  Covers base/ring.c. */
#include "cm.h"

#include <pthread.h>

#include "pitot/ring.h"

struct slot {
	uint64_t number;
	uint64_t rest[15];
};

static void test_bounded_and_in_order(void **state)
{
	struct ring r;
	uint64_t put = 0, got = 0;

	(void)state;
	assert_int_equal(ring_init(&r, 5, sizeof(struct slot)), 0); /* 8: the next power of two */
	for (unsigned round = 0; round < 100; round++) {
		struct slot *s;
		unsigned n = 0;

		while ((s = ring_reserve(&r))) {
			s->number = put++;
			n++;
			if (round % 3 == 0 && n == 3)
				break;
		}
		assert_true(n <= 8);
		if (round % 3)
			assert_int_equal(put - got, 8);
		assert_int_equal(ring_used(&r), put - got - n); /* not visible before it is published */
		ring_publish(&r);
		assert_int_equal(ring_used(&r), put - got);
		for (uint64_t take = round % 5; take && got < put;) {
			uint64_t there = ring_peek(&r);

			assert_true(there > 0);
			if (there > take)
				there = take;
			for (uint64_t i = 0; i < there; i++)
				assert_int_equal(((struct slot *)ring_slot(&r, i))->number, got + i);
			ring_consume(&r, there);
			got += there;
			take -= there;
		}
	}
	ring_deinit(&r);
	ring_deinit(&r); /* twice is fine */
}

static void test_empty(void **state)
{
	struct ring r;

	(void)state;
	assert_int_equal(ring_init(&r, 1, 64), 0);
	assert_int_equal(ring_peek(&r), 0);
	assert_int_equal(ring_used(&r), 0);
	assert_non_null(ring_reserve(&r));
	assert_null(ring_reserve(&r));
	assert_int_equal(ring_peek(&r), 0);
	ring_publish(&r);
	assert_int_equal(ring_peek(&r), 1);
	ring_consume(&r, 1);
	assert_non_null(ring_reserve(&r));
	ring_deinit(&r);
}

enum { NUMBERS = 300000 };

static void *produce(void *arg)
{
	struct ring *r = arg;

	for (uint64_t i = 0; i < NUMBERS;) {
		struct slot *s = ring_reserve(r);

		if (!s) {
			ring_publish(r);
			continue;
		}
		*s = (struct slot){.number = i, .rest = {[14] = ~i}};
		if (++i % 7 == 0)
			ring_publish(r);
	}
	ring_publish(r);
	return NULL;
}

static void test_two_threads(void **state)
{
	struct ring r;
	pthread_t producer;
	uint64_t got = 0;

	(void)state;
	assert_int_equal(ring_init(&r, 64, sizeof(struct slot)), 0);
	assert_int_equal(pthread_create(&producer, NULL, produce, &r), 0);
	while (got < NUMBERS) {
		uint64_t n = ring_peek(&r);

		for (uint64_t i = 0; i < n; i++) {
			const struct slot *s = ring_slot(&r, i);

			if (s->number != got + i || s->rest[14] != ~s->number)
				fail_msg("slot %lu came as %lu", (unsigned long)(got + i),
					 (unsigned long)s->number);
		}
		ring_consume(&r, n);
		got += n;
	}
	pthread_join(producer, NULL);
	assert_int_equal(ring_used(&r), 0);
	ring_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounded_and_in_order),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
