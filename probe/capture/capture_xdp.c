/*
 * capture_xdp: live capture by AF_XDP, from memory that the driver or the kernel writes frames into.
 *
 * A program in the receive path (capture_xdp_program.c) hands each frame to the socket of the queue that it
 * came in by: one socket for each receive queue, each with memory and rings of its own.  recv lends frames
 * where they lie, release gives their places back; with drivers that can (zero copy) nothing is copied at
 * all.
 *
 * What is captured does not reach the host: this is for ports that only listen (SPAN, taps).
 *
 * The kernel wakes a reader for every frame or few, which costs ten times what the frame does: while frames
 * come, recv does not wait for the next one but sleeps for up to NAP_MAX_NS and finds them all.
 *
 * There are no time stamps in these rings: a batch has the time at which it is taken.  A filter is run here,
 * on each frame; what it rejects is counted.  The outermost VLAN tag is in the frame, unless the card took it
 * out, and then it is lost.
 *
 * Limits: Ethernet; frames that come in; a frame in one piece, so an MTU of some 3800 octets; no loopback,
 * which the host's own programs need; one metering process.  In all of these open fails, and another method
 * is taken.
 */
#include "capture_xdp_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_socket.h"
#include "pitot/clock.h"

#define ROUNDS_MAX    16 /* batches that the filter emptied, in one call */
#define LOOK_EVERY    8
#define STOP_WAIT_MS  10
#define STOP_QUIET_NS (30 * NS_PER_MSEC)

static bool xdp_passes(struct xdp *x, const struct frame *f)
{
	/* what the filter tests may be beyond the snap length */
	if (capture_filter_passes(&x->filter, f->data, f->wire_len, f->wire_len))
		return true;
	x->filtered++;
	x->filtered_octets += f->wire_len;
	return false;
}

/* Up to a batch of one queue; how many descriptors there were. */
static unsigned xdp_lend_batch(struct xdp *x, struct xdp_queue *q, struct frame_batch *b)
{
	uint32_t at = 0, n = xsk_ring_cons__peek(&q->rx, BATCH_MAX, &at);
	uint64_t now_ns;

	if (n == 0)
		return 0;
	now_ns = clock_realtime_ns();
	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *d = xsk_ring_cons__rx_desc(&q->rx, at + i);
		struct frame *f = &b->frames[b->n];

		x->lent[i] = d->addr & ~(uint64_t)(x->chunk_octets - 1);
		*f = (struct frame){
			.data = q->area + d->addr,
			.cap_len = d->len < x->snap_len ? d->len : x->snap_len,
			.wire_len = d->len,
			.time_ns = now_ns,
			.ifindex = x->capture.ifindex,
			.point = x->point,
			.flags = FRAME_INGRESS,
		};
		__builtin_prefetch(f->data);
		b->n += !x->has_filter || xdp_passes(x, f);
	}
	xsk_ring_cons__release(&q->rx, n);
	x->lender = q;
	x->n_lent = n;
	x->busy = true;
	return n;
}

static void xdp_release(struct capture *c, struct frame_batch *b)
{
	struct xdp *x = (struct xdp *)c;
	struct xdp_queue *q = x->lender;
	uint32_t at = 0;

	b->n = 0;
	/* the ring has room for every place there is */
	if (!x->n_lent || !xsk_ring_prod__reserve(&q->fill, x->n_lent, &at))
		return;
	for (unsigned i = 0; i < x->n_lent; i++)
		*xsk_ring_prod__fill_addr(&q->fill, at + i) = x->lent[i];
	xsk_ring_prod__submit(&q->fill, x->n_lent);
	x->n_lent = 0;
	/* a driver that ran out of places sleeps until it is told */
	if (xsk_ring_prod__needs_wakeup(&q->fill))
		(void)recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* From the next queue that has something.  Batches of which the filter left nothing go back at once. */
static bool xdp_take(struct xdp *x, struct frame_batch *b)
{
	unsigned silent = 0;

	for (unsigned round = 0; silent < x->n_queues && round < ROUNDS_MAX + x->n_queues; round++) {
		struct xdp_queue *q = &x->queues[x->next_queue];
		unsigned n = xdp_lend_batch(x, q, b);

		x->next_queue = x->next_queue + 1 == x->n_queues ? 0 : x->next_queue + 1;
		if (n)
			capture_ending_put_off(&x->ending);
		if (b->n)
			return true;
		if (n)
			xdp_release(&x->capture, b);
		silent = n ? 0 : silent + 1;
	}
	return false;
}

/* Nothing came.  AF_XDP itself is silent about an interface that goes away. */
static int xdp_idle(struct xdp *x)
{
	(void)capture_ending_is_gone(&x->ending, x->interface_fd);
	return capture_ending_after(&x->ending, STOP_QUIET_NS);
}

/* Also for who does not want to wait: a loop that does nothing but ask would wake for each frame. */
static bool xdp_nap(struct xdp *x, struct frame_batch *b)
{
	const struct timespec nap = {.tv_nsec = (long)x->nap_ns};

	if (!x->busy || x->ending.stopping)
		return false;
	x->busy = false;
	(void)ppoll(NULL, 0, &nap, NULL);
	return xdp_take(x, b);
}

static int xdp_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct xdp *x = (struct xdp *)c;
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

	b->n = 0;
	if (xdp_take(x, b) || xdp_nap(x, b))
		return 0;
	/* a loop over several interfaces asks the silent ones all the time */
	if (wait_ms == 0 && !capture_ending_begun(&x->ending) && ++x->n_looked % LOOK_EVERY)
		return 0;
	if (poll(&pfd, 1, capture_ending_wait_ms(&x->ending, wait_ms, STOP_WAIT_MS)) < 0)
		return errno == EINTR ? 0 : capture_xdp_fail(x, errno, "poll", diag);
	if (xdp_take(x, b))
		return 0;
	return xdp_idle(x);
}

static void xdp_stop(struct capture *c)
{
	struct xdp *x = (struct xdp *)c;

	capture_xdp_program_set_gate(&x->program, false);
	capture_ending_stop(&x->ending);
}

/*
 * A frame for which there was no place is in rx_dropped; rx_fill_ring_empty_descs counts the same event once
 * more, and with zero copy something else: how often a driver asked in vain.
 */
static int xdp_get_stats(struct capture *c, struct capture_stats *stats)
{
	struct xdp *x = (struct xdp *)c;

	*stats = (struct capture_stats){
		.kernel_dropped = capture_xdp_program_missed(&x->program),
		.filtered = x->filtered,
		.filtered_octets = x->filtered_octets,
	};
	for (unsigned i = 0; i < x->n_queues; i++) {
		struct xdp_statistics s = {0};
		socklen_t len = sizeof(s);

		if (getsockopt(x->queues[i].fd, SOL_XDP, XDP_STATISTICS, &s, &len) < 0)
			return -errno;
		stats->kernel_dropped += s.rx_dropped + s.rx_ring_full;
	}
	return 0;
}

const struct capture_ops capture_xdp_ops = {
	.name = "xdp",
	.open = capture_xdp_open,
	.recv = xdp_recv,
	.release = xdp_release,
	.stop = xdp_stop,
	.get_stats = xdp_get_stats,
	.close = capture_xdp_close,
};
