/*
 * capture_xdp_internal: what the files of capture_xdp share; see capture_xdp.c.
 */
#ifndef PITOT_CAPTURE_XDP_INTERNAL_H
#define PITOT_CAPTURE_XDP_INTERNAL_H

#include <xdp/xsk.h>

#include "capture/capture_ending.h"
#include "capture/capture_filter.h"
#include "capture/capture_interface.h"
#include "capture/capture_xdp_program.h"
#include "pitot/capture.h"

struct xdp_queue {
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completed; /* of sending; libxdp wants it */
	uint8_t *area;
	size_t area_octets;
	int fd;
};

struct xdp {
	struct capture capture;
	struct capture_interface interface;
	struct capture_xdp_program program;
	struct capture_filter filter;
	bool has_filter;
	int interface_fd; /* holds promiscuous mode, and knows when the interface is gone */
	int epoll_fd;	  /* over several queues; -1 with one */
	struct xdp_queue *queues;
	unsigned n_queues, next_queue;
	uint32_t chunk_octets; /* where one frame has its place */
	uint32_t n_chunks;     /* a queue; a power of two */
	uint32_t snap_len;
	uint16_t point;

	struct xdp_queue *lender;
	unsigned n_lent;
	uint64_t lent[BATCH_MAX]; /* chunks, with those that the filter rejected */

	uint64_t nap_ns;
	bool busy;	   /* frames came since the last nap */
	unsigned n_looked; /* times without waiting and without a frame */
	struct capture_ending ending;
	uint64_t filtered, filtered_octets;
};

/* capture_xdp_open.c */
int capture_xdp_open(struct capture **cp, const struct capture_plan *plan, struct diag *diag);
void capture_xdp_close(struct capture *c);
/* The sentence about errno err of what; -err. */
int capture_xdp_fail(const struct xdp *x, int err, const char *what, struct diag *diag);

#endif
