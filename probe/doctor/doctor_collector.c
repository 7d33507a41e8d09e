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

enum { LOOKUP_MS = 40000, PROBE_MS = 3000, REFUSAL_MS = 1000, CLOSED_PORT = 33434 };

static bool doctor_is_stream(const struct doctor_collector *c)
{
	return transport_is(c->config.transport, TRANSPORT_OVER_TCP);
}

/* All addresses of its name, as a transport looks them up; whoever answers late has not answered. */
static void doctor_resolve(struct doctor_collector *c)
{
	int type = doctor_is_stream(c) ? SOCK_STREAM : SOCK_DGRAM, r;
	struct resolve *lookup;

	if (resolve_numeric(&c->found, c->config.host, c->config.port, type))
		return;
	r = resolve_start(&lookup, c->config.host, c->config.port, type);
	if (r < 0) {
		snprintf(c->name_error, sizeof(c->name_error), "%s", strerror(-r));
	} else if (!resolve_take(&lookup, &c->found, LOOKUP_MS)) {
		resolve_drop(&lookup);
		snprintf(c->name_error, sizeof(c->name_error), "no answer from the name service");
	} else if (c->found.error) {
		snprintf(c->name_error, sizeof(c->name_error), "%s", gai_strerror(c->found.error));
	}
}

/* The one that is used: what is said is said of it. */
static void doctor_name_address(struct doctor_collector *c, unsigned i)
{
	if (getnameinfo((const struct sockaddr *)&c->found.addresses[i], c->found.sizes[i], c->address,
			sizeof(c->address), NULL, 0, NI_NUMERICHOST))
		c->address[0] = '\0';
}

/* A socket that sends from where pitot's do, or negative errno. */
static int doctor_socket(const struct doctor_collector *c, int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC, 0), r = fd < 0 ? -errno : 0;
	struct resolve_result from;

	/* without the right to ask for a device the way is that of the routes */
	if (r == 0 && c->device && c->device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, c->device, (socklen_t)strlen(c->device)) < 0 &&
	    errno != EPERM)
		r = -errno;
	if (r == 0 && c->source && c->source[0] && resolve_numeric(&from, c->source, 0, SOCK_DGRAM)) {
		if (from.addresses[0].ss_family != family)
			r = -EAFNOSUPPORT;
		else if (bind(fd, (const struct sockaddr *)&from.addresses[0], from.sizes[0]) < 0)
			r = -errno;
	}
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return r;
}

/* errno, or 0 and what the route takes, of a socket that is connected. */
static int doctor_look_route(const struct doctor_collector *c, unsigned i, uint32_t *route_mtu)
{
	const struct sockaddr *address = (const struct sockaddr *)&c->found.addresses[i];
	int fd = doctor_socket(c, address->sa_family, SOCK_DGRAM), mtu = 0, error = fd < 0 ? -fd : 0;
	bool six = address->sa_family == AF_INET6;
	socklen_t length = sizeof(mtu);

	if (!error && connect(fd, address, c->found.sizes[i]) < 0)
		error = errno;
	if (!error &&
	    getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_MTU : IP_MTU, &mtu, &length) == 0)
		*route_mtu = (uint32_t)mtu;
	if (fd >= 0)
		close(fd);
	return error;
}

/* The first address that there is a way to, as a transport would take it. */
static void doctor_look_routes(struct doctor_collector *c)
{
	for (unsigned i = 0; i < c->found.n; i++) {
		doctor_name_address(c, i);
		c->route_error = doctor_look_route(c, i, &c->route_mtu);
		if (!c->route_error)
			return;
	}
}

void doctor_look_collector(struct doctor_collector *c)
{
	c->tls_days = -1;
	if (c->config.transport == TRANSPORT_FILE) {
		doctor_look_output(c->path_error, sizeof(c->path_error), c->config.path);
		return;
	}
	if (c->config.transport == TRANSPORT_SCTP) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);

		c->no_sctp = fd < 0;
		if (fd >= 0)
			close(fd);
	}
	doctor_resolve(c);
	if (!c->name_error[0])
		doctor_look_routes(c);
}

/* ---- ports */

/* errno of what came back within wait_ms of a datagram without contents; 0: nothing. */
static int doctor_refusal(const struct doctor_collector *c, uint16_t port, int wait_ms)
{
	struct pollfd p = {.events = POLLIN};
	socklen_t length = sizeof(int);
	struct resolve_result at;
	int error = 0, fd;

	if (!resolve_numeric(&at, c->address, port, SOCK_DGRAM))
		return 0;
	fd = doctor_socket(c, at.addresses[0].ss_family, SOCK_DGRAM);
	if (fd < 0)
		return -fd;
	if (connect(fd, (struct sockaddr *)&at.addresses[0], at.sizes[0]) < 0 ||
	    send(fd, "", 0, MSG_NOSIGNAL) < 0) {
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

/* A connection to one of its addresses, or negative errno. */
static int doctor_connect_one(const struct doctor_collector *c, unsigned i, uint64_t end_ns)
{
	const struct sockaddr *address = (const struct sockaddr *)&c->found.addresses[i];
	struct pollfd p = {.events = POLLOUT};
	uint64_t now_ns = clock_monotonic_ns();
	socklen_t length = sizeof(int);
	int error = 0;

	p.fd = doctor_socket(c, address->sa_family, SOCK_STREAM | SOCK_NONBLOCK);
	if (p.fd < 0)
		return p.fd;
	if (connect(p.fd, address, c->found.sizes[i]) < 0 && errno != EINPROGRESS)
		error = errno;
	else if (poll(&p, 1, now_ns < end_ns ? (int)((end_ns - now_ns) / NS_PER_MSEC) : 0) == 0)
		error = ETIMEDOUT;
	else
		getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &error, &length);
	if (!error)
		return p.fd;
	close(p.fd);
	return -error;
}

/* A connection to the first address that takes one, as a transport looks for it; or -1 and c->probe_error. */
static int doctor_connect(struct doctor_collector *c)
{
	uint64_t end_ns = clock_monotonic_ns() + PROBE_MS * NS_PER_MSEC;
	int fd = -EADDRNOTAVAIL;

	for (unsigned i = 0; i < c->found.n; i++) {
		fd = doctor_connect_one(c, i, end_ns);
		if (fd >= 0) {
			doctor_name_address(c, i);
			return fd;
		}
	}
	c->probe_error = -fd;
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
