/* socket: see socket.h. */
#include "transport/socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pitot/resolve.h"

#ifndef SO_BINDTOIFINDEX /* Linux 5.0 */
#define SO_BINDTOIFINDEX 62
#endif

/* A peer that is dead is noticed: idle after KEEP_IDLE + KEEP_COUNT * KEEP_EVERY s, with data after
 * USER_TIMEOUT. */
#define KEEP_IDLE	15
#define KEEP_EVERY	5
#define KEEP_COUNT	3
#define USER_TIMEOUT_MS 60000
#define UNSENT_MOST	(256 << 10) /* in the socket: more is better kept where nothing is lost */

/* ---- where from */

int socket_check_origin(const struct transport_config *config, struct diag *diag)
{
	struct resolve_result source;

	if (config->source_host && config->source_host[0] &&
	    !resolve_numeric(&source, config->source_host, config->source_port, SOCK_STREAM))
		return diag_set(diag, -EINVAL, "--source %s: not an IPv4 or IPv6 address",
				config->source_host);
	if (config->bind_device && strlen(config->bind_device) >= IF_NAMESIZE)
		return diag_set(diag, -EINVAL, "--bind-device %s: no interface has such a long name",
				config->bind_device);
	return 0;
}

void socket_init_origin(struct socket_origin *from, const struct transport_config *config)
{
	*from = (struct socket_origin){.port = config->source_port, .ttl = config->ttl};
	snprintf(from->host, sizeof(from->host), "%s", config->source_host ? config->source_host : "");
	snprintf(from->device, sizeof(from->device), "%s", config->bind_device ? config->bind_device : "");
}

bool socket_is_missing(const struct socket_origin *from, int error, char *text, size_t size)
{
	if (error == ENODEV && from->device[0])
		snprintf(text, size, "--bind-device %s: no such interface", from->device);
	else if (error == EADDRNOTAVAIL && from->host[0])
		snprintf(text, size, "--source %s: not an address of this host", from->host);
	else
		return false;
	return true;
}

/* ---- making one */

static int socket_bind(const struct socket_origin *from, int fd, int type, int family)
{
	struct resolve_result source;
	const char *any = family == AF_INET6 ? "::" : "0.0.0.0";
	int on = 1;

	if (!from->host[0] && !from->port)
		return 0;
	/* several collectors from one port; and the last session may be in TIME_WAIT */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!resolve_numeric(&source, from->host[0] ? from->host : any, from->port, type))
		return -EADDRNOTAVAIL;
	if (source.addresses[0].ss_family != family)
		return -EAFNOSUPPORT;
	return bind(fd, (struct sockaddr *)&source.addresses[0], source.sizes[0]) ? -errno : 0;
}

int socket_adopt(const struct socket_origin *from, int fd, int type, int family)
{
	bool v6 = family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, ttl = from->ttl;

	if (ttl && setsockopt(fd, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl, sizeof(ttl)))
		return -errno;
	if (ttl && type == SOCK_DGRAM) /* a collector may be a group */
		setsockopt(fd, level, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, &ttl, sizeof(ttl));
	if (from->device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, from->device, (socklen_t)strlen(from->device)))
		return -errno;
	return 0;
}

static int socket_set_origin(const struct socket_origin *from, int fd, int type, int family)
{
	int r = socket_adopt(from, fd, type, family);

	return r < 0 ? r : socket_bind(from, fd, type, family);
}

static int socket_set_whole(int fd, int family)
{
	bool v6 = family == AF_INET6;
	int no_fragments = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;

	return setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
			  &no_fragments, sizeof(no_fragments))
		       ? -errno
		       : 0;
}

static void socket_set_tcp(int fd)
{
	int on = 1, idle = KEEP_IDLE, every = KEEP_EVERY, count = KEEP_COUNT, unsent = UNSENT_MOST;
	unsigned timeout = USER_TIMEOUT_MS;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* messages are gathered already */
}

int socket_open(const struct socket_origin *from, int type, int protocol, const struct sockaddr_storage *peer,
		socklen_t size)
{
	int family = peer->ss_family, r = 0;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	if (protocol == IPPROTO_TCP)
		socket_set_tcp(fd);
	if (type == SOCK_DGRAM)
		r = socket_set_whole(fd, family);
	if (r == 0)
		r = socket_set_origin(from, fd, type, family);
	if (r == 0 && connect(fd, (const struct sockaddr *)peer, size) && errno != EINPROGRESS)
		r = -errno;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int socket_is_connected(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t size = sizeof(error);

	if (poll(&p, 1, 0) <= 0 || !p.revents)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
		return -errno;
	return error ? -error : 1;
}

/* ---- where it is */

static void socket_split(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port)
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

void socket_note_self(int fd, int protocol, struct transport_local *self)
{
	struct sockaddr_storage local = {0}, remote = {0};
	socklen_t size = sizeof(local);

	*self = (struct transport_local){0};
	if (getsockname(fd, (struct sockaddr *)&local, &size))
		return;
	size = sizeof(remote);
	if (getpeername(fd, (struct sockaddr *)&remote, &size))
		return;
	self->family = local.ss_family;
	self->protocol = (uint8_t)protocol;
	socket_split(&local, self->local, &self->local_port);
	socket_split(&remote, self->remote, &self->remote_port);
}

int socket_family(int fd)
{
	int family = 0;
	socklen_t size = sizeof(family);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) ? 0 : family;
}

unsigned socket_device_of(int fd)
{
	char name[IF_NAMESIZE] = "";
	socklen_t size = sizeof(name);
	int index = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &(socklen_t){sizeof(index)}) == 0)
		return (unsigned)index;
	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &size) == 0 && name[0])
		return if_nametoindex(name);
	return 0;
}

int socket_look(const struct socket_origin *from, int type, int protocol, const struct sockaddr_storage *peer,
		socklen_t size, const struct transport_local *self, unsigned device, int *fd)
{
	struct transport_local now;

	*fd = socket_open(from, type, protocol, peer, size);
	if (*fd < 0)
		return *fd;
	socket_note_self(*fd, protocol, &now);
	if (memcmp(now.local, self->local, sizeof(now.local)) || socket_device_of(*fd) != device)
		return SOCKET_E_MOVED;
	close(*fd);
	*fd = -1;
	return 0;
}

unsigned socket_path_mtu(int fd)
{
	bool v6 = socket_family(fd) == AF_INET6;
	int mtu = 0;
	socklen_t size = sizeof(mtu);

	if (getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size))
		return 0;
	return mtu > 0 ? (unsigned)mtu : 0;
}

/* ---- what goes and comes */

ssize_t socket_send(int fd, const uint8_t *data, size_t size)
{
	ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

int socket_drop(int fd)
{
	for (unsigned i = 0; i < 16; i++) { /* a peer that talks without end is heard later */
		uint8_t dropped[4096];
		ssize_t n = recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT);

		if (n == 0)
			return SOCKET_E_CLOSED;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	}
	return 0;
}

void socket_shut(int fd)
{
	shutdown(fd, SHUT_WR);
}

bool socket_is_reset(int fd, bool open)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) > 0 && (p.revents & (open ? POLLERR | POLLHUP : POLLERR));
}

uint64_t socket_unacked(int fd)
{
	int octets = 0;

	/* also after a reset: what was acknowledged before it stays so */
	if (ioctl(fd, SIOCOUTQ, &octets) || octets < 0)
		return UINT64_MAX;
	return (uint64_t)octets;
}
