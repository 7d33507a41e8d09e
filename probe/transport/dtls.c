/*
 * dtls: datagrams under DTLS 1.2 (RFC 7011 §11).
 *
 * As over UDP nothing is acknowledged: templates are repeated, and what was sent is forgotten.  Records wait in
 * memory while there is no session.
 *
 * A collector that was started again knows nothing of our session and drops what comes.  The heartbeat that RFC 7011
 * wants against that (RFC 6520) is gone from OpenSSL, so the session is made anew every RENEW_NS instead; a port
 * that nobody listens on is noticed at once.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "tls_internal.h"

#define RENEW_NS      (120 * NS_PER_SEC)
#define MTU_MOST      1500u
#define OVERHEAD_MOST 144u /* IPv6, UDP, DTLS, with any cipher */

static int setup(struct session *s, struct diag *diag)
{
	if (s->config.mtu)
		s->t.limits.max_message = s->config.mtu - OVERHEAD_MOST;
	return tls_setup(s, DTLS_client_method(), DTLS1_2_VERSION, diag);
}

static unsigned path_mtu(const struct session *s, int family)
{
	bool v6 = family == AF_INET6;
	unsigned most = s->config.mtu ? s->config.mtu : MTU_MOST;
	int mtu = 0;
	socklen_t size = sizeof(mtu);

	if (getsockopt(s->t.fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size) == 0 && mtu > 0 &&
	    (unsigned)mtu < most)
		most = (unsigned)mtu;
	return most - (v6 ? 48 : 28);
}

static int start(struct session *s)
{
	struct tls *tls = s->own;
	struct sockaddr_storage peer = { 0 };
	socklen_t size = sizeof(peer);
	int no_fragments = IP_PMTUDISC_DO, r = tls_new(s);
	BIO *bio;

	if (r)
		return r;
	if (getpeername(s->t.fd, (struct sockaddr *)&peer, &size))
		return -errno;
	if (peer.ss_family == AF_INET6)
		setsockopt(s->t.fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &no_fragments, sizeof(no_fragments));
	else
		setsockopt(s->t.fd, IPPROTO_IP, IP_MTU_DISCOVER, &no_fragments, sizeof(no_fragments));
	bio = BIO_new_dgram(s->t.fd, BIO_NOCLOSE);
	if (!bio)
		return -ENOMEM;
	BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &peer);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_mtu(tls->ssl, path_mtu(s, peer.ss_family));
	return 0;
}

static int greet(struct session *s)
{
	struct tls *tls = s->own;
	size_t room;
	int r = tls_greet(s);

	if (r)
		return r;
	room = DTLS_get_data_mtu(tls->ssl);
	if (room > 0 && room < SESSION_MESSAGE)
		s->t.limits.max_message = room;
	return 0;
}

static ssize_t write_datagram(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n;

	if (size > DTLS_get_data_mtu(((struct tls *)s->own)->ssl))
		return -EMSGSIZE;
	n = tls_write(s, data, size);
	if (n > 0)
		s->units++;
	return n;
}

static uint64_t written(const struct session *s)
{
	return s->units;
}

static uint64_t unacked(const struct session *s)
{
	(void)s;
	return 0;
}

static int tick(struct session *s)
{
	struct tls *tls = s->own;

	if (s->phase == SESSION_GREETING)
		return DTLSv1_handle_timeout(tls->ssl) < 0 ? -ETIMEDOUT : 0;
	return s->now_ns - tls->begun_ns >= RENEW_NS ? SESSION_E_RENEW : 0;
}

static const struct session_layer dtls_layer = {
	.name = "DTLS",
	.socktype = SOCK_DGRAM,
	.whole = true,
	.max_message = MTU_MOST - OVERHEAD_MOST,
	.setup = setup,
	.free = tls_free,
	.start = start,
	.greet = greet,
	.write = write_datagram,
	.read = tls_read,
	.written = written,
	.unacked = unacked,
	.shut = tls_shut,
	.stop = tls_stop,
	.tick = tick,
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
