/*
 * The flow table's inside, shared by flow_table.c (memory, index, eviction), flow_update.c (what a packet
 * does) and flow_expire.c (what time does).
 */
#ifndef FLOW_INTERNAL_H
#define FLOW_INTERNAL_H

#include "flow/flow_blocks.h"
#include "flow/flow_bucket.h"
#include "flow/flow_wheel.h"
#include "pitot/flow_table.h"

#define ENTRY_NONE UINT32_MAX

enum entry_state {
	ENTRY_LIVE = 1,
	ENTRY_IN_WHEEL = 2, /* in one of the two time-out wheels; may outlast the flow: then it is reused */
	ENTRY_IN_END = 4,   /* in the wheel of ended TCP connections; likewise */
	ENTRY_ENDED = 8,    /* FIN or RST was seen: tcp-end is its inactive time-out */
	ENTRY_FUTURE = 16,  /* was found to be from the future, and silent since */
	ENTRY_OF_FLOW = ENTRY_LIVE | ENTRY_ENDED | ENTRY_FUTURE, /* what goes with the flow */
};

/* What a packet does to a block of its record. */
struct flow_block {
	block_fn *act; /* NULL: size octets are copied */
	uint16_t record_at, packet_at, size;
};

struct flow_table {
	struct flow_table_config config;
	struct bucket *buckets;
	uint8_t *entries; /* of stride octets each: flow_entry() */
	size_t stride, packet_stride;
	bool core_only; /* nothing stands behind the core, blocks are no part of the key, and none counts */
	unsigned n_starts, n_counts;
	struct flow_block starts[BLOCKS], counts[BLOCKS];
	/*
	 * The index begins small and doubles, so that few flows touch little memory.  A key's bucket is given
	 * by the lowest bits of its hash and, from BASE_BITS on, by bits of its tag: buckets split without a
	 * look at entries.
	 */
	uint64_t base_mask;
	uint64_t grow_mask; /* of the tag's bits that are in use */
	unsigned base_bits;
	uint64_t n_buckets, max_buckets;
	uint64_t grow_at; /* active flows */
	uint32_t used;	  /* entries ever used: memory beyond is untouched */
	uint32_t free;	  /* list through record.id */
	uint64_t elapsed_ns;
	uint64_t next_id;
	uint16_t selector;
	/* single-packet flows apart, so that a flood of them is evicted before what is established */
	struct wheel single, established;
	struct wheel ended; /* of TCP connections */
	struct flow_stats stats;
	size_t buckets_mapped, entries_mapped;
	uint64_t draws;	 /* state of hash_draw() */
	uint8_t slicing; /* step of flow_table_set_slicing() */
};

static inline uint16_t flow_tag(uint64_t hash)
{
	uint16_t tag = (uint16_t)(hash >> 48);

	return tag ? tag : 1;
}
static inline struct bucket *flow_bucket(struct flow_table *t, uint64_t hash)
{
	return &t->buckets[(hash & t->base_mask) | ((flow_tag(hash) & t->grow_mask) << t->base_bits)];
}
/*
 * An involution; never the bucket itself.  Only the lowest bits change, so both buckets of a key move to the
 * same half when the index doubles.
 */
static inline struct bucket *flow_bucket_other(struct flow_table *t, struct bucket *b, uint16_t tag)
{
	uint64_t i = (uint64_t)(b - t->buckets);

	return &t->buckets[i ^ (((uint64_t)tag * 0x9e3779b1u | 1) & t->base_mask)];
}
static inline struct flow_record *flow_entry(const struct flow_table *t, uint32_t entry)
{
	return (struct flow_record *)(void *)(t->entries + entry * t->stride);
}

/* The same where core_only is a constant. */
static inline struct flow_record *flow_entry_of(const struct flow_table *t, uint32_t entry, bool core_only)
{
	return (struct flow_record *)(void *)(t->entries +
					      entry * (core_only ? sizeof(struct flow_record) : t->stride));
}
static inline struct packet *flow_packet_of(const struct flow_table *t, struct packet *packets, unsigned i,
					    bool core_only)
{
	return packet_of(packets, core_only ? sizeof(struct packet) : t->packet_stride, i);
}

static inline bool flow_key_equal(const struct flow_table *t, const struct flow_record *e,
				  const struct packet *p, bool core_only)
{
	const uint8_t *x = (const uint8_t *)&e->key, *y = (const uint8_t *)&p->key;
	const struct record_layout *l = &t->config.layout;
	uint64_t d = 0;

	for (size_t i = 0; i < 40; i += 8)
		d |= hash_word(x + i) ^ hash_word(y + i);
	d |= hash_word(x + sizeof(e->key) - 8) ^ hash_word(y + sizeof(e->key) - 8);
	if (d)
		return false;
	for (uint32_t left = core_only ? 0 : l->key_blocks; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		if (memcmp((const uint8_t *)e + l->record_at[i], (const uint8_t *)p + l->packet_at[i],
			   block_key_sizes[i]) != 0)
			return false;
	}
	return true;
}

/* Of the key that an entry has. */
static inline uint64_t flow_entry_hash(const struct flow_table *t, const struct flow_record *e)
{
	const struct record_layout *l = &t->config.layout;

	return flow_hash(&t->config.seed, l, &e->key, e, l->record_at);
}

/* All lines of an entry that will be used soon. */
static inline void flow_fetch(const struct flow_table *t, uint32_t entry, bool core_only)
{
	const uint8_t *line = (const uint8_t *)flow_entry_of(t, entry, core_only);

	__builtin_prefetch(line);
	__builtin_prefetch(line + 64);
	for (size_t at = 128; !core_only && at < t->stride; at += 64)
		__builtin_prefetch(line + at);
}

/*
 * Loads them for real, once all of a batch were fetched: a prefetch that misses the TLB is slow or dropped,
 * most of all in a virtual machine, while loads that nothing waits for overlap.
 */
static inline void flow_touch(const struct flow_table *t, uint32_t entry, bool core_only)
{
	const struct flow_record *e = flow_entry_of(t, entry, core_only);

	(void)*(const volatile uint64_t *)&e->id;
	(void)*(const volatile uint64_t *)&e->packets;
}

/* The moment, in packet time, after which the entry's record may end by time. */
static inline uint64_t flow_deadline(const struct flow_table *t, const struct flow_record *e)
{
	uint64_t limit = e->state & ENTRY_ENDED ? t->config.tcp_end_ns : t->config.inactive_ns;
	uint64_t idle = e->last_ns + limit < limit ? UINT64_MAX : e->last_ns + limit;
	uint64_t active = e->first_ns + t->config.active_ns;

	if (active < e->first_ns)
		active = UINT64_MAX;
	return idle < active ? idle : active;
}

/*
 * Whether a record ends at now_ns, and why; FLOW_END_NONE when it lives on.  Both comparisons are strict and
 * signed: a step back ends nothing.
 */
static inline enum flow_end_reason flow_aged(const struct flow_table *t, const struct flow_record *e,
					     uint64_t now_ns)
{
	bool ended = e->state & ENTRY_ENDED;
	uint64_t limit = ended ? t->config.tcp_end_ns : t->config.inactive_ns;

	if (now_ns > e->last_ns && now_ns - e->last_ns > limit)
		return ended ? FLOW_END_DETECTED : FLOW_END_IDLE;
	if (now_ns > e->first_ns && now_ns - e->first_ns > t->config.active_ns)
		return FLOW_END_ACTIVE;
	return FLOW_END_NONE;
}

/* Hands the entry's record on; the entry itself stays as it is. */
void flow_end(struct flow_table *t, struct flow_record *e, enum flow_end_reason reason);
/* Takes a live entry out of the index and gives it back. */
void flow_remove(struct flow_table *t, uint32_t entry, uint64_t hash);
/* An entry in the index for a key that has none, ending another flow when there is no room. */
uint32_t flow_insert(struct flow_table *t, const struct packet *p);
/* Puts a live entry that is in no wheel into the one it belongs to. */
void flow_schedule(struct flow_table *t, uint32_t entry, uint64_t due_ns);

#endif
