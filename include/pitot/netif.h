/*
 * netif: what the system knows about network interfaces (rtnetlink by libnl).
 */
#ifndef PITOT_NETIF_H
#define PITOT_NETIF_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"

struct netif {
	uint32_t index;
	char name[64];
	char alias[128]; /* ifalias; empty when there is none */
	uint32_t mtu;
	uint32_t arphrd;      /* ARPHRD_ link type */
	uint64_t speed;	      /* bit/s; 0 unknown */
	uint64_t dropped;     /* packets that came in and found no room in the interface, since it is there */
	uint64_t packets;     /* in and out, since it is there */
	uint32_t promiscuity; /* how many want it promiscuous */
	bool up;	      /* administratively */
	bool running;	      /* carrier */
	bool loopback;
};

/* -ENODEV with a sentence that lists what there is when no interface has the name. */
int netif_get(struct netif *n, const char *name, struct diag *diag);

/* The same by its index, which it keeps when it is renamed; -ENODEV. */
int netif_get_index(struct netif *n, uint32_t index, struct diag *diag);
/* All there are now. */
int netif_each(void (*take)(void *ctx, const struct netif *n), void *ctx, struct diag *diag);

/* Positive outcomes.  Of netif_watch_read(): events were lost, ask netif_get() for what matters. */
enum { NETIF_E_LOST = 1, NETIF_E_NO_ROUTE };

/*
 * Link events: a netlink socket to poll; netif_watch_read() drains it and calls back per change (of any kind:
 * compare with what is known).  gone: the interface was deleted.
 */
struct netif_watch;
int netif_watch_open(struct netif_watch **wp, struct diag *diag);
int netif_watch_fd(const struct netif_watch *w);
int netif_watch_read(struct netif_watch *w, void (*on_link)(void *ctx, const struct netif *n, bool gone),
		     void *ctx);
/*
 * Has anything changed that routes depend on (links, addresses, routes, rules), since the last call?  As of
 * the last netif_watch_read(): addresses and routes do not make the descriptor readable, because a router may
 * have thousands of changes a second.
 */
bool netif_watch_changed(struct netif_watch *w);
void netif_watch_close(struct netif_watch *w);

/*
 * Where the system would send a packet, asked again and again: RTM_GETROUTE, which policy rules and VRFs have
 * their part in.  An answer comes from the kernel at once; one that does not is waited for a short time.
 */
struct netif_question {
	uint8_t family; /* 4 or 6 */
	uint8_t src[16], dst[16];
	uint32_t ingress; /* that it came in by; 0: it is the host's own, and it is asked without src where
			     src is not */
	uint32_t egress;  /* that it leaves by; 0: that is asked */
	uint8_t tos, protocol;
	uint16_t src_port, dst_port; /* of TCP and UDP; 0 both: not known */
};

struct netif_route {
	uint8_t prefix; /* length of the route's, where it was asked for */
	bool several;	/* likewise: of several next hops one is chosen for each packet */
	bool forwarded; /* to another host: what follows is known; else it is for this one, or for nobody */
	uint32_t egress;
	uint8_t next_hop[16]; /* of its family; all zero: the destination itself */
};

struct netif_routes;
int netif_routes_open(struct netif_routes **rp, struct diag *diag);
void netif_routes_close(struct netif_routes *r);
/*
 * prefix: ask for the route that matches; else for what is done with this packet.  NETIF_E_NO_ROUTE: the
 * system would not send it anywhere; negative errno: it did not say.
 */
int netif_routes_ask(struct netif_routes *r, const struct netif_question *q, bool prefix,
		     struct netif_route *answer);

/*
 * Counters of interfaces, asked for again and again: what it needs is opened once, before privileges are
 * dropped.  netif_counters_read(): 0, -ENODEV when no interface has the index, or another negative errno.
 */
struct interface_counters;
struct netif_counters;
int netif_counters_open(struct netif_counters **cp, struct diag *diag);
void netif_counters_close(struct netif_counters *c);
int netif_counters_read(struct netif_counters *c, uint32_t index, struct interface_counters *n);

#endif
