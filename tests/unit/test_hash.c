/* hash: every bit counts, the seed counts, and buckets fill evenly.  Covers base/hash.c. */
#include "cm.h"

#include <string.h>

#include "pitot/hash.h"

static void test_every_bit(void **state)
{
	static const size_t sizes[] = {8, 16, 17, 24, 40, 44, 56, 64};
	struct hash_seed seed;

	(void)state;
	hash_seed_fixed(&seed, 1);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint8_t data[64] = {0};
		uint64_t base = hash_memory(&seed, data, sizes[s]);

		for (size_t bit = 0; bit < sizes[s] * 8; bit++) {
			uint64_t h;

			data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			h = hash_memory(&seed, data, sizes[s]);
			if (__builtin_popcountll(h ^ base) < 10)
				fail_msg("size %zu, bit %zu changes too little", sizes[s], bit);
			data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
	}
}

static void test_seed(void **state)
{
	struct hash_seed a, b, c;
	uint8_t data[44] = {1};

	(void)state;
	hash_seed_fixed(&a, 1);
	hash_seed_fixed(&b, 2);
	hash_seed_fixed(&c, 1);
	assert_true(hash_memory(&a, data, 44) != hash_memory(&b, data, 44));
	assert_true(hash_memory(&a, data, 44) == hash_memory(&c, data, 44));
	assert_int_equal(hash_seed_random(&a), 0);
	assert_int_equal(hash_seed_random(&b), 0);
	assert_true(memcmp(&a, &b, sizeof(a)) != 0);
	for (size_t i = 0; i < ARRAY_SIZE(a.k); i++) /* all of it was drawn */
		assert_true(a.k[i] != b.k[i]);
}

/* Counters in the address, in the ports, in both: what real networks have. */
static void test_spread(void **state)
{
	enum { BUCKETS = 4096, EACH = 16 };
	static unsigned count[2][BUCKETS];
	struct hash_seed seed;

	(void)state;
	hash_seed_fixed(&seed, 5);
	for (unsigned pattern = 0; pattern < 3; pattern++) {
		memset(count, 0, sizeof(count));
		for (uint32_t i = 0; i < BUCKETS * EACH; i++) {
			uint8_t key[44] = {10};
			uint64_t h;

			if (pattern != 1)
				memcpy(key, &i, 4);
			if (pattern != 0)
				memcpy(key + 32, &i, 4);
			h = hash_memory(&seed, key, sizeof(key));
			count[0][h % BUCKETS]++;
			count[1][h >> 52]++;
		}
		for (unsigned i = 0; i < BUCKETS; i++) { /* Poisson of 16: beyond 48 is 1e-10 */
			assert_in_range(count[0][i], 1, 48);
			assert_in_range(count[1][i], 1, 48);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_seed),
		cmocka_unit_test(test_spread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
