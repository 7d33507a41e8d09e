/*
 * flow_record: one flow, or the part of it since its last record (RFC 7011 §2, Flow Record).
 *
 * The table's entry, the ring's slot and what encoders read are this one shape: a core of two cache lines,
 * and the blocks that were asked for (blocks.h), which begin in the last octets of the core and go on behind
 * it.  Instants are packet times, ns since 1970.  Numbers are in host byte order.
 */
#ifndef PITOT_FLOW_RECORD_H
#define PITOT_FLOW_RECORD_H

#include <stdint.h>
#include <string.h>

#include "pitot/blocks.h"
#include "pitot/flow_key.h"

/* flowEndReason, IANA IPFIX registry (RFC 9710 §5) */
enum flow_end_reason {
	FLOW_END_NONE = 0, /* the flow lives on; never exported */
	FLOW_END_IDLE = 1,
	FLOW_END_ACTIVE = 2,
	FLOW_END_DETECTED = 3,
	FLOW_END_FORCED = 4,
	FLOW_END_RESOURCES = 5,
	FLOW_END_COUNT
};

/* flowDirection (IE 61) where it is known; else FLOW_DIRECTION_UNKNOWN, which is never exported. */
enum flow_direction { FLOW_DIRECTION_INGRESS = 0, FLOW_DIRECTION_EGRESS = 1, FLOW_DIRECTION_UNKNOWN = 255 };

struct flow_record {
	struct flow_key key;
	uint32_t ingress;  /* ifIndex of the first packet; 0 unknown */
	uint64_t id;	   /* unique among all records of this run (IE 148) */
	uint32_t egress;   /* as ingress */
	uint8_t tos;	   /* first packet */
	uint8_t direction; /* enum flow_direction, first packet */
	uint16_t selector; /* that its packets were selected by (IE 302): flow_table_set_selector() */
	/* ---- 64: only what follows changes after the first packet, so that line stays clean */
	uint64_t packets;
	uint64_t octets;     /* IP total lengths */
	uint64_t first_ns;   /* earliest packet */
	uint64_t last_ns;    /* latest packet */
	uint32_t min_octets; /* shortest and longest IP total length, saturating at 2^32-1 */
	uint32_t max_octets;
	uint32_t flow_label; /* IPv6, first packet */
	uint16_t tcp_flags;  /* union; tcpControlBits, bits 0-11 (RFC 9565) */
	uint8_t min_ttl;
	uint8_t max_ttl;
	uint8_t end_reason; /* enum flow_end_reason, once ended */
	uint8_t state;	    /* the flow table's own; no meaning outside */
	uint8_t blocks[14]; /* and more behind it: record_layout */
};

static_assert(sizeof(struct flow_record) == 128, "the core is two cache lines");
static_assert(offsetof(struct flow_record, packets) == 64, "what packets change is one line");

/* Line by line, for records are whole ones. */
static inline void flow_record_copy(struct flow_record *to, const struct flow_record *from, size_t size)
{
	memcpy(to, from, sizeof(*to));
	for (size_t at = sizeof(*to); at < size; at += 64)
		memcpy((uint8_t *)to + at, (const uint8_t *)from + at, 64);
}

/* The block of a record; NULL when records have none of this kind. */
static inline const void *flow_record_block(const struct record_layout *l, const struct flow_record *r,
					    enum record_block block)
{
	return l->record_at[block] ? (const uint8_t *)r + l->record_at[block] : NULL;
}

#endif
