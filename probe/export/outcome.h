/*
 * outcome: which records no collector was sent.
 *
 * Collectors put the same record into different messages, and a message's fate is known later; a record is not
 * sent when all of them lost it.  The ring remembers the latest records until each collector has told.
 */
#ifndef PITOT_EXPORT_OUTCOME_H
#define PITOT_EXPORT_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/exporter.h"

struct outcome_ring;

int outcome_new(struct outcome_ring **rp);
void outcome_free(struct outcome_ring *o);

/* Is the place of the record with this number still taken by an older one that somebody has not told of? */
bool outcome_is_crowded(const struct outcome_ring *o, uint64_t number);
/* A new record, which collectors will tell of.  A crowded place is given up: that record counts as sent. */
void outcome_add(struct outcome_ring *o, uint64_t number, const struct flow_record *r, unsigned collectors);
/* One collector tells of the records [first, end), of IPv4 only if so said, the others it has told of before. */
void outcome_tell(struct outcome_ring *o, uint64_t first, uint64_t end, bool only4, bool sent,
		  struct exporter_stats *stats);

#endif
