/*
 * capture_ending: the end of a capture of an interface, which was told to stop or is gone.
 *
 * Either way nothing comes in any more, and what came before is handed over first: the capture is at its end
 * when nothing was left for some time.
 */
#ifndef CAPTURE_ENDING_H
#define CAPTURE_ENDING_H

#include "capture/capture_socket.h"
#include "pitot/capture.h"
#include "pitot/clock.h"

struct capture_ending {
	bool stopping, gone;
	uint64_t quiet_ns; /* since when nothing came */
};

static inline bool capture_ending_begun(const struct capture_ending *e)
{
	return e->stopping || e->gone;
}

static inline void capture_ending_stop(struct capture_ending *e)
{
	e->stopping = true;
	e->quiet_ns = clock_monotonic_ns();
}

/* Frames came. */
static inline void capture_ending_put_off(struct capture_ending *e)
{
	if (capture_ending_begun(e))
		e->quiet_ns = clock_monotonic_ns();
}

/* Whether the interface of this packet socket is gone by now. */
static inline bool capture_ending_is_gone(struct capture_ending *e, int fd)
{
	if (!e->gone && capture_socket_is_gone(fd)) {
		e->gone = true;
		e->quiet_ns = e->stopping ? e->quiet_ns : clock_monotonic_ns();
	}
	return e->gone;
}

/* 0, or what recv() says when nothing came for so long. */
static inline int capture_ending_after(const struct capture_ending *e, uint64_t silent_ns)
{
	if (!capture_ending_begun(e) || clock_monotonic_ns() - e->quiet_ns <= silent_ns)
		return 0;
	return e->stopping ? CAPTURE_E_END : CAPTURE_E_GONE;
}

/* How long recv() waits that was told to wait so long. */
static inline int capture_ending_wait_ms(const struct capture_ending *e, int wait_ms, int most_ms)
{
	return capture_ending_begun(e) && (wait_ms < 0 || wait_ms > most_ms) ? most_ms : wait_ms;
}

#endif
