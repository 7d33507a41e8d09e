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
#define MTU_LEAST   300u /* of --mtu, too */
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
	(void)socket_is_missing(&u->from, error, u->t.stats.reason, sizeof(u->t.stats.reason));
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
	unsigned mtu = u->t.fd < 0 ? 0 : socket_path_mtu(u->t.fd);
	size_t limit;

	if (mtu < MTU_LEAST) /* 68: a device that is gone */
		mtu = 0;
	limit = u->config.mtu ? u->config.mtu : mtu > 0 ? UDP_MTU_MOST : MTU_UNKNOWN;
	if (mtu > 0 && mtu < limit)
		limit = mtu;
	limit -= headers(u);
	u->t.limits.max_message = limit < u->slot_size ? limit : u->slot_size;
}

/* ---- the socket */

/* Errors that ICMP brings are kept until they are read, and bursts have room. */
static void set_options(int fd, int family)
{
	bool v6 = family == AF_INET6;
	int on = 1, buffer = SEND_BUFFER;

	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
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
	set_options(fd, u->family);
	u->peer = *peer;
	u->peer_size = size;
	u->t.session++;
	u->t.stats.sessions++;
	u->t.state = TRANSPORT_STATE_UP;
	socket_note_self(fd, IPPROTO_UDP, &u->t.self);
	udp_read_mtu(u);
}

void udp_look(struct udp *u)
{
	struct sockaddr_storage peer = u->peer;
	int fd, r = socket_look(&u->from, SOCK_DGRAM, 0, &peer, u->peer_size, &u->t.self, u->device_index,
				&fd);

	if (r < 0) { /* whatever the socket in use says: no datagram finds its way */
		udp_note_path_error(u, -r);
		if (udp_is_path_error(-r))
			u->t.state = TRANSPORT_STATE_FAILED;
	} else if (r == SOCKET_E_MOVED) {
		use_socket(u, fd, &peer, u->peer_size);
	} else {
		u->t.state = TRANSPORT_STATE_UP;
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
		r = socket_open(&u->from, SOCK_DGRAM, 0, &result->addresses[i], result->sizes[i]);
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
	return socket_check_origin(config, diag);
}

int udp_first_connect(struct udp *u, struct diag *diag)
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
