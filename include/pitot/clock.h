/*
 * clock: the only clock_gettime() in the tree.  Everything else is handed its time.
 *
 * Instants are nanoseconds in uint64_t.  realtime counts from 1970-01-01T00:00:00Z and may step; monotonic
 * only grows and is what timers use.
 */
#ifndef PITOT_CLOCK_H
#define PITOT_CLOCK_H

#include <stdint.h>

#define NS_PER_SEC  UINT64_C(1000000000)
#define NS_PER_MSEC UINT64_C(1000000)
#define NS_PER_USEC UINT64_C(1000)

struct clock_time {
	uint64_t realtime_ns;
	uint64_t monotonic_ns;
};

struct clock_time clock_now(void);
uint64_t clock_monotonic_ns(void);
uint64_t clock_realtime_ns(void);

/*
 * Test hook: added to every realtime and monotonic reading from now on (signed, wraps as uint64_t).  Set from
 * PITOT_TEST_CLOCK by main in builds with -Dtest_hooks=true only.
 */
void clock_shift(int64_t realtime_ns, int64_t monotonic_ns);

#endif
