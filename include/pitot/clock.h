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

/* Of two instants the one that comes first; UINT64_MAX is never. */
static inline uint64_t clock_sooner_ns(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

struct clock_time clock_now(void);
uint64_t clock_monotonic_ns(void);
uint64_t clock_realtime_ns(void);
/* What the calling thread has worked; waiting is no work. */
uint64_t clock_worked_ns(void);

/*
 * Test hook: what is to happen to the clock of this host, as PITOT_TEST_CLOCK says it, read by main in builds
 * with -Dtest_hooks=true only: "+3600@5,-3600@10,uptime=4294960000": it steps by so many seconds so many
 * seconds from now, and the program has been running for so many milliseconds.  0 or -EINVAL.
 */
int clock_plan(const char *text);
/* What the steps so far come to: for the packet times of the kernel, which knows nothing of them. */
uint64_t clock_planned_shift_ns(void);
uint64_t clock_planned_uptime_ns(void);

/*
 * Test hook: added to every realtime and monotonic reading from now on (signed, wraps as uint64_t).
 */
void clock_shift(int64_t realtime_ns, int64_t monotonic_ns);

#endif
