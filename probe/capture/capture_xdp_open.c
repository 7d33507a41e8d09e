/* capture_xdp_open: the sockets, memory and program of an AF_XDP capture. */
#include "capture_xdp_internal.h"

#include <errno.h>
#include <net/if.h> /* before linux/if.h, which gives way to it */
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "capture/capture_plan.h"
#include "pitot/clock.h"
#include "pitot/link_type.h"

#define QUEUES_MAX   256
#define CHUNKS_MIN   (2 * BATCH_MAX)
#define HEADROOM     256 /* XDP_PACKET_HEADROOM, in front of each frame */
#define LINK_OCTETS  (ETH_HLEN + 2 * 4)
#define NAP_MAX_NS   NS_PER_MSEC
#define NAP_CHUNK_NS 60	 /* a place: at 16 million frames a second a queue is not full before */
#define BUSY_TRIES   100 /* of BUSY_NAP_MS: a queue that was closed is free a moment later */
#define BUSY_NAP_MS  10

int capture_xdp_fail(const struct xdp *x, int err, const char *what, struct diag *diag)
{
	if (err == EPERM || err == EACCES)
		return diag_set(
			diag, -err,
			"%s: XDP needs a privilege that is missing (CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW)",
			x->interface.name);
	return diag_set(diag, -err, "%s: XDP: %s: %s", x->interface.name, what, strerror(err));
}

static int xdp_check(const struct xdp *x, const struct capture_config *config, struct diag *diag)
{
	const char *name = x->interface.name;

	if (x->interface.arphrd != ARPHRD_ETHER)
		return diag_set(diag, -EOPNOTSUPP, "%s: XDP capture is for Ethernet, and not for loopback",
				name);
	if (config->direction == CAPTURE_OUT)
		return diag_set(diag, -EOPNOTSUPP, "%s: XDP sees only what comes in, and not --direction out",
				name);
	if (config->workers > 1)
		return diag_set(diag, -EOPNOTSUPP, "%s: XDP capture is for one worker, and not --workers",
				name);
	return 0;
}

/* The smaller place where frames fit: twice as many of them in the same memory. */
static int xdp_set_sizes(struct xdp *x, const struct capture_config *config, struct diag *diag)
{
	uint64_t frame_octets = (uint64_t)x->interface.mtu + LINK_OCTETS + HEADROOM, wanted;

	x->chunk_octets = frame_octets <= 2048 ? 2048 : 4096;
	if (frame_octets > x->chunk_octets)
		return diag_set(diag, -EOPNOTSUPP,
				"%s: XDP capture is for an MTU of up to %u, and here it is %u",
				x->interface.name, 4096 - HEADROOM - LINK_OCTETS, x->interface.mtu);
	wanted = config->buffer_octets / x->chunk_octets / x->n_queues;
	x->n_chunks = CHUNKS_MIN;
	while (x->n_chunks < 1u << 24 && (uint64_t)x->n_chunks * 2 <= wanted)
		x->n_chunks *= 2;
	x->nap_ns = (uint64_t)x->n_chunks * NAP_CHUNK_NS;
	x->nap_ns = x->nap_ns < NAP_MAX_NS ? x->nap_ns : NAP_MAX_NS;
	return 0;
}

static unsigned xdp_count_queues(const struct xdp *x)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&channels};
	uint64_t n;

	memcpy(ifr.ifr_name, x->interface.name, sizeof(ifr.ifr_name));
	if (ioctl(x->interface_fd, SIOCETHTOOL, &ifr) < 0)
		return 1; /* a driver that has nothing to tell has one */
	n = (uint64_t)channels.rx_count + channels.combined_count;
	return n == 0 ? 1 : n > QUEUES_MAX ? QUEUES_MAX : (unsigned)n;
}

/* A packet socket without a protocol receives nothing; it can do the rest.  Bound it is for being unbound. */
static int xdp_open_interface(struct xdp *x, const struct capture_config *config, struct diag *diag)
{
	struct packet_mreq mreq = {.mr_ifindex = (int)x->interface.index, .mr_type = PACKET_MR_PROMISC};
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_ifindex = (int)x->interface.index};

	x->interface_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (x->interface_fd < 0)
		return capture_xdp_fail(x, errno, "AF_PACKET socket", diag);
	if (bind(x->interface_fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return capture_xdp_fail(x, errno, "bind", diag);
	if (config->promiscuous &&
	    setsockopt(x->interface_fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return capture_xdp_fail(x, errno, "promiscuous mode (--no-promiscuous does without)", diag);
	return 0;
}

static int xdp_compile(struct xdp *x, const struct capture_config *config, struct diag *diag)
{
	const struct capture_filter_config filter_config = {
		.expression = config->filter,
		.place = FILTER_FRAMES,
		.link_type = LINKTYPE_ETHERNET,
		.direction = CAPTURE_IN, /* all of them */
	};
	int r;

	if (!config->filter || !*config->filter)
		return 0;
	r = capture_filter_compile(&x->filter, &filter_config, diag);
	x->has_filter = r == 0;
	return r;
}

/* All places are the kernel's at first. */
static void xdp_fill(struct xdp *x, struct xdp_queue *q)
{
	uint32_t at = 0, n = xsk_ring_prod__reserve(&q->fill, x->n_chunks, &at);

	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&q->fill, at + i) = (uint64_t)i * x->chunk_octets;
	xsk_ring_prod__submit(&q->fill, n);
}

static void xdp_close_queue(struct xdp_queue *q)
{
	if (q->socket)
		xsk_socket__delete(q->socket);
	if (q->umem)
		(void)xsk_umem__delete(q->umem);
	if (q->area)
		munmap(q->area, q->area_octets);
	*q = (struct xdp_queue){0};
}

static int xdp_try_queue(struct xdp *x, struct xdp_queue *q, unsigned number, struct diag *diag)
{
	/* rings as long as there are places: then only the places can run out */
	const struct xsk_umem_config memory = {
		.fill_size = x->n_chunks, .comp_size = 64, .frame_size = x->chunk_octets};
	const struct xsk_socket_config config = {
		.rx_size = x->n_chunks,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		/* zero copy where the driver has it and its place for programs is ours */
		.bind_flags = (uint16_t)(XDP_USE_NEED_WAKEUP | (x->program.generic ? XDP_COPY : 0)),
	};
	size_t octets = (size_t)x->n_chunks * x->chunk_octets;
	/* shared: the kernel writes to these very pages, also when the process was forked meanwhile */
	void *area = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	if (area == MAP_FAILED)
		return capture_xdp_fail(x, errno, "memory for frames (a smaller --buffer may do)", diag);
	q->area = area;
	q->area_octets = octets;
	(void)madvise(area, octets, MADV_HUGEPAGE);
	r = xsk_umem__create(&q->umem, area, octets, &q->fill, &q->completed, &memory);
	if (r < 0)
		return capture_xdp_fail(x, -r, "memory for frames (a smaller --buffer may do)", diag);
	xdp_fill(x, q);
	r = xsk_socket__create(&q->socket, x->interface.name, number, q->umem, &q->rx, NULL, &config);
	if (r < 0)
		return capture_xdp_fail(x, -r, "AF_XDP socket", diag);
	q->fd = xsk_socket__fd(q->socket);
	r = capture_xdp_program_add(&x->program, number, q->fd);
	return r < 0 ? capture_xdp_fail(x, -r, "AF_XDP socket of a queue", diag) : 0;
}

/* What another socket had to do with a queue, also one of a process that has ended, the kernel puts away
 * later. */
static int xdp_open_queue(struct xdp *x, struct xdp_queue *q, unsigned number, struct diag *diag)
{
	int r = xdp_try_queue(x, q, number, diag);

	for (unsigned i = 0; r == -EBUSY && i < BUSY_TRIES; i++) {
		xdp_close_queue(q);
		poll(NULL, 0, BUSY_NAP_MS);
		r = xdp_try_queue(x, q, number, diag);
	}
	return r;
}

/* Readable when any of the queues has frames. */
static int xdp_open_epoll(struct xdp *x, struct diag *diag)
{
	x->capture.fd = x->queues[0].fd;
	if (x->n_queues == 1)
		return 0;
	x->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (x->epoll_fd < 0)
		return capture_xdp_fail(x, errno, "epoll", diag);
	for (unsigned i = 0; i < x->n_queues; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		if (epoll_ctl(x->epoll_fd, EPOLL_CTL_ADD, x->queues[i].fd, &event) < 0)
			return capture_xdp_fail(x, errno, "epoll", diag);
	}
	x->capture.fd = x->epoll_fd;
	return 0;
}

static int xdp_open_queues(struct xdp *x, struct diag *diag)
{
	int r = 0;

	x->queues = calloc(x->n_queues, sizeof(*x->queues));
	if (!x->queues)
		return diag_set(diag, -ENOMEM, "%s: out of memory", x->interface.name);
	for (unsigned i = 0; r == 0 && i < x->n_queues; i++)
		r = xdp_open_queue(x, &x->queues[i], i, diag);
	return r < 0 ? r : xdp_open_epoll(x, diag);
}

/* The program first, then no frame more, then the memory that they are in. */
void capture_xdp_close(struct capture *c)
{
	struct xdp *x = (struct xdp *)c;

	capture_xdp_program_close(&x->program);
	for (unsigned i = 0; x->queues && i < x->n_queues; i++)
		xdp_close_queue(&x->queues[i]);
	free(x->queues);
	capture_filter_deinit(&x->filter);
	if (x->epoll_fd >= 0)
		close(x->epoll_fd);
	if (x->interface_fd >= 0)
		close(x->interface_fd);
	free(x);
}

static int xdp_no_words(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static int xdp_set_up(struct xdp *x, const struct capture_config *config, struct diag *diag)
{
	int r = capture_interface_get(&x->interface, config->interface, diag);

	if (r == 0)
		r = xdp_check(x, config, diag);
	if (r == 0)
		r = xdp_open_interface(x, config, diag);
	if (r == 0)
		r = xdp_compile(x, config, diag);
	if (r < 0)
		return r;
	x->n_queues = xdp_count_queues(x);
	r = xdp_set_sizes(x, config, diag);
	/* how it is attached says how sockets are bound; until they are, the gate is closed */
	if (r == 0)
		r = capture_xdp_program_open(&x->program, x->interface.name, x->interface.index, x->n_queues,
					     diag);
	if (r == 0)
		r = xdp_open_queues(x, diag);
	if (r < 0)
		return r;
	x->capture.link_type = LINKTYPE_ETHERNET;
	x->capture.system_ifindex = x->interface.index;
	x->capture.ifindex = config->ifindex ? config->ifindex : x->interface.index;
	x->capture.mtu = x->interface.mtu;
	capture_xdp_program_set_gate(&x->program, true);
	return 0;
}

int capture_xdp_open(struct capture **cp, const struct capture_plan *plan, struct diag *diag)
{
	const struct capture_config *config = &plan->config;
	struct xdp *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	*x = (struct xdp){
		.capture = {.ops = &capture_xdp_ops,
			    .tells_direction = true,
			    .fd = -1,
			    .name = x->interface.name},
		.program = {.sockets_fd = -1, .gate_fd = -1, .program_fd = -1, .link_fd = -1},
		.interface_fd = -1,
		.epoll_fd = -1,
		.snap_len = config->snap_len,
		.point = config->point,
	};
	libbpf_set_print(xdp_no_words); /* they would print; what is wrong is said by diag */
	libxdp_set_print(NULL);
	r = xdp_set_up(x, config, diag);
	if (r < 0) {
		capture_xdp_close(&x->capture);
		return r;
	}
	*cp = &x->capture;
	return 0;
}
