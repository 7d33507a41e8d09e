/* outcome: see outcome.h. */
#include "outcome.h"

#include <errno.h>
#include <stdlib.h>

#define PLACES 65536u /* more than the transports hold back; a power of two */

struct outcome {
	uint64_t number;
	uint64_t packets;
	uint64_t octets;
	uint64_t open; /* collectors that have not told yet: bit i is collector i */
	uint64_t sent; /* those that told of success */
};

struct outcome_ring {
	struct outcome places[PLACES];
};

int outcome_new(struct outcome_ring **rp)
{
	*rp = calloc(1, sizeof(**rp));
	return *rp ? 0 : -ENOMEM;
}

void outcome_free(struct outcome_ring *o)
{
	free(o);
}

bool outcome_is_crowded(const struct outcome_ring *o, uint64_t number, uint64_t collectors)
{
	return (o->places[number % PLACES].open & collectors) != 0;
}

void outcome_add(struct outcome_ring *o, uint64_t number, const struct flow_record *r, uint64_t collectors)
{
	o->places[number % PLACES] = (struct outcome){
		.number = number, .packets = r->packets, .octets = r->octets, .open = collectors};
}

static void count_not_sent(const struct outcome *p, struct exporter_stats *stats)
{
	if (p->open || p->sent)
		return;
	totals_count(&stats->not_sent, p->packets, p->octets);
}

void outcome_tell(struct outcome_ring *o, uint64_t first, uint64_t end, unsigned collector, bool sent,
		  struct exporter_stats *stats)
{
	uint64_t bit = UINT64_C(1) << collector;

	for (uint64_t n = first; n < end; n++) {
		struct outcome *p = &o->places[n % PLACES];

		if (p->number != n || !(p->open & bit))
			continue;
		p->open &= ~bit;
		p->sent |= sent ? bit : 0;
		count_not_sent(p, stats);
	}
}

void outcome_revoke(struct outcome_ring *o, uint64_t first, uint64_t end, unsigned collector,
		    struct exporter_stats *stats)
{
	uint64_t bit = UINT64_C(1) << collector;

	for (uint64_t n = first; n < end; n++) {
		struct outcome *p = &o->places[n % PLACES];

		if (p->number != n || !(p->sent & bit))
			continue;
		p->sent &= ~bit;
		count_not_sent(p, stats);
	}
}
