/*
 * The shape that all decoders share: a decoder is called with the cursor at its header, checks what it needs,
 * takes its fields, moves the cursor behind its header and says which layer stands there.
 */
#ifndef DECODE_INTERNAL_H
#define DECODE_INTERNAL_H

#include "pitot/decode.h"
#include "pitot/protocol.h"

enum decode_layer {
#define LAYER(name, function) LAYER_##name,
#include "decode/layers.def"
	LAYERS,
	LAYER_INSIDE = LAYERS, /* an IP header was taken, and its payload may be a tunnel's */
	LAYER_DONE,	       /* verdict is set */
};

enum {
	ETHERNET_HEADER = 14,
	IP4_HEADER_MIN = 20,
	IP6_HEADER = 40,
};

struct cursor {
	const uint8_t *at;
	const uint8_t *end; /* of the captured octets */
	const struct frame *frame;
	const struct decoder *decoder;
	struct packet *packet;
	uint64_t wire_end; /* octets of the frame that were on the wire; inside an IP packet: up to its end */
	uint64_t segment;  /* of the tunnel that is walked, as in struct block_tunnel */
	uint32_t gre_key;
	uint16_t type; /* LAYER_ETHERTYPE */
	bool outermost_vlan_seen;
	bool cooked;	    /* pitot/cooked.h */
	bool opens_tunnels; /* a constant where it matters */
};

/* A row of tunnels.def that was chosen. */
struct edge {
	uint8_t layer;
	uint8_t outers; /* bit 4, bit 6: IP versions */
};

struct port_edge {
	uint16_t port;
	struct edge edge;
};

enum { PORT_EDGES_MAX = 16 };

struct decoder {
	enum decode_layer first;
	uint8_t key_tos_mask;
	uint16_t key_vlan_mask;
	uint16_t link_at, tunnel_at; /* of these blocks in a packet; 0: nobody asked for them */
	uint16_t packet_size;
	unsigned max_layers;
	bool opens_tunnels;
	uint32_t tunnels; /* 1 << enum tunnel, those to open */
	unsigned n_ports;
	struct port_edge ports[PORT_EDGES_MAX];
	struct edge protocols[256][2];	/* by version: 4, 6; layer 0: none */
	uint64_t port_bits[65536 / 64]; /* those of ports once more, a bit for each */
};

typedef enum decode_layer decode_fn(struct cursor *c);

#define LAYER(name, function) decode_fn decode_##function;
#include "decode/layers.def"

/* layer2SegmentId (IANA): the kind of network, then the number.  Geneve has no kind there. */
enum decode_segment { SEGMENT_OTHER = 0, SEGMENT_VXLAN = 1, SEGMENT_NVGRE = 2 };

static inline uint64_t decode_segment(enum decode_segment kind, uint32_t number)
{
	return (uint64_t)kind << 56 | number;
}

static inline struct block_link *decode_link_block(const struct decoder *d, struct packet *p)
{
	return (struct block_link *)(void *)((uint8_t *)p + d->link_at);
}
static inline struct block_tunnel *decode_tunnel_block(const struct decoder *d, struct packet *p)
{
	return (struct block_tunnel *)(void *)((uint8_t *)p + d->tunnel_at);
}
static inline void decode_tunnel_clear(const struct decoder *d, struct packet *p)
{
	*decode_tunnel_block(d, p) = (struct block_tunnel){.ip_version = 0};
}

/* Which tunnels d opens. */
void decode_tunnel_choose(struct decoder *d, const struct decode_config *config);
/* From layer to layer until there is none; all count against the nesting limit, or those before IP only. */
enum decode_layer decode_walk(struct cursor *c, enum decode_layer layer, bool inside);
/* The cursor stands behind an IP header: goes on to the innermost one that the chosen tunnels reach. */
void decode_tunnels(struct cursor *c);

/* The next protocol of NSH, RFC 8300 §2.2, and of VXLAN-GPE, which has the same numbers; but for NSH itself.
 */
enum decode_layer decode_to_next_protocol(struct cursor *c, uint8_t next);

/* IP length of an IPv6 packet with header h whose payload length is 0: offload, a jumbogram, or nothing. */
uint64_t decode_ip6_length_zero(struct packet *p, const uint8_t *h, const uint8_t *end, uint64_t wire_left);
/*
 * Walks the extension headers from at; p->key.protocol becomes the last Next Header that was captured.
 * Returns where the transport header begins, or NULL when there is none to read.
 */
const uint8_t *decode_ip6_extensions(struct packet *p, const uint8_t *at, const uint8_t *end);

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

static inline enum decode_layer decode_stop(struct cursor *c, enum packet_verdict verdict)
{
	c->packet->verdict = (uint8_t)verdict;
	return LAYER_DONE;
}

static inline enum decode_layer decode_to_ethertype(struct cursor *c, uint16_t type)
{
	c->type = type;
	return LAYER_ETHERTYPE;
}

/* Octets that were on the wire from the cursor on. */
static inline uint64_t cursor_wire_left(const struct cursor *c)
{
	size_t offset = (size_t)(c->at - c->frame->data);

	return c->wire_end > offset ? c->wire_end - offset : 0;
}

static inline uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
