/*
 * capture_afpacket: live capture from a TPACKET_V3 ring that is shared with the kernel.
 *
 * The kernel fills blocks of frames; recv lends frames where they lie and a block goes back once all of its
 * frames were lent and released, so a frame is never copied here.  One batch never spans two blocks.
 *
 * A block is handed over when it is full or after BLOCK_TIMEOUT_MS with a frame in it.  Full blocks carry the
 * load at high rates: a wake-up costs as much as hundreds of frames, and a block of 1 MiB is some thousands
 * (of 256 KiB: 8 ns a frame more at 500,000 frames a second).  The time-out bounds the latency at low rates
 * to two ticks, 40 ms, for at most 50 wake-ups a second.  It also uses a block up however little is in it: 64
 * of them let the reader be away for 1.3 s on a slow link, so a small buffer has smaller blocks and not
 * fewer.
 *
 * Limits: Ethernet and interfaces without a link layer; all else is -EPROTONOSUPPORT, for libpcap to open.
 * On loopback, where the kernel shows each frame twice, only the received copy is taken (the sent one when
 * direction is out).
 */
#include "pitot/capture.h"

#include <errno.h>
#include <net/if.h> /* before linux/if.h, which gives way to it */
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_filter.h"
#include "capture/capture_interface.h"
#include "pitot/clock.h"

#define BLOCK_TIMEOUT_MS 20
#define BLOCK_MAX	 (1024u * 1024)
#define BLOCK_MIN	 (64u * 1024)
#define BLOCKS_WANTED	 16
#define BLOCKS_MIN	 2
#define FRAME_OCTETS	 2048 /* a formality: V3 frames take what they need */
#define ASK_KERNEL_EVERY 16
#define STOP_QUIET_NS	 (3 * BLOCK_TIMEOUT_MS * NS_PER_MSEC)

#if defined(__x86_64__) || defined(__i386__)
#define SPIN_PAUSE() __builtin_ia32_pause()
#else
#define SPIN_PAUSE() ((void)0)
#endif

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW	  101

struct afpacket {
	struct capture capture;
	struct capture_interface interface;
	struct capture_interface_drops interface_drops;
	int fd;
	uint8_t *ring;
	size_t ring_octets;
	uint32_t block_octets;
	uint32_t n_blocks;
	uint64_t busy_poll_ns;

	uint32_t block;	     /* that is read now, or waited for */
	uint32_t left;	     /* frames of it that were not lent yet */
	const uint8_t *next; /* the first of those */
	bool has_block;	     /* block is ours */
	uint16_t point;
	unsigned n_asked; /* times without waiting and without a block */
	bool down;
	bool stopping;
	uint64_t stop_ns; /* stopping: when the last block came */
	uint64_t kernel_dropped;
};

/* ---- open */

/* The socket's frames start at the link layer, or at the network layer where the former is not the wire's. */
static int afpacket_set_link_type(struct afpacket *a, int *socket_type, struct diag *diag)
{
	switch (a->interface.arphrd) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		a->capture.link_type = LINKTYPE_ETHERNET;
		*socket_type = SOCK_RAW;
		return 0;
	case ARPHRD_NONE: /* tun, WireGuard */
	case ARPHRD_RAWIP:
	case ARPHRD_PPP: /* some drivers show a PPP header and some do not */
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		a->capture.link_type = LINKTYPE_RAW;
		*socket_type = SOCK_DGRAM;
		return 0;
	default:
		return diag_set(diag, -EPROTONOSUPPORT,
				"%s: AF_PACKET capture does not know link type ARPHRD %u: use --capture pcap",
				a->interface.name, a->interface.arphrd);
	}
}

static int afpacket_fail(struct afpacket *a, int err, const char *what, struct diag *diag)
{
	if (err == EPERM || err == EACCES)
		return capture_interface_refused(a->interface.name, -err, diag);
	return diag_set(diag, -err, "%s: %s: %s", a->interface.name, what, strerror(err));
}

/* Protocol 0: until it is bound the socket receives nothing. */
static int afpacket_open_socket(struct afpacket *a, int type, struct diag *diag)
{
	a->fd = socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return afpacket_fail(a, errno, "AF_PACKET socket", diag);
	return 0;
}

static uint32_t afpacket_block_octets(const struct capture_config *config)
{
	uint64_t octets = BLOCK_MAX;

	while (octets > BLOCK_MIN && octets * BLOCKS_WANTED > config->buffer_octets)
		octets /= 2;
	/* the longest frame and what the kernel writes around it must fit: what does not is cut by the kernel
	 */
	while (octets < (uint64_t)config->snap_len + 4096 && octets < (1u << 30))
		octets *= 2;
	return (uint32_t)octets;
}

static int afpacket_map_ring(struct afpacket *a, const struct capture_config *config, struct diag *diag)
{
	struct tpacket_req3 req = {0};
	int version = TPACKET_V3;
	uint64_t n_blocks;

	a->block_octets = afpacket_block_octets(config);
	n_blocks = config->buffer_octets / a->block_octets;
	if (n_blocks < BLOCKS_MIN)
		n_blocks = BLOCKS_MIN;
	if (n_blocks * (a->block_octets / FRAME_OCTETS) > UINT32_MAX / 2)
		return diag_set(diag, -E2BIG,
				"%s: a buffer of %llu octets is more than the kernel takes: make --buffer "
				"smaller",
				a->interface.name, (unsigned long long)config->buffer_octets);
	a->n_blocks = (uint32_t)n_blocks;
	a->ring_octets = (size_t)n_blocks * a->block_octets;
	if (setsockopt(a->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return afpacket_fail(a, errno, "TPACKET_V3", diag);
	req = (struct tpacket_req3){
		.tp_block_size = a->block_octets,
		.tp_block_nr = a->n_blocks,
		.tp_frame_size = FRAME_OCTETS,
		.tp_frame_nr = a->n_blocks * (a->block_octets / FRAME_OCTETS),
		.tp_retire_blk_tov = BLOCK_TIMEOUT_MS,
	};
	if (setsockopt(a->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return diag_set(diag, -errno,
				"%s: a capture buffer of %zu MiB: %s (a smaller --buffer may do)",
				a->interface.name, a->ring_octets >> 20, strerror(errno));
	a->ring = mmap(NULL, a->ring_octets, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	if (a->ring == MAP_FAILED) {
		a->ring = NULL;
		return diag_set(diag, -errno,
				"%s: mapping a capture buffer of %zu MiB: %s (a smaller --buffer may do)",
				a->interface.name, a->ring_octets >> 20, strerror(errno));
	}
	return 0;
}

static int afpacket_set_promiscuous(struct afpacket *a, struct diag *diag)
{
	struct packet_mreq mreq = {.mr_ifindex = (int)a->interface.index, .mr_type = PACKET_MR_PROMISC};

	if (setsockopt(a->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return afpacket_fail(a, errno, "promiscuous mode (--no-promiscuous does without)", diag);
	return 0;
}

/*
 * A socket can join a fan-out group only after it is bound, and until then it gets what the other members
 * get: it is bound with everything shut out.
 */
static int afpacket_bind(struct afpacket *a, const struct capture_config *config, struct diag *diag)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol =
			__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? ETH_P_ALL : __builtin_bswap16(ETH_P_ALL),
		.sll_ifindex = (int)a->interface.index,
	};
	int group;

	if (bind(a->fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return afpacket_fail(a, errno, "bind", diag);
	if (config->fanout_group < 0)
		return 0;
	group = (config->fanout_group & 0xffff) | (int)((unsigned)config->fanout_mode << 16);
	if (setsockopt(a->fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof(group)) < 0)
		return afpacket_fail(a, errno, "PACKET_FANOUT", diag);
	return 0;
}

static int afpacket_start(struct afpacket *a, const struct capture_config *config, struct diag *diag)
{
	struct capture_filter_config filter_config = {
		.expression = config->filter,
		.interface = a->interface.name,
		.link_type = a->capture.link_type,
		.snap_len = config->snap_len,
		.direction = config->direction,
	};
	struct capture_filter filter;
	int one = 1, r;

	if (a->interface.loopback && config->direction == CAPTURE_BOTH)
		filter_config.direction = CAPTURE_IN;
	r = capture_filter_compile(&filter, &filter_config, diag);
	if (r < 0)
		return r;
	/* the filter has it already; where the kernel knows this option it saves it the copy */
	if (filter_config.direction == CAPTURE_IN)
		(void)setsockopt(a->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	r = capture_filter_attach_closed(a->fd);
	if (r < 0)
		r = afpacket_fail(a, -r, "SO_ATTACH_FILTER", diag);
	if (r == 0)
		r = afpacket_bind(a, config, diag);
	if (r == 0) {
		r = capture_filter_attach(a->fd, &filter);
		if (r < 0)
			r = afpacket_fail(a, -r, "SO_ATTACH_FILTER", diag);
	}
	capture_filter_deinit(&filter);
	return r;
}

static void afpacket_close(struct capture *c)
{
	struct afpacket *a = (struct afpacket *)c;

	if (a->ring)
		munmap(a->ring, a->ring_octets);
	if (a->fd >= 0)
		close(a->fd);
	capture_interface_drops_close(&a->interface_drops);
	free(a);
}

static int afpacket_open_steps(struct afpacket *a, const struct capture_config *config, struct diag *diag)
{
	int socket_type = SOCK_RAW, r;

	r = capture_interface_get(&a->interface, config->interface, diag);
	if (r == 0)
		r = afpacket_set_link_type(a, &socket_type, diag);
	if (r == 0)
		r = afpacket_open_socket(a, socket_type, diag);
	if (r == 0)
		r = afpacket_map_ring(a, config, diag);
	if (r == 0 && config->promiscuous)
		r = afpacket_set_promiscuous(a, diag);
	if (r == 0)
		r = afpacket_start(a, config, diag);
	return r;
}

static int afpacket_open(struct capture **cp, const struct capture_config *config, struct diag *diag)
{
	struct afpacket *a;
	int r;

	if (strcmp(config->interface, "any") == 0)
		return diag_set(diag, -EPROTONOSUPPORT,
				"AF_PACKET capture opens one interface, not \"any\": "
				"use --capture pcap");
	a = calloc(1, sizeof(*a));
	if (!a)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	a->fd = -1;
	a->interface_drops = (struct capture_interface_drops){.fds = {-1, -1}};
	a->point = config->point;
	a->busy_poll_ns = config->busy_poll_us * NS_PER_USEC;
	r = afpacket_open_steps(a, config, diag);
	if (r < 0) {
		afpacket_close(&a->capture);
		return r;
	}
	capture_interface_drops_open(&a->interface_drops, a->interface.name);
	a->capture.ops = &capture_afpacket_ops;
	a->capture.is_live = true;
	a->capture.fd = a->fd;
	a->capture.ifindex = config->ifindex ? config->ifindex : a->interface.index;
	a->capture.mtu = a->interface.mtu;
	a->capture.name = a->interface.name;
	*cp = &a->capture;
	return 0;
}

/* ---- waiting for a block */

static struct tpacket_block_desc *afpacket_block(const struct afpacket *a)
{
	return (struct tpacket_block_desc *)(a->ring + (size_t)a->block * a->block_octets);
}

static void afpacket_return_block(struct afpacket *a)
{
	__atomic_store_n(&afpacket_block(a)->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	a->block = a->block + 1 == a->n_blocks ? 0 : a->block + 1;
	a->has_block = false;
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
	a->down = false;
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
			SPIN_PAUSE();
		}
	} while (clock_monotonic_ns() < end_ns);
	return false;
}

static int afpacket_read_error(struct afpacket *a, struct diag *diag)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == ENETDOWN || err == ENODEV || err == ENXIO) {
		a->down = true;
		return CAPTURE_E_DOWN;
	}
	return err ? afpacket_fail(a, err, "capture", diag) : 0;
}

/* No block came.  The kernel resumes by itself after down and up, but not after the interface was deleted. */
static int afpacket_idle(struct afpacket *a)
{
	if (a->stopping)
		return clock_monotonic_ns() - a->stop_ns > STOP_QUIET_NS ? CAPTURE_E_END : 0;
	if (a->down) {
		a->down = !capture_interface_is_up(a->fd, a->interface.index);
		return a->down ? CAPTURE_E_DOWN : 0;
	}
	return 0;
}

/* 0 whether a block came or not. */
static int afpacket_wait(struct afpacket *a, int wait_ms, struct diag *diag)
{
	struct pollfd pfd = {.fd = a->fd, .events = POLLIN};
	int n, r;

	if (wait_ms != 0 && afpacket_spin(a))
		return 0;
	/* a loop over several interfaces asks the silent ones all the time: a system call now and then will
	 * do */
	if (wait_ms == 0 && !a->stopping && ++a->n_asked % ASK_KERNEL_EVERY)
		return 0;
	if (a->stopping && (wait_ms < 0 || wait_ms > BLOCK_TIMEOUT_MS))
		wait_ms = BLOCK_TIMEOUT_MS;
	n = poll(&pfd, 1, wait_ms);
	if (n < 0)
		return errno == EINTR ? 0 : afpacket_fail(a, errno, "poll", diag);
	if (afpacket_take_block(a))
		return 0;
	if (n > 0 && (pfd.revents & (POLLERR | POLLHUP | POLLNVAL))) {
		r = afpacket_read_error(a, diag);
		if (r < 0 || (r > 0 && !a->stopping))
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
		.segments = 1,
	};
}

static void afpacket_lend_batch(struct afpacket *a, struct frame_batch *b)
{
	unsigned n = a->left < BATCH_MAX ? a->left : BATCH_MAX;
	const uint8_t *at = a->next;

	for (unsigned i = 0; i < n; i++) {
		uint32_t step = ((const struct tpacket3_hdr *)at)->tp_next_offset;

		/* frames are alike in length: where the headers some places ahead should be */
		__builtin_prefetch(at + 6 * (size_t)step);
		afpacket_lend(a, &b->frames[i], at);
		at += step;
	}
	a->next = at;
	a->left -= n;
	b->n = n;
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
	if (a->stopping)
		a->stop_ns = clock_monotonic_ns();
}

/* ---- the rest */

static void afpacket_stop(struct capture *c)
{
	struct afpacket *a = (struct afpacket *)c;

	(void)capture_filter_attach_closed(a->fd);
	a->stopping = true;
	a->stop_ns = clock_monotonic_ns();
}

static int afpacket_get_stats(struct capture *c, struct capture_stats *stats)
{
	struct afpacket *a = (struct afpacket *)c;
	struct tpacket_stats_v3 kernel = {0};
	socklen_t len = sizeof(kernel);

	/* the kernel's counters start anew with every reading */
	if (getsockopt(a->fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &len) < 0)
		return -errno;
	a->kernel_dropped += kernel.tp_drops;
	*stats = (struct capture_stats){
		.kernel_dropped = a->kernel_dropped,
		.interface_dropped = capture_interface_drops_read(&a->interface_drops),
	};
	return 0;
}

const struct capture_ops capture_afpacket_ops = {
	.name = "afpacket",
	.open = afpacket_open,
	.recv = afpacket_recv,
	.release = afpacket_release,
	.stop = afpacket_stop,
	.get_stats = afpacket_get_stats,
	.close = afpacket_close,
};
