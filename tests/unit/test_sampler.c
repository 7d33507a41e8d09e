/* sampler: how often, how evenly, and of which flows.  Seeds are fixed: a run is like every other. */
#include "cm.h"

#include <math.h>
#include <string.h>

#include "pitot/sampler.h"

/*
 * The gaps between selected packets of a uniform probabilistic selector are geometric.  Chi-square over 20
 * classes of equal probability: 19 degrees of freedom, 43.8 is exceeded once in a thousand.
 */
#define CLASSES 20

static double chi_square(uint32_t interval, uint64_t draws)
{
	struct sampler s;
	uint64_t counts[CLASSES] = {0}, gap = 0, n = 0;
	double sum = 0, p = 1.0 / interval, expected[CLASSES] = {0};

	sampler_init(&s, &(struct sampler_config){SAMPLER_RANDOM, interval, 12345});
	/* class of a gap g (1, 2, ...): that of P(gap < g), which is 1 - (1-p)^(g-1) */
	for (uint64_t i = 0; i < draws; i++) {
		gap++;
		if (!sampler_take(&s))
			continue;
		counts[(unsigned)(CLASSES * (1 - pow(1 - p, (double)(gap - 1))))]++;
		gap = 0;
		n++;
	}
	assert_int_equal(s.selected, n);
	for (double g = 1, below = 0; below < 1 - 1e-12; g++) {
		double here = pow(1 - p, g - 1) * p;

		expected[(unsigned)(CLASSES * (1 - pow(1 - p, g - 1)))] += here;
		below += here;
	}
	for (unsigned i = 0; i < CLASSES; i++)
		if (expected[i] > 0)
			sum += pow((double)counts[i] - (double)n * expected[i], 2) /
			       ((double)n * expected[i]);
	/* and how many in all: four standard errors */
	assert_true(fabs((double)n - (double)draws * p) < 4 * sqrt((double)draws * p * (1 - p)));
	return sum;
}

static void test_uniform(void **state)
{
	(void)state;
	assert_true(chi_square(2, 100000000) < 43.8);
	assert_true(chi_square(1000, 100000000) < 43.8);
	assert_true(chi_square(20000, 100000000) < 43.8);
}

/* The largest interval is as exact as small ones. */
static void test_rare(void **state)
{
	const uint32_t most = UINT32_C(1) << 24; /* of --sample */
	struct sampler s;

	(void)state;
	sampler_init(&s, &(struct sampler_config){SAMPLER_RANDOM, most, 1});
	for (uint64_t i = 0; i < UINT64_C(64) * most / 16; i++)
		sampler_take(&s);
	assert_true(s.selected <= 16); /* 4 expected */
	sampler_init(&s, &(struct sampler_config){SAMPLER_RANDOM, 1, 1});
	for (unsigned i = 0; i < 1000; i++)
		assert_true(sampler_take(&s));
}

static void test_systematic(void **state)
{
	struct sampler s;

	(void)state;
	sampler_init(&s, &(struct sampler_config){SAMPLER_SYSTEMATIC, 7, 0});
	for (unsigned i = 1; i <= 700; i++)
		assert_int_equal(sampler_take(&s), i % 7 == 0);
	assert_int_equal(s.selected, 100);
}

static struct flow_key flow(uint32_t i, bool turned)
{
	struct flow_key k = {.protocol = 6, .ip_version = 4};
	uint8_t *a = turned ? k.dst : k.src, *b = turned ? k.src : k.dst;

	memcpy(a, &(uint32_t){i * 2654435761u}, 4);
	memcpy(b, &(uint32_t){~i}, 4);
	*(turned ? &k.dst_port : &k.src_port) = (uint16_t)(i * 7);
	*(turned ? &k.src_port : &k.dst_port) = 80;
	return k;
}

/* A flow is selected whole or not at all, with its reverse direction, and one of so many is. */
static void test_hash(void **state)
{
	struct sampler s;
	unsigned n = 0;

	(void)state;
	sampler_init(&s, &(struct sampler_config){SAMPLER_HASH, 10, 42});
	for (uint32_t i = 0; i < 100000; i++) {
		struct flow_key k = flow(i, false), back = flow(i, true);
		bool one = sampler_take_key(&s, &k);

		assert_int_equal(sampler_take_key(&s, &k), one);
		assert_int_equal(sampler_take_key(&s, &back), one);
		n += one;
	}
	assert_true(fabs(n - 10000.0) < 4 * sqrt(100000 * 0.1 * 0.9));
	assert_int_equal(s.selected, 3 * n);
	sampler_init(&s, &(struct sampler_config){SAMPLER_HASH, 1, 42});
	for (uint32_t i = 0; i < 1000; i++) {
		struct flow_key k = flow(i, false);

		assert_true(sampler_take_key(&s, &k));
	}
}

static void test_algorithms(void **state)
{
	(void)state;
	assert_int_equal(sampler_algorithm(SAMPLER_RANDOM), 4);
	assert_int_equal(sampler_algorithm(SAMPLER_SYSTEMATIC), 1);
	assert_int_equal(sampler_algorithm(SAMPLER_HASH), 6);
	assert_int_equal(sampler_algorithm(SAMPLER_NONE), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uniform),	   cmocka_unit_test(test_rare),
		cmocka_unit_test(test_systematic), cmocka_unit_test(test_hash),
		cmocka_unit_test(test_algorithms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
