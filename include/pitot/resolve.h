/*
 * resolve: names to addresses without waiting.
 *
 * A lookup runs in a thread of its own, because getaddrinfo() may take half a minute; the thread that exports
 * asks now and then whether it is done.  Dropping a lookup that still runs leaves it to end by itself.
 */
#ifndef PITOT_RESOLVE_H
#define PITOT_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

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
/* 0 or negative errno. */
int resolve_start(struct resolve **rp, const char *host, uint16_t port, int socktype);
/* Done?  Then *result is complete and the lookup freed (*rp NULL).  Waits wait_ms at most. */
bool resolve_take(struct resolve **rp, struct resolve_result *result, unsigned wait_ms);
void resolve_drop(struct resolve **rp);

#endif
