/* session_socket: the sockets of session.c: source, options, connecting without waiting. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session.h"

/* A peer that is dead is noticed: idle after KEEP_IDLE + KEEP_COUNT * KEEP_EVERY s, with data after
 * USER_TIMEOUT. */
#define KEEP_IDLE	15
#define KEEP_EVERY	5
#define KEEP_COUNT	3
#define USER_TIMEOUT_MS 60000
#define LOOK_NS		(10 * NS_PER_SEC)
#define UNSENT_MOST	(256 << 10) /* in the socket: more is better kept where nothing is lost */

static int socket_bind(const struct session *s, int fd, int family)
{
	struct resolve_result source;
	const char *any = family == AF_INET6 ? "::" : "0.0.0.0";
	int on = 1;

	if (!s->source_host[0] && !s->config.source_port)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* the last session may be in TIME_WAIT */
	if (!resolve_numeric(&source, s->source_host[0] ? s->source_host : any, s->config.source_port,
			     s->layer->socktype))
		return -EADDRNOTAVAIL;
	if (source.addresses[0].ss_family != family)
		return -EAFNOSUPPORT;
	return bind(fd, (struct sockaddr *)&source.addresses[0], source.sizes[0]) ? -errno : 0;
}

static int socket_options(const struct session *s, int fd, int family)
{
	bool v6 = family == AF_INET6;
	int on = 1, idle = KEEP_IDLE, every = KEEP_EVERY, count = KEEP_COUNT, ttl = s->config.ttl;
	int unsent = UNSENT_MOST;
	unsigned timeout = USER_TIMEOUT_MS;

	if (s->layer->protocol == IPPROTO_TCP) {
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
		setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* messages are gathered already */
	}
	if (ttl && setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl,
			      sizeof(ttl)))
		return -errno;
	if (s->bind_device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, s->bind_device, (socklen_t)strlen(s->bind_device)))
		return -errno;
	return 0;
}

int session_socket_open(struct session *s, const struct sockaddr_storage *peer, socklen_t size)
{
	int family = peer->ss_family, r;
	int fd = socket(family, s->layer->socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, s->layer->protocol);

	if (fd < 0)
		return -errno;
	r = socket_options(s, fd, family);
	if (r == 0)
		r = socket_bind(s, fd, family);
	if (r == 0 && connect(fd, (const struct sockaddr *)peer, size) && errno != EINPROGRESS)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int socket_like(struct session *s)
{
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);

	if (getpeername(s->t.fd, (struct sockaddr *)&peer, &size))
		return -errno;
	return session_socket_open(s, &peer, size);
}

bool session_socket_has_moved(struct session *s)
{
	bool moved;
	int fd;

	if (s->layer->socktype != SOCK_DGRAM || s->now_ns < s->next_look_ns)
		return false;
	s->next_look_ns = s->now_ns + LOOK_NS;
	fd = socket_like(s);
	if (fd < 0)
		return false; /* there is no better one */
	moved = !socket_is_like(fd, &s->t.self, socket_device_of(s->t.fd));
	close(fd);
	return moved;
}

int session_socket_connected(const struct session *s)
{
	struct pollfd p = {.fd = s->t.fd, .events = POLLOUT};
	int error = 0;
	socklen_t size = sizeof(error);

	if (poll(&p, 1, 0) <= 0 || !p.revents)
		return 0;
	if (getsockopt(s->t.fd, SOL_SOCKET, SO_ERROR, &error, &size))
		return -errno;
	return error ? -error : 1;
}

void session_socket_note_self(struct session *s)
{
	struct sockaddr_storage local = {0}, remote = {0};
	socklen_t size = sizeof(local);

	s->t.self = (struct transport_local){0};
	if (getsockname(s->t.fd, (struct sockaddr *)&local, &size))
		return;
	size = sizeof(remote);
	if (getpeername(s->t.fd, (struct sockaddr *)&remote, &size))
		return;
	s->t.self.family = local.ss_family;
	s->t.self.protocol = s->layer->protocol ? (uint8_t)s->layer->protocol : IPPROTO_UDP;
	socket_split(&local, s->t.self.local, &s->t.self.local_port);
	socket_split(&remote, s->t.self.remote, &s->t.self.remote_port);
}

ssize_t session_socket_send(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = send(s->t.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

int session_socket_drop(struct session *s)
{
	for (unsigned i = 0; i < 16; i++) { /* a peer that talks without end is heard later */
		uint8_t dropped[4096];
		ssize_t n = recv(s->t.fd, dropped, sizeof(dropped), MSG_DONTWAIT);

		if (n == 0)
			return SESSION_E_CLOSED;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	return 0;
}

void session_socket_shut(struct session *s)
{
	shutdown(s->t.fd, SHUT_WR);
}

bool session_socket_is_reset(const struct session *s)
{
	struct pollfd p = {.fd = s->t.fd};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

uint64_t session_socket_units(const struct session *s)
{
	return s->units;
}

uint64_t session_socket_unacked(const struct session *s)
{
	int octets = 0;

	/* also after a reset: what was acknowledged before it stays so */
	if (ioctl(s->t.fd, SIOCOUTQ, &octets) || octets < 0)
		return UINT64_MAX;
	return (uint64_t)octets;
}
