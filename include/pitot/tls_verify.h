/*
 * tls_verify: whom we believe: the collector's certificate must come from an authority of --tls-ca (or the
 * system's) and bear the name of the URL or --tls-name (RFC 7011 §11.3: DNS-ID, or the address itself);
 * nothing turns that off.  TLS 1.2 is the least.  Of the chain, each certificate is looked for in the CRL of
 * its authority, where --tls-ca has one.  Transports and the doctor ask here, so that they cannot disagree.
 */
#ifndef PITOT_TLS_VERIFY_H
#define PITOT_TLS_VERIFY_H

#include <stdbool.h>

#include "pitot/diag.h"

struct ssl_ctx_st;
struct ssl_st;

/*
 * Of all sessions of a context.  path, fd: --tls-ca, a file or a directory that is open, and is closed here;
 * NULL: the system's authorities.  0, or negative errno and a sentence.
 */
int tls_verify_setup(struct ssl_ctx_st *ctx, int least_version, const char *path, int fd, struct diag *diag);
/* The name or address that the certificate of this session has to bear. */
bool tls_verify_name(struct ssl_st *ssl, const char *name);
/* OpenSSL's word for the last error. */
const char *tls_why(void);
/* Nobody is there to be asked. */
int tls_no_password(char *out, int size, int writing, void *context);

#endif
