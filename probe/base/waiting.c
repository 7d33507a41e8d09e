/* waiting: see include/pitot/waiting.h. */
#include "pitot/waiting.h"

#include "pitot/clock.h"

static uint64_t waiting_system_now(void *ctx)
{
	(void)ctx;
	return clock_monotonic_ns();
}

static int waiting_system_poll(void *ctx, struct pollfd *fds, nfds_t n, int wait_ms)
{
	(void)ctx;
	return poll(fds, n, wait_ms);
}

const struct waiting waiting_really = {.now_ns = waiting_system_now, .poll = waiting_system_poll};
