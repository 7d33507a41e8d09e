/*
 * flow_walk: a look at what is in the table, a few entries at a time, while packets go on.
 *
 * Entries keep their places as long as their flows live, so a number is all that a walk has to keep.
 */
#include "flow/flow_internal.h"

enum { WALK_AHEAD = 16 };

bool flow_table_walk(struct flow_table *t, uint32_t *cursor, unsigned looks,
		     bool (*visit)(void *ctx, const struct flow_record *record), void *ctx,
		     enum flow_end_reason reason)
{
	uint32_t i = *cursor, end = i < t->used && t->used - i > looks ? i + looks : t->used;

	for (uint32_t ahead = i; ahead < end && ahead < i + WALK_AHEAD; ahead++)
		flow_fetch(t, ahead, false);
	for (; i < end; i++) {
		struct flow_record *e = flow_entry(t, i);

		if (i + WALK_AHEAD < end)
			flow_fetch(t, i + WALK_AHEAD, false);
		if (!(e->state & ENTRY_LIVE) || !visit(ctx, e))
			continue;
		flow_end(t, e, reason);
		flow_remove(t, i, flow_entry_hash(t, e));
	}
	if (i > *cursor)
		*cursor = i;
	return i < t->used;
}
