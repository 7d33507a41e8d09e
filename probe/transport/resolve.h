/*
 * resolve: names to addresses without waiting.
 *
 * A lookup runs in a thread of its own, because getaddrinfo() may take half a minute; the thread that exports
 * asks now and then whether it is done.  Dropping a lookup that still runs leaves it to end by itself.
 */
#ifndef PITOT_TRANSPORT_RESOLVE_H
#define PITOT_TRANSPORT_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "pitot/diag.h"

struct transport_config;
struct transport_local;

#define RESOLVE_MAX 8

struct resolve_result {
	int error; /* of getaddrinfo(): EAI_*; 0 */
	unsigned n;
	struct sockaddr_storage addresses[RESOLVE_MAX];
	socklen_t sizes[RESOLVE_MAX];
};

struct resolve;

/* A numeric host needs no lookup: true, and *result is complete. */
bool resolve_numeric(struct resolve_result *result, const char *host, uint16_t port, int socktype);
/* Address, of which IPv4 sets the first 4 octets only, and port in host byte order. */
void resolve_split(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port);
/* Whether --source and --bind-device can be meant at all: 0, or -EINVAL and a sentence. */
int resolve_check_source(const struct transport_config *config, struct diag *diag);
/* The sentence when a socket cannot be had because what --source or --bind-device names is not there. */
bool resolve_missing(const char *source_host, const char *bind_device, int error, char *text, size_t size);
/* The index of the interface that the socket is bound to; 0 none. */
unsigned resolve_device_of(int fd);
/* The socket's own address and port; nothing where it has none. */
void resolve_local(int fd, struct transport_local *self);
/* Does a socket that was made just now send from this address, and on this device? */
bool resolve_is_like(int fd, const struct transport_local *self, unsigned device);
/* 0 or negative errno. */
int resolve_start(struct resolve **rp, const char *host, uint16_t port, int socktype);
/* Done?  Then *result is complete and the lookup freed (*rp NULL).  Waits wait_ms at most. */
bool resolve_take(struct resolve **rp, struct resolve_result *result, unsigned wait_ms);
void resolve_drop(struct resolve **rp);

#endif
