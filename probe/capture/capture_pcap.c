/*
 * capture_pcap: live capture by libpcap, for what capture_afpacket cannot open ("any", other link layers).
 *
 * libpcap's memory is valid only until its next call, so each frame is copied into a batch buffer.  libpcap
 * puts the VLAN tags that the kernel took out back into the frame, and does not tell which way a frame went
 * unless the link type does (SLL, SLL2): the direction is known only when one was asked for.
 */
#include "pitot/capture.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "capture/capture_ending.h"
#include "capture/capture_filter.h"
#include "capture/capture_interface.h"
#include "capture/capture_plan.h"
#include "capture/capture_socket.h"
#include "pitot/clock.h"
#include "pitot/link_type.h"

#define TIMEOUT_MS     10 /* as long may a frame wait in libpcap's ring: see capture_afpacket.c */
#define STOP_QUIET_NS  (6 * TIMEOUT_MS * NS_PER_MSEC)
#define FAIL_NS	       (2 * NS_PER_SEC) /* an error that stays */
#define DRAIN_QUIET_MS (3 * TIMEOUT_MS)
#define STOP_MAX_NS    (1 * NS_PER_SEC) /* where the entrance cannot be shut */

struct pcap_live {
	struct capture capture;
	struct capture_interface interface;
	bool has_interface; /* "any" and other inventions of libpcap are no interfaces */
	pcap_t *pcap;
	uint8_t *buffer; /* BATCH_MAX frames of stride octets */
	size_t stride;
	uint16_t point;
	uint16_t flags;
	bool has_filter;
	bool runs_filter; /* the kernel does not */
	struct capture_filter filter;
	struct capture_socket_program *program; /* in its place in the kernel; may be NULL */
	uint64_t filtered, filtered_octets;
	struct capture_ending ending;
	bool shut;
	uint64_t stop_ns;  /* stopping: since when */
	uint64_t fails_ns; /* since when libpcap says that it cannot capture; 0: it does not */
	uint64_t dropped;
};

/* ---- open */

static int pcap_live_find(struct pcap_live *p, const struct capture_config *config, struct diag *diag)
{
	int r;

	if (strcmp(config->interface, "any") == 0) {
		snprintf(p->interface.name, sizeof(p->interface.name), "any");
		return 0;
	}
	r = capture_interface_get(&p->interface, config->interface, diag);
	p->has_interface = r == 0;
	return r;
}

static int pcap_live_configure(struct pcap_live *p, const struct capture_config *config, struct diag *diag)
{
	uint64_t buffer_octets = config->buffer_octets < INT_MAX ? config->buffer_octets : INT_MAX;
	char errbuf[PCAP_ERRBUF_SIZE];

	p->pcap = pcap_create(p->interface.name, errbuf);
	if (!p->pcap)
		return diag_set(diag, -EIO, "%s: libpcap: %s", p->interface.name, errbuf);
	/* these fail on an activated handle only */
	pcap_set_snaplen(p->pcap, (int)config->snap_len);
	pcap_set_promisc(p->pcap, config->promiscuous);
	pcap_set_timeout(p->pcap, TIMEOUT_MS);
	if (buffer_octets)
		pcap_set_buffer_size(p->pcap, (int)buffer_octets);
	/* refused where the source has microseconds only: the times are right all the same (see below) */
	(void)pcap_set_tstamp_precision(p->pcap, PCAP_TSTAMP_PRECISION_NANO);
	return 0;
}

static int pcap_live_activate(struct pcap_live *p, struct diag *diag)
{
	int r = pcap_activate(p->pcap);

	switch (r) {
	case PCAP_ERROR_PERM_DENIED:
	case PCAP_ERROR_PROMISC_PERM_DENIED:
		return capture_interface_refused(p->interface.name, -EPERM, diag);
	case PCAP_ERROR_NO_SUCH_DEVICE:
		return diag_set(diag, -ENODEV, "interface \"%s\" does not exist", p->interface.name);
	case PCAP_ERROR_IFACE_NOT_UP:
		return diag_set(diag, -ENETDOWN,
				"interface \"%s\" is down: bring it up first (ip link set %s up)",
				p->interface.name, p->interface.name);
	default: /* positive values are warnings */
		if (r >= 0)
			return 0;
		return diag_set(diag, -EIO, "%s: libpcap: %s: %s", p->interface.name, pcap_statustostr(r),
				pcap_geterr(p->pcap));
	}
}

static int pcap_live_fail(struct pcap_live *p, int err, const char *what, struct diag *diag)
{
	return diag_set(diag, err, "%s: libpcap: %s: %s", p->interface.name, what, pcap_geterr(p->pcap));
}

/* ---- the filter */

static void pcap_live_ignore(u_char *user, const struct pcap_pkthdr *h, const u_char *data)
{
	(void)user;
	(void)h;
	(void)data;
}

/*
 * The socket's own counters, which start anew with every reading.  libpcap would look into /sys besides,
 * which may be another network namespace's.
 */
static int pcap_live_count_drops(struct pcap_live *p)
{
	struct tpacket_stats_v3 kernel = {0};
	socklen_t len = sizeof(kernel);

	if (getsockopt(pcap_fileno(p->pcap), SOL_PACKET, PACKET_STATISTICS, &kernel, &len) < 0)
		return -errno;
	p->dropped += kernel.tp_drops;
	return 0;
}

/* Until nothing is left of what came in before the entrance was shut. */
static int pcap_live_drain(struct pcap_live *p, struct diag *diag)
{
	struct pollfd pfd = {.fd = pcap_fileno(p->pcap), .events = POLLIN};
	int n;

	do {
		n = pcap_dispatch(p->pcap, -1, pcap_live_ignore, NULL);
		if (n < 0)
			return pcap_live_fail(p, -EIO, "capture", diag);
	} while (n > 0 || poll(&pfd, 1, DRAIN_QUIET_MS) > 0);
	(void)pcap_live_count_drops(p);
	p->dropped = 0;
	return 0;
}

static int pcap_live_attach(struct pcap_live *p, struct diag *diag)
{
	int fd = pcap_fileno(p->pcap), r = capture_filter_attach_closed(fd);

	if (r == 0) {
		r = pcap_live_drain(p, diag);
		if (r < 0)
			return r;
		r = p->program ? capture_socket_program_attach(p->program, fd) : -EOPNOTSUPP;
		if (r == 0)
			return 0;
		/* it works all the same, and counts nothing */
		capture_socket_program_free(p->program);
		p->program = NULL;
		r = capture_filter_attach(fd, &p->filter);
	}
	return r < 0 ? diag_set(diag, r, "%s: SO_ATTACH_FILTER: %s", p->interface.name, strerror(-r)) : 0;
}

/* Link layers that only libpcap knows, without VLAN tags. */
static int pcap_live_set_own_filter(struct pcap_live *p, const char *filter, struct diag *diag)
{
	struct bpf_program program;
	int r;

	if (pcap_compile(p->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return diag_set(diag, -EINVAL, "--filter \"%s\": %s", filter, pcap_geterr(p->pcap));
	r = pcap_setfilter(p->pcap, &program);
	pcap_freecode(&program);
	return r < 0 ? pcap_live_fail(p, -EIO, "filter", diag) : 0;
}

/*
 * libpcap's socket gets our program, because libpcap's own means another thing where a tag is stored in
 * another place.  What the kernel cannot run is run here.
 */
static int pcap_live_set_filter(struct pcap_live *p, const struct capture_config *config, struct diag *diag)
{
	struct capture_filter_config c = {
		.expression = config->filter,
		.place = p->has_interface ? FILTER_SOCKET : FILTER_COOKED,
		.link_type = p->capture.link_type,
		.snap_len = config->snap_len,
		/* loopback shows each frame twice, and libpcap one of them */
		.direction = p->interface.loopback && config->direction == CAPTURE_BOTH ? CAPTURE_IN
											: config->direction,
	};
	int r;

	if (!config->filter || !*config->filter)
		return 0;
	p->has_filter = true;
	if (p->has_interface && c.link_type != LINKTYPE_ETHERNET && c.link_type != LINKTYPE_RAW)
		return pcap_live_set_own_filter(p, config->filter, diag);
	r = capture_filter_compile(&p->filter, &c, diag);
	if (r == 0) {
		const struct capture_socket_program_config program = {
			.filter = &p->filter,
			.header = c.place == FILTER_COOKED ? CAPTURE_COOKED_HEADER : 0,
		};
		struct diag none;

		(void)capture_socket_program_new(&p->program, &program, &none);
		return pcap_live_attach(p, diag);
	}
	if (r != CAPTURE_FILTER_E_KERNEL)
		return r;
	c.place = FILTER_FRAMES;
	r = capture_filter_compile(&p->filter, &c, diag);
	p->runs_filter = r == 0;
	return r;
}

static int pcap_live_set_up(struct pcap_live *p, const struct capture_config *config, struct diag *diag)
{
	char errbuf[PCAP_ERRBUF_SIZE];

	/* SLL2 has the interface of each frame; it is offered for "any" and not the default */
	if (!p->has_interface)
		(void)pcap_set_datalink(p->pcap, DLT_LINUX_SLL2);
	if (config->direction != CAPTURE_BOTH &&
	    pcap_setdirection(p->pcap, config->direction == CAPTURE_IN ? PCAP_D_IN : PCAP_D_OUT) < 0)
		return pcap_live_fail(p, -EOPNOTSUPP, "--direction", diag);
	if (pcap_setnonblock(p->pcap, 1, errbuf) < 0)
		return diag_set(diag, -EIO, "%s: libpcap: non-blocking: %s", p->interface.name, errbuf);
	p->capture.fd = pcap_get_selectable_fd(p->pcap);
	p->capture.link_type = pcap_datalink(p->pcap) == DLT_RAW ? LINKTYPE_RAW : pcap_datalink(p->pcap);
	/* libpcap's snap length may be less than asked for, and more by a VLAN tag that was put back */
	p->stride = ((size_t)config->snap_len + 128) & ~(size_t)63;
	p->buffer = malloc(BATCH_MAX * p->stride);
	if (!p->buffer)
		return diag_set(diag, -ENOMEM, "%s: out of memory for %d frames of --snaplen %u",
				p->interface.name, BATCH_MAX, config->snap_len);
	return pcap_live_set_filter(p, config, diag);
}

static void pcap_live_close(struct capture *c)
{
	struct pcap_live *p = (struct pcap_live *)c;

	if (p->pcap)
		pcap_close(p->pcap);
	capture_filter_deinit(&p->filter);
	capture_socket_program_free(p->program);
	free(p->buffer);
	free(p);
}

static int pcap_live_open(struct capture **cp, const struct capture_plan *plan, struct diag *diag)
{
	const struct capture_config *config = &plan->config;
	struct pcap_live *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	r = pcap_live_find(p, config, diag);
	if (r == 0 && config->workers > 1)
		r = diag_set(diag, -EOPNOTSUPP,
			     "%s: libpcap cannot share an interface among workers: use --workers 1",
			     p->interface.name);
	if (r == 0)
		r = pcap_live_configure(p, config, diag);
	if (r == 0)
		r = pcap_live_activate(p, diag);
	if (r == 0)
		r = pcap_live_set_up(p, config, diag);
	if (r < 0) {
		pcap_live_close(&p->capture);
		return r;
	}
	p->point = config->point;
	p->flags = config->direction == CAPTURE_IN    ? FRAME_INGRESS
		   : config->direction == CAPTURE_OUT ? FRAME_EGRESS
						      : 0;
	p->capture.ops = &capture_pcap_ops;
	p->capture.tells_direction = p->flags || p->capture.link_type == LINKTYPE_LINUX_SLL ||
				     p->capture.link_type == LINKTYPE_LINUX_SLL2;
	p->capture.ifindex = config->ifindex ? config->ifindex : p->interface.index;
	p->capture.system_ifindex = p->interface.index;
	p->capture.mtu = p->interface.mtu;
	p->capture.name = p->interface.name;
	*cp = &p->capture;
	return 0;
}

/* ---- frames */

struct pcap_live_fill {
	struct pcap_live *p;
	struct frame_batch *b;
	uint64_t tick_ns; /* what one unit of tv_usec is */
};

static void pcap_live_on_frame(u_char *user, const struct pcap_pkthdr *h, const u_char *data)
{
	struct pcap_live_fill *fill = (struct pcap_live_fill *)user;
	struct pcap_live *p = fill->p;
	unsigned i = fill->b->n;
	uint8_t *copy = p->buffer + i * p->stride;
	size_t cap_len = h->caplen < p->stride ? h->caplen : p->stride;

	if (p->runs_filter && !capture_filter_passes(&p->filter, data, h->len, h->caplen)) {
		p->filtered++;
		p->filtered_octets += h->len;
		return;
	}
	fill->b->n++;
	memcpy(copy, data, cap_len);
	fill->b->frames[i] = (struct frame){
		.data = copy,
		.cap_len = (uint32_t)cap_len,
		.wire_len = h->len,
		.time_ns = (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec * fill->tick_ns,
		.ifindex = p->capture.ifindex,
		.point = p->point,
		.flags = p->flags,
	};
}

/* libpcap 1.10 is silent about an interface that is down, and older ones say it in words that differ. */
static bool pcap_live_is_down(struct pcap_live *p)
{
	return p->has_interface && !capture_interface_is_up(pcap_fileno(p->pcap), p->interface.index);
}

/* What libpcap says about it differs, too; its socket is one like ours. */
static bool pcap_live_is_gone(struct pcap_live *p)
{
	return p->has_interface && capture_ending_is_gone(&p->ending, pcap_fileno(p->pcap));
}

static int pcap_live_read(struct pcap_live *p, struct frame_batch *b, struct diag *diag)
{
	struct pcap_live_fill fill = {
		.p = p,
		.b = b,
		.tick_ns = pcap_get_tstamp_precision(p->pcap) == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1000,
	};
	int n;

	b->n = 0;
	n = pcap_dispatch(p->pcap, BATCH_MAX, pcap_live_on_frame, (u_char *)&fill);
	/* frames before an error are frames all the same; the error comes again */
	if (n >= 0 || b->n > 0 || n == PCAP_ERROR_BREAK || pcap_live_is_gone(p) || pcap_live_is_down(p) ||
	    strstr(pcap_geterr(p->pcap), "went down")) {
		p->fails_ns = 0;
		return 0;
	}
	/* of one that was down, and then renamed, it says that it disappeared; it may even be up again */
	if (p->fails_ns == 0)
		p->fails_ns = clock_monotonic_ns();
	if (p->has_interface && clock_monotonic_ns() - p->fails_ns < FAIL_NS)
		return 0;
	return pcap_live_fail(p, -EIO, "capture", diag);
}

static int pcap_live_wait(struct pcap_live *p, int wait_ms, struct diag *diag)
{
	struct pollfd pfd = {.fd = p->capture.fd, .events = POLLIN};

	/* without a descriptor to poll: sleep as long as a frame may wait anyway */
	if (p->capture.fd < 0 && (wait_ms < 0 || wait_ms > TIMEOUT_MS))
		wait_ms = TIMEOUT_MS;
	if (poll(&pfd, 1, capture_ending_wait_ms(&p->ending, wait_ms, TIMEOUT_MS)) < 0 && errno != EINTR)
		return diag_set(diag, -errno, "%s: poll: %s", p->interface.name, strerror(errno));
	return 0;
}

static int pcap_live_idle(struct pcap_live *p)
{
	(void)pcap_live_is_gone(p);
	return capture_ending_after(&p->ending, STOP_QUIET_NS);
}

static int pcap_live_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct pcap_live *p = (struct pcap_live *)c;
	int r;

	b->n = 0;
	if (p->ending.stopping && !p->shut && clock_monotonic_ns() - p->stop_ns > STOP_MAX_NS)
		return CAPTURE_E_END;
	r = pcap_live_read(p, b, diag);
	if (r == 0 && b->n == 0) {
		r = pcap_live_wait(p, wait_ms, diag);
		if (r == 0)
			r = pcap_live_read(p, b, diag);
	}
	if (r == 0 && b->n == 0)
		r = pcap_live_idle(p);
	else if (r == 0)
		capture_ending_put_off(&p->ending);
	return r;
}

static void pcap_live_release(struct capture *c, struct frame_batch *b)
{
	(void)c;
	b->n = 0;
}

/* Not by pcap_setfilter(), which would reject what is in the ring already. */
static void pcap_live_stop(struct capture *c)
{
	struct pcap_live *p = (struct pcap_live *)c;

	p->shut = capture_filter_attach_closed(pcap_fileno(p->pcap)) == 0;
	capture_ending_stop(&p->ending);
	p->stop_ns = p->ending.quiet_ns;
}

static int pcap_live_get_stats(struct capture *c, struct capture_stats *stats)
{
	struct pcap_live *p = (struct pcap_live *)c;
	struct capture_left_out kernel = {0};
	int r = pcap_live_count_drops(p);

	if (r < 0)
		return r;
	if (p->program)
		kernel = capture_socket_program_left_out(p->program);
	*stats = (struct capture_stats){
		.kernel_dropped = p->dropped,
		.filtered = p->filtered + kernel.filtered,
		.filtered_octets = p->filtered_octets + kernel.filtered_octets,
		.filtered_unknown = p->has_filter && !p->runs_filter && !p->program,
	};
	return 0;
}

const struct capture_ops capture_pcap_ops = {
	.name = "pcap",
	.open = pcap_live_open,
	.recv = pcap_live_recv,
	.release = pcap_live_release,
	.stop = pcap_live_stop,
	.get_stats = pcap_live_get_stats,
	.close = pcap_live_close,
};
