/*
 * GRE (RFC 2784, 2890, 1701), the enhanced one of PPTP (RFC 2637 §4.1), and what ERSPAN puts behind it
 * (draft-foschiano-erspan).
 */
#include "decode/decode_internal.h"

enum {
	GRE_CHECKSUM = 0x8000,
	GRE_ROUTING = 0x4000,
	GRE_KEY = 0x2000,
	GRE_SEQUENCE = 0x1000,
	GRE_ACKNOWLEDGMENT = 0x0080, /* version 1 */
	GRE_VERSION = 0x0007,
	ERSPAN2_HEADER = 8,
	ERSPAN3_HEADER = 12,
	ERSPAN3_SUBHEADER = 8,
};

static bool gre_chosen(const struct cursor *c, enum tunnel tunnel)
{
	return c->decoder->tunnels >> tunnel & 1;
}

/* Source routes: address family, offset, length, and a last one that is all zero (RFC 1701). */
static bool gre_skip_routes(struct cursor *c)
{
	for (;;) {
		size_t length;
		bool last;

		if (cursor_left(c) < 4)
			return false;
		length = c->at[3];
		last = load16(c->at) == 0 && length == 0;
		if (cursor_left(c) < 4 + length)
			return false;
		c->at += 4 + length;
		if (last)
			return true;
	}
}

static enum decode_layer gre_pptp(struct cursor *c, uint16_t flags)
{
	size_t length = 8 + (flags & GRE_SEQUENCE ? 4u : 0u) + (flags & GRE_ACKNOWLEDGMENT ? 4u : 0u);

	if (!gre_chosen(c, TUNNEL_PPTP))
		return decode_stop(c, PACKET_NOT_IP);
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	if (load16(c->at + 2) != 0x880b || (flags & (GRE_CHECKSUM | GRE_ROUTING)))
		return decode_stop(c, PACKET_BAD_LINK);
	c->at += length;
	if (!(flags & GRE_SEQUENCE)) /* an acknowledgment without data */
		return decode_stop(c, PACKET_NOT_IP);
	return LAYER_PPP_HDLC;
}

/* What a protocol type other than an Ethernet type stands for. */
static enum decode_layer gre_payload(struct cursor *c, uint16_t flags, uint16_t type)
{
	bool erspan = type == 0x88be || type == 0x22eb;

	if (!gre_chosen(c, erspan ? TUNNEL_ERSPAN : TUNNEL_GRE))
		return decode_stop(c, PACKET_NOT_IP);
	switch (type) {
	case 0x88be: /* type I has nothing before the frame, and no sequence number */
		return flags & GRE_SEQUENCE ? LAYER_ERSPAN2 : LAYER_ETHERNET;
	case 0x22eb:
		return LAYER_ERSPAN3;
	case 0x6558: /* transparent Ethernet bridging; with a key it may be NVGRE, RFC 7637 §3.2 */
		if (flags & GRE_KEY)
			c->segment = decode_segment(SEGMENT_NVGRE, c->gre_key >> 8);
		return LAYER_ETHERNET;
	case 0x880b:
		return LAYER_PPP_HDLC;
	case 0x883e: /* WCCP; version 2 has four octets before the packet */
		if (cursor_left(c) >= 1 && c->at[0] >> 4 != 4)
			c->at += cursor_left(c) < 4 ? cursor_left(c) : 4;
		return LAYER_IP4;
	default:
		return decode_to_ethertype(c, type);
	}
}

enum decode_layer decode_gre(struct cursor *c)
{
	size_t length = 4;
	uint16_t flags, type;

	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	flags = load16(c->at);
	type = load16(c->at + 2);
	if ((flags & GRE_VERSION) == 1)
		return gre_pptp(c, flags);
	if (flags & GRE_VERSION)
		return decode_stop(c, PACKET_BAD_LINK);
	length += flags & (GRE_CHECKSUM | GRE_ROUTING) ? 4 : 0;
	length += flags & GRE_KEY ? 4 : 0;
	length += flags & GRE_SEQUENCE ? 4 : 0;
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	if (flags & GRE_KEY)
		c->gre_key = load32(c->at + (flags & (GRE_CHECKSUM | GRE_ROUTING) ? 8 : 4));
	c->at += length;
	if ((flags & GRE_ROUTING) && !gre_skip_routes(c))
		return decode_stop(c, PACKET_CUT_LINK);
	return gre_payload(c, flags, type);
}

enum decode_layer decode_erspan2(struct cursor *c)
{
	if (cursor_left(c) < ERSPAN2_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] >> 4 != 1)
		return decode_stop(c, PACKET_BAD_LINK);
	c->segment = decode_segment(SEGMENT_OTHER, load16(c->at + 2) & 0x3ff); /* the session */
	c->at += ERSPAN2_HEADER;
	return LAYER_ETHERNET;
}

enum decode_layer decode_erspan3(struct cursor *c)
{
	size_t length = ERSPAN3_HEADER;
	unsigned frame_type;

	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] >> 4 != 2)
		return decode_stop(c, PACKET_BAD_LINK);
	c->segment = decode_segment(SEGMENT_OTHER, load16(c->at + 2) & 0x3ff);
	frame_type = c->at[10] >> 2 & 0x1f;
	length += c->at[11] & 1 ? ERSPAN3_SUBHEADER : 0;
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += length;
	return frame_type == 0 ? LAYER_ETHERNET : frame_type == 2 ? LAYER_IP : decode_stop(c, PACKET_NOT_IP);
}
