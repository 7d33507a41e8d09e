/* IPv4 (RFC 791 §3.1), and the dispatch by version where the link layer does not tell. */
#include <string.h>

#include "decode/decode_internal.h"

enum { IP4_HEADER_MIN = 20 };

enum decode_layer decode_ip(struct cursor *c)
{
	if (cursor_left(c) < 1)
		return decode_stop(c, PACKET_CUT_IP);
	switch (c->at[0] >> 4) {
	case 4:
		return LAYER_IP4;
	case 6:
		return LAYER_IP6;
	default:
		return decode_stop(c, PACKET_BAD_VERSION);
	}
}

enum decode_layer decode_ip4(struct cursor *c)
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
			return LAYER_DONE;
	}
	decode_transport(p, h + (header_len < left ? header_len : left), end);
	return LAYER_DONE;
}
