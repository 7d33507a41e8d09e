/*
 * totals: how much there was of something: flow records, and the packets and octets in them.
 */
#ifndef PITOT_TOTALS_H
#define PITOT_TOTALS_H

#include <stdint.h>

struct totals {
	uint64_t records;
	uint64_t packets;
	uint64_t octets; /* IP total lengths */
};

static inline void totals_add(struct totals *t, const struct totals *more)
{
	t->records += more->records;
	t->packets += more->packets;
	t->octets += more->octets;
}

static inline void totals_subtract(struct totals *t, const struct totals *less)
{
	t->records -= less->records;
	t->packets -= less->packets;
	t->octets -= less->octets;
}

/* One record more. */
static inline void totals_count(struct totals *t, uint64_t packets, uint64_t octets)
{
	t->records++;
	t->packets += packets;
	t->octets += octets;
}

static inline void totals_least(struct totals *t, const struct totals *other)
{
	t->records = other->records < t->records ? other->records : t->records;
	t->packets = other->packets < t->packets ? other->packets : t->packets;
	t->octets = other->octets < t->octets ? other->octets : t->octets;
}

#endif
