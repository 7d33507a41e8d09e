/*
 * udp_socket: the sockets of udp.c: addresses, the path's MTU, and the errors that come back.
 */
#include <errno.h>
#include <time.h> /* before errqueue.h, which needs struct timespec */
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "udp_internal.h"

#define MTU_UNKNOWN 512u /* RFC 7011 §10.3.3 */
#define MTU_LEAST   300	 /* of --mtu, too */
#define HEADERS6    48u
#define SEND_BUFFER (4 << 20)

void udp_note_error(struct udp *u, int error)
{
	u->t.stats.errors++;
	u->t.stats.last_error = error;
	u->t.stats.last_cause = NULL;
	u->t.stats.reason[0] = '\0';
}

void udp_note_path_error(struct udp *u, int error)
{
	udp_note_error(u, error);
	(void)socket_missing(u->source_host, u->bind_device, error, u->t.stats.reason,
			     sizeof(u->t.stats.reason));
}

bool udp_is_path_error(int error)
{
	switch (error) {
	case EADDRNOTAVAIL:
	case EINVAL: /* the address that the socket sends from is gone */
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case ENODEV:
	case ENXIO:
		return true;
	default:
		return false;
	}
}

/* ---- the path's MTU */

static unsigned headers(const struct udp *u)
{
	return u->family == AF_INET6 ? HEADERS6 : UDP_HEADERS4;
}

void udp_read_mtu(struct udp *u)
{
	bool v6 = u->family == AF_INET6;
	int mtu = 0;
	socklen_t size = sizeof(mtu);
	size_t limit;

	if (u->t.fd < 0 ||
	    getsockopt(u->t.fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size))
		mtu = 0;
	if (mtu < MTU_LEAST) /* 68: a device that is gone */
		mtu = 0;
	limit = u->config.mtu ? u->config.mtu : mtu > 0 ? UDP_MTU_MOST : MTU_UNKNOWN;
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
		struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(u->config.source_port)};
		struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(u->config.source_port)};

		return bind(fd, family == AF_INET6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4,
			    family == AF_INET6 ? sizeof(a6) : sizeof(a4))
			       ? -errno
			       : 0;
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
	int on = 1, no_fragments = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO, buffer = SEND_BUFFER,
	    ttl = u->config.ttl;

	if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
		       &no_fragments, sizeof(no_fragments)))
		return -errno;
	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (ttl && setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl,
			      sizeof(ttl)))
		return -errno;
	if (ttl) /* a collector may be a group */
		setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL,
			   &ttl, sizeof(ttl));
	if (u->bind_device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, u->bind_device, (socklen_t)strlen(u->bind_device)))
		return -errno;
	return 0;
}

static void note_self(struct udp *u)
{
	u->t.self = (struct transport_local){.family = u->family, .protocol = IPPROTO_UDP};
	socket_local(u->t.fd, &u->t.self);
	socket_split(&u->peer, u->t.self.remote, &u->t.self.remote_port);
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
		udp_lose_rest(u);
		udp_drain_errors(u);
		close(u->t.fd);
	}
	udp_sent_forget(u);
	u->t.fd = fd;
	u->device_index = socket_device_of(fd);
	u->family = peer->ss_family;
	u->peer = *peer;
	u->peer_size = size;
	u->t.session++;
	u->t.stats.sessions++;
	u->t.state = TRANSPORT_STATE_UP;
	note_self(u);
	udp_read_mtu(u);
}

void udp_look(struct udp *u)
{
	struct sockaddr_storage peer = u->peer;
	int fd = open_socket(u, &peer, u->peer_size);

	if (fd < 0) { /* whatever the socket in use says: no datagram finds its way */
		udp_note_path_error(u, -fd);
		if (udp_is_path_error(-fd))
			u->t.state = TRANSPORT_STATE_FAILED;
	} else if (socket_is_like(fd, &u->t.self, u->device_index)) {
		close(fd);
		u->t.state = TRANSPORT_STATE_UP;
	} else {
		use_socket(u, fd, &peer, u->peer_size);
	}
}

int udp_use_addresses(struct udp *u, const struct resolve_result *result)
{
	int r = -EADDRNOTAVAIL;

	if (result->error)
		return -EADDRNOTAVAIL;
	for (unsigned i = 0; u->t.session && i < result->n; i++)
		if (result->sizes[i] == u->peer_size &&
		    memcmp(&result->addresses[i], &u->peer, u->peer_size) == 0)
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

/* ---- what comes back */

/* What ICMP says of a datagram is that it did not arrive, whatever the reason. */
static void take_error(struct udp *u, const struct sock_extended_err *e, const uint8_t *quote, size_t size)
{
	if (e->ee_origin != SO_EE_ORIGIN_LOCAL) {
		udp_note_error(u, (int)e->ee_errno);
		udp_sent_refuse(u, quote, size);
	}
	if (e->ee_errno == EMSGSIZE)
		udp_read_mtu(u);
}

unsigned udp_drain_errors(struct udp *u)
{
	unsigned n = 0;

	for (;;) {
		uint8_t control[512], quote[UDP_HEAD];
		struct iovec v = {.iov_base = quote, .iov_len = sizeof(quote)};
		struct msghdr m = {.msg_iov = &v,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		ssize_t size = recvmsg(u->t.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);

		if (size < 0)
			return n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err e;

			if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
			    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			n++;
			take_error(u, &e, quote, (size_t)size);
		}
	}
}

bool udp_is_about_others(struct udp *u, int error, size_t size)
{
	unsigned queued = udp_drain_errors(u);

	if (error == EMSGSIZE) { /* unless this one is too long for what the path takes now */
		udp_read_mtu(u);
		return size <= u->t.limits.max_message;
	}
	if (queued)
		return true;
	if (error == ECONNREFUSED) { /* without the queue */
		udp_note_error(u, error);
		return true;
	}
	return false;
}

/* ---- the first one */

int udp_check_config(const struct transport_config *config, struct diag *diag)
{
	if (config->mtu && (config->mtu < MTU_LEAST || config->mtu > 65535))
		return diag_set(diag, -EINVAL, "--mtu %u: out of range, 300 to 65535", config->mtu);
	return socket_check_source(config, diag);
}

int udp_first_connect(struct udp *u, struct diag *diag)
{
	struct resolve_result result;
	char text[sizeof(u->t.stats.reason)];
	int r;

	if (!resolve_numeric(&result, u->collector.host, u->collector.port, SOCK_DGRAM))
		return 0;
	r = udp_use_addresses(u, &result);
	if (r == -EPERM && u->bind_device[0])
		return diag_set(diag, r, "--bind-device %s: not permitted; start pitot as root",
				u->bind_device);
	if (r < 0 && u->config.offline &&
	    socket_missing(u->source_host, u->bind_device, -r, text, sizeof(text)))
		return diag_set(diag, r, "%s", text);
	if (r == -EADDRINUSE)
		return diag_set(diag, r, "--source port %u: in use by another process",
				u->config.source_port);
	if (r == -EAFNOSUPPORT && u->source_host[0])
		return diag_set(diag, r, "--source %s: not of the family of collector %s", u->source_host,
				u->collector.url);
	return 0;
}
