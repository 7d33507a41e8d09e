/* catalogue: see catalogue.h.  A new header is a builder and a row here. */
#include "catalogue.h"

#include "pitot/packet.h"

/* 100 octets of UDP over IPv4: 128 octets of IP. */
static void udp4(struct fb *b)
{
	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	fb_ip4(b, SRC4, DST4);
}

static void udp6(struct fb *b)
{
	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	fb_ip6(b, SRC6, DST6);
}

static void tcp4(struct fb *b, uint16_t flags)
{
	fb_tcp(b, 40000, 443, flags);
	fb_ip4(b, SRC4, DST4);
}

static void ether_udp4(struct fb *b)
{
	udp4(b);
	fb_ether(b);
}

static void ether_udp6(struct fb *b)
{
	udp6(b);
	fb_ether(b);
}

static void ether_tcp4_syn_padded(struct fb *b)
{
	tcp4(b, 0x02);
	fb_ether(b);
	fb_pad(b, 6, 0xee); /* 60 octets: Ethernet's least */
}

static void ether_tcp4_all_flags(struct fb *b)
{
	tcp4(b, 0xfff);
	fb_ether(b);
}

static void ether_tcp6_rst(struct fb *b)
{
	fb_tcp(b, 40000, 443, 0x14);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void ether_sctp4(struct fb *b)
{
	fb_ports(b, 132, 7, 2905);
	fb_ip4(b, SRC4, DST4);
	fb_ether(b);
}

static void ether_dccp4(struct fb *b)
{
	fb_ports(b, 33, 5001, 5002);
	fb_ip4(b, SRC4, DST4);
	fb_ether(b);
}

static void ether_udplite6(struct fb *b)
{
	fb_ports(b, 136, 5003, 5004);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void ether_icmp4(struct fb *b)
{
	fb_icmp(b, 1, 3, 4);
	fb_ip4(b, SRC4, DST4);
	fb_ether(b);
}

static void ether_icmp6(struct fb *b)
{
	fb_icmp(b, 58, 128, 0);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void ether_gre4(struct fb *b)
{
	udp4(b);
	fb_put16(fb_push(b, 4) + 2, 0x0800);
	b->protocol = 47;
	fb_ip4(b, SRC4, DST4);
	fb_ether(b);
}

static void ether_esp6(struct fb *b)
{
	fb_payload(b, 24);
	b->protocol = 50;
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void ether_ipip(struct fb *b)
{
	udp4(b);
	fb_ip4(b, "203.0.113.1", "203.0.113.2");
	fb_ether(b);
}

static void ether_options(struct fb *b)
{
	fb_payload(b, 10);
	fb_udp(b, 1000, 53);
	fb_ip4_options(b, SRC4, DST4, 40);
	fb_ether(b);
}

static void vlan(struct fb *b)
{
	udp4(b);
	fb_vlan(b, 0x8100, 0x6007);
	fb_ether(b);
}

static void vlan_qinq(struct fb *b)
{
	udp6(b);
	fb_vlan(b, 0x8100, 7);
	fb_vlan(b, 0x88a8, 300);
	fb_ether(b);
}

static void vlan_9100(struct fb *b)
{
	udp4(b);
	fb_vlan(b, 0x8100, 7);
	fb_vlan(b, 0x9100, 301);
	fb_ether(b);
}

static void vlan_triple(struct fb *b)
{
	udp4(b);
	fb_vlan(b, 0x8100, 5);
	fb_vlan(b, 0x8100, 6);
	fb_vlan(b, 0x88a8, 4094);
	fb_ether(b);
}

static void mpls_ip4(struct fb *b)
{
	udp4(b);
	fb_mpls(b, 16, 1);
	fb_mpls(b, 17, 0);
	fb_mpls(b, 1048575, 0);
	fb_ether(b);
}

static void mpls_ip6(struct fb *b)
{
	udp6(b);
	fb_mpls(b, 2, 1);
	fb_ether(b);
	fb_put16(b->at + 12, 0x8848);
}

static void mpls_pseudowire(struct fb *b)
{
	udp4(b);
	fb_ether(b);
	fb_mpls(b, 18, 1);
	fb_ether(b);
}

static void mpls_pseudowire_cw(struct fb *b)
{
	udp4(b);
	fb_vlan(b, 0x8100, 9); /* of the customer; yet the outermost that there is */
	fb_ether(b);
	fb_control_word(b);
	fb_mpls(b, 18, 1);
	fb_ether(b);
}

static void pppoe_ip4(struct fb *b)
{
	udp4(b);
	fb_pppoe(b);
	fb_ether(b);
}

static void pppoe_ip6_vlan(struct fb *b)
{
	udp6(b);
	fb_pppoe(b);
	fb_vlan(b, 0x8100, 35);
	fb_ether(b);
}

static void pppoe_lcp(struct fb *b)
{
	fb_payload(b, 10);
	fb_pppoe(b);
	fb_ether(b);
}

static void pppoe_discovery(struct fb *b)
{
	fb_payload(b, 10);
	fb_pppoe(b);
	b->ether = 0x8863;
	b->at[1] = 9;
	fb_ether(b);
}

static void pppoe_bad(struct fb *b)
{
	udp4(b);
	fb_pppoe(b);
	b->at[0] = 0x21; /* version 2: there is none */
	fb_ether(b);
}

static void snap(struct fb *b)
{
	udp4(b);
	fb_snap(b);
	fb_ether(b);
}

static void stp(struct fb *b)
{
	uint8_t *p = fb_push(b, 38);

	p[0] = p[1] = 0x42;
	p[2] = 3;
	b->ether = 38;
	fb_ether(b);
}

static void arp(struct fb *b)
{
	fb_payload(b, 28);
	b->ether = 0x0806;
	fb_ether(b);
}

static void bad_version4(struct fb *b)
{
	udp4(b);
	b->at[0] = 0x65;
	fb_ether(b);
}

static void bad_version6(struct fb *b)
{
	udp6(b);
	b->at[0] = 0x45;
	fb_ether(b);
}

static void bad_header_length(struct fb *b)
{
	udp4(b);
	b->at[0] = 0x44;
	fb_ether(b);
}

static void bad_total_length(struct fb *b)
{
	udp4(b);
	fb_put16(b->at + 2, 19);
	fb_ether(b);
}

static void total_length_under_options(struct fb *b)
{
	fb_udp(b, 1, 2);
	fb_ip4_options(b, SRC4, DST4, 40);
	fb_put16(b->at + 2, 59);
	fb_ether(b);
}

static void cut_link(struct fb *b)
{
	fb_push(b, 13);
}

static void cut_vlan(struct fb *b)
{
	fb_payload(b, 3);
	b->ether = 0x8100;
	fb_ether(b);
}

static void cut_ip4(struct fb *b)
{
	fb_push(b, 19)[0] = 0x45;
	b->ether = 0x0800;
	fb_ether(b);
}

static void cut_ip6(struct fb *b)
{
	fb_push(b, 39)[0] = 0x60;
	b->ether = 0x86dd;
	fb_ether(b);
}

static void deep(struct fb *b)
{
	udp4(b);
	for (unsigned i = 0; i < 200; i++)
		fb_vlan(b, 0x8100, 7);
	fb_ether(b);
}

static void offload4(struct fb *b)
{
	fb_payload(b, 3000);
	tcp4(b, 0x18);
	fb_put16(b->at + 2, 0);
	fb_ether(b);
}

static void offload6(struct fb *b)
{
	fb_payload(b, 3000);
	fb_tcp(b, 40000, 443, 0x18);
	fb_ip6(b, SRC6, DST6);
	fb_put16(b->at + 4, 0);
	fb_ether(b);
}

static void length_beyond(struct fb *b)
{
	udp4(b);
	fb_put16(b->at + 2, 1500);
	fb_ether(b);
}

/* The ports are captured but lie outside the IP length: they are padding. */
static void ports_outside(struct fb *b)
{
	udp4(b);
	fb_put16(b->at + 2, 23);
	fb_ether(b);
}

static void tcp_flags_outside(struct fb *b)
{
	tcp4(b, 0x02);
	fb_put16(b->at + 2, 33);
	fb_ether(b);
}

static void icmp_outside(struct fb *b)
{
	fb_icmp(b, 1, 8, 0);
	fb_ip4(b, SRC4, DST4);
	fb_put16(b->at + 2, 21);
	fb_ether(b);
}

static void fragment4_first(struct fb *b)
{
	udp4(b);
	fb_ip4_fragment(b->at, 77, 0, 1);
	fb_ether(b);
}

static void fragment4_later(struct fb *b)
{
	udp4(b);
	fb_ip4_fragment(b->at, 77, 1480, 0);
	fb_ether(b);
}

static void fragment4_later_tcp(struct fb *b)
{
	tcp4(b, 0x02);
	fb_ip4_fragment(b->at, 77, 8, 1);
	fb_ether(b);
}

static void fragment4_dont(struct fb *b)
{
	udp4(b);
	fb_put16(b->at + 6, 0x4000); /* don't fragment is no fragment */
	fb_ether(b);
}

static void fragment6_first(struct fb *b)
{
	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	fb_fragment6(b, 77, 0, 1);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void fragment6_later(struct fb *b)
{
	fb_payload(b, 100);
	b->protocol = 17;
	fb_fragment6(b, 77, 1440, 0);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

/* The first of it began with destination options; this one holds the middle of anything. */
static void fragment6_later_ext(struct fb *b)
{
	fb_payload(b, 100);
	b->protocol = 60;
	fb_fragment6(b, 77, 1440, 0);
	fb_ext6(b, 0, 8);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void fragment6_atomic(struct fb *b)
{
	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	fb_fragment6(b, 77, 0, 0);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void extensions6(struct fb *b)
{
	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	fb_ext6(b, 60, 16);
	fb_ext6(b, 51, 24);
	fb_ext6(b, 43, 24);
	fb_ext6(b, 60, 8);
	fb_ext6(b, 0, 8);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void mobility6(struct fb *b)
{
	fb_payload(b, 16);
	b->protocol = 135;
	fb_ext6(b, 60, 8);
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void no_next6(struct fb *b)
{
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
	fb_pad(b, 6, 0);
}

/* A header chain that claims more than the IP length has. */
static void extensions6_beyond(struct fb *b)
{
	uint8_t *p;

	fb_udp(b, 1000, 53);
	p = fb_ext6(b, 60, 8);
	p[1] = 200;
	fb_ip6(b, SRC6, DST6);
	fb_ether(b);
}

static void jumbogram(struct fb *b)
{
	uint8_t *p;

	fb_payload(b, 100);
	fb_udp(b, 1000, 53);
	p = fb_ext6(b, 0, 8);
	p[2] = 0xc2;
	p[3] = 4;
	fb_put32(p + 4, 100000);
	fb_ip6(b, SRC6, DST6);
	fb_put16(b->at + 4, 0);
	fb_ether(b);
}

static void sll4(struct fb *b)
{
	udp4(b);
	fb_sll(b, 0);
}

static void sll6_vlan(struct fb *b)
{
	udp6(b);
	fb_vlan(b, 0x8100, 12);
	fb_sll(b, 4);
}

static void sll2_4(struct fb *b)
{
	udp4(b);
	fb_sll2(b, 0, 3);
}

static void sll2_6(struct fb *b)
{
	udp6(b);
	fb_sll2(b, 4, 3);
}

static void null4_little(struct fb *b)
{
	udp4(b);
	fb_null(b, 2, 0);
}

static void null4_big(struct fb *b)
{
	udp4(b);
	fb_null(b, 2, 1);
}

static void null6_freebsd(struct fb *b)
{
	udp6(b);
	fb_null(b, 28, 0);
}

static void null6_darwin(struct fb *b)
{
	udp6(b);
	fb_null(b, 30, 1);
}

static void null6_openbsd(struct fb *b)
{
	udp6(b);
	fb_null(b, 24, 1);
}

static void ppp4(struct fb *b)
{
	udp4(b);
	fb_ppp(b, 0);
}

static void ppp6_hdlc(struct fb *b)
{
	udp6(b);
	fb_ppp(b, 1);
}

static void ppp4_compressed(struct fb *b)
{
	udp4(b);
	fb_push(b, 1)[0] = 0x21;
}

static void ppp_mpls(struct fb *b)
{
	udp4(b);
	fb_mpls(b, 100, 1);
	fb_ppp(b, 1);
}

static void ppp_lcp(struct fb *b)
{
	fb_payload(b, 8);
	fb_ppp(b, 1);
}

static void ppp_ether4(struct fb *b)
{
	udp4(b);
	fb_pppoe(b);
}

#define METERED4(port1, port2, length) PACKET_METERED, 4, 17, port1, port2, length
#define METERED6(port1, port2, length) PACKET_METERED, 6, 17, port1, port2, length

const struct catalogue_frame catalogue[] = {
	{"ethernet, IPv4, UDP", 1, ether_udp4, METERED4(1000, 53, 128)},
	{"ethernet, IPv6, UDP", 1, ether_udp6, METERED6(1000, 53, 148)},
	{"TCP SYN with Ethernet padding", 1, ether_tcp4_syn_padded, PACKET_METERED, 4, 6, 40000, 443, 40,
	 .tcp_flags = 0x02},
	{"all TCP control bits", 1, ether_tcp4_all_flags, PACKET_METERED, 4, 6, 40000, 443, 40,
	 .tcp_flags = 0xfff},
	{"TCP over IPv6", 1, ether_tcp6_rst, PACKET_METERED, 6, 6, 40000, 443, 60, .tcp_flags = 0x14},
	{"SCTP", 1, ether_sctp4, PACKET_METERED, 4, 132, 7, 2905, 32},
	{"DCCP", 1, ether_dccp4, PACKET_METERED, 4, 33, 5001, 5002, 32},
	{"UDP-Lite", 1, ether_udplite6, PACKET_METERED, 6, 136, 5003, 5004, 52},
	{"ICMP", 1, ether_icmp4, PACKET_METERED, 4, 1, 0, 3 * 256 + 4, 28},
	{"ICMPv6", 1, ether_icmp6, PACKET_METERED, 6, 58, 0, 128 * 256, 48},
	{"GRE has no ports", 1, ether_gre4, PACKET_METERED, 4, 47, 0, 0, 152},
	{"ESP over IPv6 has no ports", 1, ether_esp6, PACKET_METERED, 6, 50, 0, 0, 64},
	{"IP in IP is the outer header's", 1, ether_ipip, PACKET_METERED, 4, 4, 0, 0, 148},
	{"IPv4 options", 1, ether_options, METERED4(1000, 53, 78)},

	{"802.1Q", 1, vlan, METERED4(1000, 53, 128), .vlan = 7},
	{"802.1ad over 802.1Q", 1, vlan_qinq, METERED6(1000, 53, 148), .vlan = 300},
	{"9100 over 802.1Q", 1, vlan_9100, METERED4(1000, 53, 128), .vlan = 301},
	{"three tags", 1, vlan_triple, METERED4(1000, 53, 128), .vlan = 4094},
	{"MPLS, three labels, IPv4", 1, mpls_ip4, METERED4(1000, 53, 128)},
	{"MPLS multicast type, IPv6", 1, mpls_ip6, METERED6(1000, 53, 148)},
	{"MPLS pseudowire", 1, mpls_pseudowire, METERED4(1000, 53, 128)},
	{"MPLS pseudowire with control word", 1, mpls_pseudowire_cw, METERED4(1000, 53, 128), .vlan = 9},
	{"PPPoE, IPv4", 1, pppoe_ip4, METERED4(1000, 53, 128)},
	{"PPPoE in a VLAN, IPv6", 1, pppoe_ip6_vlan, METERED6(1000, 53, 148), .vlan = 35},
	{"PPPoE, LCP", 1, pppoe_lcp, PACKET_NOT_IP},
	{"PPPoE discovery", 1, pppoe_discovery, PACKET_NOT_IP},
	{"PPPoE of no version", 1, pppoe_bad, PACKET_BAD_LINK},
	{"LLC/SNAP", 1, snap, METERED4(1000, 53, 128)},
	{"spanning tree", 1, stp, PACKET_NOT_IP},
	{"ARP", 1, arp, PACKET_NOT_IP},

	{"IPv4's type, version 6", 1, bad_version4, PACKET_BAD_VERSION},
	{"IPv6's type, version 4", 1, bad_version6, PACKET_BAD_VERSION},
	{"header length 16", 1, bad_header_length, PACKET_BAD_HEADER_LENGTH},
	{"total length 19", 1, bad_total_length, PACKET_BAD_TOTAL_LENGTH},
	{"total length ends in the options", 1, total_length_under_options, PACKET_BAD_TOTAL_LENGTH},
	{"13 octets of Ethernet", 1, cut_link, PACKET_CUT_LINK},
	{"3 octets of a tag", 1, cut_vlan, PACKET_CUT_LINK},
	{"19 octets of IPv4", 1, cut_ip4, PACKET_CUT_IP},
	{"39 octets of IPv6", 1, cut_ip6, PACKET_CUT_IP},
	{"200 tags", 1, deep, PACKET_TOO_DEEP},

	{"total length 0 by offload", 1, offload4, PACKET_METERED, 4, 6, 40000, 443, 3040, .tcp_flags = 0x18,
	 .notes = PACKET_NOTE_LENGTH_ZERO},
	{"payload length 0 by offload", 1, offload6, PACKET_METERED, 6, 6, 40000, 443, 3060,
	 .tcp_flags = 0x18, .notes = PACKET_NOTE_LENGTH_ZERO},
	{"longer than the frame", 1, length_beyond, METERED4(1000, 53, 1500),
	 .notes = PACKET_NOTE_LENGTH_BEYOND},
	{"ports outside the IP length", 1, ports_outside, METERED4(0, 0, 23),
	 .notes = PACKET_NOTE_CUT_TRANSPORT},
	{"TCP flags outside the IP length", 1, tcp_flags_outside, PACKET_METERED, 4, 6, 40000, 443, 33,
	 .notes = PACKET_NOTE_CUT_TRANSPORT},
	{"ICMP code outside the IP length", 1, icmp_outside, PACKET_METERED, 4, 1, 0, 0, 21,
	 .notes = PACKET_NOTE_CUT_TRANSPORT},
	{"jumbogram", 1, jumbogram, METERED6(1000, 53, 100040),
	 .notes = PACKET_NOTE_JUMBOGRAM | PACKET_NOTE_LENGTH_BEYOND},

	{"IPv4 first fragment", 1, fragment4_first, METERED4(1000, 53, 128),
	 .fragment = PACKET_FRAGMENT_FIRST},
	{"IPv4 last fragment", 1, fragment4_later, METERED4(0, 0, 128), .fragment = PACKET_FRAGMENT_LATER},
	{"IPv4 middle fragment", 1, fragment4_later_tcp, PACKET_METERED, 4, 6, 0, 0, 40,
	 .fragment = PACKET_FRAGMENT_LATER},
	{"IPv4 don't fragment", 1, fragment4_dont, METERED4(1000, 53, 128)},
	{"IPv6 first fragment", 1, fragment6_first, METERED6(1000, 53, 156),
	 .fragment = PACKET_FRAGMENT_FIRST},
	{"IPv6 last fragment", 1, fragment6_later, METERED6(0, 0, 148), .fragment = PACKET_FRAGMENT_LATER},
	{"IPv6 last fragment of options", 1, fragment6_later_ext, PACKET_METERED, 6, 60, 0, 0, 156,
	 .fragment = PACKET_FRAGMENT_LATER},
	{"IPv6 atomic fragment", 1, fragment6_atomic, METERED6(1000, 53, 156)},
	{"IPv6 extension headers", 1, extensions6, METERED6(1000, 53, 228)},
	{"IPv6 mobility", 1, mobility6, PACKET_METERED, 6, 135, 0, 0, 64},
	{"IPv6 no next header", 1, no_next6, PACKET_METERED, 6, 59, 0, 0, 40},
	{"IPv6 extension beyond the length", 1, extensions6_beyond, METERED6(0, 0, 56),
	 .notes = PACKET_NOTE_CUT_EXTENSIONS},

	{"SLL", 113, sll4, METERED4(1000, 53, 128)},
	{"SLL with a tag", 113, sll6_vlan, METERED6(1000, 53, 148), .vlan = 12},
	{"SLL2, IPv4", 276, sll2_4, METERED4(1000, 53, 128)},
	{"SLL2, IPv6", 276, sll2_6, METERED6(1000, 53, 148)},
	{"RAW, IPv4", 101, udp4, METERED4(1000, 53, 128)},
	{"RAW, IPv6", 101, udp6, METERED6(1000, 53, 148)},
	{"DLT_RAW 12", 12, udp4, METERED4(1000, 53, 128)},
	{"DLT_RAW 14", 14, udp6, METERED6(1000, 53, 148)},
	{"IPV4", 228, udp4, METERED4(1000, 53, 128)},
	{"IPV4 with IPv6 in it", 228, udp6, PACKET_BAD_VERSION},
	{"IPV6", 229, udp6, METERED6(1000, 53, 148)},
	{"IPV6 with IPv4 in it", 229, udp4, PACKET_BAD_VERSION},
	{"NULL, little-endian", 0, null4_little, METERED4(1000, 53, 128)},
	{"NULL, big-endian", 0, null4_big, METERED4(1000, 53, 128)},
	{"NULL, IPv6 28", 0, null6_freebsd, METERED6(1000, 53, 148)},
	{"NULL, IPv6 30", 0, null6_darwin, METERED6(1000, 53, 148)},
	{"LOOP, IPv4", 108, null4_big, METERED4(1000, 53, 128)},
	{"LOOP, IPv6 24", 108, null6_openbsd, METERED6(1000, 53, 148)},
	{"PPP", 9, ppp4, METERED4(1000, 53, 128)},
	{"PPP with address and control", 9, ppp6_hdlc, METERED6(1000, 53, 148)},
	{"PPP, compressed protocol", 9, ppp4_compressed, METERED4(1000, 53, 128)},
	{"PPP, MPLS", 9, ppp_mpls, METERED4(1000, 53, 128)},
	{"PPP, LCP", 9, ppp_lcp, PACKET_NOT_IP},
	{"PPP_SERIAL", 50, ppp6_hdlc, METERED6(1000, 53, 148)},
	{"PPP_ETHER", 51, ppp_ether4, METERED4(1000, 53, 128)},
};
const size_t catalogue_size = sizeof(catalogue) / sizeof(catalogue[0]);
