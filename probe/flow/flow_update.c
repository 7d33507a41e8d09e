/*
 * flow_update: what one packet does to one entry, and the phases that hide the memory behind it.
 */
#include "flow/flow_internal.h"

enum { TCP_FIN = 0x01, TCP_RST = 0x04 };

void flow_table_prefetch(struct flow_table *t, struct packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		packets[i].hash = flow_hash(t, &packets[i].key);
		__builtin_prefetch(flow_bucket(t, packets[i].hash));
	}
}

void flow_table_prefetch_hashed(struct flow_table *t, const struct packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(flow_bucket(t, packets[i].hash));
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
static struct flow_record *flow_find(struct flow_table *t, const struct packet *p)
{
	struct bucket *home = flow_bucket(t, p->hash), *b = home;
	uint16_t tag = flow_tag(p->hash);

	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned match = bucket_match(b, tag);

		while (match) {
			struct flow_record *e = &t->entries[b->entries[bucket_next(&match)]];

			if (flow_key_equal(t, &e->key, &p->key))
				return e;
		}
		if (!home->overflow)
			break;
		b = flow_bucket_other(t, home, tag);
	}
	return NULL;
}

static inline uint32_t saturate32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* A new record begins with this packet; what the entry has of wheels stays. */
static void flow_start(struct flow_table *t, struct flow_record *e, const struct packet *p)
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
	e->min_octets = saturate32(p->octets);
	e->max_octets = saturate32(p->octets);
	e->flow_label = p->flow_label;
	e->tcp_flags = p->tcp_flags;
	e->vlan = p->vlan;
	e->tos = p->tos;
	e->min_ttl = p->ttl;
	e->max_ttl = p->ttl;
	e->direction = p->direction;
	e->end_reason = 0;
	e->state = (uint8_t)((e->state & (ENTRY_IN_WHEEL | ENTRY_IN_END)) | ENTRY_LIVE);
	e->spare = 0;
	t->stats.created++;
}

static inline void flow_count(struct flow_record *e, const struct packet *p)
{
	uint32_t octets = saturate32(p->octets);

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
}

static inline void flow_packet(struct flow_table *t, struct packet *p)
{
	struct flow_record *e = NULL;
	enum flow_end_reason reason;

	if (p->entry != ENTRY_NONE) {
		e = &t->entries[p->entry];
		/* a packet before this one in the batch may have ended that flow */
		if (!(e->state & ENTRY_LIVE) || !flow_key_equal(t, &e->key, &p->key))
			e = NULL;
	}
	if (!e)
		e = flow_find(t, p);
	if (!e) {
		e = flow_insert(t, p);
		flow_start(t, e, p);
		if (!(e->state & ENTRY_IN_WHEEL))
			flow_schedule(t, (uint32_t)(e - t->entries),
				      t->elapsed_ns + (flow_deadline(t, e) - e->first_ns));
	} else {
		reason = flow_aged(t, e, p->time_ns);
		if (reason != FLOW_END_NONE) {
			flow_end(t, e, reason);
			flow_start(t, e, p);
		} else {
			flow_count(e, p);
			e->state &= (uint8_t)~ENTRY_FUTURE;
		}
	}
	if ((p->tcp_flags & (TCP_FIN | TCP_RST)) && t->config.tcp_end_ns != UINT64_MAX) {
		e->state |= ENTRY_ENDED;
		if (!(e->state & ENTRY_IN_END)) {
			e->state |= ENTRY_IN_END;
			wheel_insert(&t->ended, (uint32_t)(e - t->entries),
				     t->elapsed_ns + t->config.tcp_end_ns);
		}
	}
}

void flow_table_update(struct flow_table *t, struct packet *packets, unsigned n)
{
	uint32_t numbers[BATCH_MAX], fresh = t->used;

	for (unsigned i = 0; i < n; i++) {
		uint32_t entry = flow_candidate(t, packets[i].hash);

		packets[i].entry = entry;
		if (entry == ENTRY_NONE) /* what a new flow will probably take */
			entry = t->free != ENTRY_NONE		  ? t->free
				: fresh + 1 < t->config.max_flows ? fresh++
								  : 0;
		numbers[i] = entry;
		flow_fetch(t, entry);
	}
	for (unsigned i = 0; i < n; i++)
		flow_touch(t, numbers[i]);
	for (unsigned i = 0; i < n; i++) {
		t->stats.in_table.packets++;
		t->stats.in_table.octets += packets[i].octets;
		flow_packet(t, &packets[i]);
	}
}
