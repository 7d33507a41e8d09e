/*
 * flow_table: memory, index and eviction.
 *
 * All memory is mapped at start and touched only as far as it is used.  Two choices of eight slots each at a
 * load of at most one half; a key that finds both buckets full moves one of those sixteen to its other
 * bucket. That none of them can move is what only somebody who knew the hash's key could make, and even then
 * an old flow of the sixteen gives way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "flow/flow_internal.h"

enum {
	EVICT_TRIES = 64,
	BASE_BITS = 12, /* of the index at first: 256 KiB */
	FLUSH_AHEAD = 16,
};

static void *table_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_HUGEPAGE); /* an offer: where there are none, small pages do */
	return p;
}

static uint64_t table_horizon(const struct flow_table_config *c)
{
	return c->active_ns < c->inactive_ns ? c->active_ns : c->inactive_ns;
}

static void table_add_block(struct flow_table *t, enum record_block i)
{
	const struct record_layout *l = &t->config.layout;
	struct flow_block b = {block_rows[i].start, l->record_at[i], l->packet_at[i],
			       block_rows[i].record_size};

	if (!(l->blocks >> i & 1))
		return;
	/* what both have in the core is copied with it */
	if (b.act || b.record_at >= sizeof(struct flow_record) || b.record_at != b.packet_at)
		t->starts[t->n_starts++] = b;
	b.act = block_rows[i].count;
	if (b.act)
		t->counts[t->n_counts++] = b;
}

static void table_lay_out(struct flow_table *t)
{
	const struct record_layout *l = &t->config.layout;

	record_layout_complete(&t->config.layout);
	t->stride = l->record_size;
	t->packet_stride = l->packet_size;
	for (unsigned i = 0; i < BLOCKS; i++)
		table_add_block(t, (enum record_block)i);
	t->core_only = t->stride == sizeof(struct flow_record) && t->packet_stride == sizeof(struct packet) &&
		       !l->key_blocks && !t->n_starts && !t->n_counts;
}

int flow_table_new(struct flow_table **tp, const struct flow_table_config *config, struct diag *diag)
{
	struct flow_table *t = calloc(1, sizeof(*t));
	uint64_t n_buckets = 2;
	int r;

	if (!t)
		return diag_set(diag, -ENOMEM, "flow table: out of memory");
	t->config = *config;
	table_lay_out(t);
	t->free = ENTRY_NONE;
	t->next_id = config->first_id;
	t->draws = config->slicing_seed;
	for (t->base_bits = 1; n_buckets * BUCKET_SLOTS < 2 * (uint64_t)config->max_flows; n_buckets *= 2)
		t->base_bits += t->base_bits < BASE_BITS;
	t->max_buckets = n_buckets;
	t->n_buckets = UINT64_C(1) << t->base_bits;
	t->base_mask = t->n_buckets - 1;
	t->grow_at = t->n_buckets * BUCKET_SLOTS / 2;
	t->buckets_mapped = (size_t)n_buckets * sizeof(struct bucket);
	t->entries_mapped = (size_t)config->max_flows * t->stride;
	t->buckets = table_map(t->buckets_mapped);
	t->entries = table_map(t->entries_mapped);
	r = t->buckets && t->entries ? 0 : -ENOMEM;
	if (r == 0)
		r = wheel_init(&t->single, config->max_flows, table_horizon(config));
	if (r == 0)
		r = wheel_init(&t->established, config->max_flows, table_horizon(config));
	if (r == 0)
		r = wheel_init(&t->ended, config->max_flows,
			       config->tcp_end_ns == UINT64_MAX ? table_horizon(config) : config->tcp_end_ns);
	if (r < 0) {
		diag_set(diag, r,
			 "--max-flows %u: cannot reserve %zu MiB for the flow table: %s; use fewer flows",
			 config->max_flows, (t->buckets_mapped + t->entries_mapped) >> 20, strerror(-r));
		flow_table_free(t);
		return r;
	}
	*tp = t;
	return 0;
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	wheel_deinit(&t->single);
	wheel_deinit(&t->established);
	wheel_deinit(&t->ended);
	if (t->buckets)
		munmap(t->buckets, t->buckets_mapped);
	if (t->entries)
		munmap(t->entries, t->entries_mapped);
	free(t);
}

void flow_end(struct flow_table *t, struct flow_record *e, enum flow_end_reason reason)
{
	e->end_reason = (uint8_t)reason;
	t->stats.ended[reason]++;
	totals_count(&t->stats.handed_on, e->packets, e->octets);
	t->stats.in_table.packets -= e->packets;
	t->stats.in_table.octets -= e->octets;
	t->config.on_record(t->config.ctx, e);
}

void flow_remove(struct flow_table *t, uint32_t entry, uint64_t hash)
{
	struct flow_record *e = flow_entry(t, entry);
	uint16_t tag = flow_tag(hash);
	struct bucket *home = flow_bucket(t, hash), *b = home;

	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned match = bucket_match(b, tag);

		while (match) {
			unsigned slot = bucket_next(&match);

			if (b->entries[slot] != entry)
				continue;
			b->tags[slot] = 0;
			b->away &= (uint8_t) ~(1u << slot);
			if (b != home)
				home->overflow--;
			e->state &= (uint8_t)~ENTRY_OF_FLOW;
			e->id = t->free;
			t->free = entry;
			t->stats.in_table.records--;
			return;
		}
		b = flow_bucket_other(t, home, tag);
	}
}

void flow_schedule(struct flow_table *t, uint32_t entry, uint64_t due_ns)
{
	struct flow_record *e = flow_entry(t, entry);

	wheel_insert(e->packets > 1 ? &t->established : &t->single, entry, due_ns);
	e->state |= ENTRY_IN_WHEEL;
}

static void flow_evict(struct flow_table *t, uint32_t entry)
{
	struct flow_record *e = flow_entry(t, entry);

	flow_end(t, e, FLOW_END_RESOURCES);
	flow_remove(t, entry, flow_entry_hash(t, e));
}

/* Of two flows the one to give up: single-packet ones first, then the one nearer to its time-out. */
static bool flow_worth_less(const struct flow_table *t, const struct flow_record *a,
			    const struct flow_record *b)
{
	if ((a->packets > 1) != (b->packets > 1))
		return a->packets <= 1;
	return flow_deadline(t, a) < flow_deadline(t, b);
}

/* Puts an entry that was taken out of a wheel early where it belongs. */
static void flow_put_back(struct flow_table *t, uint32_t entry, uint64_t now_ns)
{
	uint64_t deadline = flow_deadline(t, flow_entry(t, entry));

	flow_schedule(t, entry, t->elapsed_ns + (deadline > now_ns ? deadline - now_ns : 0));
}

/*
 * The single-packet flow nearest to its time-out, or ENTRY_NONE.  Flows that have become established since
 * they were put into the wheel move to the other one on the way, each once in its life.
 */
static uint32_t flow_oldest_single(struct flow_table *t, uint64_t now_ns)
{
	uint32_t entry;

	while ((entry = wheel_take_earliest(&t->single)) != WHEEL_NONE) {
		struct flow_record *e = flow_entry(t, entry);

		e->state &= (uint8_t)~ENTRY_IN_WHEEL;
		if (!(e->state & ENTRY_LIVE))
			continue;
		if (e->packets == 1)
			return entry;
		flow_put_back(t, entry, now_ns);
	}
	return ENTRY_NONE;
}

/*
 * The established flow nearest to its time-out.  The wheel is lazy: an entry at its front may have lived on
 * and is then put where it belongs.  Of EVICT_TRIES of those the best has to go.
 */
static uint32_t flow_oldest_established(struct flow_table *t, uint64_t now_ns)
{
	uint32_t best = ENTRY_NONE;

	for (unsigned i = 0; i < EVICT_TRIES; i++) {
		uint32_t entry = wheel_take_earliest(&t->established);
		struct flow_record *e;

		if (entry == WHEEL_NONE)
			break;
		e = flow_entry(t, entry);
		e->state &= (uint8_t)~ENTRY_IN_WHEEL;
		if (!(e->state & ENTRY_LIVE))
			continue;
		flow_put_back(t, entry, now_ns);
		if (best == ENTRY_NONE || flow_worth_less(t, e, flow_entry(t, best)))
			best = entry;
	}
	return best != ENTRY_NONE ? best : 0; /* every live flow is in a wheel: the latter is not reached */
}

static void flow_evict_one(struct flow_table *t, uint64_t now_ns)
{
	uint32_t entry = flow_oldest_single(t, now_ns);

	flow_evict(t, entry != ENTRY_NONE ? entry : flow_oldest_established(t, now_ns));
}

/* Moves a flow of a full bucket to its other one, if that has room; true when the slot is free now. */
static bool flow_move(struct flow_table *t, struct bucket *b, unsigned slot)
{
	uint16_t tag = b->tags[slot];
	struct bucket *to = flow_bucket_other(t, b, tag), *home;
	unsigned match = bucket_match(to, 0), at;

	if (!match)
		return false;
	home = flow_bucket(t, flow_entry_hash(t, flow_entry(t, b->entries[slot])));
	at = bucket_next(&match);
	to->tags[at] = tag;
	to->entries[at] = b->entries[slot];
	to->away |= (uint8_t)((home == b) << at);
	b->tags[slot] = 0;
	b->away &= (uint8_t) ~(1u << slot);
	home->overflow += home == b ? 1u : -1u;
	return true;
}

/* Moves what belongs to the upper half out of bucket i; the tag tells. */
static void flow_split(struct flow_table *t, uint64_t i, uint16_t tag_bit)
{
	struct bucket *low = &t->buckets[i], *high = &t->buckets[i + t->n_buckets];

	low->overflow = 0;
	for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
		if (!(low->tags[slot] & tag_bit))
			continue;
		high->tags[slot] = low->tags[slot];
		high->entries[slot] = low->entries[slot];
		high->away |= (uint8_t)(low->away & 1u << slot);
		low->tags[slot] = 0;
		low->away &= (uint8_t) ~(1u << slot);
	}
}

/* Doubles the index. */
static void flow_grow(struct flow_table *t)
{
	uint64_t bit = t->grow_mask + 1; /* the next of the tag's */

	for (uint64_t i = 0; i < t->n_buckets; i++)
		flow_split(t, i, (uint16_t)bit);
	t->grow_mask |= bit;
	t->n_buckets *= 2;
	t->grow_at = t->n_buckets < t->max_buckets ? t->n_buckets * BUCKET_SLOTS / 2 : UINT64_MAX;
	for (uint64_t i = 0; i < t->n_buckets; i++) {
		struct bucket *b = &t->buckets[i];

		for (unsigned away = b->away; away; away &= away - 1)
			flow_bucket_other(t, b, b->tags[__builtin_ctz(away)])->overflow++;
	}
}

/* Makes room in one of the two buckets of a key; nothing has both full but by chance or by malice. */
static struct bucket *flow_make_slot(struct flow_table *t, struct bucket *home, struct bucket *other,
				     unsigned *slot)
{
	struct bucket *const buckets[2] = {home, other};
	struct bucket *worst = NULL;
	uint32_t worst_entry = ENTRY_NONE;

	for (unsigned i = 0; i < 2 * BUCKET_SLOTS; i++) {
		struct bucket *b = buckets[i / BUCKET_SLOTS];
		uint32_t entry = b->entries[i % BUCKET_SLOTS];

		if (flow_move(t, b, i % BUCKET_SLOTS)) {
			*slot = i % BUCKET_SLOTS;
			return b;
		}
		if (!worst || flow_worth_less(t, flow_entry(t, entry), flow_entry(t, worst_entry))) {
			worst = b;
			worst_entry = entry;
			*slot = i % BUCKET_SLOTS;
		}
	}
	flow_evict(t, worst_entry);
	return worst;
}

uint32_t flow_insert(struct flow_table *t, const struct packet *p)
{
	uint16_t tag = flow_tag(p->hash);
	struct bucket *home, *b;
	struct flow_record *e;
	uint32_t entry;
	unsigned match, slot = 0;

	if (t->free == ENTRY_NONE && t->used == t->config.max_flows)
		flow_evict_one(t, p->time_ns);
	if (t->stats.in_table.records >= t->grow_at && t->n_buckets < t->max_buckets)
		flow_grow(t);
	b = home = flow_bucket(t, p->hash);
	match = bucket_match(b, 0);
	if (!match) {
		b = flow_bucket_other(t, home, tag);
		match = bucket_match(b, 0);
	}
	if (match)
		slot = bucket_next(&match);
	else
		b = flow_make_slot(t, home, b, &slot);
	entry = t->free != ENTRY_NONE ? t->free : t->used++;
	e = flow_entry(t, entry);
	if (entry == t->free)
		t->free = (uint32_t)e->id;
	b->tags[slot] = tag;
	b->entries[slot] = entry;
	if (b != home) {
		b->away |= (uint8_t)(1u << slot);
		home->overflow++;
	}
	e->state = (uint8_t)((e->state & (ENTRY_IN_WHEEL | ENTRY_IN_END)) | ENTRY_LIVE);
	t->stats.in_table.records++;
	return entry;
}

/* All end, so nothing is looked up: index and entries begin anew; what waits in a wheel stays there. */
void flow_table_flush(struct flow_table *t, enum flow_end_reason reason)
{
	size_t index_octets = t->n_buckets * sizeof(*t->buckets);

	for (uint32_t i = 0; i < t->used; i++) {
		struct flow_record *e = flow_entry(t, i);

		if (i + FLUSH_AHEAD < t->used)
			flow_fetch(t, i + FLUSH_AHEAD, false);
		if (!(e->state & ENTRY_LIVE))
			continue;
		flow_end(t, e, reason);
		e->state &= (uint8_t)~ENTRY_OF_FLOW;
	}
	memset(t->buckets, 0, index_octets);
	t->used = 0;
	t->free = ENTRY_NONE;
	t->stats.in_table.records = 0;
}

void flow_table_set_timeouts(struct flow_table *t, uint64_t active_ns, uint64_t inactive_ns,
			     uint64_t tcp_end_ns)
{
	t->config.active_ns = active_ns;
	t->config.inactive_ns = inactive_ns;
	t->config.tcp_end_ns = tcp_end_ns;
	wheel_set_horizon(&t->single, table_horizon(&t->config), t->elapsed_ns);
	wheel_set_horizon(&t->established, table_horizon(&t->config), t->elapsed_ns);
	if (tcp_end_ns != UINT64_MAX)
		wheel_set_horizon(&t->ended, tcp_end_ns, t->elapsed_ns);
}

void flow_table_set_selector(struct flow_table *t, uint16_t selector)
{
	t->selector = selector;
}

void flow_table_set_slicing(struct flow_table *t, unsigned step)
{
	t->slicing = t->config.layout.record_at[BLOCK_SLICE] ? (uint8_t)(step & 31) : 0;
}

void flow_table_hand_on(struct flow_table *t, struct flow_record *r, enum flow_end_reason reason)
{
	r->id = ++t->next_id;
	t->stats.created++;
	t->stats.in_table.packets += r->packets;
	t->stats.in_table.octets += r->octets;
	flow_end(t, r, reason);
}

const struct flow_stats *flow_table_stats(const struct flow_table *t)
{
	return &t->stats;
}

uint32_t flow_table_capacity(const struct flow_table *t)
{
	return t->config.max_flows;
}
