/*
 * capture_sampling: the kernel draws the packets of a socket, so that one that is not drawn costs next to
 * nothing: it is counted, and never copied.
 *
 * A socket filter for eBPF.  What it does not draw it counts, packets and octets, for each processor by
 * itself, in memory that is shared with whoever opened it: reading needs no system call, and processes that
 * are forked later read the same.  What direction leaves out is counted nowhere, as with any filter.
 *
 * Opening needs CAP_BPF or CAP_SYS_ADMIN; attaching needs nothing.
 */
#ifndef CAPTURE_SAMPLING_H
#define CAPTURE_SAMPLING_H

#include "pitot/capture.h"

struct capture_sampling;

struct capture_sampling_config {
	uint32_t interval; /* one packet of so many is drawn, each by itself; 1: all, 0: none */
	uint32_t snap_len;
	enum capture_direction direction;
};

struct capture_sampling_count {
	uint64_t packets, octets; /* as a socket sees them, with the tag that is beside the frame */
};

/* 0, or negative errno: -EOPNOTSUPP where pitot was built without libbpf. */
int capture_sampling_new(struct capture_sampling **sp, const struct capture_sampling_config *config);
void capture_sampling_free(struct capture_sampling *s); /* NULL is fine */

/* Sets the program of a packet socket, in place of the one before.  0 or negative errno. */
int capture_sampling_attach(const struct capture_sampling *s, int fd);
/* Another interval from the next packet on; by memory, so it needs nothing. */
void capture_sampling_set(struct capture_sampling *s, uint32_t interval);
/* Packets that were not drawn, since capture_sampling_new(), of all sockets that it was attached to. */
struct capture_sampling_count capture_sampling_left_out(const struct capture_sampling *s);

#endif
