/*
 * flow_record: one flow, or the part of it since its last record (RFC 7011 §2, Flow Record).
 *
 * The table's entry, the ring's slot and what encoders read are this one shape: two cache lines.  Instants
 * are packet times, ns since 1970.  Numbers are in host byte order.
 */
#ifndef PITOT_FLOW_RECORD_H
#define PITOT_FLOW_RECORD_H

#include <stdint.h>

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
	uint64_t id; /* unique among all records of this run (IE 148) */
	/* ---- 64: only what follows changes after the first packet, so that line stays clean */
	uint64_t packets;
	uint64_t octets;     /* IP total lengths */
	uint64_t first_ns;   /* earliest packet */
	uint64_t last_ns;    /* latest packet */
	uint32_t ingress;    /* ifIndex of the first packet; 0 unknown */
	uint32_t egress;     /* likewise */
	uint32_t min_octets; /* shortest and longest IP total length, saturating at 2^32-1 */
	uint32_t max_octets;
	uint32_t flow_label; /* IPv6, first packet */
	uint16_t tcp_flags;  /* union; tcpControlBits, bits 0-11 (RFC 9565) */
	uint16_t vlan;	     /* outermost VLAN id of the first packet; 0 none */
	uint8_t tos;	     /* first packet */
	uint8_t min_ttl;
	uint8_t max_ttl;
	uint8_t direction;  /* enum flow_direction, first packet */
	uint8_t end_reason; /* enum flow_end_reason, once ended */
	uint8_t state;	    /* the flow table's own; no meaning outside */
	uint16_t spare;
};

static_assert(sizeof(struct flow_record) == 128, "an entry is two cache lines");
static_assert(offsetof(struct flow_record, packets) == 64, "what packets change is one line");

#endif
