/*
 * flow_hand_over: the flows of the table for another process, and those of another process for this table.
 *
 * A section begins with what its records hold: the octets of the core, then the name and the size of each
 * block.  A record is the core and the blocks, one behind the other.  So a process with other blocks takes
 * those that it has by their names; what it has and the other one did not is all zero.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "flow/flow_internal.h"

#define CORE_OCTETS offsetof(struct flow_record, blocks)

/* What of an entry's state goes with the flow. */
enum { HANDED_ENDED = 1, HANDED_FUTURE = 2 };

enum { BLOCK_NAME = 16 };

struct handed_head {
	uint32_t core_octets;
	uint32_t n_blocks;
};
struct handed_block {
	char name[BLOCK_NAME];
	uint32_t size;
};

static const char *const block_names[BLOCKS] = {
#define BLOCK(name, ...)	 [BLOCK_##name] = #name,
#define BLOCK_OF_HOST(name, ...) [BLOCK_##name] = #name,
#include "pitot/blocks.def"
};

static_assert(offsetof(struct flow_record, blocks) == 114, "the core of version 1 of the section");

/* ---- out */

size_t flow_table_hand_over_octets(const struct flow_table *t)
{
	return 1024 + (size_t)t->stats.in_table.records * (t->stride + 64);
}

static void hand_over_record(const struct flow_table *t, const struct flow_record *e,
			     struct sections_writer *w)
{
	const struct record_layout *l = &t->config.layout;
	struct flow_record core = *e;

	core.state = (uint8_t)((e->state & ENTRY_ENDED ? HANDED_ENDED : 0) |
			       (e->state & ENTRY_FUTURE ? HANDED_FUTURE : 0));
	sections_put(w, &core, CORE_OCTETS);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (l->blocks >> i & 1)
			sections_put(w, (const uint8_t *)e + l->record_at[i], block_rows[i].record_size);
}

void flow_table_hand_over(const struct flow_table *t, struct sections_writer *w)
{
	const struct record_layout *l = &t->config.layout;
	struct handed_head head = {CORE_OCTETS, (uint32_t)__builtin_popcount(l->blocks)};

	sections_begin(w, FLOW_SECTION, FLOW_SECTION_VERSION);
	sections_put(w, &head, sizeof(head));
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct handed_block block = {.size = block_rows[i].record_size};

		if (!(l->blocks >> i & 1))
			continue;
		snprintf(block.name, sizeof(block.name), "%s", block_names[i]);
		sections_put(w, &block, sizeof(block));
	}
	for (uint32_t i = 0; i < t->used; i++)
		if (flow_entry(t, i)->state & ENTRY_LIVE)
			hand_over_record(t, flow_entry(t, i), w);
	sections_end(w);
}

void flow_table_let_go(struct flow_table *t)
{
	size_t index_octets = t->n_buckets * sizeof(*t->buckets);

	totals_add(&t->stats.handed_over, &t->stats.in_table);
	for (uint32_t i = 0; i < t->used; i++)
		flow_entry(t, i)->state &= (uint8_t)~ENTRY_OF_FLOW;
	memset(t->buckets, 0, index_octets);
	t->used = 0;
	t->free = ENTRY_NONE;
	t->stats.in_table = (struct totals){0};
}

uint64_t flow_table_latest_id(const struct flow_table *t)
{
	return t->next_id;
}

/* ---- in */

struct taking {
	struct flow_table *table;
	const struct flow_points *points;
	uint64_t now_ns;
	size_t octets;		    /* of a record in the section */
	uint16_t at[BLOCKS];	    /* of a block in it; 0: it has none */
	struct flow_record *record; /* scratch, as the table has them */
};

static int flow_take_block(struct taking *k, const struct handed_block *block)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (strncmp(block->name, block_names[i], BLOCK_NAME) == 0 &&
		    block->size == block_rows[i].record_size)
			k->at[i] = (uint16_t)k->octets;
	k->octets += block->size;
	return block->size > UINT16_MAX || k->octets > UINT16_MAX ? -EBADMSG : 0;
}

static int flow_take_head(struct taking *k, struct section *s)
{
	struct handed_head head;
	int r = 0;

	if (!section_get(s, &head, sizeof(head)) || head.core_octets != CORE_OCTETS)
		return -EBADMSG;
	k->octets = CORE_OCTETS;
	for (uint32_t i = 0; r == 0 && i < head.n_blocks; i++) {
		struct handed_block block;

		r = section_get(s, &block, sizeof(block)) ? flow_take_block(k, &block) : -EBADMSG;
	}
	return r;
}

static void flow_take_point(const struct flow_points *points, struct flow_key *key)
{
	if (!key->point_high && key->point < points->n)
		key->point = points->to[key->point];
}

/* The scratch record is what the octets say. */
static void flow_take_record(struct taking *k, const uint8_t *from)
{
	const struct record_layout *l = &k->table->config.layout;

	memset((void *)k->record, 0, l->record_size);
	memcpy((void *)k->record, from, CORE_OCTETS);
	k->record->end_reason = FLOW_END_NONE;
	flow_take_point(k->points, &k->record->key);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (l->blocks >> i & 1 && k->at[i])
			memcpy((uint8_t *)k->record + l->record_at[i], from + k->at[i],
			       block_rows[i].record_size);
}

/* Into the table, as if its packets had come here. */
static void flow_take_flow(struct taking *k)
{
	struct flow_table *t = k->table;
	struct packet p = {.hash = flow_entry_hash(t, k->record), .time_ns = k->now_ns};
	uint8_t handed = k->record->state;
	uint32_t entry = flow_insert(t, &p);
	struct flow_record *e = flow_entry(t, entry);
	uint64_t deadline_ns;

	k->record->state = (uint8_t)(e->state | (handed & HANDED_ENDED ? ENTRY_ENDED : 0) |
				     (handed & HANDED_FUTURE ? ENTRY_FUTURE : 0));
	flow_record_copy(e, k->record, t->config.layout.record_size);
	t->stats.in_table.packets += e->packets;
	t->stats.in_table.octets += e->octets;
	totals_count(&t->stats.taken_over, e->packets, e->octets);
	deadline_ns = flow_deadline(t, e);
	if (!(e->state & ENTRY_IN_WHEEL))
		flow_schedule(t, entry,
			      t->elapsed_ns + (deadline_ns > k->now_ns ? deadline_ns - k->now_ns : 0));
	if ((e->state & (ENTRY_ENDED | ENTRY_IN_END)) == ENTRY_ENDED && t->config.tcp_end_ns != UINT64_MAX) {
		e->state |= ENTRY_IN_END;
		wheel_insert(&t->ended, entry, t->elapsed_ns + t->config.tcp_end_ns);
	}
}

int flow_table_take_over(struct flow_table *t, struct section *s, const struct flow_points *points,
			 uint64_t elapsed_ns, uint64_t now_ns, const char **missing, struct diag *diag)
{
	struct taking k = {.table = t, .points = points, .now_ns = now_ns};
	const uint8_t *from;
	int r = flow_take_head(&k, s);

	*missing = NULL; /* not SLICE: who has it not has let in every flow, which is what all zero says */
	if (r < 0)
		return diag_set(diag, r, "the flows are of a kind that this version does not know");
	for (unsigned i = 0; i < BLOCKS; i++)
		if (t->config.layout.blocks >> i & 1 && i != BLOCK_SLICE && !k.at[i] && !*missing)
			*missing = block_names[i];
	k.record = aligned_alloc(64, t->config.layout.record_size);
	if (!k.record)
		return diag_set(diag, -ENOMEM, "out of memory");
	flow_table_expire(t, elapsed_ns, now_ns, 0); /* its wheels turn to this moment */
	while ((from = section_take(s, k.octets)) != NULL) {
		flow_take_record(&k, from);
		if (k.record->packets == 0 ||
		    (k.record->key.ip_version != 4 && k.record->key.ip_version != 6)) {
			r = diag_set(diag, -EBADMSG, "some of the flows are none");
			break;
		}
		flow_take_flow(&k);
	}
	if (r == 0 && s->left)
		r = diag_set(diag, -EBADMSG, "the flows end in the middle of one");
	free(k.record);
	return r;
}
