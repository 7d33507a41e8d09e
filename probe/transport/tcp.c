/*
 * tcp: messages back to back on one connection (RFC 7011 §10.4).
 *
 * What the collector sends is read and dropped; its end of file ends the session: see session_end.c.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "session.h"

static ssize_t tcp_write(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = socket_send(s->t.fd, data, size);

	if (n > 0)
		s->units += (uint64_t)n;
	return n;
}

static const struct session_layer tcp_layer = {
	.kind = SESSION_TCP,
	.name = "TCP",
	.socktype = SOCK_STREAM,
	.protocol = IPPROTO_TCP,
	.reliable = true,
	.max_message = 16384,
	.write = tcp_write,
	.quiet_ns = 200 * NS_PER_MSEC, /* after FIN its reset may not be seen any more */
};

static int tcp_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = session_open(&s, &transport_tcp_ops, &tcp_layer, config, diag);

	if (r == 0)
		*tp = &s->t;
	return r;
}

const struct transport_ops transport_tcp_ops = SESSION_OPS_OF_SOCKET("tcp", tcp_open);
