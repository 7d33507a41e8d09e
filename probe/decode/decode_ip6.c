/* IPv6 (RFC 8200 §3, §4), jumbograms (RFC 2675 §2), authentication header (RFC 4302 §2). */
#include <string.h>

#include "decode/decode_internal.h"

enum {
	IP6_HEADER = 40,
	NEXT_HOP_BY_HOP = 0,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_AH = 51,
	NEXT_NONE = 59,
	NEXT_DESTINATION = 60,
	EXTENSIONS_MAX = 8192, /* 8 octets each: more than any packet but a jumbogram can hold */
};

/* The Jumbo Payload option of a hop-by-hop header at h, or 0. */
static uint32_t ip6_jumbo_payload(const uint8_t *h, const uint8_t *end)
{
	const uint8_t *stop;

	if (end - h < 8)
		return 0;
	stop = h + (size_t)(h[1] + 1) * 8;
	if (stop > end)
		stop = end;
	for (h += 2; h < stop;) {
		if (h[0] == 0) { /* Pad1 */
			h++;
			continue;
		}
		if (stop - h < 2 || stop - h < 2 + h[1])
			return 0;
		if (h[0] == 0xc2 && h[1] == 4)
			return load32(h + 2);
		h += 2 + h[1];
	}
	return 0;
}

/* IP length of the packet whose header is at h. */
static uint64_t ip6_length(struct cursor *c, const uint8_t *h)
{
	struct packet *p = c->packet;
	uint32_t payload = load16(h + 4), jumbo;
	uint64_t wire_left = cursor_wire_left(c);

	if (payload == 0 && h[6] == NEXT_HOP_BY_HOP) {
		jumbo = ip6_jumbo_payload(h + IP6_HEADER, c->end);
		if (jumbo) {
			p->notes |= PACKET_NOTE_JUMBOGRAM;
			return (uint64_t)jumbo + IP6_HEADER;
		}
	}
	/* a hop-by-hop header in an empty packet is no offload but a broken jumbogram: there is no payload */
	if (payload == 0 && h[6] != NEXT_NONE && h[6] != NEXT_HOP_BY_HOP && wire_left > IP6_HEADER) {
		p->notes |= PACKET_NOTE_LENGTH_ZERO;
		return wire_left;
	}
	if (payload + IP6_HEADER > wire_left)
		p->notes |= PACKET_NOTE_LENGTH_BEYOND;
	return payload + IP6_HEADER;
}

/*
 * Walks the extension headers from at; p->key.protocol becomes the last Next Header that was captured.
 * Returns where the transport header begins, or NULL when there is none to read.
 */
static const uint8_t *ip6_extensions(struct packet *p, const uint8_t *at, const uint8_t *end)
{
	for (unsigned i = 0; i < EXTENSIONS_MAX; i++) {
		size_t length;

		switch (p->key.protocol) {
		case NEXT_HOP_BY_HOP:
		case NEXT_ROUTING:
		case NEXT_DESTINATION:
		case NEXT_AH:
			if (end - at < 2)
				break;
			length = p->key.protocol == NEXT_AH ? (size_t)(at[1] + 2) * 4 : (size_t)(at[1] + 1) * 8;
			p->key.protocol = at[0];
			if ((size_t)(end - at) < length)
				break;
			at += length;
			continue;
		case NEXT_FRAGMENT:
			if (end - at < 8)
				break;
			p->key.protocol = at[0];
			if (load16(at + 2) & 0xfff9) { /* an offset, or more to come; else it is atomic (RFC 6946) */
				p->fragment_id = load32(at + 4);
				p->fragment = load16(at + 2) & 0xfff8 ? PACKET_FRAGMENT_LATER : PACKET_FRAGMENT_FIRST;
				if (p->fragment == PACKET_FRAGMENT_LATER)
					return NULL;
			}
			at += 8;
			continue;
		default:
			return at;
		}
		break;
	}
	p->notes |= PACKET_NOTE_CUT_EXTENSIONS;
	return NULL;
}

enum decode_layer decode_ip6(struct cursor *c)
{
	const uint8_t *h = c->at, *end = c->end, *transport;
	struct packet *p = c->packet;

	if (cursor_left(c) < 1)
		return decode_stop(c, PACKET_CUT_IP);
	if (h[0] >> 4 != 6)
		return decode_stop(c, PACKET_BAD_VERSION);
	if (cursor_left(c) < IP6_HEADER)
		return decode_stop(c, PACKET_CUT_IP);

	p->verdict = PACKET_METERED;
	p->octets = ip6_length(c, h);
	p->tos = (uint8_t)(load16(h) >> 4);
	p->ttl = h[7];
	p->flow_label = load32(h) & 0xfffff;
	p->key.ip_version = 6;
	p->key.protocol = h[6];
	memcpy(p->key.src, h + 8, 16);
	memcpy(p->key.dst, h + 24, 16);

	if (p->octets < cursor_left(c))
		end = h + p->octets;
	transport = ip6_extensions(p, h + IP6_HEADER, end);
	if (transport)
		decode_transport(p, transport, end);
	return LAYER_DONE;
}
