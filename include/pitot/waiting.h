/*
 * waiting: how time passes for who waits: an argument, so that a test has a time of its own and does not
 * sleep.
 */
#ifndef PITOT_WAITING_H
#define PITOT_WAITING_H

#include <poll.h>
#include <stdint.h>

struct waiting {
	uint64_t (*now_ns)(void *ctx); /* monotonic */
	/* As poll(2): until one of them has something to say, at most so long. */
	int (*poll)(void *ctx, struct pollfd *fds, nfds_t n, int wait_ms);
	void *ctx;
};

/* The system's: clock_monotonic_ns() and poll(). */
extern const struct waiting waiting_really;

static inline uint64_t waiting_now_ns(const struct waiting *w)
{
	return w->now_ns(w->ctx);
}

static inline int waiting_poll(const struct waiting *w, struct pollfd *fds, nfds_t n, int wait_ms)
{
	return w->poll(w->ctx, fds, n, wait_ms);
}

#endif
