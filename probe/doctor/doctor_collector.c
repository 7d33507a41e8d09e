/* doctor_collector: facts of a collector: its name, the route to it, and what its port says. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/doctor.h"

enum { PROBE_MS = 3000, REFUSAL_MS = 1000, CLOSED_PORT = 33434 };

static bool doctor_is_stream(const struct doctor_collector *c)
{
	return transport_is(c->config.transport, TRANSPORT_OVER_TCP);
}

/* 0: address and size are set. */
static int doctor_resolve(const struct doctor_collector *c, uint16_t port, struct sockaddr_storage *address,
			  socklen_t *size)
{
	struct addrinfo hints = {.ai_socktype = doctor_is_stream(c) ? SOCK_STREAM : SOCK_DGRAM},
			*found = NULL;
	char service[8];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(c->config.host, service, &hints, &found);
	if (r)
		return r;
	memcpy(address, found->ai_addr, found->ai_addrlen);
	*size = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

/* What the route takes, of a socket that is connected. */
static void doctor_look_route(struct doctor_collector *c, const struct sockaddr_storage *address,
			      socklen_t size)
{
	int fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = 0;
	bool six = address->ss_family == AF_INET6;
	socklen_t length = sizeof(mtu);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, size) < 0)
		c->route_error = errno;
	else if (getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU : IP_MTU, &mtu, &length) == 0)
		c->route_mtu = (uint32_t)mtu;
	if (fd >= 0)
		close(fd);
}

static void doctor_look_file(struct doctor_collector *c)
{
	char folder[4096];
	char *slash;

	if (!strcmp(c->config.path, "-"))
		return;
	snprintf(folder, sizeof(folder), "%s", c->config.path);
	slash = strrchr(folder, '/');
	if (!slash)
		snprintf(folder, sizeof(folder), ".");
	else
		slash[slash == folder] = '\0';
	if (access(folder, W_OK | X_OK) < 0)
		snprintf(c->path_error, sizeof(c->path_error), "%.120s: %s", folder, strerror(errno));
}

void doctor_look_collector(struct doctor_collector *c)
{
	struct sockaddr_storage address = {0};
	socklen_t size;
	int r;

	c->tls_days = -1;
	if (c->config.transport == TRANSPORT_FILE) {
		doctor_look_file(c);
		return;
	}
	r = doctor_resolve(c, c->config.port, &address, &size);
	if (r) {
		snprintf(c->name_error, sizeof(c->name_error), "%s", gai_strerror(r));
		return;
	}
	if (getnameinfo((struct sockaddr *)&address, size, c->address, sizeof(c->address), NULL, 0,
			NI_NUMERICHOST))
		c->address[0] = '\0';
	doctor_look_route(c, &address, size);
}

/* ---- ports */

/* errno of what came back within wait_ms of a datagram without contents; 0: nothing. */
static int doctor_refusal(const struct doctor_collector *c, uint16_t port, int wait_ms)
{
	struct sockaddr_storage address = {0};
	struct pollfd p = {.events = POLLIN};
	socklen_t size, length = sizeof(int);
	int error = 0, fd;

	if (doctor_resolve(c, port, &address, &size))
		return 0;
	fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&address, size) < 0 || send(fd, "", 0, MSG_NOSIGNAL) < 0) {
		error = errno;
	} else {
		p.fd = fd;
		if (poll(&p, 1, wait_ms) > 0)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	}
	close(fd);
	return error;
}

static void doctor_probe_datagrams(struct doctor_collector *c)
{
	c->probe_error = doctor_refusal(c, c->config.port, REFUSAL_MS);
	if (c->probe_error == 0)
		c->host_silent = doctor_refusal(c, CLOSED_PORT, REFUSAL_MS) == 0;
}

/* A connection, or -1 and c->probe_error. */
static int doctor_connect(struct doctor_collector *c)
{
	struct sockaddr_storage address = {0};
	struct pollfd p = {.events = POLLOUT};
	socklen_t size, length = sizeof(c->probe_error);

	if (doctor_resolve(c, c->config.port, &address, &size))
		return -1;
	p.fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p.fd < 0) {
		c->probe_error = errno;
		return -1;
	}
	if (connect(p.fd, (struct sockaddr *)&address, size) < 0 && errno != EINPROGRESS)
		c->probe_error = errno;
	else if (poll(&p, 1, PROBE_MS) == 0)
		c->probe_error = ETIMEDOUT;
	else
		getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &c->probe_error, &length);
	if (!c->probe_error)
		return p.fd;
	close(p.fd);
	return -1;
}

/* A collector on TCP never says anything; a server of something else does, at once or to what it does not
 * know. */
static void doctor_listen(struct doctor_collector *c, int fd)
{
	static const uint8_t empty[16] = {0, 10, 0, 16}; /* a message of IPFIX with nothing in it */
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char text[sizeof(c->said)];
	ssize_t n;

	if (poll(&p, 1, REFUSAL_MS / 4) == 0 && send(fd, empty, sizeof(empty), MSG_NOSIGNAL) > 0 &&
	    poll(&p, 1, REFUSAL_MS / 2) == 0)
		return;
	n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\r' || text[i] == '\n')
			break;
		c->said[i] = text[i] >= ' ' && text[i] < 127 ? text[i] : '.';
	}
}

void doctor_probe_collector(struct doctor_collector *c, const char *tls_ca, const char *tls_name)
{
	int fd;

	if (c->config.transport == TRANSPORT_FILE || c->name_error[0] || c->route_error)
		return;
	if (!doctor_is_stream(c)) {
		if (c->config.transport != TRANSPORT_SCTP)
			doctor_probe_datagrams(c);
		return;
	}
	fd = doctor_connect(c);
	if (fd < 0)
		return;
	if (c->config.transport == TRANSPORT_TLS)
		doctor_probe_tls(c, fd, tls_ca, tls_name && tls_name[0] ? tls_name : c->config.host);
	else
		doctor_listen(c, fd);
	close(fd);
}
