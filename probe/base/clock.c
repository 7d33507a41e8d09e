/* clock: see include/pitot/clock.h. */
#include "pitot/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS_MAX = 16 };

static struct clock_step {
	uint64_t at_ns; /* monotonic */
	uint64_t shift_ns;
} steps[STEPS_MAX];
static unsigned n_steps;
static uint64_t planned_uptime_ns;

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
	uint64_t now_ns = clock_read(CLOCK_REALTIME, realtime_shift_ns);

	return n_steps ? now_ns + clock_planned_shift_ns() : now_ns;
}

uint64_t clock_worked_ns(void)
{
	return clock_read(CLOCK_THREAD_CPUTIME_ID, 0);
}

uint64_t clock_monotonic_ns(void)
{
	return clock_read(CLOCK_MONOTONIC, monotonic_shift_ns);
}

struct clock_time clock_now(void)
{
	return (struct clock_time){.realtime_ns = clock_realtime_ns(), .monotonic_ns = clock_monotonic_ns()};
}

void clock_shift(int64_t realtime_ns, int64_t monotonic_ns)
{
	realtime_shift_ns = realtime_ns;
	monotonic_shift_ns = monotonic_ns;
}

int clock_plan(const char *text)
{
	uint64_t start_ns = clock_monotonic_ns();

	while (*text) {
		char *end;

		if (!strncmp(text, "uptime=", 7)) {
			planned_uptime_ns = strtoull(text + 7, &end, 10) * NS_PER_MSEC;
		} else {
			int64_t step_s = strtoll(text, &end, 10);

			if (end == text || *end != '@' || n_steps == STEPS_MAX)
				return -EINVAL;
			steps[n_steps].shift_ns = (uint64_t)step_s * NS_PER_SEC;
			steps[n_steps++].at_ns = start_ns + strtoull(end + 1, &end, 10) * NS_PER_SEC;
		}
		if (*end && *end != ',')
			return -EINVAL;
		text = *end ? end + 1 : end;
	}
	return 0;
}

uint64_t clock_planned_shift_ns(void)
{
	uint64_t shift_ns = 0, now_ns = n_steps ? clock_monotonic_ns() : 0;

	for (unsigned i = 0; i < n_steps; i++)
		if (now_ns >= steps[i].at_ns)
			shift_ns += steps[i].shift_ns;
	return shift_ns;
}

uint64_t clock_planned_uptime_ns(void)
{
	return planned_uptime_ns;
}
