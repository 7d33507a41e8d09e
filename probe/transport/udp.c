/*
 * udp: one connected socket per collector, datagrams that are never fragmented.
 *
 * Messages are written into slots and sent together by sendmmsg().  Bulk exports send runs of messages of one
 * size by UDP_SEGMENT, a quarter of the cost: only after BULK messages, because on loopback and veth a packet
 * capture shows such a run as one datagram.  Errors that ICMP brings arrive by the error queue: they are
 * about earlier datagrams, whose records they take back (udp_sent.c), and cost the next one nothing but a
 * second try.  When the system has no room, what is left waits in the slots for the next flush; of a savefile
 * the flush waits.
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
#include <sys/socket.h>
#include <unistd.h>

#include "udp_internal.h"

#ifndef UDP_SEGMENT /* linux/udp.h, 4.18 */
#define UDP_SEGMENT 103
#endif

#define RETRY_NS	(30 * NS_PER_SEC) /* after a failed lookup or connect */
#define MTU_NS		(5 * NS_PER_SEC)  /* between looks at the path MTU */
#define LOOK_NS		(10 * NS_PER_SEC) /* between looks at the way to the collector */
#define LOOK_LEAST_NS	(NS_PER_SEC / 5)  /* however many reasons there are */
#define LOOK_ERROR_NS	NS_PER_SEC	  /* after an error of a call */
#define BULK		1024u		  /* messages before runs are sent at once */
#define RUN_LEAST	4u		  /* messages in a run that pays */
#define RUN_OCTETS	65000u		  /* and the most that one call takes */
#define OFFLINE_WAIT_MS 10000		  /* for room */

/* ---- sending */

/* Of a savefile nothing is lost for want of room: a queue of the system may be full while the socket is not.
 */
static bool wait_for_room(struct udp *u, unsigned *waited_ms)
{
	struct pollfd p = {.fd = u->t.fd, .events = POLLOUT};
	uint64_t begun_ns = clock_monotonic_ns();

	if (*waited_ms >= u->wait_ms)
		return false;
	if (poll(&p, 1, (int)(u->wait_ms - *waited_ms)) > 0)
		poll(NULL, 0, 1);
	*waited_ms += 1 + (unsigned)((clock_monotonic_ns() - begun_ns) / NS_PER_MSEC);
	return true;
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
	int error;

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	if (sendmsg(u->t.fd, &m, MSG_NOSIGNAL) >= 0)
		return true;
	error = errno;
	udp_drain_errors(u); /* it may be about an earlier one: these have not left */
	if (error == EINVAL || error == EIO || error == EOPNOTSUPP || error == ENOPROTOOPT)
		u->no_segments = true;
	return false;
}

/* An error of a call: what became of the message that it was about. */
static void note_failure(struct udp *u, int error)
{
	if (!udp_is_path_error(error)) {
		udp_note_error(u, error);
		return;
	}
	udp_note_path_error(u, error);
	if (u->next_look_ns > u->looked_ns + LOOK_ERROR_NS)
		u->next_look_ns = u->looked_ns + LOOK_ERROR_NS;
}

static bool is_room_error(int error)
{
	return error == EAGAIN || error == ENOBUFS;
}

enum send_how { SEND_LOST, SEND_ONE_BY_ONE, SEND_RUN };

/* Sends messages from i on; returns how many are dealt with, and how; 0: no room now. */
static unsigned send_some(struct udp *u, unsigned i, enum send_how *how)
{
	bool bulk = !u->no_segments && u->t.stats.messages >= BULK;
	unsigned plain = bulk ? 0 : u->used - i, run = bulk ? run_length(u, i) : 0;
	unsigned waited_ms = 0;

	*how = SEND_RUN;
	if (run >= RUN_LEAST && send_run(u, i, run))
		return run;
	*how = SEND_ONE_BY_ONE;
	/* up to the next run */
	for (plain += plain == 0; i + plain < u->used && bulk && run_length(u, i + plain) < RUN_LEAST;
	     plain++)
		;
	for (unsigned tries = 0; tries < 8;) {
		int n = sendmmsg(u->t.fd, u->headers + i, plain, MSG_NOSIGNAL), error = errno;

		if (n > 0) {
			u->wait_ms = OFFLINE_WAIT_MS;
			return (unsigned)n;
		}
		u->room_error = is_room_error(error) ? error : 0;
		if (u->room_error && !u->config.offline)
			return 0;
		if (u->room_error && wait_for_room(u, &waited_ms))
			continue;
		if (u->room_error)
			u->wait_ms = 0; /* once in vain is enough until there is room */
		tries++;
		if (error == EINTR || udp_is_about_others(u, error, u->vectors[i].iov_len))
			continue;
		note_failure(u, error);
		break;
	}
	*how = SEND_LOST;
	return 1;
}

/* Messages [i, end) of those in the slots are dealt with. */
static void resolve_some(struct udp *u, unsigned i, unsigned end, enum send_how how)
{
	u->run++;
	for (; i < end; i++) {
		unsigned slot = (u->first + i) % UDP_SLOTS;
		const struct udp_slot *s = &u->slots[slot];

		if (how != SEND_LOST)
			udp_sent_add(u, u->memory + slot * u->slot_size, s);
		u->run += how == SEND_ONE_BY_ONE;
		transport_resolve(&u->t, &s->load, s->size, how != SEND_LOST);
	}
}

void udp_flush(struct transport *t)
{
	struct udp *u = (struct udp *)t;
	unsigned done = 0;

	for (unsigned i = 0; i < u->used; i++) {
		unsigned slot = (u->first + i) % UDP_SLOTS;

		u->vectors[i] = (struct iovec){.iov_base = u->memory + slot * u->slot_size,
					       .iov_len = u->slots[slot].size};
		u->headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &u->vectors[i], .msg_iovlen = 1}};
	}
	while (done < u->used) {
		enum send_how how;
		unsigned n = send_some(u, done, &how);

		if (n == 0)
			break;
		resolve_some(u, done, done + n, how);
		done += n;
	}
	u->first = (u->first + done) % UDP_SLOTS;
	u->used -= done;
}

/* The n oldest messages waited for room in vain. */
static void lose_first(struct udp *u, unsigned n)
{
	if (n == 0)
		return;
	udp_note_error(u, u->room_error);
	resolve_some(u, 0, n, SEND_LOST);
	u->first = (u->first + n) % UDP_SLOTS;
	u->used -= n;
}

void udp_lose_rest(struct udp *u)
{
	lose_first(u, u->used);
}

static uint8_t *udp_reserve(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (t->state != TRANSPORT_STATE_UP)
		return NULL;
	if (u->used == UDP_SLOTS)
		udp_flush(t);
	if (u->used == UDP_SLOTS)
		lose_first(u, 1);
	return u->memory + (u->first + u->used) % UDP_SLOTS * u->slot_size;
}

static void udp_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct udp *u = (struct udp *)t;

	u->slots[(u->first + u->used++) % UDP_SLOTS] = (struct udp_slot){.size = size, .load = *load};
}

/* ---- names */

static void lookup_failed(struct udp *u, int error)
{
	udp_note_path_error(u, -error);
	if (!u->t.session)
		u->t.state = TRANSPORT_STATE_FAILED;
	u->next_try_ns = u->now_ns + RETRY_NS;
	u->lookup_wanted = !u->t.session;
}

static void start_lookup(struct udp *u)
{
	struct resolve_result result;
	int r;

	u->lookup_wanted = false;
	u->tried_ns = u->now_ns;
	if (resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		r = udp_use_addresses(u, &result);
	else
		r = resolve_start(&u->lookup, u->collector.host, u->collector.port, SOCK_DGRAM);
	if (r)
		lookup_failed(u, r);
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
	int r;

	u->now_ns = now->monotonic_ns;
	if (u->lookup_wanted && now->monotonic_ns >= u->next_try_ns)
		start_lookup(u);
	if (u->lookup && resolve_take(&u->lookup, &result, 0)) {
		r = udp_use_addresses(u, &result);
		if (r)
			lookup_failed(u, r);
		if (r && result.error) { /* the name: the resolver says it best */
			t->stats.reason[0] = '\0';
			t->stats.last_cause = gai_strerror(result.error);
		}
	}
	if (t->fd < 0)
		return;
	udp_drain_errors(u);
	doubt_address(u);
	if (now->monotonic_ns >= u->next_look_ns) {
		u->looked_ns = now->monotonic_ns;
		u->next_look_ns = now->monotonic_ns + LOOK_NS;
		udp_look(u);
	}
	if (now->monotonic_ns >= u->next_mtu_ns) {
		u->next_mtu_ns = now->monotonic_ns + MTU_NS;
		udp_read_mtu(u);
	}
}

/* Links, addresses or routes have changed. */
static void udp_network_changed(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (u->next_try_ns > u->tried_ns + LOOK_LEAST_NS)
		u->next_try_ns = u->tried_ns + LOOK_LEAST_NS;
	if (u->next_look_ns > u->looked_ns + LOOK_LEAST_NS)
		u->next_look_ns = u->looked_ns + LOOK_LEAST_NS;
}

/* Nothing may be lost while a name is looked up. */
static bool udp_crowded(const struct transport *t)
{
	const struct udp *u = (const struct udp *)t;

	return u->lookup && !t->session;
}

static void udp_refresh(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	udp_network_changed(t);
	if (u->lookup)
		return;
	u->lookup_wanted = true;
	u->next_try_ns = 0;
}

/* A datagram without a message in it: a host where nobody listens refuses it like the others. */
static void udp_probe(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (t->fd >= 0)
		if (send(t->fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0)
			udp_sent_add_probe(u);
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
	socket_init_origin(&u->from, config);
	u->slot_size = (config->mtu > UDP_MTU_MOST ? config->mtu : UDP_MTU_MOST) - UDP_HEADERS4;
	u->memory = malloc(UDP_SLOTS * u->slot_size);
	u->wait_ms = OFFLINE_WAIT_MS;
	u->now_ns = clock_monotonic_ns();
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

	udp_flush(t);
	if (u->lookup && !t->session)
		t->stats.last_cause = "the name service has not answered yet";
	while (u->used > 0 && clock_monotonic_ns() < deadline_ns) {
		poll(NULL, 0, 5);
		udp_flush(t);
	}
	udp_lose_rest(u);
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
	.crowded = udp_crowded,
	.network_changed = udp_network_changed,
	.probe = udp_probe,
	.close = udp_close,
};
