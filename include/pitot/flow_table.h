/*
 * flow_table: the metering process's cache of flow records.
 *
 * Fixed memory.  A packet only writes its entry; entries are found again for expiry by lazy timer wheels.
 * The caller hands packets over in batches, in two phases, so that memory is fetched while others work:
 *
 *     flow_table_prefetch(t, packets, n);    hash; fetch the buckets
 *     flow_table_update(t, packets, n);      compare tags; fetch entries; compare keys; count
 *
 * Ageing (pitot(8), AGEING): decided when a packet of the key arrives, at the packet's time t:
 *     t - last  > inactive (tcp-end after FIN or RST)   ends the record: idle (end detected)
 *     t - first > active                                ends the record: active
 * For silent keys flow_table_expire() applies the same two rules by the clock that it is handed.
 */
#ifndef PITOT_FLOW_TABLE_H
#define PITOT_FLOW_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/flow_record.h"
#include "pitot/hash.h"
#include "pitot/packet.h"
#include "pitot/sections.h"
#include "pitot/stats.h"

struct flow_table_config {
	uint32_t max_flows;   /* at least 1 */
	uint64_t active_ns;   /* at least 1 */
	uint64_t inactive_ns; /* at least 1 */
	uint64_t tcp_end_ns;  /* UINT64_MAX: off */
	struct record_layout layout;
	bool host_clock; /* packet times are this host's clock (live): a record that is from the future and
			    stays silent was left behind by a step back of the clock, and ends as idle */
	struct hash_seed seed;
	uint64_t slicing_seed; /* of the draws of flow_table_set_slicing() */
	uint64_t first_id;     /* record ids count from here: worker number << 56 */
	/* Receives every ended record, in a copy or in place, of layout.record_size: valid during the call
	 * only. */
	void (*on_record)(void *ctx, const struct flow_record *record);
	void *ctx;
};

struct flow_table;

/* Of a key and of the blocks that belong to it, which stand at these places from base on. */
static inline uint64_t flow_hash(const struct hash_seed *seed, const struct record_layout *layout,
				 const struct flow_key *key, const void *base, const uint16_t at[BLOCKS])
{
	uint64_t h = hash_memory(seed, key, sizeof(*key));

	for (uint32_t left = layout->key_blocks; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		uint64_t b = hash_memory(seed, (const uint8_t *)base + at[i], block_key_sizes[i]);

		h = hash_fold(h ^ seed->k[i], b | 1);
	}
	return h;
}
static inline uint64_t flow_packet_hash(const struct hash_seed *seed, const struct record_layout *layout,
					const struct packet *p)
{
	return flow_hash(seed, layout, &p->key, p, layout->packet_at);
}

/* -ENOMEM with a sentence when the memory cannot be reserved. */
int flow_table_new(struct flow_table **tp, const struct flow_table_config *config, struct diag *diag);
void flow_table_free(struct flow_table *t);

/* packets: those with verdict PACKET_METERED only; n <= BATCH_MAX. */
void flow_table_prefetch(struct flow_table *t, struct packet *packets, unsigned n);
void flow_table_update(struct flow_table *t, struct packet *packets, unsigned n);

/*
 * Ends records of silent keys.
 *   elapsed_ns  only grows: how far the wheels turn (monotonic clock live; progress of packet time offline)
 *   now_ns      the metering clock, in packet time: what ages are measured against; it may step back
 *   budget      most records to end now (what the way out has room for); the rest comes with the next call
 */
void flow_table_expire(struct flow_table *t, uint64_t elapsed_ns, uint64_t now_ns, uint64_t budget);

/* Of the clock of elapsed_ns: when the next call is of use, if no packet comes before; UINT64_MAX: never. */
uint64_t flow_table_due_ns(const struct flow_table *t);

/* Ends every record with the reason (forced end at stop). */
void flow_table_flush(struct flow_table *t, enum flow_end_reason reason);

/*
 * Looks at the records in the table in parts, between two batches of packets: at most looks entries a call.
 *   cursor  0 at first; where the next call goes on
 *   visit   of each record, which it must not keep; true: it ends now, with the reason
 * True while there is more.  A record that lives during the whole walk is visited once.
 */
bool flow_table_walk(struct flow_table *t, uint32_t *cursor, unsigned looks,
		     bool (*visit)(void *ctx, const struct flow_record *record), void *ctx,
		     enum flow_end_reason reason);

/* New time-outs for all flows from now on. */
void flow_table_set_timeouts(struct flow_table *t, uint64_t active_ns, uint64_t inactive_ns,
			     uint64_t tcp_end_ns);

/*
 * What packets are selected by from now on.  A record that has others ends when the next packet of its flow
 * comes, for lack of resources, so none has packets of two selectors.
 */
void flow_table_set_selector(struct flow_table *t, uint16_t selector);

/*
 * Flow slices (Kompella and Estan, IMC 2005): from now on a packet that would begin a flow does so with
 * probability 2^-step, else it is counted as sliced and in no record; 0: it always does.  Packets of flows in
 * the table are all counted.  A record whose flow came in by chance says so in its block SLICE; a table
 * without that block does not slice.
 */
void flow_table_set_slicing(struct flow_table *t, unsigned step);

/* A record that is whole: it is given an id, counted as one that began and ended, and handed on. */
void flow_table_hand_on(struct flow_table *t, struct flow_record *r, enum flow_end_reason reason);

/*
 * Handing over to another process: flow_table_hand_over() writes the flows in the table as a section, which
 * changes nothing; flow_table_let_go() empties the table, and what was in it counts as handed over.
 */
#define FLOW_SECTION	     "flows"
#define FLOW_SECTION_VERSION 1
size_t flow_table_hand_over_octets(const struct flow_table *t); /* at most */
void flow_table_hand_over(const struct flow_table *t, struct sections_writer *w);
void flow_table_let_go(struct flow_table *t);
/* What the process that takes over calls the observation points of the other one: to[n], of the first n. */
struct flow_points {
	const uint16_t *to;
	unsigned n;
};
/*
 * Flows of such a section, at this moment of both clocks; those for which there is no room end others.  0, or
 * -EBADMSG and a sentence: then the table has those before what was broken.  missing: the first kind of facts
 * (a block) that the flows did not have there, and that is all zero here; NULL.
 */
int flow_table_take_over(struct flow_table *t, struct section *s, const struct flow_points *points,
			 uint64_t elapsed_ns, uint64_t now_ns, const char **missing, struct diag *diag);
/* The number of the latest record. */
uint64_t flow_table_latest_id(const struct flow_table *t);

const struct flow_stats *flow_table_stats(const struct flow_table *t);
uint32_t flow_table_capacity(const struct flow_table *t);

#endif
