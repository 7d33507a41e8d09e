/*
 * packet: a frame as capture lends it, and what decoding found in it.
 *
 * struct frame points into the capture's memory and is valid until capture_release().  struct packet is a
 * copy of facts and points nowhere.
 */
#ifndef PITOT_PACKET_H
#define PITOT_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pitot/flow_key.h"
#include "pitot/flow_record.h"

/* Most packets in a batch: what fits the caches while memory is fetched behind it. */
#define BATCH_MAX 64

enum frame_flags {
	FRAME_VLAN = 1,	   /* vlan_tci is a tag that the kernel took out of the frame */
	FRAME_INGRESS = 2, /* received by the interface */
	FRAME_EGRESS = 4,  /* sent by it */
	FRAME_MOVED = 8,   /* time_ns is the nearest that can be said, and not the frame's */
};

struct frame {
	const uint8_t *data;
	uint32_t cap_len;  /* octets at data */
	uint32_t wire_len; /* octets that were on the wire */
	uint64_t time_ns;
	uint32_t ifindex; /* exported ifIndex of the interface; 0 unknown */
	uint16_t point;	  /* observation point for the flow key */
	uint16_t flags;	  /* enum frame_flags */
	uint16_t vlan_tci;
	uint16_t vlan_tpid;
};

struct frame_batch {
	unsigned n;
	uint16_t mark; /* of the draw that they were selected by: capture_draw() */
	struct frame frames[BATCH_MAX];
};

/* What became of a frame: metered, or ignored for one named reason (ignored.def has their descriptions). */
enum packet_verdict {
	PACKET_METERED,
#define IGNORED(name, text) PACKET_##name,
#include "pitot/ignored.def"
#undef IGNORED
	PACKET_VERDICTS
};

enum packet_fragment {
	PACKET_FRAGMENT_NONE,
	PACKET_FRAGMENT_FIRST, /* offset 0, more to come: it has the ports */
	PACKET_FRAGMENT_LATER  /* offset > 0: no transport header */
};

struct packet {
	_Alignas(64) struct flow_key key;
	uint32_t ingress;
	uint64_t time_ns;
	uint64_t octets; /* IP total length (semantics: pitot(8), MEASUREMENT) */
	/* ---- 64 */
	uint64_t hash;	      /* of key, by the flow table */
	uint64_t link_octets; /* octets on the wire, link layer included, without FCS */
	uint32_t egress;
	uint32_t flow_label;
	uint32_t fragment_id;
	uint32_t entry; /* scratch of the flow table: the candidate entry */
	uint16_t tcp_flags;
	uint16_t vlan;
	uint8_t tos;
	uint8_t ttl;
	uint8_t direction; /* enum flow_direction */
	uint8_t verdict;   /* enum packet_verdict */
	uint8_t fragment;  /* enum packet_fragment */
	uint8_t layers;	   /* headers that were peeled */
	uint16_t notes;	   /* enum packet_notes */
	uint8_t spare[6];
	uint8_t blocks[14]; /* and more behind it: record_layout */
};

/* Packet i of several, which are of one size: record_layout.packet_size. */
static inline struct packet *packet_of(struct packet *packets, size_t size, unsigned i)
{
	return (struct packet *)(void *)((uint8_t *)packets + i * size);
}
static inline const struct packet *packet_of_const(const struct packet *packets, size_t size, unsigned i)
{
	return (const struct packet *)(const void *)((const uint8_t *)packets + i * size);
}
/* Line by line, for both are whole ones. */
static inline void packet_copy(struct packet *to, const struct packet *from, size_t size)
{
	memcpy(to, from, sizeof(*to));
	for (size_t at = sizeof(*to); at < size; at += 64)
		memcpy((uint8_t *)to + at, (const uint8_t *)from + at, 64);
}

/* Oddities of a packet that is metered all the same; each has a counter. */
enum packet_note_bit {
#define NOTE(name, ...) PACKET_NOTE_BIT_##name,
#include "pitot/notes.def"
	PACKET_NOTES
};
enum packet_notes {
#define NOTE(name, ...) PACKET_NOTE_##name = 1 << PACKET_NOTE_BIT_##name,
#include "pitot/notes.def"
};

static_assert(PACKET_NOTES <= 16, "a bit of 16 for each");
static_assert(sizeof(struct packet) == 128, "two cache lines");

/*
 * All zero but blocks behind the core, which whoever fills them clears.  By vectors: for an object of this
 * size compilers take a string instruction whose start alone costs as much as decoding a packet.
 */
typedef uint64_t packet_pair __attribute__((vector_size(16), may_alias));

static inline void packet_clear(struct packet *p)
{
	packet_pair *w = (packet_pair *)p, zero = {0, 0};

	w[0] = zero;
	w[1] = zero;
	w[2] = zero;
	w[3] = zero;
	w[4] = zero;
	w[5] = zero;
	w[6] = zero;
	w[7] = zero;
}

#endif
