/*
 * take_over_wire: the conversation of a process that takes over with the one that it takes over from:
 * messages of one size on the connection to the control socket, behind the line that asked for it;
 * descriptors go beside them.
 */
#ifndef TAKE_OVER_WIRE_H
#define TAKE_OVER_WIRE_H

#include <stdint.h>

#include "pitot/descriptors.h"

enum { TAKE_OVER_FDS = DESCRIPTORS_MAX };

enum take_over_kind {
	/* by the new process */
	TAKE_OVER_FREEZE = 1,
	TAKE_OVER_COMMIT, /* value: the collectors whose sessions it has */
	/* by the older one */
	TAKE_OVER_MEMORY_PROCESS, /* value: octets; with the memory */
	TAKE_OVER_MEMORY_EXPORTING,
	TAKE_OVER_MEMORY_THREAD, /* number: which one */
	TAKE_OVER_SOCKETS_THREAD,
	TAKE_OVER_SOCKETS_EXPORTING,
	TAKE_OVER_LISTENER,
	TAKE_OVER_READY,
	TAKE_OVER_REFUSED, /* and why */
	TAKE_OVER_DONE,	   /* it has nothing any more */
};

struct take_over_message {
	uint32_t magic;
	uint32_t kind;
	uint32_t number;
	uint32_t n_fds;
	uint64_t value;
	char text[232];
};

/* 0 or negative errno; -ETIMEDOUT at deadline_ns (monotonic), -EPIPE when the other one is gone. */
int take_over_send(int fd, const struct take_over_message *m, const int *fds, unsigned n,
		   uint64_t deadline_ns);
/* fds: TAKE_OVER_FDS; m->n_fds of them are the caller's, and none on failure. */
int take_over_hear(int fd, struct take_over_message *m, int *fds, uint64_t deadline_ns);

#endif
