/*
 * capture_socket_code: the program of a packet socket in eBPF: a filter's classic program, and behind it a
 * draw.
 *
 * It selects what the classic one selects, to the bit, and can do what that cannot: count.  What the filter
 * rejects is added to one pair of counters, what is not drawn to another; what is taken costs no counter.
 */
#ifndef CAPTURE_SOCKET_CODE_H
#define CAPTURE_SOCKET_CODE_H

#include <linux/bpf.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"

enum { SOCKET_COUNTERS_SHIFT = 6 };  /* a line of the cache for each processor */
#define SOCKET_DRAW_EVERY UINT64_MAX /* limit: no draw is needed */

/* Of each processor. */
struct socket_counters {
	struct socket_counter {
		_Alignas(16) uint64_t packets;
		uint64_t octets; /* as the socket sees the frame, with the tag that is beside it */
	} filtered, unselected;
} __attribute__((aligned(1 << SOCKET_COUNTERS_SHIFT)));

/* Shared with the kernel. */
struct socket_memory {
	_Alignas(1 << SOCKET_COUNTERS_SHIFT) uint64_t limit; /* a draw below it is taken; SOCKET_DRAW_EVERY */
	struct socket_counters counters[];
};

struct socket_code_config {
	const struct sock_filter *insns; /* all jumps go forward */
	unsigned n;
	unsigned n_uncounted; /* so many in front: what returns there is not counted */
	uint32_t header;      /* octets of a header that a frame has and the socket does not see */
	bool draws;
	int map_fd;	     /* a map whose only value is a struct socket_memory */
	unsigned n_counters; /* in it */
};

/*
 * The program, to be freed by the caller.  -EOPNOTSUPP and a sentence where there is none: for what pitot's
 * filters have no use.  The classic program is taken to be one that the kernel accepts.
 */
int socket_code_make(struct bpf_insn **insns, unsigned *n, const struct socket_code_config *config,
		     struct diag *why);

#endif
