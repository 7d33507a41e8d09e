/*
 * The headers that nearly every packet has, inline: Ethernet, IPv4, IPv6, TCP and UDP.  decode.c calls them
 * one after the other with the cursor in registers; the table of layers (decode_walk.c) calls the same code
 * through decode_*.c.
 */
#ifndef DECODE_HOT_H
#define DECODE_HOT_H

#include <string.h>

#include "decode/decode_internal.h"

/* Inlined wherever it stands, for the cursor then stays in registers. */
#define DECODE_HOT static inline __attribute__((always_inline))

/*
 * Transport headers: TCP (RFC 9293 §3.1), UDP, UDP-Lite, SCTP, DCCP ports; ICMP and ICMPv6 type and code.
 *
 * Only the octets that are both captured and inside the IP length count; without them ports stay 0.
 */
DECODE_HOT void decode_transport_header(struct packet *p, const uint8_t *at, const uint8_t *end)
{
	static const uint8_t kinds[256] = {
#define PROTOCOL(name, word, title, number, kind, family) [number] = PROTOCOL_##kind,
#include "pitot/protocols.def"
	};
	size_t left = end > at ? (size_t)(end - at) : 0;
	uint8_t kind = kinds[p->key.protocol];

	if (left >= 14 && (kind == PROTOCOL_PORTS ||
			   kind == PROTOCOL_FLAGS)) { /* nearly every packet; no branch between the two */
		p->key.src_port = load16(at);
		p->key.dst_port = load16(at + 2);
		/* RFC 9565 §3: the data offset is no control bit */
		p->tcp_flags = load16(at + 12) & (kind == PROTOCOL_FLAGS ? 0x0fff : 0);
	} else if (kind == PROTOCOL_TYPE && left >= 2) {
		p->key.dst_port = load16(at);
	} else if (kind && kind < PROTOCOL_TYPE && left >= 4) {
		p->key.src_port = load16(at);
		p->key.dst_port = load16(at + 2);
		if (kind == PROTOCOL_FLAGS)
			p->notes |= PACKET_NOTE_CUT_TRANSPORT;
	} else if (kind) {
		p->notes |= PACKET_NOTE_CUT_TRANSPORT;
	}
}

DECODE_HOT enum decode_layer decode_ethernet_header(struct cursor *c)
{
	struct packet *p = c->packet;
	uint16_t type;

	if (cursor_left(c) < ETHERNET_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->decoder->link_at && p->layers == 1) { /* those of the frame, not of one that it carries */
		struct block_link *link = decode_link_block(c->decoder, p);

		memcpy(link->dst_mac, c->at, 6);
		memcpy(link->src_mac, c->at + 6, 6);
	}
	type = load16(c->at + 12);
	c->at += ETHERNET_HEADER;
	if (type == 0x0800)
		return LAYER_IP4;
	if (type == 0x86dd)
		return LAYER_IP6;
	return decode_to_ethertype(c, type);
}

/*
 * Whether the payload of the packet's IP header may be a tunnel's: most packets are done with this.  No
 * branch between UDP and the rest, which no processor could foresee.
 */
static inline bool decode_may_be_tunnel(const struct decoder *d, const struct packet *p)
{
	uint64_t dst = d->port_bits[p->key.dst_port >> 6 & 1023] >> (p->key.dst_port & 63);
	uint64_t src = d->port_bits[p->key.src_port >> 6 & 1023] >> (p->key.src_port & 63);
	bool by_protocol = d->protocols[p->key.protocol][p->key.ip_version == 6].outers;

	return by_protocol | ((dst | src) & 1 & (p->key.protocol == PROTO_UDP));
}

/* A later fragment: whether its first one had a tunnel's header.  By ports it cannot be told: only the first
 * one has them. */
static inline void decode_tunnel_fragment(const struct decoder *d, struct packet *p)
{
	if (p->fragment == PACKET_FRAGMENT_LATER &&
	    d->protocols[p->key.protocol][p->key.ip_version == 6].outers)
		p->notes |= PACKET_NOTE_TUNNEL_FRAGMENT;
}

/*
 * The end of an IP header, which the cursor still stands at; its packet has octets.  With tunnels to open the
 * cursor moves to the payload, which is NULL in a later fragment and where extension headers are cut.
 */
DECODE_HOT enum decode_layer decode_ip_end(struct cursor *c, const uint8_t *payload, const uint8_t *end,
					   uint64_t octets)
{
	uint64_t wire_end;

	if (!c->opens_tunnels)
		return LAYER_DONE;
	if (__builtin_expect(!payload, 0)) {
		decode_tunnel_fragment(c->decoder, c->packet);
		return LAYER_DONE;
	}
	if (__builtin_expect(!decode_may_be_tunnel(c->decoder, c->packet), 1))
		return LAYER_DONE;
	wire_end = (uint64_t)(c->at - c->frame->data) + octets;
	if (wire_end < c->wire_end)
		c->wire_end = wire_end;
	c->at = payload < end ? payload : end;
	c->end = end;
	return LAYER_INSIDE;
}

DECODE_HOT enum decode_layer decode_ip4_header(struct cursor *c)
{
	const uint8_t *h = c->at, *end = c->end;
	struct packet *p = c->packet;
	size_t header_len, left = cursor_left(c);
	uint64_t total, wire_left = cursor_wire_left(c);
	uint16_t offset;

	if (left < 1)
		return decode_stop(c, PACKET_CUT_IP);
	if (h[0] >> 4 != 4)
		return decode_stop(c, PACKET_BAD_VERSION);
	if (left < IP4_HEADER_MIN)
		return decode_stop(c, PACKET_CUT_IP);
	header_len = (size_t)(h[0] & 15) * 4;
	if (header_len < IP4_HEADER_MIN)
		return decode_stop(c, PACKET_BAD_HEADER_LENGTH);
	total = load16(h + 2);
	if (total == 0) { /* segmentation offload: the hardware would have filled it in */
		total = wire_left;
		p->notes |= PACKET_NOTE_LENGTH_ZERO;
	} else if (total > wire_left) {
		p->notes |= PACKET_NOTE_LENGTH_BEYOND;
	}
	if (total < header_len)
		return decode_stop(c, PACKET_BAD_TOTAL_LENGTH);

	p->verdict = PACKET_METERED;
	p->octets = total;
	p->tos = h[1];
	p->ttl = h[8];
	p->key.ip_version = 4;
	p->key.protocol = h[9];
	memcpy(p->key.src, h + 12, 4);
	memcpy(p->key.dst, h + 16, 4);

	if (total < left)
		end = h + total;
	offset = load16(h + 6);
	if (offset & 0x3fff) { /* more fragments, or an offset */
		p->fragment = offset & 0x1fff ? PACKET_FRAGMENT_LATER : PACKET_FRAGMENT_FIRST;
		p->fragment_id = load16(h + 4);
		if (p->fragment == PACKET_FRAGMENT_LATER)
			return decode_ip_end(c, NULL, end, total);
	}
	h += header_len < left ? header_len : left;
	decode_transport_header(p, h, end);
	return decode_ip_end(c, h, end, total);
}

/* RFC 8200 §3 */
DECODE_HOT enum decode_layer decode_ip6_header(struct cursor *c)
{
	const uint8_t *h = c->at, *end = c->end, *transport = h + IP6_HEADER;
	struct packet *p = c->packet;
	uint64_t wire_left = cursor_wire_left(c);
	size_t left = cursor_left(c);

	if (left < 1)
		return decode_stop(c, PACKET_CUT_IP);
	if (h[0] >> 4 != 6)
		return decode_stop(c, PACKET_BAD_VERSION);
	if (left < IP6_HEADER)
		return decode_stop(c, PACKET_CUT_IP);

	p->verdict = PACKET_METERED;
	p->octets = (uint64_t)load16(h + 4) + IP6_HEADER;
	if (p->octets == IP6_HEADER)
		p->octets = decode_ip6_length_zero(p, h, end, wire_left);
	if (p->octets > wire_left)
		p->notes |= PACKET_NOTE_LENGTH_BEYOND;
	p->tos = (uint8_t)(load16(h) >> 4);
	p->ttl = h[7];
	p->flow_label = load32(h) & 0xfffff;
	p->key.ip_version = 6;
	p->key.protocol = h[6];
	memcpy(p->key.src, h + 8, 16);
	memcpy(p->key.dst, h + 24, 16);

	if (p->octets < left)
		end = h + p->octets;
	if (h[6] != PROTO_TCP && h[6] != PROTO_UDP)
		transport = decode_ip6_extensions(p, transport, end);
	if (transport)
		decode_transport_header(p, transport, end);
	return decode_ip_end(c, transport, end, p->octets);
}

#endif
