/*
 * tls: messages on TCP under TLS 1.2 or 1.3 (RFC 7011 §11).
 *
 * What was acknowledged is known of the encrypted octets; a mark after each write says how much of the stream
 * they carry.  At the end our side of the connection stays open until the collector has answered: it would
 * not be reset else when a collector closes that has not read everything.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tls_client.h"

static int tls_set_up(struct session *s, struct diag *diag)
{
	return tls_setup(s, TLS_client_method(), TLS1_2_VERSION, diag);
}

static int tls_start(struct session *s)
{
	int r = tls_new(s);

	if (r == 0 && SSL_set_fd(((struct tls *)s->own)->ssl, s->t.fd) != 1)
		r = -ENOMEM;
	return r;
}

static uint64_t tls_written(const struct session *s)
{
	const struct tls *tls = s->own;

	return tls->ssl ? BIO_number_written(SSL_get_wbio(tls->ssl)) : 0;
}

static const struct session_layer tls_layer = {
	.kind = SESSION_TLS,
	.name = "TLS",
	.socktype = SOCK_STREAM,
	.protocol = IPPROTO_TCP,
	.reliable = true,
	.max_message = 16384, /* one TLS record */
	.setup = tls_set_up,
	.free = tls_free,
	.start = tls_start,
	.greet = tls_greet,
	.write = tls_write,
	.read = tls_read,
	.written = tls_written,
	.shut = tls_shut,
	.settle_ns = 400 * NS_PER_MSEC,
	.stop = tls_stop,
};

static int tls_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = session_open(&s, &transport_tls_ops, &tls_layer, config, diag);

	if (r == 0)
		*tp = &s->t;
	return r;
}

const struct transport_ops transport_tls_ops = SESSION_OPS("tls", tls_open);
