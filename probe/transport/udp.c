/*
 * udp: one connected socket per collector, datagrams that are never fragmented.
 *
 * Messages are written into slots and sent together by sendmmsg().  Bulk exports send runs of messages of one
 * size by UDP_SEGMENT, a quarter of the cost: only after BULK messages, because on loopback and veth a packet
 * capture shows such a run as one datagram.  Errors that ICMP brings arrive by the error queue: they are about
 * earlier datagrams and cost the next one nothing but a second try.
 *
 * Names are resolved by resolve.c; until an address is there the transport has no session and lends no room.
 */
#include <errno.h>
#include <time.h> /* before errqueue.h, which needs struct timespec */
#include <linux/errqueue.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/transport.h"
#include "resolve.h"

#ifndef UDP_SEGMENT /* linux/udp.h, 4.18 */
#define UDP_SEGMENT 103
#endif

#define SLOTS          32u
#define MTU_MOST       1500u /* without --mtu */
#define MTU_UNKNOWN    512u  /* RFC 7011 §10.3.3 */
#define HEADERS4       28u
#define HEADERS6       48u
#define RETRY_NS       (30 * NS_PER_SEC) /* after a failed lookup or connect */
#define MTU_NS         (5 * NS_PER_SEC)  /* between looks at the path MTU */
#define RENEW_NS       NS_PER_SEC        /* between sockets, when the own address is gone */
#define SEND_BUFFER    (4 << 20)
#define BULK           1024u         /* messages before runs are sent at once */
#define RUN_LEAST      4u            /* messages in a run that pays */
#define RUN_OCTETS     65000u        /* and the most that one call takes */
#define OFFLINE_WAIT_MS 10000 /* for a name, or for room */

struct udp_slot {
	size_t size;
	struct transport_load load;
};

struct udp {
	struct transport t; /* first */
	struct transport_config config;
	struct collector_config collector;
	char source_host[64], bind_device[IF_NAMESIZE];
	struct resolve *lookup;
	uint64_t next_try_ns; /* monotonic; 0 now */
	uint64_t next_mtu_ns;
	uint64_t next_renew_ns;
	uint64_t now_ns;      /* of the last tick */
	bool waited;          /* offline: for the name, once */
	bool lookup_wanted;
	bool no_segments; /* the kernel or the route has no UDP_SEGMENT */
	bool unreachable; /* since the last look: perhaps the address that the socket sends from is gone */
	int family;
	struct sockaddr_storage peer;
	socklen_t peer_size;
	size_t slot_size;
	unsigned first; /* slots are a ring: the one that is lent keeps its place while others are sent */
	unsigned used;
	struct udp_slot slots[SLOTS];
	struct mmsghdr headers[SLOTS];
	struct iovec vectors[SLOTS];
	uint8_t *memory;
};

static void note_error(struct udp *u, int error)
{
	u->t.stats.errors++;
	u->t.stats.last_error = error;
	u->t.stats.last_cause = NULL;
}

static void udp_flush(struct transport *t);

/* ---- the path's MTU */

static unsigned headers(const struct udp *u)
{
	return u->family == AF_INET6 ? HEADERS6 : HEADERS4;
}

static void read_mtu(struct udp *u)
{
	bool v6 = u->family == AF_INET6;
	int mtu = 0;
	socklen_t size = sizeof(mtu);
	size_t limit;

	if (u->t.fd < 0 || getsockopt(u->t.fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size))
		mtu = 0;
	limit = u->config.mtu ? u->config.mtu : mtu > 0 ? MTU_MOST : MTU_UNKNOWN;
	if (mtu > 0 && (size_t)mtu < limit)
		limit = (size_t)mtu;
	limit -= headers(u);
	u->t.limits.max_message = limit < u->slot_size ? limit : u->slot_size;
}

/* ---- the socket */

static int bind_source(struct udp *u, int fd, int family)
{
	struct resolve_result source;
	int on = 1;

	if (!u->source_host[0] && !u->config.source_port)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* several collectors from one port */
	if (!u->source_host[0]) {
		struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(u->config.source_port) };
		struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(u->config.source_port) };

		return bind(fd, family == AF_INET6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
			    family == AF_INET6 ? sizeof(a6) : sizeof(a4)) ? -errno : 0;
	}
	if (!resolve_numeric(&source, u->source_host, u->config.source_port, SOCK_DGRAM))
		return -EADDRNOTAVAIL;
	if (source.addresses[0].ss_family != family)
		return -EAFNOSUPPORT;
	return bind(fd, (struct sockaddr *)&source.addresses[0], source.sizes[0]) ? -errno : 0;
}

static int set_options(struct udp *u, int fd, int family)
{
	bool v6 = family == AF_INET6;
	int on = 1, no_fragments = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO, buffer = SEND_BUFFER, ttl = u->config.ttl;

	if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &no_fragments,
		       sizeof(no_fragments)))
		return -errno;
	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (ttl && setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof(ttl)))
		return -errno;
	if (ttl) /* a collector may be a group */
		setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, &ttl,
			   sizeof(ttl));
	if (u->bind_device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, u->bind_device, (socklen_t)strlen(u->bind_device)))
		return -errno;
	return 0;
}

static void address_of(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port)
{
	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)ss;

		memcpy(address, &a->sin6_addr, 16);
		*port = ntohs(a->sin6_port);
	} else {
		const struct sockaddr_in *a = (const struct sockaddr_in *)ss;

		memcpy(address, &a->sin_addr, 4);
		*port = ntohs(a->sin_port);
	}
}

static void local_of(int fd, struct transport_local *self)
{
	struct sockaddr_storage local = { 0 };
	socklen_t size = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &size) == 0)
		address_of(&local, self->local, &self->local_port);
}

static void note_self(struct udp *u)
{
	u->t.self = (struct transport_local){ .family = u->family, .protocol = IPPROTO_UDP };
	local_of(u->t.fd, &u->t.self);
	address_of(&u->peer, u->t.self.remote, &u->t.self.remote_port);
}

/* A socket that sends to this address: it, or negative errno. */
static int open_socket(struct udp *u, const struct sockaddr_storage *peer, socklen_t size)
{
	int family = peer->ss_family, fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = set_options(u, fd, family);
	if (r == 0)
		r = bind_source(u, fd, family);
	if (r == 0 && connect(fd, (const struct sockaddr *)peer, size))
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* A session begins. */
static void use_socket(struct udp *u, int fd, const struct sockaddr_storage *peer, socklen_t size)
{
	if (u->t.fd >= 0) {
		udp_flush(&u->t); /* what was meant for the old address */
		close(u->t.fd);
	}
	u->t.fd = fd;
	u->family = peer->ss_family;
	u->peer = *peer;
	u->peer_size = size;
	u->t.session++;
	u->t.stats.sessions++;
	u->t.state = TRANSPORT_STATE_UP;
	note_self(u);
	read_mtu(u);
}

/* The address that the socket sends from may be gone for good: DHCP.  Whoever sends from another is another session. */
static void renew_socket(struct udp *u)
{
	struct sockaddr_storage peer = u->peer;
	struct transport_local self = { 0 };
	int fd = open_socket(u, &peer, u->peer_size);

	if (fd < 0)
		return; /* not reachable at all */
	local_of(fd, &self);
	if (memcmp(self.local, u->t.self.local, sizeof(self.local)) == 0)
		close(fd);
	else
		use_socket(u, fd, &peer, u->peer_size);
}

/* The first address that can be connected to; the one in use is kept if it still is one of them. */
static int use_addresses(struct udp *u, const struct resolve_result *result)
{
	int r = -EADDRNOTAVAIL;

	if (result->error)
		return -EADDRNOTAVAIL;
	for (unsigned i = 0; u->t.session && i < result->n; i++)
		if (result->sizes[i] == u->peer_size && memcmp(&result->addresses[i], &u->peer, u->peer_size) == 0)
			return 0;
	for (unsigned i = 0; i < result->n; i++) {
		r = open_socket(u, &result->addresses[i], result->sizes[i]);
		if (r >= 0) {
			use_socket(u, r, &result->addresses[i], result->sizes[i]);
			return 0;
		}
	}
	return r;
}

/* ---- sending */

/* Reads the error queue.  Errors of the network are counted, a narrower path is followed; returns how many. */
static unsigned drain_errors(struct udp *u)
{
	unsigned n = 0;

	for (;;) {
		uint8_t control[512];
		struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(u->t.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err e;

			if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
			    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			n++;
			if (e.ee_origin != SO_EE_ORIGIN_LOCAL)
				note_error(u, (int)e.ee_errno);
			if (e.ee_errno == EMSGSIZE)
				read_mtu(u);
		}
	}
}

/* Is it about an earlier datagram, so that this one is worth another try? */
static bool is_about_others(struct udp *u, int error, size_t size)
{
	unsigned queued = drain_errors(u);

	if (error == EMSGSIZE) { /* unless this one is too long for what the path takes now */
		read_mtu(u);
		return size <= u->t.limits.max_message;
	}
	if (queued)
		return true;
	if (error == ECONNREFUSED) { /* without the queue */
		note_error(u, error);
		return true;
	}
	return false;
}

static bool wait_for_room(struct udp *u)
{
	struct pollfd p = { .fd = u->t.fd, .events = POLLOUT };

	return poll(&p, 1, OFFLINE_WAIT_MS) > 0;
}

/* How many messages from i on make a run: of one size, the last may be shorter. */
static unsigned run_length(const struct udp *u, unsigned i)
{
	size_t size = u->vectors[i].iov_len, total = 0;
	unsigned n = 0;

	for (; i + n < u->used; n++) {
		size_t next = u->vectors[i + n].iov_len;

		if (next > size || total + next > RUN_OCTETS)
			break;
		total += next;
		if (next < size)
			return n + 1;
	}
	return n;
}

/* One call for the run of n messages at i; false: it must be sent by other means. */
static bool send_run(struct udp *u, unsigned i, unsigned n)
{
	union {
		struct cmsghdr align;
		uint8_t octets[CMSG_SPACE(sizeof(uint16_t))];
	} control = { .octets = { 0 } };
	struct msghdr m = { .msg_iov = u->vectors + i, .msg_iovlen = n, .msg_control = &control,
			    .msg_controllen = sizeof(control.octets) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	uint16_t size = (uint16_t)u->vectors[i].iov_len;

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	if (sendmsg(u->t.fd, &m, MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EINVAL || errno == EIO || errno == EOPNOTSUPP || errno == ENOPROTOOPT)
		u->no_segments = true;
	return false;
}

/* Sends messages from i on; returns how many are dealt with, *sent whether they left. */
static unsigned send_some(struct udp *u, unsigned i, bool *sent)
{
	bool bulk = !u->no_segments && u->t.stats.messages >= BULK;
	unsigned plain = bulk ? 0 : u->used - i, run = bulk ? run_length(u, i) : 0;

	*sent = true;
	if (run >= RUN_LEAST && send_run(u, i, run))
		return run;
	/* up to the next run */
	for (plain += plain == 0; i + plain < u->used && bulk && run_length(u, i + plain) < RUN_LEAST; plain++)
		;
	for (unsigned tries = 0; tries < 8; tries++) {
		int n = sendmmsg(u->t.fd, u->headers + i, plain, MSG_NOSIGNAL), error = errno;

		if (n > 0)
			return (unsigned)n;
		if (error == EINTR || is_about_others(u, error, u->vectors[i].iov_len))
			continue;
		if ((error == EAGAIN || error == ENOBUFS) && u->config.offline && wait_for_room(u))
			continue;
		note_error(u, error);
		u->unreachable |= error == ENETUNREACH || error == EINVAL || error == EADDRNOTAVAIL;
		break;
	}
	*sent = false;
	return 1;
}

static void udp_flush(struct transport *t)
{
	struct udp *u = (struct udp *)t;
	unsigned used = u->used, first = u->first;

	for (unsigned i = 0; i < used; i++) {
		unsigned slot = (first + i) % SLOTS;

		u->vectors[i] = (struct iovec){ .iov_base = u->memory + slot * u->slot_size,
						.iov_len = u->slots[slot].size };
		u->headers[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &u->vectors[i], .msg_iovlen = 1 } };
	}
	for (unsigned i = 0; i < used;) {
		bool sent;
		unsigned n = send_some(u, i, &sent);

		for (; n > 0; n--, i++) {
			const struct udp_slot *s = &u->slots[(first + i) % SLOTS];

			transport_resolve(t, &s->load, s->size, sent);
		}
	}
	u->first = (first + used) % SLOTS;
	u->used = 0;
}

static uint8_t *udp_reserve(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (t->state != TRANSPORT_STATE_UP)
		return NULL;
	if (u->used == SLOTS)
		udp_flush(t);
	return u->memory + (u->first + u->used) % SLOTS * u->slot_size;
}

static void udp_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct udp *u = (struct udp *)t;

	u->slots[(u->first + u->used++) % SLOTS] = (struct udp_slot){ .size = size, .load = *load };
}

/* ---- names */

static void start_lookup(struct udp *u)
{
	struct resolve_result result;
	int r;

	u->lookup_wanted = false;
	if (resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		r = use_addresses(u, &result);
	else
		r = resolve_start(&u->lookup, u->collector.host, u->collector.port, SOCK_DGRAM);
	if (r) {
		note_error(u, -r);
		u->t.state = u->t.session ? TRANSPORT_STATE_UP : TRANSPORT_STATE_FAILED;
		u->next_try_ns = u->now_ns + RETRY_NS;
		u->lookup_wanted = !u->t.session;
	}
}

static void udp_tick(struct transport *t, const struct clock_time *now)
{
	struct udp *u = (struct udp *)t;
	struct resolve_result result;
	unsigned wait_ms = 0;
	int r;

	u->now_ns = now->monotonic_ns;
	if (u->lookup_wanted && now->monotonic_ns >= u->next_try_ns)
		start_lookup(u);
	if (u->lookup && u->config.offline && !u->waited) {
		u->waited = true; /* nothing may be lost while a name is looked up */
		wait_ms = OFFLINE_WAIT_MS;
	}
	if (u->lookup && resolve_take(&u->lookup, &result, wait_ms)) {
		r = use_addresses(u, &result);
		if (r) {
			note_error(u, -r);
			if (result.error) /* the name: the resolver says it best */
				t->stats.last_cause = gai_strerror(result.error);
			u->t.state = t->session ? TRANSPORT_STATE_UP : TRANSPORT_STATE_FAILED;
			u->next_try_ns = now->monotonic_ns + RETRY_NS;
			u->lookup_wanted = !t->session;
		}
	}
	if (t->fd < 0)
		return;
	drain_errors(u);
	if (u->unreachable && now->monotonic_ns >= u->next_renew_ns) {
		u->unreachable = false;
		u->next_renew_ns = now->monotonic_ns + RENEW_NS;
		renew_socket(u);
	}
	if (now->monotonic_ns >= u->next_mtu_ns) {
		u->next_mtu_ns = now->monotonic_ns + MTU_NS;
		read_mtu(u);
	}
}

static void udp_refresh(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (u->lookup)
		return;
	u->lookup_wanted = true;
	u->next_try_ns = 0;
}

/* ---- life */

static int check_source(const struct transport_config *config, struct diag *diag)
{
	struct resolve_result source;

	if (config->source_host && config->source_host[0] &&
	    !resolve_numeric(&source, config->source_host, config->source_port, SOCK_DGRAM))
		return diag_set(diag, -EINVAL, "--source %s: not an IPv4 or IPv6 address", config->source_host);
	if (config->bind_device && strlen(config->bind_device) >= IF_NAMESIZE)
		return diag_set(diag, -EINVAL, "--bind-device %s: no interface has such a long name",
				config->bind_device);
	if (config->mtu && (config->mtu < 300 || config->mtu > 65535))
		return diag_set(diag, -EINVAL, "--mtu %u: out of range, 300 to 65535", config->mtu);
	return 0;
}

/* What will not mend itself is said now: an address that is not ours, a device that does not exist. */
static int first_connect(struct udp *u, struct diag *diag)
{
	struct resolve_result result;
	int r;

	if (!resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		return 0;
	r = use_addresses(u, &result);
	if (r == -ENODEV && u->bind_device[0])
		return diag_set(diag, r, "--bind-device %s: no such interface", u->bind_device);
	if (r == -EPERM && u->bind_device[0])
		return diag_set(diag, r, "--bind-device %s: not permitted; start pitot as root", u->bind_device);
	if (r == -EADDRNOTAVAIL && u->source_host[0])
		return diag_set(diag, r, "--source %s: not an address of this host", u->source_host);
	if (r == -EADDRINUSE)
		return diag_set(diag, r, "--source port %u: in use by another process", u->config.source_port);
	if (r == -EAFNOSUPPORT && u->source_host[0])
		return diag_set(diag, r, "--source %s: not of the family of collector %s", u->source_host,
				u->collector.url);
	return 0;
}

static void udp_free(struct udp *u)
{
	resolve_drop(&u->lookup);
	if (u->t.fd >= 0)
		close(u->t.fd);
	free(u->memory);
	free(u);
}

static int udp_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct udp *u;
	int r = check_source(config, diag);

	if (r)
		return r;
	u = calloc(1, sizeof(*u));
	if (!u)
		return diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	u->t = (struct transport){ .ops = &transport_udp_ops, .state = TRANSPORT_STATE_CONNECTING, .fd = -1 };
	u->config = *config;
	u->collector = *config->collector;
	u->config.collector = &u->collector;
	snprintf(u->source_host, sizeof(u->source_host), "%s", config->source_host ? config->source_host : "");
	snprintf(u->bind_device, sizeof(u->bind_device), "%s", config->bind_device ? config->bind_device : "");
	u->slot_size = (config->mtu > MTU_MOST ? config->mtu : MTU_MOST) - HEADERS4;
	u->memory = malloc(SLOTS * u->slot_size);
	u->lookup_wanted = true;
	if (!u->memory)
		r = diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	u->family = AF_INET6; /* unknown: the longer headers */
	read_mtu(u);
	if (r == 0)
		r = first_connect(u, diag);
	if (r) {
		udp_free(u);
		return r;
	}
	if (u->t.session)
		u->lookup_wanted = false;
	else
		start_lookup(u);
	*tp = &u->t;
	return 0;
}

static void udp_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	struct udp *u = (struct udp *)t;

	(void)deadline_ns;
	udp_flush(t);
	if (t->fd >= 0)
		drain_errors(u);
	*last = t->stats;
	udp_free(u);
}

const struct transport_ops transport_udp_ops = {
	.name = "udp",
	.open = udp_open,
	.reserve = udp_reserve,
	.commit = udp_commit,
	.flush = udp_flush,
	.tick = udp_tick,
	.refresh = udp_refresh,
	.close = udp_close,
};
