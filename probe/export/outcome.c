/* outcome: see outcome.h. */
#include "outcome.h"

#include <errno.h>
#include <stdlib.h>

#define PLACES 65536u /* more than the transports hold back; a power of two */

struct outcome {
	uint64_t number;
	uint64_t packets;
	uint64_t octets;
	uint16_t open; /* collectors that have not told yet */
	bool sent;
	bool v6;
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

bool outcome_is_crowded(const struct outcome_ring *o, uint64_t number)
{
	return o->places[number % PLACES].open > 0;
}

void outcome_add(struct outcome_ring *o, uint64_t number, const struct flow_record *r, unsigned collectors)
{
	o->places[number % PLACES] = (struct outcome){ .number = number,
						       .packets = r->packets,
						       .octets = r->octets,
						       .open = (uint16_t)collectors,
						       .v6 = r->key.ip_version == 6 };
}

void outcome_tell(struct outcome_ring *o, uint64_t first, uint64_t end, bool only4, bool sent,
		  struct exporter_stats *stats)
{
	for (uint64_t n = first; n < end; n++) {
		struct outcome *p = &o->places[n % PLACES];

		if (p->number != n || p->open == 0 || (only4 && p->v6))
			continue;
		p->sent |= sent;
		if (--p->open > 0 || p->sent)
			continue;
		stats->not_sent++;
		stats->not_sent_packets += p->packets;
		stats->not_sent_octets += p->octets;
	}
}
