/* tls_internal: what tls.c and dtls.c share. */
#ifndef PITOT_TRANSPORT_TLS_INTERNAL_H
#define PITOT_TRANSPORT_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "session.h"

struct tls {
	SSL_CTX *ctx;
	SSL *ssl;	   /* of the session; NULL none */
	bool asked;	   /* the collector wants a certificate, and there is none */
	uint64_t begun_ns; /* the session */
	uint64_t path_ns;  /* DTLS: when the path MTU was looked at */
};

/* Certificates, keys, what is accepted.  0, or negative errno and a sentence. */
int tls_setup(struct session *s, const SSL_METHOD *method, int least_version, struct diag *diag);
void tls_free(struct session *s);
/* A new s->own->ssl that verifies the collector's name. */
int tls_new(struct session *s);
void tls_stop(struct session *s);
int tls_greet(struct session *s);
ssize_t tls_write(struct session *s, const uint8_t *data, size_t size);
int tls_read(struct session *s);
int tls_shut(struct session *s);

#endif
