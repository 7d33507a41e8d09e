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
#include "pitot/flow_table.h"
#include "pitot/packet.h"
#include "pitot/sections.h"
#include "pitot/stats.h"

struct fragment_table;

int fragment_table_new(struct fragment_table **tp, uint32_t max_datagrams, uint64_t timeout_ns,
		       const struct hash_seed *seed, struct diag *diag);
void fragment_table_free(struct fragment_table *t);

/* For a packet whose fragment is not NONE: remembers a first one, completes a later one. */
void fragment_track(struct fragment_table *t, struct packet *p, struct flow_stats *stats);

/* As flow_table.h has it: the first fragments that are remembered, as a section. */
#define FRAGMENT_SECTION	 "fragments"
#define FRAGMENT_SECTION_VERSION 1
size_t fragment_table_hand_over_octets(const struct fragment_table *t); /* at most */
void fragment_table_hand_over(const struct fragment_table *t, struct sections_writer *w);
/* 0, or -EBADMSG: some of it is no such thing, and the rest is left out. */
int fragment_table_take_over(struct fragment_table *t, struct section *s, const struct flow_points *points);

#endif
