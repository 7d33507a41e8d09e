/*
 * udp: one connected socket per collector, datagrams that are never fragmented.
 *
 * Messages are written into slots and sent together by sendmmsg().  Bulk exports send runs of messages of one
 * size by UDP_SEGMENT, a quarter of the cost: only after BULK messages, because on loopback and veth a packet
 * capture shows such a run as one datagram.  Errors that ICMP brings arrive by the error queue: they are
 * about earlier datagrams and cost the next one nothing but a second try.
 *
 * Sockets are made by udp_socket.c.  Names are resolved by resolve.c; until an address is there the transport
 * has no session and lends no room.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udp_internal.h"

#ifndef UDP_SEGMENT /* linux/udp.h, 4.18 */
#define UDP_SEGMENT 103
#endif

#define RETRY_NS	(30 * NS_PER_SEC) /* after a failed lookup or connect */
#define MTU_NS		(5 * NS_PER_SEC)  /* between looks at the path MTU */
#define RENEW_NS	NS_PER_SEC	  /* between sockets, when the own address is gone */
#define BULK		1024u		  /* messages before runs are sent at once */
#define RUN_LEAST	4u		  /* messages in a run that pays */
#define RUN_OCTETS	65000u		  /* and the most that one call takes */
#define OFFLINE_WAIT_MS 10000		  /* for a name, or for room */

/* ---- sending */

static bool wait_for_room(struct udp *u)
{
	struct pollfd p = {.fd = u->t.fd, .events = POLLOUT};

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
	} control = {.octets = {0}};
	struct msghdr m = {.msg_iov = u->vectors + i,
			   .msg_iovlen = n,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control.octets)};
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
	for (plain += plain == 0; i + plain < u->used && bulk && run_length(u, i + plain) < RUN_LEAST;
	     plain++)
		;
	for (unsigned tries = 0; tries < 8; tries++) {
		int n = sendmmsg(u->t.fd, u->headers + i, plain, MSG_NOSIGNAL), error = errno;

		if (n > 0)
			return (unsigned)n;
		if (error == EINTR || udp_is_about_others(u, error, u->vectors[i].iov_len))
			continue;
		if ((error == EAGAIN || error == ENOBUFS) && u->config.offline && wait_for_room(u))
			continue;
		udp_note_error(u, error);
		u->unreachable |= error == ENETUNREACH || error == EINVAL || error == EADDRNOTAVAIL;
		break;
	}
	*sent = false;
	return 1;
}

void udp_flush(struct transport *t)
{
	struct udp *u = (struct udp *)t;
	unsigned used = u->used, first = u->first;

	for (unsigned i = 0; i < used; i++) {
		unsigned slot = (first + i) % UDP_SLOTS;

		u->vectors[i] = (struct iovec){.iov_base = u->memory + slot * u->slot_size,
					       .iov_len = u->slots[slot].size};
		u->headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &u->vectors[i], .msg_iovlen = 1}};
	}
	for (unsigned i = 0; i < used;) {
		bool sent;
		unsigned n = send_some(u, i, &sent);

		for (; n > 0; n--, i++) {
			const struct udp_slot *s = &u->slots[(first + i) % UDP_SLOTS];

			transport_resolve(t, &s->load, s->size, sent);
		}
	}
	u->first = (first + used) % UDP_SLOTS;
	u->used = 0;
}

static uint8_t *udp_reserve(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (t->state != TRANSPORT_STATE_UP)
		return NULL;
	if (u->used == UDP_SLOTS)
		udp_flush(t);
	return u->memory + (u->first + u->used) % UDP_SLOTS * u->slot_size;
}

static void udp_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct udp *u = (struct udp *)t;

	u->slots[(u->first + u->used++) % UDP_SLOTS] = (struct udp_slot){.size = size, .load = *load};
}

/* ---- names */

static void start_lookup(struct udp *u)
{
	struct resolve_result result;
	int r;

	u->lookup_wanted = false;
	if (resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		r = udp_use_addresses(u, &result);
	else
		r = resolve_start(&u->lookup, u->collector.host, u->collector.port, SOCK_DGRAM);
	if (r) {
		udp_note_error(u, -r);
		u->t.state = u->t.session ? TRANSPORT_STATE_UP : TRANSPORT_STATE_FAILED;
		u->next_try_ns = u->now_ns + RETRY_NS;
		u->lookup_wanted = !u->t.session;
	}
}

/* A collector that cannot be reached may have moved: its name is looked up again. */
static void doubt_address(struct udp *u)
{
	if (u->t.stats.errors == u->doubted || u->lookup || u->lookup_wanted || u->now_ns < u->next_doubt_ns)
		return;
	u->doubted = u->t.stats.errors;
	u->next_doubt_ns = u->now_ns + RETRY_NS;
	u->lookup_wanted = true;
	u->next_try_ns = 0;
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
		r = udp_use_addresses(u, &result);
		if (r) {
			udp_note_error(u, -r);
			if (result.error) /* the name: the resolver says it best */
				t->stats.last_cause = gai_strerror(result.error);
			u->t.state = t->session ? TRANSPORT_STATE_UP : TRANSPORT_STATE_FAILED;
			u->next_try_ns = now->monotonic_ns + RETRY_NS;
			u->lookup_wanted = !t->session;
		}
	}
	if (t->fd < 0)
		return;
	udp_drain_errors(u);
	doubt_address(u);
	if (u->unreachable && now->monotonic_ns >= u->next_renew_ns) {
		u->unreachable = false;
		u->next_renew_ns = now->monotonic_ns + RENEW_NS;
		udp_renew_socket(u);
	}
	if (now->monotonic_ns >= u->next_mtu_ns) {
		u->next_mtu_ns = now->monotonic_ns + MTU_NS;
		udp_read_mtu(u);
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
	int r = udp_check_config(config, diag);

	if (r)
		return r;
	u = calloc(1, sizeof(*u));
	if (!u)
		return diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	u->t = (struct transport){.ops = &transport_udp_ops, .state = TRANSPORT_STATE_CONNECTING, .fd = -1};
	u->config = *config;
	u->collector = *config->collector;
	u->config.collector = &u->collector;
	snprintf(u->source_host, sizeof(u->source_host), "%s",
		 config->source_host ? config->source_host : "");
	snprintf(u->bind_device, sizeof(u->bind_device), "%s",
		 config->bind_device ? config->bind_device : "");
	u->slot_size = (config->mtu > UDP_MTU_MOST ? config->mtu : UDP_MTU_MOST) - UDP_HEADERS4;
	u->memory = malloc(UDP_SLOTS * u->slot_size);
	u->lookup_wanted = true;
	if (!u->memory)
		r = diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	u->family = AF_INET6; /* unknown: the longer headers */
	udp_read_mtu(u);
	if (r == 0)
		r = udp_first_connect(u, diag);
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
		udp_drain_errors(u);
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
