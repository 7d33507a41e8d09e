/*
 * flow_update: what one packet does to one entry, and the phases that hide the memory behind it.
 */
#include "flow/flow_internal.h"

enum { TCP_FIN = 0x01, TCP_RST = 0x04 };

/*
 * Most tables have records of the core alone: for these the phases are compiled apart, with core_only a
 * constant, so that blocks that nobody asked for cost no instruction.
 */
#define FLOW_PHASE static inline __attribute__((always_inline))

FLOW_PHASE void flow_hash_batch(struct flow_table *t, struct packet *packets, unsigned n, bool core_only)
{
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = flow_packet_of(t, packets, i, core_only);

		p->hash = core_only ? hash_memory(&t->config.seed, &p->key, sizeof(p->key))
				    : flow_packet_hash(&t->config.seed, &t->config.layout, p);
		__builtin_prefetch(flow_bucket(t, p->hash));
	}
}

void flow_table_prefetch(struct flow_table *t, struct packet *packets, unsigned n)
{
	if (t->core_only)
		flow_hash_batch(t, packets, n, true);
	else
		flow_hash_batch(t, packets, n, false);
}

/* The first entry whose tag fits, or ENTRY_NONE; the compare of keys comes later. */
static inline uint32_t flow_candidate(struct flow_table *t, uint64_t hash)
{
	struct bucket *b = flow_bucket(t, hash);
	uint16_t tag = flow_tag(hash);
	unsigned match = bucket_match(b, tag);

	if (!match && b->overflow) {
		b = flow_bucket_other(t, b, tag);
		match = bucket_match(b, tag);
	}
	return match ? b->entries[bucket_next(&match)] : ENTRY_NONE;
}

/* All entries whose tag fits are compared: for what the candidate was not. */
FLOW_PHASE uint32_t flow_find(struct flow_table *t, const struct packet *p, bool core_only)
{
	struct bucket *home = flow_bucket(t, p->hash), *b = home;
	uint16_t tag = flow_tag(p->hash);

	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned match = bucket_match(b, tag);

		while (match) {
			uint32_t entry = b->entries[bucket_next(&match)];

			if (flow_key_equal(t, flow_entry_of(t, entry, core_only), p, core_only))
				return entry;
		}
		if (!home->overflow)
			break;
		b = flow_bucket_other(t, home, tag);
	}
	return ENTRY_NONE;
}

static void flow_blocks(const struct flow_block *blocks, unsigned n, struct flow_record *e,
			const struct packet *p)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t *block = (uint8_t *)e + blocks[i].record_at;
		const uint8_t *facts = (const uint8_t *)p + blocks[i].packet_at;

		if (blocks[i].act)
			blocks[i].act(block, p, facts);
		else
			memcpy(block, facts, blocks[i].size);
	}
}

/* A new record begins with this packet; what the entry has of wheels stays. */
FLOW_PHASE void flow_start(struct flow_table *t, struct flow_record *e, const struct packet *p,
			   bool core_only)
{
	/* every member: a literal would clear the entry first */
	e->key = p->key;
	e->id = ++t->next_id;
	e->packets = 1;
	e->octets = p->octets;
	e->first_ns = p->time_ns;
	e->last_ns = p->time_ns;
	e->ingress = p->ingress;
	e->egress = p->egress;
	e->min_octets = flow_saturate32(p->octets);
	e->max_octets = flow_saturate32(p->octets);
	e->flow_label = p->flow_label;
	e->tcp_flags = p->tcp_flags;
	e->tos = p->tos;
	e->min_ttl = p->ttl;
	e->max_ttl = p->ttl;
	e->direction = p->direction;
	e->end_reason = 0;
	e->state = (uint8_t)((e->state & (ENTRY_IN_WHEEL | ENTRY_IN_END)) | ENTRY_LIVE);
	e->selector = t->selector;
	memcpy(e->blocks, p->blocks, sizeof(e->blocks));
	if (!core_only)
		flow_blocks(t->starts, t->n_starts, e, p);
	t->stats.created++;
}

FLOW_PHASE void flow_count(const struct flow_table *t, struct flow_record *e, const struct packet *p,
			   bool core_only)
{
	uint32_t octets = flow_saturate32(p->octets);

	e->packets++;
	e->octets += p->octets;
	if (p->time_ns > e->last_ns)
		e->last_ns = p->time_ns;
	else if (p->time_ns < e->first_ns)
		e->first_ns = p->time_ns;
	e->tcp_flags |= p->tcp_flags;
	if (octets < e->min_octets)
		e->min_octets = octets;
	if (octets > e->max_octets)
		e->max_octets = octets;
	if (p->ttl < e->min_ttl)
		e->min_ttl = p->ttl;
	if (p->ttl > e->max_ttl)
		e->max_ttl = p->ttl;
	if (!core_only)
		flow_blocks(t->counts, t->n_counts, e, p);
}

/* While flows are sliced: whether the packet begins one. */
__attribute__((noinline, cold)) static bool flow_is_let_in(struct flow_table *t, const struct packet *p)
{
	if (hash_draw(&t->draws) >> (64 - t->slicing) == 0)
		return true;
	t->stats.in_table.packets--;
	t->stats.in_table.octets -= p->octets;
	t->stats.sliced.packets++;
	t->stats.sliced.octets += p->octets;
	return false;
}

static void flow_mark_slice(const struct flow_table *t, struct flow_record *e)
{
	struct block_slice *s = (void *)((uint8_t *)e + t->config.layout.record_at[BLOCK_SLICE]);

	s->step = t->slicing;
}

/* The entry of the packet's key, or ENTRY_NONE. */
FLOW_PHASE uint32_t flow_look_up(struct flow_table *t, const struct packet *p, bool core_only)
{
	if (p->entry != ENTRY_NONE) {
		const struct flow_record *e = flow_entry_of(t, p->entry, core_only);

		/* a packet before this one in the batch may have ended that flow */
		if ((e->state & ENTRY_LIVE) && flow_key_equal(t, e, p, core_only))
			return p->entry;
	}
	return flow_find(t, p, core_only);
}

FLOW_PHASE void flow_packet(struct flow_table *t, struct packet *p, bool core_only)
{
	uint32_t entry = flow_look_up(t, p, core_only);
	enum flow_end_reason reason;
	struct flow_record *e;

	if (entry == ENTRY_NONE) {
		if (!core_only && __builtin_expect(t->slicing, 0) && !flow_is_let_in(t, p))
			return;
		entry = flow_insert(t, p);
		e = flow_entry_of(t, entry, core_only);
		flow_start(t, e, p, core_only);
		if (!core_only && __builtin_expect(t->slicing, 0))
			flow_mark_slice(t, e);
		if (!(e->state & ENTRY_IN_WHEEL))
			flow_schedule(t, entry, t->elapsed_ns + (flow_deadline(t, e) - e->first_ns));
	} else {
		e = flow_entry_of(t, entry, core_only);
		reason = flow_aged(t, e, p->time_ns);
		if (__builtin_expect(e->selector != t->selector, 0) && reason == FLOW_END_NONE)
			reason = FLOW_END_RESOURCES;
		if (reason != FLOW_END_NONE) {
			flow_end(t, e, reason);
			flow_start(t, e, p, core_only);
		} else {
			flow_count(t, e, p, core_only);
			e->state &= (uint8_t)~ENTRY_FUTURE;
		}
	}
	if ((p->tcp_flags & (TCP_FIN | TCP_RST)) && t->config.tcp_end_ns != UINT64_MAX) {
		e->state |= ENTRY_ENDED;
		if (!(e->state & ENTRY_IN_END)) {
			e->state |= ENTRY_IN_END;
			wheel_insert(&t->ended, entry, t->elapsed_ns + t->config.tcp_end_ns);
		}
	}
}

/*
 * The table is full, and n flows will probably have to go: fetches what they lie in.  It only looks: which
 * flows go is decided by flow_insert(), one by one.
 */
__attribute__((noinline)) static void flow_fetch_oldest(struct flow_table *t, unsigned n)
{
	uint32_t entries[BATCH_MAX];

	n = wheel_peek_earliest(&t->single, entries, n < BATCH_MAX ? n : BATCH_MAX);
	for (unsigned i = 0; i < n; i++)
		flow_fetch(t, entries[i], false);
	for (unsigned i = 0; i < n; i++)
		flow_touch(t, entries[i], false);
	for (unsigned i = 0; i < n; i++) {
		const struct flow_record *e = flow_entry(t, entries[i]);

		if (e->state & ENTRY_LIVE)
			__builtin_prefetch(flow_bucket(t, flow_entry_hash(t, e)), 1);
	}
}

FLOW_PHASE void flow_update_batch(struct flow_table *t, struct packet *packets, unsigned n, bool core_only)
{
	uint32_t numbers[BATCH_MAX], fresh = t->used;
	uint64_t room = t->config.max_flows - t->stats.in_table.records, unknown = 0;

	for (unsigned i = 0; i < n; i++) {
		struct packet *p = flow_packet_of(t, packets, i, core_only);
		uint32_t entry = flow_candidate(t, p->hash);

		p->entry = entry;
		if (entry == ENTRY_NONE) { /* what a new flow will probably take */
			entry = t->free != ENTRY_NONE		  ? t->free
				: fresh + 1 < t->config.max_flows ? fresh++
								  : 0;
			unknown++;
		}
		numbers[i] = entry;
		flow_fetch(t, entry, core_only);
	}
	for (unsigned i = 0; i < n; i++)
		flow_touch(t, numbers[i], core_only);
	if (unknown > room)
		flow_fetch_oldest(t, (unsigned)(unknown - room));
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = flow_packet_of(t, packets, i, core_only);

		t->stats.in_table.packets++;
		t->stats.in_table.octets += p->octets;
		flow_packet(t, p, core_only);
	}
}

void flow_table_update(struct flow_table *t, struct packet *packets, unsigned n)
{
	if (t->core_only)
		flow_update_batch(t, packets, n, true);
	else
		flow_update_batch(t, packets, n, false);
}
