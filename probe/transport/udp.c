/*
 * udp: one connected socket per collector, datagrams that are never fragmented.
 *
 * Messages wait in slots (udp_slots.c).  Errors that ICMP brings arrive by the error queue: they are about
 * earlier datagrams, whose records they take back (udp_sent.c), and cost the next one nothing but a second
 * try.
 *
 * Names are resolved by resolve.c; until an address is there the transport has no session and lends no room.
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

#define RETRY_NS      (30 * NS_PER_SEC) /* after a failed lookup or connect */
#define MTU_NS	      (5 * NS_PER_SEC)	/* between looks at the path MTU */
#define LOOK_NS	      (10 * NS_PER_SEC) /* between looks at the way to the collector */
#define LOOK_LEAST_NS (NS_PER_SEC / 5)	/* however many reasons there are */
#define SEND_BUFFER   (4 << 20)

/* ---- the socket */

/* Errors that ICMP brings are kept until they are read, and bursts have room. */
static void udp_set_options(int fd, int family)
{
	bool v6 = family == AF_INET6;
	int on = 1, buffer = SEND_BUFFER;

	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
}

/* A session begins. */
static void udp_use_socket(struct udp *u, int fd, const struct sockaddr_storage *peer, socklen_t size)
{
	if (u->t.fd >= 0) {
		udp_flush(&u->t); /* what was meant for the old address */
		udp_lose_rest(u);
		udp_drain_errors(u);
		close(u->t.fd);
	}
	udp_sent_forget(u);
	u->t.fd = fd;
	u->device_index = socket_device_of(fd);
	u->family = peer->ss_family;
	udp_set_options(fd, u->family);
	u->peer = *peer;
	u->peer_size = size;
	u->t.session++;
	u->t.stats.sessions++;
	u->t.state = TRANSPORT_STATE_UP;
	socket_note_self(fd, IPPROTO_UDP, &u->t.self);
	udp_read_mtu(u);
}

/*
 * Looks which way to the collector there is now: another address of this host, or another device of that
 * name, is another socket and session; none is a failure until there is one.
 */
static void udp_look(struct udp *u)
{
	struct sockaddr_storage peer = u->peer;
	int fd, r = socket_look(&u->from, SOCK_DGRAM, 0, &peer, u->peer_size, &u->t.self, u->device_index,
				&fd);

	if (r < 0) { /* whatever the socket in use says: no datagram finds its way */
		udp_note_path_error(u, -r);
		if (udp_is_path_error(-r))
			u->t.state = TRANSPORT_STATE_FAILED;
	} else if (r == SOCKET_E_MOVED) {
		udp_use_socket(u, fd, &peer, u->peer_size);
	} else {
		u->t.state = TRANSPORT_STATE_UP;
	}
}

/* The first address that can be connected to; the one in use is kept if it still is one of them. */
static int udp_use_addresses(struct udp *u, const struct resolve_result *result)
{
	int r = -EADDRNOTAVAIL;

	if (result->error)
		return -EADDRNOTAVAIL;
	for (unsigned i = 0; u->t.session && i < result->n; i++)
		if (result->sizes[i] == u->peer_size &&
		    memcmp(&result->addresses[i], &u->peer, u->peer_size) == 0)
			return 0;
	for (unsigned i = 0; i < result->n; i++) {
		r = socket_open(&u->from, SOCK_DGRAM, 0, &result->addresses[i], result->sizes[i]);
		if (r >= 0) {
			udp_use_socket(u, r, &result->addresses[i], result->sizes[i]);
			return 0;
		}
	}
	return r;
}

/* ---- names */

static void udp_lookup_failed(struct udp *u, int error)
{
	udp_note_path_error(u, -error);
	if (!u->t.session)
		u->t.state = TRANSPORT_STATE_FAILED;
	u->next_try_ns = u->now_ns + RETRY_NS;
	u->lookup_wanted = !u->t.session;
}

static void udp_start_lookup(struct udp *u)
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
		udp_lookup_failed(u, r);
}

/* A collector that cannot be reached may have moved: its name is looked up again. */
static void udp_doubt_address(struct udp *u)
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
		udp_start_lookup(u);
	if (u->lookup && resolve_take(&u->lookup, &result, 0)) {
		r = udp_use_addresses(u, &result);
		if (r)
			udp_lookup_failed(u, r);
		if (r && result.error) { /* the name: the resolver says it best */
			t->stats.reason[0] = '\0';
			t->stats.last_cause = gai_strerror(result.error);
		}
	}
	if (t->fd < 0)
		return;
	udp_drain_errors(u);
	udp_doubt_address(u);
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

static uint64_t udp_due_ns(const struct transport *t)
{
	const struct udp *u = (const struct udp *)t;
	uint64_t due_ns = u->lookup_wanted ? u->next_try_ns : UINT64_MAX;

	if (u->lookup || u->used > 0)
		return 0;
	if (t->fd < 0)
		return due_ns;
	return clock_sooner_ns(due_ns, clock_sooner_ns(u->next_look_ns, u->next_mtu_ns));
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

static int udp_check_config(const struct transport_config *config, struct diag *diag)
{
	if (config->mtu && (config->mtu < UDP_MTU_LEAST || config->mtu > 65535))
		return diag_set(diag, -EINVAL, "--mtu %u: out of range, 300 to 65535", config->mtu);
	return socket_check_origin(config, diag);
}

/* What will not mend itself is said now; of a savefile also an address or a device that is not there. */
static int udp_first_connect(struct udp *u, struct diag *diag)
{
	struct resolve_result result;
	char text[sizeof(u->t.stats.reason)];
	int r;

	if (!resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		return 0;
	r = udp_use_addresses(u, &result);
	if (r == -EPERM && u->from.device[0])
		return diag_set(diag, r, "--bind-device %s: not permitted; start pitot as root",
				u->from.device);
	if (r < 0 && u->config.offline && socket_is_missing(&u->from, -r, text, sizeof(text)))
		return diag_set(diag, r, "%s", text);
	if (r == -EADDRINUSE)
		return diag_set(diag, r, "--source port %u: in use by another process", u->from.port);
	if (r == -EAFNOSUPPORT && u->from.host[0])
		return diag_set(diag, r, "--source %s: not of the family of collector %s", u->from.host,
				u->collector.url);
	return 0;
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
	u->wait_ms = UDP_WAIT_MS;
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
		udp_start_lookup(u);
	*tp = &u->t;
	return 0;
}

static bool udp_settled(const struct transport *t)
{
	const struct udp *u = (const struct udp *)t;

	return t->state == TRANSPORT_STATE_UP && t->session && u->used == 0;
}

/* A numeric host was connected to when the transport was opened; a name whoever had the socket looked up. */
static bool udp_is_the_collector(const struct udp *u, int fd, const struct sockaddr_storage *peer,
				 socklen_t size)
{
	struct transport_local self;

	if (u->t.session)
		return size == u->peer_size && memcmp(peer, &u->peer, size) == 0;
	socket_note_self(fd, IPPROTO_UDP, &self);
	return self.remote_port == u->collector.port;
}

static int udp_take_over(struct transport *t, int fd, const uint8_t *templates, size_t size)
{
	struct udp *u = (struct udp *)t;
	struct sockaddr_storage peer = {0};
	socklen_t type_size = sizeof(int), peer_size = sizeof(peer);
	int type = 0, r;

	(void)templates;
	(void)size;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) || type != SOCK_DGRAM ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_size) ||
	    (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) ||
	    !udp_is_the_collector(u, fd, &peer, peer_size))
		return -EBADMSG;
	r = socket_adopt(&u->from, fd, SOCK_DGRAM, peer.ss_family);
	if (r < 0)
		return r;
	udp_use_socket(u, fd, &peer, peer_size);
	u->lookup_wanted = false;
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
	.due_ns = udp_due_ns,
	.refresh = udp_refresh,
	.crowded = udp_crowded,
	.network_changed = udp_network_changed,
	.probe = udp_probe,
	.settled = udp_settled,
	.take_over = udp_take_over,
	.close = udp_close,
};
