/*
 * The shape that all decoders share: a decoder is called with the cursor at its header, checks what it needs,
 * takes its fields, moves the cursor behind its header and says which layer stands there.
 */
#ifndef DECODE_INTERNAL_H
#define DECODE_INTERNAL_H

#include "pitot/decode.h"

enum decode_layer {
	LAYER_ETHERNET,
	LAYER_ETHERTYPE, /* cursor.type says which */
	LAYER_VLAN,
	LAYER_LLC,
	LAYER_MPLS,
	LAYER_PPPOE,
	LAYER_PPP,
	LAYER_PPP_HDLC,
	LAYER_CHDLC,
	LAYER_PBB,
	LAYER_NSH,
	LAYER_VNTAG,
	LAYER_ETAG,
	LAYER_SLL,
	LAYER_SLL2,
	LAYER_NULL,
	LAYER_LOOP,
	LAYER_NFLOG,
	LAYER_FRELAY,
	LAYER_80211,
	LAYER_RADIOTAP,
	LAYER_IP, /* version by its first nibble */
	LAYER_IP4,
	LAYER_IP6,
	LAYER_UNKNOWN, /* of a link type that is not known */
	LAYER_DONE,    /* verdict is set */
	LAYERS
};

struct cursor {
	const uint8_t *at;
	const uint8_t *end; /* of the captured octets */
	const struct frame *frame;
	struct packet *packet;
	uint16_t type; /* LAYER_ETHERTYPE */
	bool outermost_vlan_seen;
};

struct decoder {
	enum decode_layer first;
	uint8_t key_tos_mask;
	uint16_t key_vlan_mask;
	unsigned max_layers;
};

typedef enum decode_layer decode_fn(struct cursor *c);

decode_fn decode_ethernet, decode_ethertype, decode_vlan, decode_llc, decode_mpls, decode_pppoe, decode_ppp,
	decode_ppp_hdlc, decode_chdlc, decode_pbb, decode_nsh, decode_vntag, decode_etag, decode_sll,
	decode_sll2, decode_null, decode_loop, decode_nflog, decode_frelay, decode_80211, decode_radiotap,
	decode_ip, decode_ip4, decode_ip6, decode_unknown;

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

	return c->frame->wire_len > offset ? c->frame->wire_len - offset : 0;
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
