/*
 * metering_flows: commands about the flows in the table: which there are, and which end now.
 *
 * They are run between two batches and look at COMMAND_LOOKS entries at most, so that a million flows are as
 * many short looks and packets never wait.
 */
#include "metering_internal.h"

static uint16_t metering_vlan(const struct metering *w, const struct flow_record *r)
{
	const struct block_link *link = flow_record_block(&w->config.table.layout, r, BLOCK_LINK);

	return link ? link->vlan : r->key.vlan;
}

/* ---- a look */

struct metering_look {
	const struct metering *w;
	const struct flow_filter *filter;
	struct command_flows_seen *seen;
};

static bool metering_see(void *ctx, const struct flow_record *r)
{
	const struct metering_look *l = ctx;
	uint16_t vlan = metering_vlan(l->w, r);
	struct command_flow *to;

	l->seen->looked++;
	if (!flow_filter_match(l->filter, &r->key, vlan))
		return false;
	to = &l->seen->flows[l->seen->n++];
	*to = (struct command_flow){.key = r->key,
				    .ingress = r->ingress,
				    .egress = r->egress,
				    .vlan = vlan,
				    .tcp_flags = r->tcp_flags,
				    .packets = r->packets,
				    .octets = r->octets,
				    .first_ns = r->first_ns,
				    .last_ns = r->last_ns,
				    .tos = r->tos,
				    .direction = r->direction};
	return false;
}

int metering_on_flows(struct metering *w, const struct command_flows *a, struct command_flows_seen *reply)
{
	struct metering_look look = {.w = w, .filter = &a->filter, .seen = reply};
	unsigned left = COMMAND_LOOKS, step = COMMAND_FLOWS_MAX;

	reply->now_ns = w->source->now_ns;
	reply->cursor = a->cursor;
	reply->looked = reply->n = 0;
	do {
		/* no more at once than there is room for */
		step = COMMAND_FLOWS_MAX - reply->n < left ? COMMAND_FLOWS_MAX - reply->n : left;
		reply->more =
			flow_table_walk(w->table, &reply->cursor, step, metering_see, &look, FLOW_END_NONE);
		left -= step;
	} while (reply->more && left && reply->n < COMMAND_FLOWS_MAX);
	w->walked = reply->more;
	return 0;
}

/* ---- an end */

struct metering_ending {
	const struct metering *w;
	const struct flow_filter *filter;
	uint32_t ended;
};

static bool metering_selects(void *ctx, const struct flow_record *r)
{
	struct metering_ending *e = ctx;

	if (!flow_filter_match(e->filter, &r->key, metering_vlan(e->w, r)))
		return false;
	e->ended++;
	return true;
}

/* Live, a record that the exporting process has no room for is better kept in the table than lost. */
int metering_on_expire(struct metering *w, const struct command_flows *a, struct command_flows_ended *reply)
{
	const struct ring_place *ring = &w->records.at;
	struct metering_ending ending = {.w = w, .filter = &a->filter};
	uint64_t room = ring_capacity(ring) - ring_used(ring);

	*reply = (struct command_flows_ended){.cursor = a->cursor, .more = true};
	if (!a->drop && room < COMMAND_LOOKS && room < ring_capacity(ring) / 2) {
		reply->no_room = true;
		return 0;
	}
	w->dropping = a->drop;
	reply->more = flow_table_walk(w->table, &reply->cursor,
				      a->drop || room > COMMAND_LOOKS ? COMMAND_LOOKS : (unsigned)room,
				      metering_selects, &ending, FLOW_END_FORCED);
	w->dropping = false;
	reply->ended = ending.ended;
	w->walked = reply->more;
	return 0;
}

/* ---- metering itself */

int metering_on_gather(struct metering *w, const struct command_gather *a, struct command_none *reply)
{
	(void)reply;
	w->paused = !a->on;
	return 0;
}
