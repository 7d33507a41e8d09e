/*
 * tcp: messages back to back on one connection (RFC 7011 §10.4).
 *
 * What the collector sends is read and dropped; its end of file ends the session.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "session.h"

static ssize_t tcp_write(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = send(s->t.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	s->units += (uint64_t)n;
	return n;
}

static int tcp_read(struct session *s)
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

static uint64_t tcp_written(const struct session *s)
{
	return s->units;
}

static const struct session_layer tcp_layer = {
	.name = "TCP",
	.socktype = SOCK_STREAM,
	.protocol = IPPROTO_TCP,
	.reliable = true,
	.max_message = 16384,
	.write = tcp_write,
	.read = tcp_read,
	.written = tcp_written,
	.unacked = session_socket_unacked,
};

static int tcp_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = session_open(&s, &transport_tcp_ops, &tcp_layer, config, diag);

	if (r == 0)
		*tp = &s->t;
	return r;
}

const struct transport_ops transport_tcp_ops = SESSION_OPS("tcp", tcp_open);
