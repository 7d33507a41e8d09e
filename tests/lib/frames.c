/* frames: see frames.h. */
#include "frames.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FB_TAIL 256 /* room for what fb_pad() puts behind */

void fb_init(struct fb *b)
{
	memset(b->room, 0, sizeof(b->room));
	b->at = b->room + FB_SIZE - FB_TAIL;
	b->len = 0;
	b->ether = 0;
	b->protocol = 59; /* no next header */
}

uint8_t *fb_push(struct fb *b, size_t n)
{
	if ((size_t)(b->at - b->room) < n)
		abort();
	b->at -= n;
	b->len += n;
	memset(b->at, 0, n);
	return b->at;
}

void fb_pad(struct fb *b, size_t n, uint8_t value)
{
	if (b->at + b->len + n > b->room + FB_SIZE)
		abort();
	memset(b->at + b->len, value, n);
	b->len += n;
}

void fb_payload(struct fb *b, size_t n)
{
	uint8_t *p = fb_push(b, n);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(0xa0 + i);
}

size_t fb_octets(uint8_t *out, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		unsigned value;

		if (*text == ' ')
			continue;
		if (*text == '.') {
			for (unsigned i = 0; i < 12; i++)
				out[n++] = (uint8_t)(2 + i);
			continue;
		}
		if (sscanf(text, "%2x", &value) != 1)
			abort();
		out[n++] = (uint8_t)value;
		text++;
	}
	return n;
}

void fb_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void fb_put32(uint8_t *p, uint32_t v)
{
	fb_put16(p, v >> 16);
	fb_put16(p + 2, v & 0xffff);
}

void fb_udp(struct fb *b, uint16_t sport, uint16_t dport)
{
	uint8_t *p = fb_push(b, 8);

	fb_put16(p, sport);
	fb_put16(p + 2, dport);
	fb_put16(p + 4, (unsigned)b->len);
	b->protocol = 17;
}

void fb_tcp(struct fb *b, uint16_t sport, uint16_t dport, uint16_t flags)
{
	uint8_t *p = fb_push(b, 20);

	fb_put16(p, sport);
	fb_put16(p + 2, dport);
	fb_put32(p + 4, 0x01020304);
	fb_put16(p + 12, 5u << 12 | (flags & 0x0fffu));
	fb_put16(p + 14, 65535);
	b->protocol = 6;
}

void fb_ports(struct fb *b, uint8_t protocol, uint16_t sport, uint16_t dport)
{
	uint8_t *p = fb_push(b, 12);

	fb_put16(p, sport);
	fb_put16(p + 2, dport);
	b->protocol = protocol;
}

void fb_icmp(struct fb *b, uint8_t protocol, uint8_t type, uint8_t code)
{
	uint8_t *p = fb_push(b, 8);

	p[0] = type;
	p[1] = code;
	b->protocol = protocol;
}

uint8_t *fb_ip4_options(struct fb *b, const char *src, const char *dst, unsigned option_octets)
{
	uint8_t *p = fb_push(b, 20 + option_octets);

	p[0] = (uint8_t)(0x40 | (5 + option_octets / 4));
	p[1] = 0x28;
	fb_put16(p + 2, (unsigned)b->len);
	fb_put16(p + 4, 0x1234);
	p[8] = 61;
	p[9] = b->protocol;
	if (inet_pton(AF_INET, src, p + 12) != 1 || inet_pton(AF_INET, dst, p + 16) != 1)
		abort();
	memset(p + 20, 1, option_octets); /* no operation */
	b->ether = 0x0800;
	b->protocol = 4;
	return p;
}

uint8_t *fb_ip4(struct fb *b, const char *src, const char *dst)
{
	return fb_ip4_options(b, src, dst, 0);
}

void fb_ip4_fragment(uint8_t *ip4, uint16_t id, unsigned offset_octets, int more)
{
	fb_put16(ip4 + 4, id);
	fb_put16(ip4 + 6, (more ? 0x2000u : 0) | offset_octets / 8);
}

uint8_t *fb_ip6(struct fb *b, const char *src, const char *dst)
{
	size_t payload = b->len;
	uint8_t *p = fb_push(b, 40);

	fb_put32(p, 0x62812345); /* traffic class 0x28, flow label 0x12345 */
	fb_put16(p + 4, (unsigned)payload);
	p[6] = b->protocol;
	p[7] = 62;
	if (inet_pton(AF_INET6, src, p + 8) != 1 || inet_pton(AF_INET6, dst, p + 24) != 1)
		abort();
	b->ether = 0x86dd;
	b->protocol = 41;
	return p;
}

uint8_t *fb_ext6(struct fb *b, uint8_t type, unsigned octets)
{
	uint8_t *p = fb_push(b, octets);

	p[0] = b->protocol;
	p[1] = (uint8_t)(type == 51 ? octets / 4 - 2 : octets / 8 - 1);
	if (type == 0 || type == 60) { /* one PadN over the rest */
		p[2] = 1;
		p[3] = (uint8_t)(octets - 4);
	}
	b->protocol = type;
	return p;
}

uint8_t *fb_fragment6(struct fb *b, uint32_t id, unsigned offset_octets, int more)
{
	uint8_t *p = fb_push(b, 8);

	p[0] = b->protocol;
	fb_put16(p + 2, (offset_octets & 0xfff8u) | (more ? 1 : 0));
	fb_put32(p + 4, id);
	b->protocol = 44;
	return p;
}

void fb_vlan(struct fb *b, uint16_t tpid, uint16_t tci)
{
	uint8_t *p = fb_push(b, 4);

	fb_put16(p, tci);
	fb_put16(p + 2, b->ether);
	b->ether = tpid;
}

void fb_mpls(struct fb *b, uint32_t label, int bottom)
{
	uint8_t *p = fb_push(b, 4);

	fb_put32(p, label << 12 | (bottom ? 0x100u : 0) | 64);
	b->ether = 0x8847;
}

void fb_control_word(struct fb *b)
{
	fb_put32(fb_push(b, 4), 7); /* first nibble 0, sequence number 7 */
}

static unsigned fb_ppp_number(const struct fb *b)
{
	return b->ether == 0x0800   ? 0x0021
	       : b->ether == 0x86dd ? 0x0057
	       : b->ether == 0x8847 ? 0x0281
				    : 0xc021;
}

void fb_pppoe(struct fb *b)
{
	size_t payload = b->len + 2;
	uint8_t *p = fb_push(b, 8);

	p[0] = 0x11;
	fb_put16(p + 2, 0x0bad);
	fb_put16(p + 4, (unsigned)payload);
	fb_put16(p + 6, fb_ppp_number(b));
	b->ether = 0x8864;
}

void fb_snap(struct fb *b)
{
	uint8_t *p = fb_push(b, 8);

	p[0] = p[1] = 0xaa;
	p[2] = 3;
	fb_put16(p + 6, b->ether);
	b->ether = (uint16_t)b->len;
}

void fb_ether(struct fb *b)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	uint8_t *p = fb_push(b, 14);

	memcpy(p, macs, 12);
	fb_put16(p + 12, b->ether);
}

void fb_sll(struct fb *b, uint16_t packet_type)
{
	uint8_t *p = fb_push(b, 16);

	fb_put16(p, packet_type);
	fb_put16(p + 2, 1);
	fb_put16(p + 4, 6);
	fb_put16(p + 14, b->ether);
}

void fb_sll2(struct fb *b, uint8_t packet_type, uint32_t ifindex)
{
	uint8_t *p = fb_push(b, 20);

	fb_put16(p, b->ether);
	fb_put32(p + 4, ifindex);
	fb_put16(p + 8, 1);
	p[10] = packet_type;
	p[11] = 6;
}

void fb_null(struct fb *b, uint32_t family, int big_endian)
{
	uint8_t *p = fb_push(b, 4);

	fb_put32(p, big_endian ? family : __builtin_bswap32(family));
}

void fb_ppp(struct fb *b, int address_control)
{
	fb_put16(fb_push(b, 2), fb_ppp_number(b));
	if (address_control)
		fb_put16(fb_push(b, 2), 0xff03);
}
