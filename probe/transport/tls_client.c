/*
 * tls_client: TLS and DTLS as a client: the handshake, what goes through, and what to say when it fails.
 * Whom we believe is in tls_verify.h.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/tls_verify.h"
#include "tls_client.h"

/* ---- set-up */

/* The collector wants a certificate, and we have none. */
static int tls_on_asked(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
	struct session *s = SSL_get_app_data(ssl);

	(void)certificate;
	(void)key;
	((struct tls *)s->own)->asked = true;
	return 0;
}

int tls_setup(struct session *s, const SSL_METHOD *method, int least_version, struct diag *diag)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	int r, fd;

	s->own = tls;
	ERR_clear_error();
	if (tls)
		tls->ctx = SSL_CTX_new(method);
	if (!tls || !tls->ctx)
		return diag_set(diag, -ENOMEM, "--collector %.200s: TLS cannot be set up (%s)",
				s->collector.url, tls_why());
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes by write() */
	SSL_CTX_set_options(tls->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU);
	SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_default_passwd_cb(tls->ctx, tls_no_password);
	SSL_CTX_set_client_cert_cb(tls->ctx, tls_on_asked);
	r = tls_open_authorities(&s->config, &fd, diag);
	if (r == 0)
		r = tls_verify_setup(tls->ctx, least_version, s->config.tls_ca, fd, diag);
	return r ? r : tls_load_own(s, diag);
}

void tls_free(struct session *s)
{
	struct tls *tls = s->own;

	if (!tls)
		return;
	SSL_free(tls->ssl);
	SSL_CTX_free(tls->ctx);
	free(tls);
	s->own = NULL;
}

int tls_new(struct session *s)
{
	struct tls *tls = s->own;
	const char *name = s->tls_name;

	tls->asked = false;
	tls->begun_ns = s->now_ns;
	tls->ssl = SSL_new(tls->ctx);
	if (!tls->ssl)
		return -ENOMEM;
	SSL_set_app_data(tls->ssl, s);
	SSL_set_connect_state(tls->ssl);
	return tls_verify_name(tls->ssl, name)
		       ? 0
		       : session_because(s, -EINVAL, "%s: the name %.100s cannot be verified", s->layer->name,
					 name);
}

void tls_stop(struct session *s)
{
	struct tls *tls = s->own;

	if (!tls)
		return;
	SSL_free(tls->ssl);
	tls->ssl = NULL;
}

/* ---- what went wrong */

static int tls_refused_certificate(struct session *s, long result)
{
	const char *name = s->layer->name, *ca = s->config.tls_ca ? "--tls-ca" : "the system's authorities";

	switch (result) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return session_because(s, -EACCES, "%s: the collector's certificate has expired", name);
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return session_because(s, -EACCES, "%s: the collector's certificate is not valid yet", name);
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return session_because(s, -EACCES,
				       "%s: the collector's certificate is not for %.80s: wrong name", name,
				       s->tls_name);
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		return session_because(s, -EACCES,
				       "%s: the collector's certificate is self-signed, and not in %s", name,
				       ca);
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return session_because(s, -EACCES,
				       "%s: the collector's certificate is not from an authority in %s", name,
				       ca);
	case X509_V_ERR_CERT_REVOKED:
		return session_because(
			s, -EACCES, "%s: the collector's certificate was revoked, by a CRL in %s", name, ca);
	case X509_V_ERR_CRL_HAS_EXPIRED:
		return session_because(
			s, -EACCES,
			"%s: a CRL in %s has expired, so nobody knows what was revoked since; put a "
			"newer one there and start pitot again",
			name, ca);
	default:
		return session_because(s, -EACCES, "%s: the collector's certificate is refused: %.100s", name,
				       X509_verify_cert_error_string(result));
	}
}

static int tls_wants_certificate(struct session *s)
{
	return session_because(s, -EACCES, "%s: the collector wants a certificate of ours: --tls-cert",
			       s->layer->name);
}

static int tls_protocol_error(struct session *s, unsigned long error)
{
	const struct tls *tls = s->own;
	const char *text = ERR_reason_error_string(error);
	long result = SSL_get_verify_result(tls->ssl);

	switch (ERR_GET_REASON(error)) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return tls_refused_certificate(s, result);
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
		return session_because(s, -EPROTO,
				       "%s: the collector is too old: it has not even version 1.2",
				       s->layer->name);
	case SSL_R_WRONG_VERSION_NUMBER:
		return session_because(s, -EPROTO, "%s: the collector does not speak it on this port",
				       s->layer->name);
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return session_because(s, -ECONNRESET,
				       "%s: the collector closed the connection without a word",
				       s->layer->name);
	default:
		break;
	}
	if (tls->asked)
		return tls_wants_certificate(s);
	if (ERR_GET_REASON(error) == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
	    ERR_GET_REASON(error) == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
	    ERR_GET_REASON(error) == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED)
		return session_because(s, -EACCES,
				       "%s: the collector refuses the certificate of --tls-cert (%.80s)",
				       s->layer->name, text);
	return session_because(s, -EPROTO, "%s: %.120s", s->layer->name, text ? text : "protocol error");
}

/* What the call that returned r means: 0 or -EAGAIN, SESSION_E_GOODBYE, or an error with its reason. */
static int tls_outcome_of(struct session *s, int r, int error)
{
	const struct tls *tls = s->own;

	switch (SSL_get_error(tls->ssl, r)) {
	case SSL_ERROR_NONE:
		return 0;
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return SESSION_E_GOODBYE;
	case SSL_ERROR_SYSCALL:
		if (tls->asked && (error == 0 || error == ECONNRESET || error == EPIPE))
			return tls_wants_certificate(s);
		return error ? -error : -ECONNRESET;
	default:
		return tls_protocol_error(s, ERR_peek_error());
	}
}

/* ---- a session */

int tls_greet(struct session *s)
{
	struct tls *tls = s->own;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(tls->ssl);
	r = tls_outcome_of(s, r, errno);
	if (r == SESSION_E_GOODBYE)
		r = -ECONNRESET;
	if (r == 0 && SSL_get_verify_result(tls->ssl) != X509_V_OK)
		r = tls_refused_certificate(s, SSL_get_verify_result(tls->ssl));
	return r;
}

ssize_t tls_write(struct session *s, const uint8_t *data, size_t size)
{
	struct tls *tls = s->own;
	size_t n = 0;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_write_ex(tls->ssl, data, size, &n);
	if (r == 1)
		return (ssize_t)n;
	r = tls_outcome_of(s, r, errno);
	return r == SESSION_E_GOODBYE ? -EPIPE : r;
}

static bool tls_is_bare_end(const SSL *ssl, int r, int error)
{
	int what = SSL_get_error(ssl, r);

	return (what == SSL_ERROR_SYSCALL && error == 0) ||
	       (what == SSL_ERROR_SSL &&
		ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

int tls_read(struct session *s)
{
	struct tls *tls = s->own;
	uint8_t dropped[4096];
	size_t n;
	int r = 1;

	for (unsigned i = 0; i < 16 && r == 1; i++) {
		ERR_clear_error();
		errno = 0;
		r = SSL_read_ex(tls->ssl, dropped, sizeof(dropped), &n);
	}
	if (r == 1)
		return 0;
	/* without a certificate of ours, that is why; but who has heard our goodbye need not answer it */
	if ((!tls->asked || (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN)) &&
	    tls_is_bare_end(tls->ssl, r, errno))
		return SESSION_E_CLOSED;
	r = tls_outcome_of(s, r, errno);
	return r == -EAGAIN ? 0 : r;
}

int tls_shut(struct session *s)
{
	struct tls *tls = s->own;
	int r;

	ERR_clear_error();
	errno = 0;
	r = SSL_shutdown(tls->ssl);
	if (r >= 0)
		return 0;
	r = tls_outcome_of(s, r, errno);
	return r == SESSION_E_GOODBYE ? -EPIPE : r;
}
