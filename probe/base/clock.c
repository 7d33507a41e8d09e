/* clock: see include/pitot/clock.h. */
#include "pitot/clock.h"

#include <time.h>

static int64_t realtime_shift_ns;
static int64_t monotonic_shift_ns;

static uint64_t clock_read(clockid_t id, int64_t shift_ns)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec + (uint64_t)shift_ns;
}

uint64_t clock_realtime_ns(void)
{
	return clock_read(CLOCK_REALTIME, realtime_shift_ns);
}

uint64_t clock_monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC, monotonic_shift_ns);
}

struct clock_time clock_now(void)
{
	return (struct clock_time){ .realtime_ns = clock_realtime_ns(), .monotonic_ns = clock_monotonic_ns() };
}

void clock_shift(int64_t realtime_ns, int64_t monotonic_ns)
{
	realtime_shift_ns = realtime_ns;
	monotonic_shift_ns = monotonic_ns;
}
