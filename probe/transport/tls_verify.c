/* tls_verify: see tls_verify.h. */
#include "pitot/tls_verify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *tls_why(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	if (e && ERR_GET_LIB(e) == ERR_LIB_SYS)
		return strerror(ERR_GET_REASON(e));
	return text ? text : "unknown reason";
}

int tls_no_password(char *out, int size, int writing, void *context)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)context;
	return 0; /* nobody is there to be asked */
}

/* Certificates are looked for in the CRLs that there are: an authority need not have one. */
static int tls_verify_on_chain(int good, X509_STORE_CTX *verified)
{
	if (good || X509_STORE_CTX_get_error(verified) != X509_V_ERR_UNABLE_TO_GET_CRL)
		return good;
	X509_STORE_CTX_set_error(verified, X509_V_OK);
	return 1;
}

/* Certificates and CRLs; their number. */
static unsigned tls_verify_read_authorities(X509_STORE *store, FILE *f)
{
	STACK_OF(X509_INFO) *all = PEM_X509_INFO_read(f, NULL, tls_no_password, NULL);
	unsigned n = 0;

	for (int i = 0; all && i < sk_X509_INFO_num(all); i++) {
		const X509_INFO *one = sk_X509_INFO_value(all, i);

		n += one->x509 && X509_STORE_add_cert(store, one->x509) == 1;
		n += one->crl && X509_STORE_add_crl(store, one->crl) == 1;
	}
	sk_X509_INFO_pop_free(all, X509_INFO_free);
	return n;
}

static int tls_verify_load(SSL_CTX *ctx, const char *path, int fd, struct diag *diag)
{
	struct stat st;
	FILE *f = fstat(fd, &st) ? NULL : fdopen(fd, "r");
	bool good;

	if (!f) {
		int r = diag_set(diag, -errno, "--tls-ca %.300s: %s", path, strerror(errno));

		close(fd);
		return r;
	}
	good = S_ISDIR(st.st_mode) ? SSL_CTX_load_verify_locations(ctx, NULL, path) == 1
				   : tls_verify_read_authorities(SSL_CTX_get_cert_store(ctx), f) > 0;
	fclose(f);
	if (!good)
		return diag_set(diag, -EINVAL, "--tls-ca %.300s: no certificates in PEM format (%s)", path,
				ERR_peek_last_error() ? tls_why() : "none is in it");
	ERR_clear_error();
	X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
				    X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return 0;
}

int tls_verify_setup(struct ssl_ctx_st *ctx, int least_version, const char *path, int fd, struct diag *diag)
{
	SSL_CTX_set_min_proto_version(ctx, least_version);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, tls_verify_on_chain);
	if (path)
		return tls_verify_load(ctx, path, fd, diag);
	if (SSL_CTX_set_default_verify_paths(ctx) != 1)
		return diag_set(diag, -EINVAL,
				"the system's certificate authorities cannot be read; use --tls-ca");
	return 0;
}

static bool tls_verify_is_address(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

bool tls_verify_name(struct ssl_st *ssl, const char *name)
{
	if (tls_verify_is_address(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}
