/*
 * fragment: gives non-first fragments the ports of their datagram's first one.
 *
 * A fixed, timed table keyed by source, destination, identification (and protocol for IPv4).  When it is full
 * the oldest of a bucket gives way, counted.
 */
#ifndef PITOT_FRAGMENT_H
#define PITOT_FRAGMENT_H

#include "pitot/diag.h"
#include "pitot/hash.h"
#include "pitot/packet.h"
#include "pitot/stats.h"

struct fragment_table;

int fragment_table_new(struct fragment_table **tp, uint32_t max_datagrams, uint64_t timeout_ns,
		       const struct hash_seed *seed, struct diag *diag);
void fragment_table_free(struct fragment_table *t);

/* For a packet whose fragment is not NONE: remembers a first one, completes a later one. */
void fragment_track(struct fragment_table *t, struct packet *p, struct flow_stats *stats);

#endif
