/*
 * Link types that are not Ethernet: Linux cooked, BSD loopback, PPP, Cisco HDLC, frame relay, netfilter log,
 * 802.11.
 */
#include <string.h>

#include "decode/decode_internal.h"
#include "pitot/cooked.h"

enum { ARPHRD_ETHERNET = 1, ARPHRD_NETLINK = 824 };

/* Types below 0x600 in cooked captures: 1 = 802.3 frame without its header, 4 = LLC */
static enum decode_layer link_cooked_type(struct cursor *c, uint16_t arphrd, uint16_t type)
{
	if (arphrd == ARPHRD_NETLINK)
		return decode_stop(c, PACKET_NOT_IP);
	c->cooked = true;
	if (type >= 0x600) {
		c->at += cooked_rest_of_tags(type, c->at, cursor_left(c), cursor_wire_left(c));
		return decode_to_ethertype(c, type);
	}
	return type == 4 ? LAYER_LLC : decode_stop(c, PACKET_NOT_IP);
}

static void link_cooked_source(struct cursor *c, const uint8_t mac[6])
{
	if (c->decoder->link_at)
		memcpy(decode_link_block(c->decoder, c->packet)->src_mac, mac, 6);
}

static void link_cooked_direction(struct cursor *c, uint8_t packet_type, uint32_t ifindex)
{
	struct packet *p = c->packet;
	bool out = packet_type == 4; /* PACKET_OUTGOING */

	if (packet_type > 4)
		return;
	p->direction = out ? FLOW_DIRECTION_EGRESS : FLOW_DIRECTION_INGRESS;
	p->ingress = out ? 0 : ifindex;
	p->egress = out ? ifindex : 0;
}

enum decode_layer decode_unknown(struct cursor *c)
{
	return decode_stop(c, PACKET_UNKNOWN_LINK);
}

/* LINKTYPE_LINUX_SLL */
enum decode_layer decode_sll(struct cursor *c)
{
	const uint8_t *p = c->at;

	if (cursor_left(c) < 16)
		return decode_stop(c, PACKET_CUT_LINK);
	if (load16(p + 2) == ARPHRD_ETHERNET && load16(p + 4) == 6)
		link_cooked_source(c, p + 6);
	link_cooked_direction(c, load16(p) > 255 ? 255 : (uint8_t)load16(p), 0);
	c->at += 16;
	return link_cooked_type(c, load16(p + 2), load16(p + 14));
}

/* LINKTYPE_LINUX_SLL2 */
enum decode_layer decode_sll2(struct cursor *c)
{
	const uint8_t *p = c->at;

	if (cursor_left(c) < 20)
		return decode_stop(c, PACKET_CUT_LINK);
	if (load16(p + 8) == ARPHRD_ETHERNET && p[11] == 6)
		link_cooked_source(c, p + 12);
	link_cooked_direction(c, p[10], load32(p + 4));
	/* frames of all interfaces together: each is an observation point.  24 bits of its index tell them
	 * apart */
	c->packet->key.point = (uint16_t)load32(p + 4);
	c->packet->key.point_high = p[5];
	c->at += 20;
	return link_cooked_type(c, load16(p + 8), load16(p));
}

/* BSD address families: AF_INET is 2 everywhere, AF_INET6 is 24, 28 or 30; LAYER_DONE: another number */
static enum decode_layer link_family_layer(uint32_t family)
{
	switch (family) {
	case 2:
		return LAYER_IP4;
	case 24:
	case 28:
	case 30:
		return LAYER_IP6;
	default:
		return LAYER_DONE;
	}
}

/* Some systems put an EtherType where others have the family: in the last two octets. */
static enum decode_layer link_family_ethertype(struct cursor *c, uint32_t value)
{
	uint16_t type = (uint16_t)value;

	return type >= 0x600 ? decode_to_ethertype(c, type) : decode_stop(c, PACKET_NOT_IP);
}

/* LINKTYPE_NULL: the family in the byte order of the capturing host, which the file does not tell */
enum decode_layer decode_null(struct cursor *c)
{
	enum decode_layer layer;
	uint32_t big, little;

	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	big = load32(c->at);
	little = __builtin_bswap32(big);
	c->at += 4;
	layer = link_family_layer(big);
	if (layer == LAYER_DONE)
		layer = link_family_layer(little);
	if (layer != LAYER_DONE)
		return layer;
	return link_family_ethertype(c, (little & 0xffff0000) == 0 ? little : big);
}

/* LINKTYPE_LOOP: the family in network byte order */
enum decode_layer decode_loop(struct cursor *c)
{
	enum decode_layer layer;

	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += 4;
	layer = link_family_layer(load32(c->at - 4));
	return layer != LAYER_DONE ? layer : link_family_ethertype(c, load32(c->at - 4));
}

/* RFC 1661 §2, RFC 1662 §3.1; the protocol field may be compressed to one octet (odd) */
enum decode_layer decode_ppp(struct cursor *c)
{
	uint16_t protocol;

	if (cursor_left(c) < 2)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] & 1) {
		protocol = c->at[0];
		c->at += 1;
	} else {
		protocol = load16(c->at);
		c->at += 2;
	}
	switch (protocol) {
	case 0x0021:
		return LAYER_IP4;
	case 0x0057:
		return LAYER_IP6;
	case 0x0281:
	case 0x0283:
		return LAYER_MPLS;
	default:
		return decode_stop(c, PACKET_NOT_IP);
	}
}

/* PPP in HDLC-like framing; address and control may be compressed away; Cisco HDLC is told by its address */
enum decode_layer decode_ppp_hdlc(struct cursor *c)
{
	if (cursor_left(c) < 2)
		return decode_stop(c, PACKET_CUT_LINK);
	if (c->at[0] == 0x0f || c->at[0] == 0x8f)
		return LAYER_CHDLC;
	if (c->at[0] == 0xff && c->at[1] == 0x03)
		c->at += 2;
	return LAYER_PPP;
}

enum decode_layer decode_chdlc(struct cursor *c)
{
	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += 4;
	return decode_to_ethertype(c, load16(c->at - 2));
}

/* LINKTYPE_FRELAY: a Q.922 address, then RFC 2427 §4 or Cisco's Ethernet type */
enum decode_layer decode_frelay(struct cursor *c)
{
	const uint8_t *p = c->at;

	for (unsigned i = 0; i < 4; i++) {
		if (p >= c->end)
			return decode_stop(c, PACKET_CUT_LINK);
		if (*p++ & 1)
			break;
	}
	if (c->end - p < 2)
		return decode_stop(c, PACKET_CUT_LINK);
	if (p[0] != 0x03) { /* Cisco encapsulation */
		c->at = p + 2;
		return decode_to_ethertype(c, load16(p));
	}
	p += p[1] == 0 ? 2 : 1; /* padding before the NLPID */
	if (c->end - p < 1)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at = p + 1;
	switch (p[0]) {
	case 0xcc:
		return LAYER_IP4;
	case 0x8e:
		return LAYER_IP6;
	case 0x80: /* SNAP: OUI and type */
		if (c->end - p < 6)
			return decode_stop(c, PACKET_CUT_LINK);
		c->at = p + 6;
		return p[1] || p[2] || p[3] ? decode_stop(c, PACKET_NOT_IP)
					    : decode_to_ethertype(c, load16(p + 4));
	default:
		return decode_stop(c, PACKET_NOT_IP);
	}
}

/* LINKTYPE_NFLOG: a family, then type-length-value items in host byte order; item 9 is the packet */
enum decode_layer decode_nflog(struct cursor *c)
{
	uint8_t family;

	if (cursor_left(c) < 4)
		return decode_stop(c, PACKET_CUT_LINK);
	family = c->at[0];
	c->at += 4;
	while (cursor_left(c) >= 4) {
		/* in the byte order of the host that captured: the one that gives a length that fits */
		size_t little = (size_t)(c->at[0] | c->at[1] << 8), big = load16(c->at);
		bool swapped = little < 4 || little > cursor_left(c);
		size_t length = swapped ? big : little;
		unsigned type = swapped ? load16(c->at + 2) : (unsigned)(c->at[2] | c->at[3] << 8);

		if (length < 4)
			return decode_stop(c, PACKET_BAD_LINK);
		if ((type & 0x7fff) == 9) {
			c->at += 4;
			return family == 2 || family == 10 ? LAYER_IP : decode_stop(c, PACKET_NOT_IP);
		}
		length = (length + 3) & ~(size_t)3;
		if (length > cursor_left(c))
			return decode_stop(c, PACKET_CUT_LINK);
		c->at += length;
	}
	return decode_stop(c, PACKET_CUT_LINK);
}

/* LINKTYPE_IEEE802_11_RADIOTAP: little-endian length at 2 */
enum decode_layer decode_radiotap(struct cursor *c)
{
	size_t length;

	if (cursor_left(c) < 8)
		return decode_stop(c, PACKET_CUT_LINK);
	length = (size_t)(c->at[2] | c->at[3] << 8);
	if (length < 8)
		return decode_stop(c, PACKET_BAD_LINK);
	if (length > cursor_left(c))
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += length;
	return LAYER_80211;
}

/* IEEE 802.11 §9.2.4: data frames that are not encrypted carry LLC */
enum decode_layer decode_80211(struct cursor *c)
{
	size_t header = 24;
	uint8_t control, flags;

	if (cursor_left(c) < header)
		return decode_stop(c, PACKET_CUT_LINK);
	control = c->at[0];
	flags = c->at[1];
	if ((control & 0x0c) != 0x08 || (control & 0x40) || (flags & 0x40)) /* not data, no data, protected */
		return decode_stop(c, PACKET_NOT_IP);
	if ((flags & 0x03) == 0x03)
		header += 6;
	if (control & 0x80) {
		header += 2;
		if (flags & 0x80) /* HT control */
			header += 4;
	}
	if (cursor_left(c) < header)
		return decode_stop(c, PACKET_CUT_LINK);
	c->at += header;
	return LAYER_LLC;
}
