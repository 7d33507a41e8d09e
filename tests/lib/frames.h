/*
 * frames: builds frames for tests, from the inside out.
 *
 * A frame grows at its front: the payload first, then the transport header, the network header, what is
 * below.  So every length field is known when its header is put, and "what the next header is" is known too:
 *
 *     struct fb b;
 *     fb_init(&b);
 *     fb_payload(&b, 100);
 *     fb_udp(&b, 1000, 53);
 *     fb_ip4(&b, "10.0.0.1", "10.0.0.2");
 *     fb_vlan(&b, 0x8100, 7);
 *     fb_ether(&b);
 *
 * It shares no code with the decoders.
 */
#ifndef TEST_FRAMES_H
#define TEST_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#define FB_SIZE 70000

struct fb {
	uint8_t room[FB_SIZE];
	uint8_t *at; /* first octet of the frame */
	size_t len;
	uint16_t ether;	  /* EtherType of what is in front now */
	uint8_t protocol; /* IP protocol number of what is in front now */
};

void fb_init(struct fb *b);
/* n octets more at the front; they are zero. */
uint8_t *fb_push(struct fb *b, size_t n);
/* n octets more at the end: padding, trailers. */
void fb_pad(struct fb *b, size_t n, uint8_t value);
void fb_payload(struct fb *b, size_t n);

/*
 * Hexadecimal digits as octets; blanks do not count, and . stands for two MAC addresses, 02 03 to 0d.  Their
 * number.
 */
size_t fb_octets(uint8_t *out, const char *text);

void fb_put16(uint8_t *p, unsigned v);
void fb_put32(uint8_t *p, uint32_t v);

/* Transport. */
void fb_udp(struct fb *b, uint16_t sport, uint16_t dport);
void fb_tcp(struct fb *b, uint16_t sport, uint16_t dport, uint16_t flags);
/* Any protocol whose header begins with two ports: SCTP (132), DCCP (33), UDP-Lite (136). */
void fb_ports(struct fb *b, uint8_t protocol, uint16_t sport, uint16_t dport);
void fb_icmp(struct fb *b, uint8_t protocol, uint8_t type, uint8_t code);

/* Network.  The header is returned, to be changed by the test. */
uint8_t *fb_ip4(struct fb *b, const char *src, const char *dst);
uint8_t *fb_ip4_options(struct fb *b, const char *src, const char *dst, unsigned option_octets);
uint8_t *fb_ip6(struct fb *b, const char *src, const char *dst);
void fb_ip4_fragment(uint8_t *ip4, uint16_t id, unsigned offset_octets, int more);
/* Extension header of `octets` octets (a multiple of 8; of 4 for AH) in front of what is there. */
uint8_t *fb_ext6(struct fb *b, uint8_t type, unsigned octets);
uint8_t *fb_fragment6(struct fb *b, uint32_t id, unsigned offset_octets, int more);

/* Between link and network. */
void fb_vlan(struct fb *b, uint16_t tpid, uint16_t tci);
void fb_mpls(struct fb *b, uint32_t label, int bottom);
void fb_control_word(struct fb *b);
void fb_pppoe(struct fb *b); /* with its PPP protocol number */
void fb_snap(struct fb *b);  /* LLC/SNAP; the frame's type becomes its length */

/* Link. */
void fb_ether(struct fb *b);
void fb_sll(struct fb *b, uint16_t packet_type);
void fb_sll2(struct fb *b, uint8_t packet_type, uint32_t ifindex);
void fb_null(struct fb *b, uint32_t family, int big_endian);
void fb_ppp(struct fb *b, int address_control);

#endif
