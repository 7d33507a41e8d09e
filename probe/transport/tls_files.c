/*
 * tls_files: the files of --tls-ca, --tls-cert and --tls-key, opened and looked at.
 *
 * Certificates, CRLs and keys are read once, at the start, before privileges are given up; of a directory,
 * those that a chain needs, when it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/opener.h"
#include "pitot/path.h"
#include "pitot/tls_verify.h"
#include "tls_client.h"

#define WARN_DAYS 30 /* before the own certificate expires */

/* Whoever can read the key can be us, and whoever can write it can make us somebody else. */
static int tls_check_key(const struct stat *st, unsigned user, const char *option, const char *path,
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

/* By its name, or, when another process did that and its user may not any more, what is kept open since. */
static int tls_open_file(const struct transport_config *c, const char *path, bool is_key, struct diag *diag)
{
	int fd = c->again ? opener_read(c->opener, path, diag) : -ENOENT;

	if (fd != -ENOENT)
		return fd;
	return is_key ? path_open_to_read(path, c->user, O_NONBLOCK, diag)
		      : path_read(path, c->user, O_NONBLOCK, diag);
}

/* The key, from the file that was looked at. */
static int tls_load_key(struct session *s, const char *option, const char *path, struct diag *diag)
{
	SSL_CTX *ctx = ((struct tls *)s->own)->ctx;
	int fd = tls_open_file(&s->config, path, true, diag), r = 0;
	EVP_PKEY *key = NULL;
	struct stat st;
	FILE *f = NULL;

	if (fd < 0)
		r = diag_prefix(diag, fd, "%s ", option);
	else if (fstat(fd, &st))
		r = diag_set(diag, -errno, "%s %.300s: %s", option, path, strerror(errno));
	if (r == 0)
		r = tls_check_key(&st, s->config.user, option, path, diag);
	if (r == 0)
		f = fdopen(fd, "r");
	if (f)
		key = PEM_read_PrivateKey(f, NULL, tls_no_password, NULL);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	if (r == 0 && (!key || SSL_CTX_use_PrivateKey(ctx, key) != 1))
		r = diag_set(diag, -EINVAL,
			     "%s %.300s: not the key of the certificate, in PEM format and without a "
			     "password (%s)",
			     option, path, tls_why());
	EVP_PKEY_free(key);
	return r;
}

/* Certificates are opened once, and read from what was looked at. */
static FILE *tls_open_certificates(const struct transport_config *c, const char *option, const char *path,
				   struct stat *st, struct diag *diag)
{
	int fd = tls_open_file(c, path, false, diag), r = 0;
	FILE *f = NULL;

	if (fd < 0) {
		diag_prefix(diag, fd, "%s ", option);
		return NULL;
	}
	if (fstat(fd, st))
		r = -errno;
	if (r == 0)
		f = fdopen(fd, "r");
	if (!f) {
		diag_set(diag, r, "%s %.300s: %s", option, path, strerror(errno));
		close(fd);
	}
	return f;
}

/* The own one, and those between it and an authority. */
static bool tls_read_chain(SSL_CTX *ctx, FILE *f)
{
	X509 *one = PEM_read_X509_AUX(f, NULL, tls_no_password, NULL);
	bool good = one && SSL_CTX_use_certificate(ctx, one) == 1;

	X509_free(one);
	while (good && (one = PEM_read_X509(f, NULL, tls_no_password, NULL)))
		good = SSL_CTX_add0_chain_cert(ctx, one) == 1;
	if (good && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return false;
	if (good)
		ERR_clear_error(); /* that was the end */
	return good;
}

int tls_open_authorities(const struct transport_config *c, int *fd, struct diag *diag)
{
	*fd = c->tls_ca ? tls_open_file(c, c->tls_ca, false, diag) : -1;
	return c->tls_ca && *fd < 0 ? diag_prefix(diag, *fd, "--tls-ca ") : 0;
}

static void tls_warn_of_expiry(struct session *s, const char *path)
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

int tls_load_own(struct session *s, struct diag *diag)
{
	const struct transport_config *c = &s->config;
	SSL_CTX *ctx = ((struct tls *)s->own)->ctx;
	const char *key = c->tls_key ? c->tls_key : c->tls_cert,
		   *option = c->tls_key ? "--tls-key" : "--tls-cert";
	struct stat st;
	bool good;
	FILE *f;
	int r;

	if (!c->tls_cert && c->tls_key)
		return diag_set(diag, -EINVAL,
				"--tls-key %.300s: the certificate for it is missing: --tls-cert",
				c->tls_key);
	if (!c->tls_cert)
		return 0;
	f = tls_open_certificates(c, "--tls-cert", c->tls_cert, &st, diag);
	if (!f)
		return -EINVAL;
	good = tls_read_chain(ctx, f);
	fclose(f);
	if (!good)
		return diag_set(diag, -EINVAL, "--tls-cert %.300s: not a certificate in PEM format (%s)",
				c->tls_cert, tls_why());
	r = tls_load_key(s, option, key, diag);
	if (r)
		return r;
	if (SSL_CTX_check_private_key(ctx) != 1)
		return diag_set(diag, -EINVAL, "%s %.200s: not the key of --tls-cert %.200s", option, key,
				c->tls_cert);
	tls_warn_of_expiry(s, c->tls_cert);
	return 0;
}
