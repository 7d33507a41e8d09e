/*
 * Ethernet and what is stacked on it before an IP header: VLAN tags, LLC/SNAP, MPLS, PPPoE, provider backbone
 * bridging, service headers and port extender tags.
 */
#include "decode/decode_hot.h"
#include "pitot/cooked.h"
#include "pitot/tag.h"

enum { ETHERTYPE_MIN = 0x600 }; /* IEEE 802.3 §3.2.6: below it is a length */

enum decode_layer decode_ethernet(struct cursor *c)
{
	return decode_ethernet_header(c);
}

enum decode_layer decode_ethertype(struct cursor *c)
{
	switch (c->type) {
	case 0x0800:
		return LAYER_IP4;
	case 0x86dd:
		return LAYER_IP6;
#define TAG(number, standard) case number:
#include "pitot/tags.def"
		return LAYER_VLAN;
	case 0x8847:
	case 0x8848:
		return LAYER_MPLS;
	case 0x8864:
		return LAYER_PPPOE;
	case 0x880b:
		return LAYER_PPP;
	case 0x88e7:
		return LAYER_PBB;
	case 0x894f:
		return LAYER_NSH;
	case 0x8926:
		return LAYER_VNTAG;
	case 0x893f:
	case 0xf1c1: /* 802.1CB redundancy tag: as long as an E-TAG */
		return LAYER_ETAG;
	default:
		return c->type < ETHERTYPE_MIN ? LAYER_LLC : decode_stop(c, PACKET_NOT_IP);
	}
}

enum decode_layer decode_vlan(struct cursor *c)
{
	uint16_t type;

	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	if (!c->outermost_vlan_seen) {
		c->packet->vlan = load16(c->at) & 0xfff;
		c->outermost_vlan_seen = true;
	}
	c->at += 4;
	type = load16(c->at - 2);
	if (c->cooked)
		c->at += cooked_rest_of_tags(type, c->at, cursor_left(c), cursor_wire_left(c));
	return decode_to_ethertype(c, type);
}

/* IEEE 802.2; SNAP with the OUI of Ethernet types (RFC 1042) or of Cisco's bridging (0000f8) */
enum decode_layer decode_llc(struct cursor *c)
{
	const uint8_t *p = c->at;

	if (cursor_left(c) < 3)
		return decode_stop(c, PACKET_CUT_LINK);
	if (p[0] == 0x06 && p[1] == 0x06 && p[2] == 0x03) { /* IP's own SAP */
		c->at += 3;
		return LAYER_IP4;
	}
	if (p[0] != 0xaa || p[1] != 0xaa || p[2] != 0x03)
		return decode_stop(c, PACKET_NOT_IP);
	if (cursor_left(c) < 8)
		return decode_stop(c, PACKET_CUT_LINK);
	if (p[3] != 0 || p[4] != 0 || (p[5] != 0 && p[5] != 0xf8))
		return decode_stop(c, PACKET_NOT_IP);
	c->at += 8;
	if (load16(p + 6) < ETHERTYPE_MIN)
		return decode_stop(c, PACKET_NOT_IP);
	return decode_to_ethertype(c, load16(p + 6));
}

/* Whether an Ethernet header at p carries a type that we go on with, or a length that fits. */
static bool eth_follows_mpls(const struct cursor *c, const uint8_t *p)
{
	uint64_t wire_left = cursor_wire_left(c) - (uint64_t)(p - c->at);
	uint16_t type = load16(p + 12);

	if (type < ETHERTYPE_MIN)
		return type >= 3 && (uint64_t)type + ETHERNET_HEADER <= wire_left;
	return type == 0x0800 || type == 0x86dd || type == 0x0806 || type == 0x8847 || type == 0x8848 ||
	       type == 0x8864 || tag_is_type(type);
}

/* An Ethernet pseudowire, RFC 4448 §4.6: behind a control word whose first 16 bits are 0, or without one */
static enum decode_layer eth_in_mpls(struct cursor *c)
{
	size_t left = cursor_left(c);

	if (left < ETHERNET_HEADER)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] == 0 && c->at[1] == 0) {
		if (left < 4 + ETHERNET_HEADER)
			return decode_stop(c, PACKET_CUT_LINK);
		if (eth_follows_mpls(c, c->at + 4)) {
			c->at += 4;
			return LAYER_ETHERNET;
		}
	}
	return eth_follows_mpls(c, c->at) ? LAYER_ETHERNET : decode_stop(c, PACKET_NOT_IP);
}

/* RFC 3032 §2.1; the payload is told by its first nibble (RFC 4928): 4 and 6 are IP */
enum decode_layer decode_mpls(struct cursor *c)
{
	bool bottom;

	do {
		if (cursor_left(c) < 4)
			return decode_stop(c, PACKET_CUT_LINK);
		bottom = c->at[2] & 1;
		c->at += 4;
	} while (!bottom);
	if (cursor_left(c) < 1)
		return decode_stop(c, PACKET_CUT_LINK);
	switch (c->at[0] >> 4) {
	case 4:
		return LAYER_IP4;
	case 6:
		return LAYER_IP6;
	case 1: /* an associated channel, RFC 4385 §5 */
		return decode_stop(c, PACKET_NOT_IP);
	default:
		return eth_in_mpls(c);
	}
}

/* RFC 2516 §4; only session data (code 0) carries PPP */
enum decode_layer decode_pppoe(struct cursor *c)
{
	if (cursor_left(c) < 6)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] != 0x11)
		return decode_stop(c, PACKET_BAD_LINK);
	if (c->at[1] != 0)
		return decode_stop(c, PACKET_NOT_IP);
	c->at += 6;
	return LAYER_PPP;
}

/* IEEE 802.1ah: a service tag, then the customer's frame */
enum decode_layer decode_pbb(struct cursor *c)
{
	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += 4;
	return LAYER_ETHERNET;
}

enum decode_layer decode_to_next_protocol(struct cursor *c, uint8_t next)
{
	switch (next) {
	case 1:
		return LAYER_IP4;
	case 2:
		return LAYER_IP6;
	case 3:
		return LAYER_ETHERNET;
	case 5:
		return LAYER_MPLS;
	default:
		return decode_stop(c, PACKET_NOT_IP);
	}
}

/* RFC 8300 §2.2 */
enum decode_layer decode_nsh(struct cursor *c)
{
	size_t length;
	uint8_t next;

	if (cursor_left(c) < 8)
		return decode_stop(c, PACKET_CUT_LINK);
	length = (size_t)(c->at[1] & 0x3f) * 4;
	next = c->at[3];
	if (length < 8)
		return decode_stop(c, PACKET_BAD_LINK);
	if (cursor_left(c) < length)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += length;
	return decode_to_next_protocol(c, next);
}

enum decode_layer decode_vntag(struct cursor *c)
{
	if (cursor_left(c) < 6)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += 6;
	return decode_to_ethertype(c, load16(c->at - 2));
}

/* IEEE 802.1BR: six octets of tag control */
enum decode_layer decode_etag(struct cursor *c)
{
	size_t tag = c->type == 0xf1c1 ? 4 : 6;

	if (cursor_left(c) < tag + 2)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += tag + 2;
	return decode_to_ethertype(c, load16(c->at - 2));
}
