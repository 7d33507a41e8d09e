/* udp_internal: what udp.c and udp_socket.c share. */
#ifndef PITOT_TRANSPORT_UDP_INTERNAL_H
#define PITOT_TRANSPORT_UDP_INTERNAL_H

#include <net/if.h>
#include <sys/socket.h>

#include "pitot/transport.h"
#include "resolve.h"

#define UDP_SLOTS    32u
#define UDP_MTU_MOST 1500u /* without --mtu */
#define UDP_HEADERS4 28u

struct udp_slot {
	size_t size;
	struct transport_load load;
};

struct udp {
	struct transport t; /* first */
	struct transport_config config;
	struct collector_config collector;
	char source_host[64], bind_device[IF_NAMESIZE];
	struct resolve *lookup;
	uint64_t next_try_ns; /* monotonic; 0 now */
	uint64_t next_mtu_ns;
	uint64_t next_renew_ns;
	uint64_t next_doubt_ns; /* of the collector's address */
	uint64_t doubted;	/* errors, when last looked */
	uint64_t now_ns;	/* of the last tick */
	bool waited;		/* offline: for the name, once */
	bool lookup_wanted;
	bool no_segments; /* the kernel or the route has no UDP_SEGMENT */
	bool unreachable; /* since the last look: perhaps the address that the socket sends from is gone */
	int family;
	struct sockaddr_storage peer;
	socklen_t peer_size;
	size_t slot_size;
	unsigned first; /* slots are a ring: the one that is lent keeps its place while others are sent */
	unsigned used;
	struct udp_slot slots[UDP_SLOTS];
	struct mmsghdr headers[UDP_SLOTS];
	struct iovec vectors[UDP_SLOTS];
	uint8_t *memory;
};

/* udp.c: sends what is committed */
void udp_flush(struct transport *t);

/* udp_socket.c */
void udp_note_error(struct udp *u, int error);
/* Messages as long as the path takes now. */
void udp_read_mtu(struct udp *u);
/* The first address that can be connected to; the one in use is kept if it still is one of them. */
int udp_use_addresses(struct udp *u, const struct resolve_result *result);
/* Another socket, and a session, if the host sends from another address now. */
void udp_renew_socket(struct udp *u);
/* Reads the error queue.  Errors of the network are counted, a narrower path is followed; returns how many.
 */
unsigned udp_drain_errors(struct udp *u);
/* Is the error about an earlier datagram, so that this one of size octets is worth another try? */
bool udp_is_about_others(struct udp *u, int error, size_t size);
int udp_check_config(const struct transport_config *config, struct diag *diag);
/* What will not mend itself is said now: an address that is not ours, a device that does not exist. */
int udp_first_connect(struct udp *u, struct diag *diag);

#endif
