/*
 * tls_context: TLS and DTLS as a client: certificates, verification, and what to say when it fails.
 *
 * The collector's certificate must come from an authority of --tls-ca (or the system's) and bear the name of
 * the URL or --tls-name (RFC 7011 §11.3: DNS-ID, or the address itself); nothing turns that off.  TLS 1.2 is
 * the least.  Of the chain, each certificate is looked for in the CRL of its authority, where --tls-ca has
 * one. Certificates, CRLs and keys are read once, at the start, before privileges are given up; of a
 * directory, those that a chain needs, when it does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/path.h"
#include "tls_internal.h"

#define WARN_DAYS 30 /* before the own certificate expires */

/* ---- set-up */

static const char *why(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	if (e && ERR_GET_LIB(e) == ERR_LIB_SYS)
		return strerror(ERR_GET_REASON(e));
	return text ? text : "unknown reason";
}

static int no_password(char *out, int size, int writing, void *context)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)context;
	return 0; /* nobody is there to be asked */
}

/* Whoever can read the key can be us, and whoever can write it can make us somebody else. */
static int check_key(const struct stat *st, unsigned user, const char *option, const char *path,
		     struct diag *diag)
{
	if (!S_ISREG(st->st_mode))
		return diag_set(diag, -EPERM, "%s %.300s: not a file; the key must be in one", option, path);
	if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != user)
		return diag_set(
			diag, -EPERM,
			"%s %.300s: this key belongs to user %u, who could exchange it; give it to root "
			"or to the user that pitot runs as: chown",
			option, path, (unsigned)st->st_uid);
	if (st->st_mode & (S_IRWXG | S_IRWXO))
		return diag_set(diag, -EPERM,
				"%s %.300s: its group or others may read or change this key; allow it to its "
				"owner only: chmod 600",
				option, path);
	return 0;
}

/* The key, from the file that was looked at. */
static int load_key(struct session *s, const char *option, const char *path, struct diag *diag)
{
	SSL_CTX *ctx = ((struct tls *)s->own)->ctx;
	int fd = path_open_to_read(path, s->config.user, O_NONBLOCK, diag), r = 0;
	EVP_PKEY *key = NULL;
	struct stat st;
	FILE *f = NULL;

	if (fd < 0)
		r = diag_prefix(diag, fd, "%s ", option);
	else if (fstat(fd, &st))
		r = diag_set(diag, -errno, "%s %.300s: %s", option, path, strerror(errno));
	if (r == 0)
		r = check_key(&st, s->config.user, option, path, diag);
	if (r == 0)
		f = fdopen(fd, "r");
	if (f)
		key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	if (r == 0 && (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1))
		r = diag_set(diag, -EINVAL,
			     "%s %.300s: not the key of the certificate, in PEM format and without a "
			     "password (%s)",
			     option, path, why());
	EVP_PKEY_free(key);
	return r;
}

/* Certificates are looked for in the CRLs that there are: an authority need not have one. */
static int on_verify(int good, X509_STORE_CTX *verified)
{
	if (good || X509_STORE_CTX_get_error(verified) != X509_V_ERR_UNABLE_TO_GET_CRL)
		return good;
	X509_STORE_CTX_set_error(verified, X509_V_OK);
	return 1;
}

/* Whether anybody may have put something else there; OpenSSL opens it by its name. */
static int check_certificates(const char *option, const char *path, unsigned user, struct stat *st,
			      struct diag *diag)
{
	int fd = path_read(path, user, O_NONBLOCK, diag), r = 0;

	if (fd < 0)
		return diag_prefix(diag, fd, "%s ", option);
	if (fstat(fd, st))
		r = diag_set(diag, -errno, "%s %.300s: %s", option, path, strerror(errno));
	close(fd);
	return r;
}

static int load_authorities(SSL_CTX *ctx, const char *path, unsigned user, struct diag *diag)
{
	struct stat st;
	bool folder;
	int r;

	if (!path) {
		if (SSL_CTX_set_default_verify_paths(ctx) != 1)
			return diag_set(diag, -EINVAL,
					"the system's certificate authorities cannot be read; use --tls-ca");
		return 0;
	}
	r = check_certificates("--tls-ca", path, user, &st, diag);
	if (r)
		return r;
	folder = S_ISDIR(st.st_mode);
	if (SSL_CTX_load_verify_locations(ctx, folder ? NULL : path, folder ? path : NULL) != 1)
		return diag_set(diag, -EINVAL, "--tls-ca %.300s: no certificates in PEM format (%s)", path,
				why());
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
				    X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

static void warn_of_expiry(struct session *s, const char *path)
{
	X509 *own = SSL_CTX_get0_certificate(((struct tls *)s->own)->ctx);
	int days, seconds;

	if (!own || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(own)) != 1 || days >= WARN_DAYS)
		return;
	if (days < 0 || seconds < 0)
		snprintf(s->t.notice, sizeof(s->t.notice), "--tls-cert %.150s has expired", path);
	else
		snprintf(s->t.notice, sizeof(s->t.notice), "--tls-cert %.150s expires in %d days", path,
			 days);
	s->t.notices++;
}

static int load_own(struct session *s, struct diag *diag)
{
	const struct transport_config *c = &s->config;
	SSL_CTX *ctx = ((struct tls *)s->own)->ctx;
	const char *key = c->tls_key ? c->tls_key : c->tls_cert,
		   *option = c->tls_key ? "--tls-key" : "--tls-cert";
	struct stat st;
	int r;

	if (!c->tls_cert && c->tls_key)
		return diag_set(diag, -EINVAL,
				"--tls-key %.300s: the certificate for it is missing: --tls-cert",
				c->tls_key);
	if (!c->tls_cert)
		return 0;
	r = check_certificates("--tls-cert", c->tls_cert, c->user, &st, diag);
	if (r)
		return r;
	if (SSL_CTX_use_certificate_chain_file(ctx, c->tls_cert) != 1)
		return diag_set(diag, -EINVAL, "--tls-cert %.300s: not a certificate in PEM format (%s)",
				c->tls_cert, why());
	r = load_key(s, option, key, diag);
	if (r)
		return r;
	if (SSL_CTX_check_private_key(ctx) != 1)
		return diag_set(diag, -EINVAL, "%s %.200s: not the key of --tls-cert %.200s", option, key,
				c->tls_cert);
	warn_of_expiry(s, c->tls_cert);
	return 0;
}

/* The collector wants a certificate, and we have none. */
static int on_asked(SSL *ssl, X509 **certificate, EVP_PKEY **key)
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
	int r;

	s->own = tls;
	ERR_clear_error();
	if (tls)
		tls->ctx = SSL_CTX_new(method);
	if (!tls || !tls->ctx)
		return diag_set(diag, -ENOMEM, "--collector %.200s: TLS cannot be set up (%s)",
				s->collector.url, why());
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes by write() */
	SSL_CTX_set_min_proto_version(tls->ctx, least_version);
	SSL_CTX_set_options(tls->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU);
	SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_default_passwd_cb(tls->ctx, no_password);
	SSL_CTX_set_client_cert_cb(tls->ctx, on_asked);
	r = load_authorities(tls->ctx, s->config.tls_ca, s->config.user, diag);
	return r ? r : load_own(s, diag);
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

static bool is_address(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

int tls_new(struct session *s)
{
	struct tls *tls = s->own;
	const char *name = s->tls_name;
	bool good;

	tls->asked = false;
	tls->begun_ns = s->now_ns;
	tls->ssl = SSL_new(tls->ctx);
	if (!tls->ssl)
		return -ENOMEM;
	SSL_set_app_data(tls->ssl, s);
	if (is_address(name)) {
		good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name) == 1;
	} else {
		SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		good = SSL_set1_host(tls->ssl, name) == 1 && SSL_set_tlsext_host_name(tls->ssl, name) == 1;
	}
	SSL_set_connect_state(tls->ssl);
	return good ? 0
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

static int refused_certificate(struct session *s, long result)
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

static int wants_certificate(struct session *s)
{
	return session_because(s, -EACCES, "%s: the collector wants a certificate of ours: --tls-cert",
			       s->layer->name);
}

static int protocol_error(struct session *s, unsigned long error)
{
	const struct tls *tls = s->own;
	const char *text = ERR_reason_error_string(error);
	long result = SSL_get_verify_result(tls->ssl);

	switch (ERR_GET_REASON(error)) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return refused_certificate(s, result);
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
		return wants_certificate(s);
	if (ERR_GET_REASON(error) == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
	    ERR_GET_REASON(error) == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
	    ERR_GET_REASON(error) == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED)
		return session_because(s, -EACCES,
				       "%s: the collector refuses the certificate of --tls-cert (%.80s)",
				       s->layer->name, text);
	return session_because(s, -EPROTO, "%s: %.120s", s->layer->name, text ? text : "protocol error");
}

/* What the call that returned r means: 0 or -EAGAIN, SESSION_E_GOODBYE, or an error with its reason. */
static int outcome_of(struct session *s, int r, int error)
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
			return wants_certificate(s);
		return error ? -error : -ECONNRESET;
	default:
		return protocol_error(s, ERR_peek_error());
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
	r = outcome_of(s, r, errno);
	if (r == SESSION_E_GOODBYE)
		r = -ECONNRESET;
	if (r == 0 && SSL_get_verify_result(tls->ssl) != X509_V_OK)
		r = refused_certificate(s, SSL_get_verify_result(tls->ssl));
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
	r = outcome_of(s, r, errno);
	return r == SESSION_E_GOODBYE ? -EPIPE : r;
}

static bool is_bare_end(const SSL *ssl, int r, int error)
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
	    is_bare_end(tls->ssl, r, errno))
		return SESSION_E_CLOSED;
	r = outcome_of(s, r, errno);
	return r == -EAGAIN ? 0 : r;
}

int tls_shut(struct session *s)
{
	struct tls *tls = s->own;
	int r;

	ERR_clear_error();
	r = SSL_shutdown(tls->ssl);
	if (r >= 0)
		return 0;
	return SSL_get_error(tls->ssl, r) == SSL_ERROR_WANT_WRITE ? -EAGAIN : 0;
}
