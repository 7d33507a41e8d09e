/* tls_client: TLS and DTLS as a client: what tls.c and dtls.c are made of. */
#ifndef PITOT_TRANSPORT_TLS_CLIENT_H
#define PITOT_TRANSPORT_TLS_CLIENT_H

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

/* tls_files.c */
/* --tls-ca, open; -1: there is none. */
int tls_open_authorities(const struct transport_config *c, int *fd, struct diag *diag);
/* The certificate of --tls-cert, and its key. */
int tls_load_own(struct session *s, struct diag *diag);

#endif
