/*
 * Tunnels of access networks: GTP-U (3GPP TS 29.281 §5), L2TP (RFC 2661 §3.1), Teredo (RFC 4380 §5.1.1); and
 * the Authentication Header in IPv4 (RFC 4302 §2), whose tunnel mode has another IP header behind it.
 */
#include "decode/decode_internal.h"

enum { GTP_HEADER = 8, GTP_G_PDU = 255, AH_HEADER = 12 };

/* Extension headers: a length in words, content, the type of the next one; 0 is none. */
static bool access_skip_gtp_extensions(struct cursor *c, uint8_t next)
{
	while (next) {
		size_t length;

		if (cursor_left(c) < 4)
			return false;
		length = (size_t)c->at[0] * 4;
		if (length == 0 || cursor_left(c) < length)
			return false;
		next = c->at[length - 1];
		c->at += length;
	}
	return true;
}

enum decode_layer decode_gtp_u(struct cursor *c)
{
	uint8_t flags, next = 0;

	if (cursor_left(c) < GTP_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	flags = c->at[0];
	if (flags >> 5 != 1 || !(flags & 0x10)) /* version 1, GTP and not its charging cousin */
		return decode_stop(c, PACKET_BAD_LINK);
	if (c->at[1] != GTP_G_PDU)
		return decode_stop(c, PACKET_NOT_IP);
	c->segment = decode_segment(SEGMENT_OTHER, load32(c->at + 4)); /* the tunnel endpoint identifier */
	c->at += GTP_HEADER;
	if (flags &
	    0x07) { /* sequence number, N-PDU number and extension stand there when one of them does */
		if (cursor_left(c) < 4)
			return decode_stop(c, PACKET_CUT_LINK);
		next = flags & 0x04 ? c->at[3] : 0;
		c->at += 4;
	}
	if (!access_skip_gtp_extensions(c, next))
		return decode_stop(c, PACKET_CUT_LINK);
	if (cursor_left(c) < 1)
		return decode_stop(c, PACKET_CUT_LINK);
	switch (c->at[0] >> 4) {
	case 4:
		return LAYER_IP4;
	case 6:
		return LAYER_IP6;
	default: /* PPP, or Ethernet: only the session's set-up tells */
		return c->at[0] == 0xff ? LAYER_PPP_HDLC : decode_stop(c, PACKET_NOT_IP);
	}
}

enum decode_layer decode_l2tp(struct cursor *c)
{
	uint16_t flags;
	size_t length;

	if (cursor_left(c) < 6)
		return decode_stop(c, PACKET_CUT_LINK);
	flags = load16(c->at);
	if ((flags & 0x000f) != 2)
		return decode_stop(c, PACKET_NOT_IP);
	if (flags & 0x8000) /* control */
		return decode_stop(c, PACKET_NOT_IP);
	length = 6 + (flags & 0x4000 ? 2u : 0u) + (flags & 0x0800 ? 4u : 0u);
	if (flags & 0x0200) { /* an offset, and so many octets of padding */
		if (cursor_left(c) < length + 2)
			return decode_stop(c, PACKET_CUT_LINK);
		length += 2u + load16(c->at + length);
	}
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += length;
	return LAYER_PPP_HDLC;
}

enum decode_layer decode_teredo(struct cursor *c)
{
	if (cursor_left(c) >= 4 && load16(c->at) == 0x0001) { /* authentication: client id, value, nonce */
		size_t length = 4u + c->at[2] + c->at[3] + 9u;

		if (cursor_left(c) < length)
			return decode_stop(c, PACKET_CUT_LINK);
		c->at += length;
	}
	if (cursor_left(c) >= 2 && load16(c->at) == 0x0000) { /* origin: port and address */
		if (cursor_left(c) < 8)
			return decode_stop(c, PACKET_CUT_LINK);
		c->at += 8;
	}
	return LAYER_IP6;
}

enum decode_layer decode_ah(struct cursor *c)
{
	size_t length;
	uint8_t next;

	if (cursor_left(c) < AH_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	length = (size_t)(c->at[1] + 2) * 4;
	next = c->at[0];
	if (length < AH_HEADER)
		return decode_stop(c, PACKET_BAD_LINK);
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += length;
	return next == 4 ? LAYER_IP4 : next == 41 ? LAYER_IP6 : decode_stop(c, PACKET_NOT_IP);
}
