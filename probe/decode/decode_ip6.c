/* What IPv6 has beside its header: extensions (RFC 8200 §4), jumbograms (RFC 2675 §2), authentication header
 * (RFC 4302 §2). */
#include "decode/decode_internal.h"

enum {
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

uint64_t decode_ip6_length_zero(struct packet *p, const uint8_t *h, const uint8_t *end, uint64_t wire_left)
{
	if (h[6] == NEXT_HOP_BY_HOP) {
		uint32_t jumbo = ip6_jumbo_payload(h + IP6_HEADER, end);

		/* without the option it is no offload but a broken jumbogram: there is no payload */
		if (!jumbo)
			return IP6_HEADER;
		p->notes |= PACKET_NOTE_JUMBOGRAM;
		return (uint64_t)jumbo + IP6_HEADER;
	}
	if (h[6] == NEXT_NONE || wire_left <= IP6_HEADER)
		return IP6_HEADER;
	p->notes |= PACKET_NOTE_LENGTH_ZERO;
	return wire_left;
}

const uint8_t *decode_ip6_extensions(struct packet *p, const uint8_t *at, const uint8_t *end)
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
			length = p->key.protocol == NEXT_AH ? (size_t)(at[1] + 2) * 4
							    : (size_t)(at[1] + 1) * 8;
			p->key.protocol = at[0];
			if ((size_t)(end - at) < length)
				break;
			at += length;
			continue;
		case NEXT_FRAGMENT:
			if (end - at < 8)
				break;
			p->key.protocol = at[0];
			if (load16(at + 2) &
			    0xfff9) { /* an offset, or more to come; else it is atomic (RFC 6946) */
				p->fragment_id = load32(at + 4);
				p->fragment = load16(at + 2) & 0xfff8 ? PACKET_FRAGMENT_LATER
								      : PACKET_FRAGMENT_FIRST;
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
