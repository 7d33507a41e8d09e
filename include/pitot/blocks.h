/*
 * blocks: what records and packets' facts hold beside their core, and where it stands.
 *
 * A record is a core and blocks, of one size for a whole run: the strides of table entries, of slots of the
 * ring and of packets are decided once, at start, from what is asked for.  What nobody asked for takes no
 * room.
 */
#ifndef PITOT_BLOCKS_H
#define PITOT_BLOCKS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Link layer of the first packet: MAC addresses of the frame, not of one that it carries. */
struct block_link {
	uint8_t src_mac[6];
	uint8_t dst_mac[6];
	uint16_t vlan; /* outermost VLAN id; 0 none */
};

/* Lengths of frames, as struct packet's link_octets has them. */
struct block_frames {
	uint64_t octets;
	uint64_t min_octets;
	uint64_t max_octets;
};

/* Packets with a flag of TCP. */
struct block_tcp {
	uint32_t syn;
	uint32_t fin;
	uint32_t rst;
	uint32_t psh;
};

/*
 * Of a record whose flow was let into the table by chance (flow_table_set_slicing()): with probability
 * 2^-step, at its first packet.  That packet stands for 2^step like it; those after it for themselves.  Both
 * lengths saturate at 2^32-1.
 */
struct block_slice {
	uint32_t octets;      /* IP total length of the first packet */
	uint32_t link_octets; /* of its frame, as struct packet has them */
	uint8_t step;	      /* 0: nothing was left to chance */
};

/* Packets that the first one stands for, besides itself. */
static inline uint64_t block_slice_missed(const struct block_slice *s)
{
	return (UINT64_C(1) << (s->step & 31)) - 1;
}

/* The facts of a block for which the core of the packet is enough: takes no room. */
struct block_nothing {
	uint8_t unused;
};

/* The outermost IP header of a packet that is measured by one inside a tunnel; all zero: it is in none. */
struct block_tunnel {
	uint8_t src[16];
	uint8_t dst[16];
	uint64_t segment; /* layer2SegmentId: what kind of network in the highest octet, then its number; 0:
			     none */
	uint32_t gre_key;
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t protocol;
	uint8_t ip_version; /* 4 or 6; 0: no tunnel */
	uint8_t zero[6];
};

/* Where the host sends packets of the record; enrich_route.c. */
struct block_route {
	uint8_t next_hop[16]; /* of the record's family; all zero: none, on the link or not forwarded */
	uint8_t src_prefix;   /* length of the prefix that the route to the source has; 0 also unknown */
	uint8_t dst_prefix;
};

/* What the system calls the record's interfaces; "" unknown. */
struct block_names {
	char egress[64];
};

/* Their aliases, or their names; "" not captured. */
struct block_descriptions {
	char ingress[120];
	char egress[120];
};

enum record_block {
#define BLOCK(name, ...) BLOCK_##name,
#define BLOCK_OF_HOST(...)
#include "pitot/blocks.def"
	BLOCKS_METERED,					  /* so many are filled from packets */
	BLOCKS_BEFORE_THOSE_OF_HOST = BLOCKS_METERED - 1, /* the next one is BLOCKS_METERED again */
#define BLOCK(...)
#define BLOCK_OF_HOST(name, record) BLOCK_##name,
#include "pitot/blocks.def"
	BLOCKS
};

/* Sets of blocks, 1 << enum record_block. */
#define BLOCKS_OF_PACKETS ((UINT32_C(1) << BLOCKS_METERED) - 1)
#define BLOCKS_OF_HOST	  ((UINT32_C(1) << BLOCKS) - 1 - BLOCKS_OF_PACKETS)

struct record_layout {
	uint32_t blocks;	    /* 1 << enum record_block: those that there are */
	uint32_t key_blocks;	    /* of these: part of the flow key */
	uint16_t record_size;	    /* whole cache lines */
	uint16_t packet_size;	    /* likewise */
	uint16_t record_at[BLOCKS]; /* from the beginning of the record; 0: not there */
	uint16_t packet_at[BLOCKS]; /* from the beginning of the packet */
};

void record_layout_init(struct record_layout *l, uint32_t blocks, uint32_t key_blocks);
/* One that was left all zero is that of the core alone. */
static inline void record_layout_complete(struct record_layout *l)
{
	if (!l->record_size)
		record_layout_init(l, 0, 0);
}

/* Octets of a block, from its beginning, that --flow-key can make part of the key; 0: none. */
extern const uint8_t block_key_sizes[BLOCKS];

#endif
