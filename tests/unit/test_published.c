/* published: whole, the newest, and of a writer that is gone.  Covers base/published.c. */
#include "cm.h"

#include <pthread.h>
#include <stdbool.h>

#include "pitot/published.h"

enum { WORDS = 40, ROUNDS = 200000 };

struct numbers {
	uint64_t n[WORDS];
};

static PUBLISHED(struct numbers) numbers;
static _Atomic bool stop;

static struct numbers all(uint64_t value)
{
	struct numbers n;

	for (unsigned i = 0; i < WORDS; i++)
		n.n[i] = value;
	return n;
}

static void test_begins_with_zero(void **state)
{
	struct numbers n = all(7), zero = all(0);

	(void)state;
	published_get(&numbers, &n);
	assert_memory_equal(&n, &zero, sizeof(n));
}

static void test_newest(void **state)
{
	(void)state;
	for (uint64_t i = 1; i < 10; i++) {
		struct numbers in = all(i), out;

		published_put(&numbers, &in);
		published_get(&numbers, &out);
		assert_memory_equal(&in, &out, sizeof(in));
	}
}

/* A writer that ends in the middle of the next copy leaves this one, and its successor goes on. */
static void test_writer_gone(void **state)
{
	struct numbers in = all(100), out;

	(void)state;
	published_put(&numbers, &in);
	atomic_fetch_add(&numbers.head.begun, 1);
	numbers.copies[(atomic_load(&numbers.head.done) + 1) % 2] = all(UINT64_MAX);
	published_get(&numbers, &out);
	assert_memory_equal(&in, &out, sizeof(in));
	in = all(101);
	published_put(&numbers, &in);
	published_get(&numbers, &out);
	assert_memory_equal(&in, &out, sizeof(in));
}

static void *write_on(void *arg)
{
	(void)arg;
	for (uint64_t i = 1000; !atomic_load(&stop); i++) {
		struct numbers n = all(i);

		published_put(&numbers, &n);
	}
	return NULL;
}

static void test_whole(void **state)
{
	struct numbers n = all(1000);
	uint64_t last = 0;
	pthread_t writer;

	(void)state;
	published_put(&numbers, &n);
	assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct numbers whole;

		published_get(&numbers, &n);
		whole = all(n.n[0]);
		assert_memory_equal(&n, &whole, sizeof(n));
		assert_true(n.n[0] >= last);
		last = n.n[0];
	}
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begins_with_zero),
		cmocka_unit_test(test_newest),
		cmocka_unit_test(test_writer_gone),
		cmocka_unit_test(test_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
