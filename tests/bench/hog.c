/*
 * hog: a task that only computes, for as long as it is told.
 *
 *     hog SECONDS
 *
 * On standard output: iterations=, cpu_us= (its processor time), wall_us=.
 */
#include <inttypes.h>
#include <sys/resource.h>

#include "bench_file.h"
#include "pitot/clock.h"

enum { ROUND = 100000 };

static uint64_t hog_round(uint64_t x)
{
	for (unsigned i = 0; i < ROUND; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

int main(int argc, char **argv)
{
	uint64_t begin_ns = clock_monotonic_ns(), end_ns, rounds = 0, x = 88172645463325252u;
	struct rusage usage;

	if (argc != 2)
		bench_die("usage", "hog SECONDS");
	end_ns = begin_ns + bench_number(argv[1], 1, 86400) * NS_PER_SEC;
	while (clock_monotonic_ns() < end_ns) {
		x = hog_round(x);
		rounds++;
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("iterations=%" PRIu64 " cpu_us=%" PRIu64 " wall_us=%" PRIu64 " x=%" PRIu64 "\n", rounds,
	       (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec),
	       (clock_monotonic_ns() - begin_ns) / NS_PER_USEC, x);
	return 0;
}
