/*
 * L2TP version 3 over IP (RFC 3931 §4.1.1) with Ethernet in it (RFC 4719).
 *
 * Behind the session id come a cookie of 0, 4 or 8 octets and a sublayer header of 0 or 4: how many, only the
 * two ends know.  So it is told from the first place where an Ethernet header with something known behind it
 * stands.
 */
#include "decode/decode_internal.h"
#include "pitot/tag.h"

enum { SESSION = 4 };

static bool l2tpv3_follows(uint16_t type, const uint8_t *at, size_t left)
{
	if (type == 0x0800)
		return left >= 1 && at[0] >> 4 == 4 && (at[0] & 15) >= 5;
	if (type == 0x86dd)
		return left >= 1 && at[0] >> 4 == 6;
	return type == 0x0806 || type == 0x8847 || type == 0x8864;
}

static bool l2tpv3_is_ethernet(const uint8_t *at, size_t left)
{
	uint16_t type;

	if (left < ETHERNET_HEADER)
		return false;
	type = load16(at + 12);
	at += ETHERNET_HEADER;
	left -= ETHERNET_HEADER;
	for (unsigned tags = 0; tags < 2 && tag_is_type(type) && left >= 4; tags++) {
		type = load16(at + 2);
		at += 4;
		left -= 4;
	}
	return l2tpv3_follows(type, at, left);
}

enum decode_layer decode_l2tpv3(struct cursor *c)
{
	/* what Linux does without being told stands first */
	static const uint8_t offsets[] = {4, 0, 8, 12};

	if (cursor_left(c) < SESSION + ETHERNET_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (load32(c->at) == 0) /* control */
		return decode_stop(c, PACKET_NOT_IP);
	c->at += SESSION;
	for (unsigned i = 0; i < sizeof(offsets); i++) {
		size_t left = cursor_left(c);

		if (left < offsets[i] || !l2tpv3_is_ethernet(c->at + offsets[i], left - offsets[i]))
			continue;
		c->at += offsets[i];
		return LAYER_ETHERNET;
	}
	return decode_stop(c, PACKET_NOT_IP);
}
