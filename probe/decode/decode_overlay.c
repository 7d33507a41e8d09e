/*
 * Overlays on UDP: VXLAN (RFC 7348 §5), VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe), Geneve (RFC 8926 §3.4), and
 * EtherIP (RFC 3378 §3), whose header stands right behind IP's.
 */
#include "decode/decode_internal.h"

enum { OVERLAY_HEADER = 8 };

enum decode_layer decode_vxlan(struct cursor *c)
{
	if (cursor_left(c) < OVERLAY_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (!(c->at[0] & 0x08)) /* the network identifier is there */
		return decode_stop(c, PACKET_BAD_LINK);
	c->segment = decode_segment(SEGMENT_VXLAN, load32(c->at + 4) >> 8);
	c->at += OVERLAY_HEADER;
	return LAYER_ETHERNET;
}

enum decode_layer decode_vxlan_gpe(struct cursor *c)
{
	uint8_t next = 3;

	if (cursor_left(c) < OVERLAY_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] & 0x30) /* version */
		return decode_stop(c, PACKET_BAD_LINK);
	if (c->at[0] & 0x04)
		next = c->at[3];
	if (c->at[0] & 0x08)
		c->segment = decode_segment(SEGMENT_VXLAN, load32(c->at + 4) >> 8);
	c->at += OVERLAY_HEADER;
	return next == 4 ? LAYER_NSH : decode_to_next_protocol(c, next);
}

enum decode_layer decode_geneve(struct cursor *c)
{
	uint16_t type;
	size_t length;

	if (cursor_left(c) < OVERLAY_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] >> 6) /* version */
		return decode_stop(c, PACKET_BAD_LINK);
	length = OVERLAY_HEADER + (size_t)(c->at[0] & 0x3f) * 4;
	type = load16(c->at + 2);
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	c->segment = decode_segment(SEGMENT_OTHER, load32(c->at + 4) >> 8);
	c->at += length;
	return type == 0x6558 ? LAYER_ETHERNET : decode_to_ethertype(c, type);
}

enum decode_layer decode_etherip(struct cursor *c)
{
	if (cursor_left(c) < 2)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] >> 4 != 3)
		return decode_stop(c, PACKET_BAD_LINK);
	c->at += 2;
	return LAYER_ETHERNET;
}
