/*
 * dtls: datagrams under DTLS 1.2 (RFC 7011 §11).
 *
 * As over UDP nothing is acknowledged, and templates are repeated.  Records wait in memory while there is no
 * session, and those that were sent stay there as long as the replay window says.
 *
 * A collector that was started again knows nothing of our session and drops what comes.  The heartbeat that
 * RFC 7011 wants against that (RFC 6520) is gone from OpenSSL, so the session is ended and made anew every
 * dtls_renew_ns instead.  A collector that is there answers the end; what was sent last to one that does not
 * is sent again, and what was sent before that is lost, and nobody can count it.  A port that nobody listens
 * on is noticed at once.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tls_client.h"

#define MTU_MOST      1500u
#define OVERHEAD_MOST 144u	       /* IPv6, UDP, DTLS, with any cipher */
#define RECORD_MOST   16384u	       /* RFC 6347 §4.3.1 */
#define PATH_NS	      (5 * NS_PER_SEC) /* between looks at the path MTU */

static int dtls_set_up(struct session *s, struct diag *diag)
{
	size_t most = s->config.mtu ? s->config.mtu - OVERHEAD_MOST : MTU_MOST - OVERHEAD_MOST;

	s->t.limits.max_message = most < RECORD_MOST ? most : RECORD_MOST;
	return tls_setup(s, DTLS_client_method(), DTLS1_2_VERSION, diag);
}

static unsigned dtls_path_mtu(const struct session *s)
{
	unsigned most = s->config.mtu ? s->config.mtu : MTU_MOST, mtu = socket_path_mtu(s->t.fd);

	if (mtu > 0 && mtu < most)
		most = mtu;
	return most - (socket_family(s->t.fd) == AF_INET6 ? 48 : 28);
}

static int dtls_start(struct session *s)
{
	struct tls *tls = s->own;
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);
	int r = tls_new(s);
	BIO *bio;

	if (r)
		return r;
	if (getpeername(s->t.fd, (struct sockaddr *)&peer, &size))
		return -errno;
	bio = BIO_new_dgram(s->t.fd, BIO_NOCLOSE);
	if (!bio)
		return -ENOMEM;
	BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &peer);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_mtu(tls->ssl, dtls_path_mtu(s));
	return 0;
}

/* Messages as long as the path takes now. */
static void dtls_follow_path(struct session *s)
{
	SSL *ssl = ((struct tls *)s->own)->ssl;
	size_t room;

	((struct tls *)s->own)->path_ns = s->now_ns;
	SSL_set_mtu(ssl, dtls_path_mtu(s));
	room = DTLS_get_data_mtu(ssl);
	if (room > 0)
		s->t.limits.max_message = room < RECORD_MOST ? room : RECORD_MOST;
}

static int dtls_greet(struct session *s)
{
	int r = tls_greet(s);

	if (r == 0)
		dtls_follow_path(s);
	return r;
}

static ssize_t dtls_write_datagram(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = -EMSGSIZE;

	/* twice: that the path has become narrower may be said about an earlier datagram */
	for (unsigned tries = 0; tries < 2 && n == -EMSGSIZE && size <= s->t.limits.max_message; tries++) {
		n = tls_write(s, data, size);
		if (n == -EMSGSIZE)
			dtls_follow_path(s);
	}
	if (n > 0)
		s->units++;
	return n;
}

static int dtls_read_datagram(struct session *s)
{
	int r = tls_read(s);

	if (r != -EMSGSIZE)
		return r;
	dtls_follow_path(s);
	return 0;
}

static uint64_t dtls_unacked(const struct session *s)
{
	(void)s;
	return 0;
}

static int dtls_tick(struct session *s)
{
	struct tls *tls = s->own;
	uint64_t renew_ns = s->config.dtls_renew_ns;

	if (s->phase == SESSION_GREETING)
		return DTLSv1_handle_timeout(tls->ssl) < 0 ? -ETIMEDOUT : 0;
	if (s->now_ns - tls->path_ns >= PATH_NS)
		dtls_follow_path(s);
	return renew_ns && s->now_ns - tls->begun_ns >= renew_ns ? SESSION_E_RENEW : 0;
}

static const struct session_layer dtls_layer = {
	.kind = SESSION_DTLS,
	.name = "DTLS",
	.socktype = SOCK_DGRAM,
	.whole = true,
	.max_message = MTU_MOST - OVERHEAD_MOST,
	.setup = dtls_set_up,
	.free = tls_free,
	.start = dtls_start,
	.greet = dtls_greet,
	.write = dtls_write_datagram,
	.read = dtls_read_datagram,
	.unacked = dtls_unacked,
	.shut = tls_shut,
	.stop = tls_stop,
	.tick = dtls_tick,
};

static int dtls_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = session_open(&s, &transport_dtls_ops, &dtls_layer, config, diag);

	if (r == 0)
		*tp = &s->t;
	return r;
}

const struct transport_ops transport_dtls_ops = SESSION_OPS("dtls", dtls_open);
