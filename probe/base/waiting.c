/* waiting: see include/pitot/waiting.h. */
#include "pitot/waiting.h"

#include <time.h>

#include "pitot/clock.h"

static uint64_t waiting_system_now(void *ctx)
{
	(void)ctx;
	return clock_monotonic_ns();
}

/* One that fails at once, again and again, is no reason to keep a processor busy. */
static int waiting_system_poll(void *ctx, struct pollfd *fds, nfds_t n, int wait_ms)
{
	static const struct timespec moment = {.tv_nsec = NS_PER_MSEC / 10};
	int r = poll(fds, n, wait_ms);

	(void)ctx;
	if (r < 0)
		nanosleep(&moment, NULL);
	return r;
}

const struct waiting waiting_really = {.now_ns = waiting_system_now, .poll = waiting_system_poll};
