/*
 * outcome: which records no collector was sent.
 *
 * Collectors put the same record into different messages, and a message's fate is known later; a record is
 * not sent when all of them lost it.  The ring remembers the latest records until each collector has told.
 */
#ifndef PITOT_EXPORT_OUTCOME_H
#define PITOT_EXPORT_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/exporter.h"

struct outcome_ring;

int outcome_new(struct outcome_ring **rp);
void outcome_free(struct outcome_ring *o);

/*
 * Is the place of the record with this number still taken by an older one that one of these collectors (bit i
 * is collector i) has not told of?
 */
bool outcome_is_crowded(const struct outcome_ring *o, uint64_t number, uint64_t collectors);
/* A new record, which these collectors will tell of.  A crowded place is given up: that record counts as
 * sent. */
void outcome_add(struct outcome_ring *o, uint64_t number, const struct flow_record *r, uint64_t collectors);
/* One collector tells of those of the records [first, end) that are its own and it has not told of before. */
void outcome_tell(struct outcome_ring *o, uint64_t first, uint64_t end, unsigned collector, bool sent,
		  struct exporter_stats *stats);
/* What it told as sent was not. */
void outcome_revoke(struct outcome_ring *o, uint64_t first, uint64_t end, unsigned collector,
		    struct exporter_stats *stats);

#endif
