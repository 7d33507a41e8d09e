/* doctor_tls: a handshake with a collector, to see whether its certificate would be accepted. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/doctor.h"
#include "pitot/tls_verify.h"

static const uint64_t handshake_ns = 3 * NS_PER_SEC;

static void tls_fail(struct doctor_collector *c, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(c->tls_error, sizeof(c->tls_error), "%s%s%s", what, reason ? ": " : "",
		 reason ? reason : "");
}

/* As a transport does; whether others could change the file is no question here. */
static bool tls_load(struct doctor_collector *c, SSL_CTX *ctx, const char *ca)
{
	struct diag diag;
	int fd = ca ? open(ca, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	int r = ca && fd < 0 ? diag_set(&diag, -errno, "--tls-ca %.100s: %s", ca, strerror(errno))
			     : tls_verify_setup(ctx, TLS1_2_VERSION, ca, fd, &diag);

	if (r < 0)
		snprintf(c->tls_error, sizeof(c->tls_error), "%.180s", diag.text);
	return r == 0;
}

/* Until it is done, has failed, or took too long: 1, 0, -1. */
static int tls_shake(SSL *ssl, int fd)
{
	uint64_t end_ns = clock_monotonic_ns() + handshake_ns;

	for (;;) {
		uint64_t now_ns = clock_monotonic_ns();
		int r = SSL_connect(ssl), why = r == 1 ? 0 : SSL_get_error(ssl, r);
		struct pollfd p = {.fd = fd, .events = why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};

		if (r == 1)
			return 1;
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return 0;
		if (now_ns >= end_ns || poll(&p, 1, (int)((end_ns - now_ns) / NS_PER_MSEC) + 1) == 0)
			return -1;
	}
}

static void tls_expiry(struct doctor_collector *c, SSL *ssl)
{
	X509 *certificate = SSL_get1_peer_certificate(ssl);
	int days, seconds;

	if (certificate && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) == 1)
		c->tls_days = days < 0 ? 0 : days;
	X509_free(certificate);
}

static enum doctor_certificate tls_what(long verify)
{
	switch (verify) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return DOCTOR_CERTIFICATE_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return DOCTOR_CERTIFICATE_EARLY;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_UNTRUSTED:
		return DOCTOR_CERTIFICATE_AUTHORITY;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return DOCTOR_CERTIFICATE_NAME;
	default:
		return DOCTOR_CERTIFICATE_OTHER;
	}
}

static void tls_verdict(struct doctor_collector *c, SSL *ssl, int outcome)
{
	long verify = SSL_get_verify_result(ssl);

	c->handshake_silent = outcome < 0;
	c->tls_certificate = tls_what(verify);
	if (outcome == 1)
		tls_expiry(c, ssl);
	else if (outcome == 0 && verify != X509_V_OK)
		snprintf(c->tls_error, sizeof(c->tls_error), "%s", X509_verify_cert_error_string(verify));
	else if (outcome == 0 && ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(c->said, sizeof(c->said), "something that is not TLS");
	else if (outcome == 0)
		tls_fail(c, "the handshake failed");
}

void doctor_probe_tls(struct doctor_collector *c, int fd, const char *ca, const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = NULL;

	ERR_clear_error();
	c->tls_name = name;
	if (ctx && tls_load(c, ctx, ca && ca[0] ? ca : NULL)) {
		ssl = SSL_new(ctx);
		if (ssl && tls_verify_name(ssl, name) && SSL_set_fd(ssl, fd) == 1)
			tls_verdict(c, ssl, tls_shake(ssl, fd));
		else
			tls_fail(c, "cannot begin a session");
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}
