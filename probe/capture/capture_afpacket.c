/*
 * capture_afpacket: live capture from a TPACKET_V3 ring that is shared with the kernel.
 *
 * The kernel fills blocks of frames; recv lends frames where they lie and a block goes back once all of its
 * frames were lent and released, so a frame is never copied here.  One batch never spans two blocks.
 *
 * A block is handed over when it is full or after CAPTURE_BLOCK_MS with a frame in it.  Full blocks carry the
 * load at high rates: a wake-up costs as much as hundreds of frames, and a block of 1 MiB is some thousands
 * (of 256 KiB: 8 ns a frame more at 500,000 frames a second).  The time-out bounds the latency at low rates
 * to two ticks, 40 ms, for at most 50 wake-ups a second.  It also uses a block up however little is in it: 64
 * of them let the reader be away for 1.3 s on a slow link, so a small buffer has smaller blocks and not
 * fewer.
 *
 * Limits: Ethernet and interfaces without a link layer; all else is -EPROTONOSUPPORT, for libpcap to open.
 * "any" is opened where libpcap, which has it at the start, cannot do that any more.
 * On loopback, where the kernel shows each frame twice, only the received copy is taken (the sent one when
 * direction is out).
 */
#include "pitot/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_ending.h"
#include "capture/capture_filter.h"
#include "capture/capture_interface.h"
#include "capture/capture_plan.h"
#include "capture/capture_socket.h"
#include "pitot/clock.h"
#include "pitot/gate.h"
#include "pitot/link_type.h"

#define ASK_KERNEL_EVERY 16
#define STOP_QUIET_NS	 (3 * CAPTURE_BLOCK_MS * NS_PER_MSEC)
#define STOP_MAX_NS	 (1 * NS_PER_SEC)
#define DRAWS_MAX	 16

/* Frames from this one on were drawn in another way. */
struct afpacket_draw {
	uint64_t block; /* counted since open */
	uint32_t frame; /* of it */
	uint16_t mark;
};

struct afpacket {
	struct capture capture;
	struct capture_descriptor socket;
	bool has_filter;
	const struct capture_filter *filter; /* the plan's */
	uint8_t *ring;
	size_t ring_octets;
	uint64_t busy_poll_ns;

	uint32_t block;	     /* that is read now, or waited for */
	uint32_t left;	     /* frames of it that were not lent yet */
	const uint8_t *next; /* the first of those */
	bool has_block;	     /* block is ours */
	uint64_t n_returned; /* blocks that went back since open */
	uint32_t n_lent;     /* frames of block */
	uint16_t mark;	     /* of the next frame */
	unsigned n_draws;    /* changes that have not come yet */
	struct afpacket_draw draws[DRAWS_MAX];
	uint16_t point;
	enum capture_direction direction;
	unsigned n_asked; /* times without waiting and without a block */
	bool down;	  /* it was, and may be gone by now */
	struct capture_ending ending;
	uint64_t kernel_dropped;
	struct capture_plan_program *program; /* the plan's, in the place of the filter; may be NULL */
	struct capture_left_out left_out;     /* by it before, for another socket */
	bool tells_fill;
};

/* ---- open */

static int afpacket_fail(const struct afpacket *a, int err, const char *what, struct diag *diag)
{
	return diag_set(diag, -err, "%s: %s: %s", a->socket.facts.name, what, strerror(err));
}

static void afpacket_close(struct capture *c)
{
	struct afpacket *a = (struct afpacket *)c;

	if (a->ring)
		munmap(a->ring, a->ring_octets);
	capture_descriptor_close(&a->socket);
	capture_plan_release_program(a->program);
	free(a);
}

static int afpacket_map(struct afpacket *a, struct diag *diag)
{
	const struct capture_facts *facts = &a->socket.facts;
	size_t octets = (size_t)facts->n_blocks * facts->block_octets;
	void *ring = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, a->socket.fd, 0);

	if (ring == MAP_FAILED)
		return diag_set(diag, -errno,
				"%s: mapping a capture buffer of %zu MiB: %s (a smaller --buffer may do)",
				facts->name, octets >> 20, strerror(errno));
	a->ring = ring;
	a->ring_octets = octets;
	return 0;
}

static int afpacket_attach(const struct afpacket *a, struct diag *diag)
{
	int r = a->program ? capture_socket_program_attach(a->program->program, a->socket.fd)
			   : capture_filter_attach(a->socket.fd, a->filter);

	return r < 0 ? afpacket_fail(a, -r, a->program ? "SO_ATTACH_BPF" : "SO_ATTACH_FILTER", diag) : 0;
}

/* Where the kernel has no such program it gets the filter as it is, which counts nothing, and whoever meters
 * draws: no error. */
static bool afpacket_take_program(struct afpacket *a, const struct capture_plan *plan)
{
	struct diag none;

	a->program = capture_plan_take_program(plan, &a->socket.facts);
	if (!a->program)
		return false;
	a->left_out = capture_socket_program_left_out(a->program->program);
	if (afpacket_attach(a, &none) == 0)
		return true;
	capture_plan_release_program(a->program);
	a->program = NULL;
	return false;
}

static int afpacket_begin(struct afpacket *a, const struct capture_plan *plan, struct diag *diag)
{
	int r = capture_plan_filter(plan, &a->socket.facts, &a->filter, diag);

	if (r == 0)
		r = afpacket_map(a, diag);
	if (r < 0)
		return r;
	if (!afpacket_take_program(a, plan))
		return afpacket_attach(a, diag);
	a->capture.selects = capture_socket_program_draws(a->program->program);
	return 0;
}

int capture_open_socket(struct capture **cp, const struct capture_plan *plan,
			struct capture_descriptor *socket, struct diag *diag)
{
	const struct capture_config *config = &plan->config;
	struct afpacket *a = calloc(1, sizeof(*a));
	int r;

	if (!a) {
		capture_descriptor_close(socket);
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	}
	*a = (struct afpacket){
		.capture = {.ops = &capture_afpacket_ops,
			    .tells_direction = true,
			    .fd = socket->fd,
			    .link_type = socket->facts.link_type,
			    .system_ifindex = socket->facts.index,
			    .ifindex = config->ifindex ? config->ifindex : socket->facts.index,
			    .mtu = socket->facts.mtu,
			    .name = a->socket.facts.name},
		.socket = *socket,
		.point = config->point,
		.direction = config->direction,
		.has_filter = config->filter && *config->filter,
		.busy_poll_ns = config->busy_poll_us * NS_PER_USEC,
		.tells_fill = config->select_varies,
	};
	*socket = (struct capture_descriptor){.fd = -1};
	r = afpacket_begin(a, plan, diag);
	if (r < 0) {
		afpacket_close(&a->capture);
		return r;
	}
	*cp = &a->capture;
	return 0;
}

static int afpacket_describe(void *ctx, struct capture_descriptor *d, int group, struct diag *diag)
{
	const struct capture_plan *plan = ctx;

	return capture_describe(d, &plan->config, group, diag);
}

static int afpacket_open(struct capture **captures, const struct capture_plan *plan, struct diag *diag)
{
	unsigned n = capture_workers(&plan->config), opened = 0;
	struct capture_descriptor *sockets = calloc(n, sizeof(*sockets));
	int r;

	if (!sockets)
		return diag_set(diag, -ENOMEM, "%s: out of memory", plan->config.interface);
	r = capture_describe_all(sockets, n, afpacket_describe, (void *)(uintptr_t)plan, diag);
	for (unsigned i = 0; r == 0 && i < n; i++) {
		r = capture_open_socket(&captures[i], plan, &sockets[i], diag);
		if (r == 0)
			opened++;
		else
			for (unsigned k = i + 1; k < n; k++)
				capture_descriptor_close(&sockets[k]);
	}
	while (r < 0 && opened)
		capture_close(captures[--opened]);
	free(sockets);
	return r;
}

/* ---- waiting for a block */

static struct tpacket_block_desc *afpacket_block_at(const struct afpacket *a, uint32_t block)
{
	return (struct tpacket_block_desc *)(a->ring + (size_t)block * a->socket.facts.block_octets);
}

static struct tpacket_block_desc *afpacket_block(const struct afpacket *a)
{
	return afpacket_block_at(a, a->block);
}

/* Blocks that the kernel has handed over, the one that is read included; the next one is what it fills. */
static uint32_t afpacket_ready_blocks(const struct afpacket *a)
{
	uint32_t n_blocks = a->socket.facts.n_blocks, n = 0;

	while (n < n_blocks &&
	       __atomic_load_n(&afpacket_block_at(a, (a->block + n) % n_blocks)->hdr.bh1.block_status,
			       __ATOMIC_ACQUIRE) &
		       TP_STATUS_USER)
		n++;
	return n;
}

static void afpacket_return_block(struct afpacket *a)
{
	struct tpacket_hdr_v1 *h = &afpacket_block(a)->hdr.bh1;

	h->num_pkts = 0; /* until the kernel counts again: see afpacket_is_quiet() */
	__atomic_store_n(&h->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	a->block = a->block + 1 == a->socket.facts.n_blocks ? 0 : a->block + 1;
	a->has_block = false;
	a->n_returned++;
	a->n_lent = 0;
}

/* Takes over the next block if the kernel has handed it over. */
static bool afpacket_take_block(struct afpacket *a)
{
	struct tpacket_block_desc *d = afpacket_block(a);

	if (!(__atomic_load_n(&d->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	a->has_block = true;
	a->left = d->hdr.bh1.num_pkts;
	a->next = (const uint8_t *)d + d->hdr.bh1.offset_to_first_pkt;
	if (!a->left)
		afpacket_return_block(a); /* nobody would: there is nothing to release */
	return a->has_block;
}

/* SO_BUSY_POLL does nothing for packet sockets (they belong to no NAPI instance): watch the ring itself. */
static bool afpacket_spin(struct afpacket *a)
{
	uint64_t end_ns;

	if (!a->busy_poll_ns)
		return false;
	end_ns = clock_monotonic_ns() + a->busy_poll_ns;
	do {
		for (unsigned i = 0; i < 64; i++) {
			if (afpacket_take_block(a))
				return true;
			GATE_PAUSE();
		}
	} while (clock_monotonic_ns() < end_ns);
	return false;
}

/* After down and up the kernel resumes by itself.  Errors come once. */
static int afpacket_read_error(struct afpacket *a, struct diag *diag)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(a->socket.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == ENETDOWN || err == ENODEV || err == ENXIO)
		a->down = true;
	else if (err)
		return afpacket_fail(a, err, "capture", diag);
	return 0;
}

/*
 * Nothing comes in any more: has all that came been handed over?  The kernel counts the frames of the block
 * that it fills as it goes.
 */
static int afpacket_end(const struct afpacket *a)
{
	bool filling = __atomic_load_n(&afpacket_block(a)->hdr.bh1.num_pkts, __ATOMIC_RELAXED) != 0;

	return capture_ending_after(&a->ending, filling ? STOP_MAX_NS : STOP_QUIET_NS);
}

/* No block came.  That the interface is gone is told by nothing but the socket, which is bound to none then.
 */
static int afpacket_idle(struct afpacket *a)
{
	if (a->down && !a->ending.gone)
		a->down = !capture_ending_is_gone(&a->ending, a->socket.fd) &&
			  !capture_interface_is_up(a->socket.fd, a->socket.facts.index);
	return capture_ending_begun(&a->ending) ? afpacket_end(a) : 0;
}

/* 0 whether a block came or not. */
static int afpacket_wait(struct afpacket *a, int wait_ms, struct diag *diag)
{
	struct pollfd pfd = {.fd = a->socket.fd, .events = POLLIN};
	int n, r;

	if (wait_ms != 0 && afpacket_spin(a))
		return 0;
	/* a loop over several interfaces asks the silent ones all the time: a system call now and then will
	 * do */
	if (wait_ms == 0 && !capture_ending_begun(&a->ending) && !a->down && ++a->n_asked % ASK_KERNEL_EVERY)
		return 0;
	n = poll(&pfd, 1, capture_ending_wait_ms(&a->ending, wait_ms, CAPTURE_BLOCK_MS));
	if (n < 0)
		return errno == EINTR ? 0 : afpacket_fail(a, errno, "poll", diag);
	if (afpacket_take_block(a))
		return 0;
	if (n > 0 && (pfd.revents & (POLLERR | POLLHUP | POLLNVAL))) {
		r = afpacket_read_error(a, diag);
		if (r < 0)
			return r;
	}
	return afpacket_idle(a);
}

/* ---- the hot path */

static inline void afpacket_lend(const struct afpacket *a, struct frame *f, const uint8_t *at)
{
	const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)at;
	const struct sockaddr_ll *sll = (const struct sockaddr_ll *)(at + TPACKET_ALIGN(sizeof(*h)));
	uint16_t flags = sll->sll_pkttype == PACKET_OUTGOING ? FRAME_EGRESS : FRAME_INGRESS;
	uint16_t tpid = 0;

	if (h->tp_status & TP_STATUS_VLAN_VALID) {
		flags |= FRAME_VLAN;
		tpid = h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->hv1.tp_vlan_tpid : ETH_P_8021Q;
	}
	*f = (struct frame){
		.data = at + h->tp_mac,
		.cap_len = h->tp_snaplen,
		.wire_len = h->tp_len,
		.time_ns = h->tp_sec * NS_PER_SEC + h->tp_nsec,
		.ifindex = a->capture.ifindex,
		.point = a->point,
		.flags = flags,
		.vlan_tci = (uint16_t)h->hv1.tp_vlan_tci,
		.vlan_tpid = tpid,
	};
}

/* Whichever changes have come are in force; how many of the next n frames are of one draw. */
static unsigned afpacket_follow_draws(struct afpacket *a, unsigned n)
{
	const struct afpacket_draw *next = a->draws;

	while (a->n_draws &&
	       (next->block < a->n_returned || (next->block == a->n_returned && next->frame <= a->n_lent))) {
		a->mark = next->mark;
		a->n_draws--;
		memmove(a->draws, a->draws + 1, a->n_draws * sizeof(*a->draws));
	}
	if (a->n_draws && next->block == a->n_returned && next->frame - a->n_lent < n)
		n = next->frame - a->n_lent;
	return n;
}

/*
 * Of all interfaces: the header that libpcap would make (LINKTYPE_LINUX_SLL2), in the room in front of the
 * packet.  What loopback sends it receives, too, and once is enough.
 */
static bool afpacket_lend_cooked(const struct afpacket *a, struct frame *f, uint8_t *at)
{
	const struct tpacket3_hdr *h = (const struct tpacket3_hdr *)at;
	const struct sockaddr_ll *sll = (const struct sockaddr_ll *)(at + TPACKET_ALIGN(sizeof(*h)));
	uint8_t *header = at + h->tp_mac - CAPTURE_COOKED_HEADER;
	uint32_t index = htonl((uint32_t)sll->sll_ifindex);
	uint16_t hatype = htons(sll->sll_hatype);

	if (sll->sll_hatype == ARPHRD_LOOPBACK && sll->sll_pkttype == PACKET_OUTGOING &&
	    a->direction != CAPTURE_OUT)
		return false;
	afpacket_lend(a, f, at);
	memcpy(header, &sll->sll_protocol, 2);
	memset(header + 2, 0, 2);
	memcpy(header + 4, &index, 4);
	memcpy(header + 8, &hatype, 2);
	header[10] = sll->sll_pkttype;
	header[11] = sll->sll_halen;
	memcpy(header + 12, sll->sll_addr, 8);
	f->data = header;
	f->cap_len += CAPTURE_COOKED_HEADER;
	f->wire_len += CAPTURE_COOKED_HEADER;
	f->flags &= (uint16_t) ~(FRAME_INGRESS | FRAME_EGRESS); /* the header says it */
	return true;
}

static void afpacket_lend_cooked_batch(struct afpacket *a, struct frame_batch *b)
{
	const uint8_t *at = a->next;
	unsigned n = a->left < BATCH_MAX ? a->left : BATCH_MAX;

	for (unsigned i = 0; i < n; i++) {
		uint32_t step = ((const struct tpacket3_hdr *)at)->tp_next_offset;

		b->n += afpacket_lend_cooked(a, &b->frames[b->n], a->ring + (at - a->ring));
		at += step;
	}
	a->next = at;
	a->left -= n;
	if (b->n == 0 && a->left == 0)
		afpacket_return_block(a); /* nobody would: there is nothing to release */
}

static void afpacket_lend_batch(struct afpacket *a, struct frame_batch *b)
{
	unsigned n = a->left < BATCH_MAX ? a->left : BATCH_MAX;
	const uint8_t *at = a->next;

	if (__builtin_expect(a->n_draws > 0, 0))
		n = afpacket_follow_draws(a, n);
	for (unsigned i = 0; i < n; i++) {
		uint32_t step = ((const struct tpacket3_hdr *)at)->tp_next_offset;

		/* frames are alike in length: where the headers some places ahead should be */
		__builtin_prefetch(at + 6 * (size_t)step);
		afpacket_lend(a, &b->frames[i], at);
		at += step;
	}
	a->next = at;
	a->left -= n;
	a->n_lent += n;
	b->n = n;
	b->mark = a->mark;
}

static int afpacket_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct afpacket *a = (struct afpacket *)c;

	b->n = 0;
	if (!a->has_block && !afpacket_take_block(a)) {
		int r = afpacket_wait(a, wait_ms, diag);

		if (r || !a->has_block)
			return r;
	}
	if (a->capture.link_type == LINKTYPE_LINUX_SLL2)
		afpacket_lend_cooked_batch(a, b);
	else
		afpacket_lend_batch(a, b);
	return 0;
}

static void afpacket_release(struct capture *c, struct frame_batch *b)
{
	struct afpacket *a = (struct afpacket *)c;

	b->n = 0;
	if (!a->has_block || a->left)
		return;
	afpacket_return_block(a);
	capture_ending_put_off(&a->ending);
}

/* ---- the rest */

static void afpacket_stop(struct capture *c)
{
	struct afpacket *a = (struct afpacket *)c;

	(void)capture_filter_attach_closed(a->socket.fd);
	capture_ending_stop(&a->ending);
}

/* The kernel counts the frames of the block that it fills as it goes: behind those the new draw begins. */
static bool afpacket_draw(struct capture *c, uint32_t interval, uint16_t mark)
{
	struct afpacket *a = (struct afpacket *)c;
	uint32_t n_blocks = a->socket.facts.n_blocks, ready;
	struct afpacket_draw draw = {.mark = mark};

	if (a->n_draws == DRAWS_MAX)
		return false;
	capture_socket_program_draw(a->program->program, interval);
	ready = afpacket_ready_blocks(a);
	draw.block = a->n_returned + ready;
	if (ready < n_blocks)
		draw.frame = __atomic_load_n(
			&afpacket_block_at(a, (a->block + ready) % n_blocks)->hdr.bh1.num_pkts,
			__ATOMIC_RELAXED);
	a->draws[a->n_draws++] = draw;
	return true;
}

static int afpacket_get_stats(struct capture *c, struct capture_stats *stats)
{
	struct afpacket *a = (struct afpacket *)c;
	struct tpacket_stats_v3 kernel = {0};
	socklen_t len = sizeof(kernel);

	/* the kernel's counters start anew with every reading */
	if (getsockopt(a->socket.fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &len) < 0)
		return -errno;
	a->kernel_dropped += kernel.tp_drops;
	*stats = (struct capture_stats){
		.kernel_dropped = a->kernel_dropped,
		.filtered_unknown = a->has_filter && !a->program,
		.fill_percent = a->tells_fill ? 100 * afpacket_ready_blocks(a) / a->socket.facts.n_blocks : 0,
	};
	if (a->program) {
		struct capture_left_out n = capture_socket_program_left_out(a->program->program);

		stats->filtered = n.filtered - a->left_out.filtered;
		stats->filtered_octets = n.filtered_octets - a->left_out.filtered_octets;
		stats->unselected = n.unselected - a->left_out.unselected;
		stats->unselected_octets = n.unselected_octets - a->left_out.unselected_octets;
	}
	return 0;
}

/* ---- handing over */

static void afpacket_hand_over(struct capture *c, struct capture_descriptor *d,
			       struct capture_position *position)
{
	struct afpacket *a = (struct afpacket *)c;

	*d = a->socket;
	*position = (struct capture_position){.block = a->block};
	if (!a->has_block || !a->left)
		return;
	position->left = a->left;
	position->next = (uint32_t)(a->next - (const uint8_t *)afpacket_block(a));
}

/* The other process has set its own program. */
static int afpacket_resume(struct capture *c, struct diag *diag)
{
	return afpacket_attach((struct afpacket *)c, diag);
}

/* The kernel counts the frames of a block and says where each ends: the other process cannot say anything
 * else. */
static int afpacket_move_to(struct afpacket *a, const struct capture_position *p, struct diag *diag)
{
	uint32_t octets = a->socket.facts.block_octets;
	const struct tpacket_hdr_v1 *h;

	if (p->block >= a->socket.facts.n_blocks)
		return diag_set(diag, -EBADMSG, "%s: no such place in the ring", a->socket.facts.name);
	a->block = p->block;
	if (!p->left)
		return 0;
	h = &afpacket_block(a)->hdr.bh1;
	if (!(__atomic_load_n(&h->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) ||
	    p->left > h->num_pkts || p->next < h->offset_to_first_pkt || p->next % TPACKET_ALIGNMENT ||
	    octets < sizeof(struct tpacket3_hdr) || p->next > octets - sizeof(struct tpacket3_hdr))
		return diag_set(diag, -EBADMSG, "%s: no such place in the ring", a->socket.facts.name);
	a->has_block = true;
	a->left = p->left;
	a->n_lent = h->num_pkts - p->left;
	a->next = (const uint8_t *)afpacket_block(a) + p->next;
	return 0;
}

/* What it is, and that the ring is as it is said to be, the kernel knows: it maps no other size. */
int capture_take_over(struct capture **cp, const struct capture_plan *plan, struct capture_descriptor *socket,
		      const struct capture_position *position, struct diag *diag)
{
	int r, domain = 0, version = -1;
	socklen_t size = sizeof(domain);

	if (getsockopt(socket->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_PACKET ||
	    getsockopt(socket->fd, SOL_PACKET, PACKET_VERSION, &version, &size) < 0 ||
	    version != TPACKET_V3) {
		capture_descriptor_close(socket);
		return diag_set(diag, -EBADMSG, "%s: what was handed over is no capture",
				plan->config.interface);
	}
	socket->facts.name[sizeof(socket->facts.name) - 1] = '\0';
	r = capture_open_socket(cp, plan, socket, diag);
	if (r == 0)
		r = afpacket_move_to((struct afpacket *)*cp, position, diag);
	else
		return r;
	if (r < 0) {
		afpacket_close(*cp);
		*cp = NULL;
	}
	return r;
}

const struct capture_ops capture_afpacket_ops = {
	.name = "afpacket",
	.open = afpacket_open,
	.recv = afpacket_recv,
	.release = afpacket_release,
	.stop = afpacket_stop,
	.get_stats = afpacket_get_stats,
	.draw = afpacket_draw,
	.hand_over = afpacket_hand_over,
	.resume = afpacket_resume,
	.close = afpacket_close,
};
