/*
 * capture_socket: see capture_socket.h.  It runs in the program at the start, and in the opener process when
 * an interface was deleted and made anew: nothing here may need more than CAP_NET_RAW and sockets.
 */
#include "capture/capture_socket.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h> /* before linux/if.h, which gives way to it */
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_fanout.h"
#include "capture/capture_filter.h"
#include "capture/capture_interface.h"
#include "pitot/link_type.h"

#define BLOCK_MAX     (1024u * 1024)
#define BLOCK_MIN     (64u * 1024)
#define BLOCKS_WANTED 256 /* see socket_block_octets() */
#define BLOCKS_MIN    2
#define FRAME_OCTETS  2048 /* a formality: V3 frames take what they need */

static_assert(sizeof(((struct capture_facts *)0)->name) == IFNAMSIZ, "a name is copied whole");

/* The socket's frames start at the link layer, or at the network layer where the former is not the wire's. */
static int socket_set_link_type(struct capture_facts *f, unsigned arphrd, int *socket_type, struct diag *diag)
{
	switch (arphrd) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		f->link_type = LINKTYPE_ETHERNET;
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
		f->link_type = LINKTYPE_RAW;
		*socket_type = SOCK_DGRAM;
		return 0;
	default:
		return diag_set(diag, -EPROTONOSUPPORT,
				"%s: AF_PACKET capture does not know link type ARPHRD %u: use --capture pcap",
				f->name, arphrd);
	}
}

static int socket_fail(const struct capture_descriptor *d, int err, const char *what, struct diag *diag)
{
	if (err == EPERM || err == EACCES)
		return capture_interface_refused(d->facts.name, -err, diag);
	return diag_set(diag, -err, "%s: %s: %s", d->facts.name, what, strerror(err));
}

/* The workers of an interface share its buffer. */
static uint64_t socket_buffer_octets(const struct capture_config *config)
{
	return config->buffer_octets / capture_workers(config);
}

/*
 * A block is used up after CAPTURE_BLOCK_MS, however little is in it: what light traffic fills is a number of
 * blocks. It takes BLOCKS_WANTED of them 5 seconds, so long may the reader be held up.
 */
static uint32_t socket_block_octets(const struct capture_config *config)
{
	uint64_t octets = BLOCK_MAX;

	while (octets > BLOCK_MIN && octets * BLOCKS_WANTED > socket_buffer_octets(config))
		octets /= 2;
	/* the longest frame and what the kernel writes around it must fit: the kernel cuts what does not */
	while (octets < (uint64_t)config->snap_len + 4096 && octets < (1u << 30))
		octets *= 2;
	return (uint32_t)octets;
}

static int socket_set_ring(struct capture_descriptor *d, const struct capture_config *config,
			   struct diag *diag)
{
	uint32_t block_octets = socket_block_octets(config);
	uint64_t n_blocks = socket_buffer_octets(config) / block_octets;
	int version = TPACKET_V3, cooked = CAPTURE_COOKED_HEADER; /* room for it in front of each packet */
	struct tpacket_req3 req;

	if (n_blocks < BLOCKS_MIN)
		n_blocks = BLOCKS_MIN;
	if (n_blocks * (block_octets / FRAME_OCTETS) > UINT32_MAX / 2)
		return diag_set(
			diag, -E2BIG,
			"%s: a buffer of %llu octets is more than the kernel takes: make --buffer smaller",
			d->facts.name, (unsigned long long)config->buffer_octets);
	d->facts.block_octets = block_octets;
	d->facts.n_blocks = (uint32_t)n_blocks;
	if (setsockopt(d->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0)
		return socket_fail(d, errno, "TPACKET_V3", diag);
	if (d->facts.link_type == LINKTYPE_LINUX_SLL2 &&
	    setsockopt(d->fd, SOL_PACKET, PACKET_RESERVE, &cooked, sizeof(cooked)) < 0)
		return socket_fail(d, errno, "PACKET_RESERVE", diag);
	req = (struct tpacket_req3){
		.tp_block_size = block_octets,
		.tp_block_nr = d->facts.n_blocks,
		.tp_frame_size = FRAME_OCTETS,
		.tp_frame_nr = d->facts.n_blocks * (block_octets / FRAME_OCTETS),
		.tp_retire_blk_tov = CAPTURE_BLOCK_MS,
	};
	if (setsockopt(d->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return diag_set(
			diag, -errno, "%s: a capture buffer of %llu MiB: %s (a smaller --buffer may do)",
			d->facts.name, (unsigned long long)(n_blocks * block_octets) >> 20, strerror(errno));
	return 0;
}

static int socket_set_options(const struct capture_descriptor *d, const struct capture_config *config,
			      struct diag *diag)
{
	struct packet_mreq mreq = {.mr_ifindex = (int)d->facts.index, .mr_type = PACKET_MR_PROMISC};
	int one = 1;

	/* the filter has it already; where the kernel knows this option it saves it the copy */
	if (config->direction == CAPTURE_IN || (d->facts.loopback && config->direction == CAPTURE_BOTH))
		(void)setsockopt(d->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (config->promiscuous && d->facts.index &&
	    setsockopt(d->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
		return socket_fail(d, errno, "promiscuous mode (--no-promiscuous does without)", diag);
	return 0;
}

/*
 * The kernel gives a new group an id that is free in the network namespace; one of our own making, from the
 * process id, may be another process's there.
 */
static int socket_join(struct capture_descriptor *d, const struct capture_config *config, int group,
		       struct diag *diag)
{
	static const int modes[] = {[CAPTURE_FANOUT_HASH] = PACKET_FANOUT_CBPF,
				    [CAPTURE_FANOUT_CPU] = PACKET_FANOUT_CPU,
				    [CAPTURE_FANOUT_ROLLOVER] = PACKET_FANOUT_ROLLOVER};
	int mode = modes[config->fanout_mode], value;
	socklen_t len = sizeof(value);

	d->facts.group = group;
	if (group == CAPTURE_GROUP_NONE)
		return 0;
	value = group == CAPTURE_GROUP_NEW ? (int)((PACKET_FANOUT_FLAG_UNIQUEID | (unsigned)mode) << 16)
					   : group | mode << 16;
	if (setsockopt(d->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof(value)) < 0)
		return socket_fail(d, errno, "PACKET_FANOUT", diag);
	if (group != CAPTURE_GROUP_NEW)
		return 0;
	if (getsockopt(d->fd, SOL_PACKET, PACKET_FANOUT, &value, &len) < 0)
		return socket_fail(d, errno, "PACKET_FANOUT", diag);
	d->facts.group = value & 0xffff;
	if (config->fanout_mode != CAPTURE_FANOUT_HASH)
		return 0;
	if (capture_fanout_attach(d->fd, d->facts.link_type, config->fanout_seed) < 0)
		return socket_fail(d, errno, "PACKET_FANOUT_DATA", diag);
	return 0;
}

/*
 * A socket can join a fan-out group only after it is bound, and until then it gets what the other members
 * get: it is bound with everything shut out.
 */
static int socket_bind(struct capture_descriptor *d, const struct capture_config *config, int group,
		       struct diag *diag)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol =
			__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? ETH_P_ALL : __builtin_bswap16(ETH_P_ALL),
		.sll_ifindex = (int)d->facts.index,
	};
	int r = capture_filter_attach_closed(d->fd);

	if (r < 0)
		return socket_fail(d, -r, "SO_ATTACH_FILTER", diag);
	if (bind(d->fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		return socket_fail(d, errno, "bind", diag);
	return socket_join(d, config, group, diag);
}

/* Protocol 0: until it is bound the socket receives nothing. */
static int socket_open(struct capture_descriptor *d, const struct capture_config *config, int group, int type,
		       struct diag *diag)
{
	int r;

	d->fd = socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0)
		return socket_fail(d, errno, "AF_PACKET socket", diag);
	r = socket_set_ring(d, config, diag);
	if (r == 0)
		r = socket_set_options(d, config, diag);
	if (r == 0)
		r = socket_bind(d, config, group, diag);
	return r;
}

/* All interfaces: the socket is bound to none, and its frames begin at the network layer. */
static int socket_describe_any(struct capture_descriptor *d, const struct capture_config *config, int group,
			       struct diag *diag)
{
	int r;

	d->facts = (struct capture_facts){.name = "any", .link_type = LINKTYPE_LINUX_SLL2};
	r = socket_open(d, config, group, SOCK_DGRAM, diag);
	if (r < 0)
		capture_descriptor_close(d);
	return r;
}

int capture_describe(struct capture_descriptor *d, const struct capture_config *config, int group,
		     struct diag *diag)
{
	struct capture_interface itf;
	int r, type = SOCK_RAW;

	*d = (struct capture_descriptor){.fd = -1};
	if (strcmp(config->interface, "any") == 0 && config->cooked)
		return socket_describe_any(d, config, group, diag);
	if (strcmp(config->interface, "any") == 0)
		return diag_set(diag, -EPROTONOSUPPORT,
				"AF_PACKET capture opens one interface, not \"any\": use --capture pcap");
	r = capture_interface_get(&itf, config->interface, diag);
	if (r < 0)
		return r;
	d->facts = (struct capture_facts){.index = itf.index, .mtu = itf.mtu, .loopback = itf.loopback};
	memcpy(d->facts.name, itf.name, sizeof(d->facts.name));
	r = socket_set_link_type(&d->facts, itf.arphrd, &type, diag);
	if (r == 0)
		r = socket_open(d, config, group, type, diag);
	if (r < 0)
		capture_descriptor_close(d);
	return r;
}

int capture_describe_all(struct capture_descriptor *sockets, unsigned n, capture_describe_fn *describe,
			 void *ctx, struct diag *diag)
{
	int group = n > 1 ? CAPTURE_GROUP_NEW : CAPTURE_GROUP_NONE, r = 0;
	unsigned opened = 0;

	while (r == 0 && opened < n) {
		r = describe(ctx, &sockets[opened], group, diag);
		if (r < 0)
			break;
		group = sockets[opened++].facts.group;
	}
	/* the interface may have been another one by the time of a later socket */
	for (unsigned i = 0; r == 0 && i < n; i++)
		if (capture_socket_is_gone(sockets[i].fd))
			r = diag_set(diag, -ENODEV, "interface \"%s\" does not exist", sockets[i].facts.name);
	while (r < 0 && opened)
		capture_descriptor_close(&sockets[--opened]);
	return r;
}

void capture_descriptor_close(struct capture_descriptor *d)
{
	if (d->fd >= 0)
		close(d->fd);
	*d = (struct capture_descriptor){.fd = -1};
}

bool capture_socket_is_gone(int fd)
{
	struct sockaddr_ll sll = {0};
	socklen_t len = sizeof(sll);

	return getsockname(fd, (struct sockaddr *)&sll, &len) == 0 && sll.sll_ifindex < 0;
}
