/*
 * Tunnels: each with IPv4 and IPv6 inside, cut at every octet, chosen and not; what stays the tunnel's and
 * why.  Covers decode/decode_tunnel.c, decode/decode_gre.c, decode/decode_overlay.c, decode/decode_access.c,
 * decode/decode_l2tpv3.c.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <string.h>

#include "exact.h"
#include "frames.h"
#include "pitot/decode.h"

enum { ALL = -1 };
#define BIT(name)  (1 << TUNNEL_##name)
#define FAIL(note) PACKET_NOTE_TUNNEL_##note

/*
 * What stands between the outer header and the inner one, as hexadecimal digits; . stands for two MAC
 * addresses.  inner is 4 or 6 for a UDP packet, 0 for 60 octets of zeros.
 */
struct tunnel_case {
	const char *name;
	int tunnels; /* that open it: without any one of these it stays closed; 0: none does */
	int outer;   /* 4 or 6 */
	uint8_t protocol;
	const char *octets;
	int inner;
	unsigned note; /* why it is the tunnel's; 0: it is opened */
	uint16_t port; /* UDP: the destination */
};

static const struct tunnel_case cases[] = {
	{"4in4", BIT(4IN4), 4, 4, "", 4, 0, 0},
	{"6in4", BIT(6IN4), 4, 41, "", 6, 0, 0},
	{"4in6", BIT(4IN6), 6, 4, "", 4, 0, 0},
	{"6in6", BIT(6IN6), 6, 41, "", 6, 0, 0},
	{"6in4 with IPv4 in it", BIT(6IN4), 4, 41, "", 4, FAIL(BAD), 0},
	{"GRE", BIT(GRE), 4, 47, "0000 0800", 4, 0, 0},
	{"GRE over IPv6", BIT(GRE), 6, 47, "0000 86dd", 6, 0, 0},
	{"GRE, checksum", BIT(GRE), 4, 47, "8000 0800 12340000", 4, 0, 0},
	{"GRE, key", BIT(GRE), 4, 47, "2000 86dd 00000007", 6, 0, 0},
	{"GRE, sequence", BIT(GRE), 4, 47, "1000 0800 00000007", 4, 0, 0},
	{"GRE, all three", BIT(GRE), 4, 47, "b000 0800 12340000 00000007 00000001", 4, 0, 0},
	{"GRE, source routes", BIT(GRE), 4, 47, "4000 0800 12340000 08000004 0a000001 00000000", 4, 0, 0},
	{"GRE, source routes without an end", BIT(GRE), 4, 47, "4000 0800 12340000 080000ff 0a000001", 0,
	 FAIL(CUT), 0},
	{"GRE, Ethernet", BIT(GRE), 4, 47, "0000 6558 . 0800", 4, 0, 0},
	{"GRE, NVGRE with a tag", BIT(GRE), 4, 47, "2000 6558 00123400 . 8100 0007 86dd", 6, 0, 0},
	{"GRE, MPLS", BIT(GRE), 4, 47, "0000 8847 00011140", 4, 0, 0},
	{"GRE, PPP", BIT(GRE), 4, 47, "0000 880b ff03 0021", 4, 0, 0},
	{"GRE, WCCP", BIT(GRE), 4, 47, "0000 883e", 4, 0, 0},
	{"GRE, WCCP version 2", BIT(GRE), 4, 47, "0000 883e 00010203", 4, 0, 0},
	{"GRE, keepalive", BIT(GRE), 4, 47, "0000 0000", 0, FAIL(NOT_IP), 0},
	{"GRE, ARP in Ethernet", BIT(GRE), 4, 47, "0000 6558 . 0806", 0, FAIL(NOT_IP), 0},
	{"GRE, version 2", BIT(GRE), 4, 47, "0002 0800", 4, FAIL(BAD), 0},
	{"PPTP", BIT(PPTP), 4, 47, "3001 880b 00240005 00000001 ff03 0021", 4, 0, 0},
	{"PPTP, acknowledging", BIT(PPTP), 4, 47, "3081 880b 00240005 00000001 00000002 21", 4, 0, 0},
	{"PPTP, acknowledgment alone", BIT(PPTP), 4, 47, "2081 880b 00000005 00000002", 0, FAIL(NOT_IP), 0},
	{"PPTP, another protocol", BIT(PPTP), 4, 47, "3001 0800 00240005 00000001", 4, FAIL(BAD), 0},
	{"ERSPAN I", BIT(ERSPAN), 4, 47, "0000 88be . 0800", 4, 0, 0},
	{"ERSPAN II", BIT(ERSPAN), 4, 47, "1000 88be 00000001 1001 0064 00000002 . 8100 0003 0800", 4, 0, 0},
	{"ERSPAN II of another version", BIT(ERSPAN), 4, 47, "1000 88be 00000001 3001 0064 00000002 . 0800",
	 4, FAIL(BAD), 0},
	{"ERSPAN III", BIT(ERSPAN), 4, 47, "1000 22eb 00000001 2001 0064 00000002 0000 0000 . 86dd", 6, 0, 0},
	{"ERSPAN III of another version", BIT(ERSPAN), 4, 47,
	 "1000 22eb 00000001 1001 0064 00000002 0000 0000 . 86dd", 6, FAIL(BAD), 0},
	{"ERSPAN III, subheader", BIT(ERSPAN), 4, 47,
	 "1000 22eb 00000001 2001 0064 00000002 0000 0001 0102030405060708 . 0800", 4, 0, 0},
	{"ERSPAN III, IP", BIT(ERSPAN), 4, 47, "1000 22eb 00000001 2001 0064 00000002 0000 0800", 4, 0, 0},
	{"ERSPAN III, something else", BIT(ERSPAN), 4, 47, "1000 22eb 00000001 2001 0064 00000002 0000 1c00",
	 4, FAIL(NOT_IP), 0},
	{"VXLAN", BIT(VXLAN), 4, 17, "08000000 00002a00 . 0800", 4, 0, 4789},
	{"VXLAN over IPv6", BIT(VXLAN), 6, 17, "08000000 00002a00 . 86dd", 6, 0, 4789},
	{"VXLAN, a tag inside", BIT(VXLAN), 4, 17, "88000001 00002a00 . 8100 0007 0800", 4, 0, 4789},
	{"VXLAN without a network", BIT(VXLAN), 4, 17, "00000000 00002a00 . 0800", 4, FAIL(BAD), 4789},
	{"VXLAN, ARP", BIT(VXLAN), 4, 17, "08000000 00002a00 . 0806", 0, FAIL(NOT_IP), 4789},
	{"VXLAN on another port", 0, 4, 17, "08000000 00002a00 . 0800", 4, 0, 8472},
	{"VXLAN-GPE, IPv4", BIT(VXLAN_GPE), 4, 17, "0c000001 00002a00", 4, 0, 4790},
	{"VXLAN-GPE, IPv6", BIT(VXLAN_GPE), 4, 17, "0c000002 00002a00", 6, 0, 4790},
	{"VXLAN-GPE, Ethernet", BIT(VXLAN_GPE), 4, 17, "0c000003 00002a00 . 0800", 4, 0, 4790},
	{"VXLAN-GPE, NSH", BIT(VXLAN_GPE), 4, 17, "0c000004 00002a00 0fc2 0101 00000001", 4, 0, 4790},
	{"VXLAN-GPE, MPLS", BIT(VXLAN_GPE), 4, 17, "0c000005 00002a00 00011140", 4, 0, 4790},
	{"VXLAN-GPE, no number", BIT(VXLAN_GPE), 4, 17, "08000000 00002a00 . 0800", 4, 0, 4790},
	{"VXLAN-GPE, something else", BIT(VXLAN_GPE), 4, 17, "0c0000ff 00002a00", 4, FAIL(NOT_IP), 4790},
	{"VXLAN-GPE of another version", BIT(VXLAN_GPE), 4, 17, "1c000001 00002a00", 4, FAIL(BAD), 4790},
	{"Geneve", BIT(GENEVE), 4, 17, "0000 6558 00002a00 . 0800", 4, 0, 6081},
	{"Geneve, options and IPv6", BIT(GENEVE), 6, 17, "0200 86dd 00002a00 0102030405060708", 6, 0, 6081},
	{"Geneve, options beyond the frame", BIT(GENEVE), 4, 17, "3f00 6558 00002a00", 0, FAIL(CUT), 6081},
	{"Geneve of another version", BIT(GENEVE), 4, 17, "4000 6558 00002a00 . 0800", 4, FAIL(BAD), 6081},
	{"GTP-U", BIT(GTP_U), 4, 17, "30ff 0020 00000007", 4, 0, 2152},
	{"GTP-U, IPv6 in IPv6", BIT(GTP_U), 6, 17, "30ff 0020 00000007", 6, 0, 2152},
	{"GTP-U, sequence", BIT(GTP_U), 4, 17, "32ff 0020 00000007 00010000", 4, 0, 2152},
	{"GTP-U, extensions", BIT(GTP_U), 4, 17, "34ff 0020 00000007 00000085 01100340 02010203 04050600", 4,
	 0, 2152},
	{"GTP-U, an extension of no length", BIT(GTP_U), 4, 17, "34ff 0020 00000007 00000085 00100300", 4,
	 FAIL(CUT), 2152},
	{"GTP-U, PPP", BIT(GTP_U), 4, 17, "30ff 0020 00000007 ff03 0021", 4, 0, 2152},
	{"GTP-U, echo", BIT(GTP_U), 4, 17, "3201 0004 00000000 00010000", 0, FAIL(NOT_IP), 2152},
	{"GTP of another version", BIT(GTP_U), 4, 17, "48ff 0020 00000007", 4, FAIL(BAD), 2152},
	{"L2TP", BIT(L2TP), 4, 17, "0002 00010002 ff03 0021", 4, 0, 1701},
	{"L2TP, everything there can be", BIT(L2TP), 4, 17, "4a02 0050 00010002 00030004 0002 eeee 0057", 6,
	 0, 1701},
	{"L2TP, control", BIT(L2TP), 4, 17, "c802 0014 00010000 00000000", 0, FAIL(NOT_IP), 1701},
	{"L2TP version 3", BIT(L2TP), 4, 17, "0003 0000 00000001", 0, FAIL(NOT_IP), 1701},
	{"L2TPv3, a sublayer", BIT(L2TPV3), 4, 115, "00000007 00000000 . 0800", 4, 0, 0},
	{"L2TPv3, neither cookie nor sublayer", BIT(L2TPV3), 6, 115, "00000007 . 86dd", 6, 0, 0},
	{"L2TPv3, a long cookie", BIT(L2TPV3), 4, 115, "00000007 0102030405060708 . 8100 0007 0800", 4, 0, 0},
	{"L2TPv3, a long cookie and a sublayer", BIT(L2TPV3), 4, 115,
	 "00000007 0102030405060708 40000001 . 86dd", 6, 0, 0},
	{"L2TPv3, ARP", BIT(L2TPV3), 4, 115, "00000007 00000000 . 0806", 0, FAIL(NOT_IP), 0},
	{"L2TPv3, control", BIT(L2TPV3), 4, 115, "00000000 c803 0014 00000007 0000 0000", 0, FAIL(NOT_IP), 0},
	{"L2TPv3, something else", BIT(L2TPV3), 4, 115, "00000007 ff03 0021", 0, FAIL(NOT_IP), 0},
	{"Teredo", BIT(TEREDO), 4, 17, "", 6, 0, 3544},
	{"Teredo, origin", BIT(TEREDO), 4, 17, "0000 1234 c0000201", 6, 0, 3544},
	{"Teredo, authentication and origin", BIT(TEREDO), 4, 17,
	 "0001 02 01 6162 63 0102030405060708 00 0000 1234 c0000201", 6, 0, 3544},
	{"Teredo, something else", BIT(TEREDO), 4, 17, "7777", 0, FAIL(BAD), 3544},
	{"Teredo's port over IPv6", 0, 6, 17, "", 6, 0, 3544},
	{"MPLS in UDP", BIT(MPLS_UDP), 4, 17, "00011040 00022140", 6, 0, 6635},
	{"MPLS in IP", BIT(MPLS_IP), 4, 137, "00011140", 4, 0, 0},
	{"EtherIP", BIT(ETHERIP), 4, 97, "3000 . 0800", 4, 0, 0},
	{"EtherIP of another version", BIT(ETHERIP), 4, 97, "4000 . 0800", 4, FAIL(BAD), 0},
	{"Ethernet in IPv6", BIT(ETHERIP), 6, 143, ". 0800", 4, 0, 0},
	{"Ethernet in IPv4", 0, 4, 143, ". 0800", 4, 0, 0},
	{"AH, tunnel mode", BIT(AH), 4, 51, "04 04 0000 00000001 00000002 010203040506070809101112", 4, 0, 0},
	{"AH, tunnel mode, IPv6", BIT(AH), 4, 51, "29 01 0000 00000001 00000002", 6, 0, 0},
	{"AH, transport mode", BIT(AH), 4, 51, "11 04 0000 00000001 00000002 010203040506070809101112", 0,
	 FAIL(NOT_IP), 0},
	{"AH shorter than its base", BIT(AH), 4, 51, "04 00 0000 00000001 00000002", 4, FAIL(BAD), 0},
	{"UDP", 0, 4, 17, "", 4, 0, 53},
};

static struct packet decode(const struct fb *b, const struct decode_config *config, size_t captured)
{
	struct decoder *d = NULL;
	struct diag diag = {""};
	struct packet p;
	struct exact x;

	assert_int_equal(decoder_new(&d, 1, config, &diag), 0);
	exact_init(&x, b->at, captured, b->len);
	memset(&p, 0xa5, sizeof(p));
	decode_frame(d, &x.frame, &p);
	exact_deinit(&x);
	decoder_free(d);
	return p;
}

static struct packet open_all(const struct fb *b)
{
	return decode(b, &(struct decode_config){.max_layers = 16, .tunnels = (uint32_t)ALL}, b->len);
}

static void inner_packet(struct fb *b, int version)
{
	fb_init(b);
	if (!version) {
		fb_payload(b, 60);
		return;
	}
	fb_payload(b, 40);
	fb_udp(b, 1000, 53);
	if (version == 4)
		fb_ip4(b, "10.0.0.1", "10.0.0.2");
	else
		fb_ip6(b, "2001:db8::1", "2001:db8::2");
}

static void outer_header(struct fb *b, int version)
{
	if (version == 4)
		fb_ip4(b, "192.0.2.1", "192.0.2.2");
	else
		fb_ip6(b, "2001:db8:1::1", "2001:db8:1::2");
	fb_ether(b);
}

/* The frame of a case; where the inner packet begins in it. */
static size_t build(struct fb *b, const struct tunnel_case *t, bool from_port)
{
	uint8_t octets[128];
	size_t n = fb_octets(octets, t->octets), inner;

	inner_packet(b, t->inner);
	inner = b->len;
	memcpy(fb_push(b, n), octets, n);
	if (t->port)
		fb_udp(b, from_port ? t->port : 40000, from_port ? 40000 : t->port);
	b->protocol = t->protocol;
	outer_header(b, t->outer);
	return b->len - inner;
}

static void check_packet(const char *name, const struct packet *p, int version, bool inner)
{
	uint8_t src[16] = {0};

	inet_pton(version == 4 ? AF_INET : AF_INET6,
		  inner		 ? version == 4 ? "10.0.0.1" : "2001:db8::1"
		  : version == 4 ? "192.0.2.1"
				 : "2001:db8:1::1",
		  src);
	if (p->verdict != PACKET_METERED || p->key.ip_version != version || memcmp(p->key.src, src, 16) != 0)
		fail_msg("%s: verdict %u version %u, source %s", name, p->verdict, p->key.ip_version,
			 memcmp(p->key.src, src, 16) != 0 ? "wrong" : "right");
	if (!(p->notes & PACKET_NOTE_DECAPSULATED) == inner)
		fail_msg("%s: notes %#x", name, p->notes);
	if (!inner)
		return;
	if (p->key.protocol != 17 || p->key.src_port != 1000 || p->key.dst_port != 53 || p->fragment ||
	    p->octets != (version == 4 ? 68u : 88u) || (p->notes & ~(unsigned)PACKET_NOTE_DECAPSULATED))
		fail_msg("%s: protocol %u ports %u %u octets %u notes %#x", name, p->key.protocol,
			 p->key.src_port, p->key.dst_port, (unsigned)p->octets, p->notes);
}

static void test_cases(void **state)
{
	static struct fb b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tunnel_case *t = &cases[i];
		bool opened = t->tunnels && !t->note;

		for (unsigned from_port = 0; from_port < (t->port ? 2 : 1); from_port++) {
			struct decode_config config = {.max_layers = 16};
			struct packet p;

			build(&b, t, from_port);
			p = open_all(&b);
			check_packet(t->name, &p, opened ? t->inner : t->outer, opened);
			if (t->note && !(p.notes & t->note))
				fail_msg("%s: notes %#x", t->name, p.notes);

			p = decode(&b, &config, b.len); /* none is chosen */
			check_packet(t->name, &p, t->outer, false);
			assert_int_equal(p.notes, 0);
			config.tunnels = ~(uint32_t)t->tunnels; /* all but this one */
			p = decode(&b, &config, b.len);
			check_packet(t->name, &p, t->outer, false);
			if (!t->tunnels)
				continue;
			config.tunnels = (uint32_t)t->tunnels; /* this one alone */
			p = decode(&b, &config, b.len);
			check_packet(t->name, &p, opened ? t->inner : t->outer, opened);
		}
	}
}

/* However much was captured: the packet of the last IP header that is whole, or a reason. */
static void test_cut_everywhere(void **state)
{
	static struct fb b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tunnel_case *t = &cases[i];
		struct decode_config config = {.max_layers = 16, .tunnels = (uint32_t)ALL};
		size_t inner = build(&b, t, false), outer = 14 + (t->outer == 4 ? 20u : 40u);
		size_t header = t->inner == 4 ? 20 : 40;

		for (size_t n = 0; n < b.len; n++) {
			struct packet p = decode(&b, &config, n);
			bool opened = t->tunnels && !t->note && n >= inner + header;

			if (n < outer) {
				assert_true(p.verdict == PACKET_CUT_LINK || p.verdict == PACKET_CUT_IP);
				continue;
			}
			if (p.verdict != PACKET_METERED || p.key.ip_version != (opened ? t->inner : t->outer))
				fail_msg("%s: verdict %u version %u after %zu octets", t->name, p.verdict,
					 p.key.ip_version, n);
			if (!(p.notes & PACKET_NOTE_DECAPSULATED) == opened)
				fail_msg("%s: notes %#x after %zu octets", t->name, p.notes, n);
		}
	}
}

/* The port that the user names, and only that one. */
static void test_ports(void **state)
{
	struct decode_config config = {.max_layers = 16, .tunnels = BIT(VXLAN)};
	static struct fb b;
	struct packet p;

	(void)state;
	config.tunnel_ports[TUNNEL_VXLAN] = 8472;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tunnel_case *t = &cases[i];

		if (strcmp(t->name, "VXLAN") != 0 && strcmp(t->name, "VXLAN on another port") != 0)
			continue;
		build(&b, t, false);
		p = decode(&b, &config, b.len);
		check_packet(t->name, &p, 4, t->port == 8472);
	}
}

static void push_vxlan(struct fb *b)
{
	uint8_t octets[64];
	size_t n = fb_octets(octets, "08000000 00002a00 . 0800");

	memcpy(fb_push(b, n), octets, n);
}

/* A port that is another tunnel's in the other IP version does not hide the tunnel that the other port tells.
 */
static void test_both_ports(void **state)
{
	static struct fb b;
	struct packet p;

	(void)state;
	inner_packet(&b, 4);
	push_vxlan(&b);
	fb_udp(&b, 4789, 3544); /* VXLAN's, and Teredo's, which IPv4 alone carries */
	outer_header(&b, 6);
	p = open_all(&b);
	check_packet("VXLAN from its port to Teredo's", &p, 4, true);
}

/* What follows a UDP datagram in its IP packet does not belong to the tunnel. */
static void test_octets_behind_udp(void **state)
{
	static struct fb b;
	struct packet p;

	(void)state;
	inner_packet(&b, 4);
	fb_put16(b.at + 2, 0); /* total length 0 by offload: up to the end of what carries it */
	push_vxlan(&b);
	fb_udp(&b, 40000, 4789);
	fb_pad(&b, 20, 0xee);
	outer_header(&b, 4);
	p = open_all(&b);
	assert_int_equal(p.octets, 68);
	assert_int_equal(p.notes, PACKET_NOTE_DECAPSULATED | PACKET_NOTE_LENGTH_ZERO);
	p = decode(&b, &(struct decode_config){.max_layers = 16, .tunnels = (uint32_t)ALL}, b.len - 60);
	assert_int_equal(p.octets, 68); /* however much of it was captured */
}

/* A UDP length has 16 bits: in a packet of more octets (offload) it says nothing. */
static void test_udp_length_that_wrapped(void **state)
{
	static struct fb b;
	struct packet p;
	size_t inner;

	(void)state;
	fb_init(&b);
	fb_payload(&b, 66000);
	fb_udp(&b, 1000, 53);
	fb_ip4(&b, "10.0.0.1", "10.0.0.2");
	fb_put16(b.at + 2, 0);
	inner = b.len;
	push_vxlan(&b);
	fb_udp(&b, 40000, 4789);
	fb_put16(b.at + 4, (uint16_t)b.len);
	fb_ip4(&b, "192.0.2.1", "192.0.2.2");
	fb_put16(b.at + 2, 0);
	fb_ether(&b);
	p = open_all(&b);
	assert_int_equal(p.octets, inner);
	assert_int_equal(p.key.src_port, 1000);
}

static void test_nesting(void **state)
{
	static struct fb b;
	struct packet p;
	unsigned opened = 0;

	(void)state;
	for (unsigned depth = 0; depth < 300; depth++) {
		inner_packet(&b, 4);
		for (unsigned i = 0; i < depth; i++)
			fb_ip4(&b, "172.16.0.1", "172.16.0.2");
		outer_header(&b, 4);
		p = open_all(&b);
		assert_int_equal(p.verdict, PACKET_METERED);
		if (p.notes & PACKET_NOTE_TUNNEL_DEEP)
			continue;
		assert_int_equal(opened, depth); /* one limit, no holes */
		check_packet("nested", &p, 4, true);
		opened++;
	}
	assert_int_equal(opened, 16 - 2); /* Ethernet, the outer header, and as many as the rest */
}

/* The first fragment has the inner header; later ones are the tunnel's. */
static void test_outer_fragments(void **state)
{
	static struct fb b;
	struct packet p;
	uint8_t *ip;

	(void)state;
	inner_packet(&b, 4);
	b.protocol = 4;
	ip = fb_ip4(&b, "192.0.2.1", "192.0.2.2");
	fb_ip4_fragment(ip, 77, 0, 1);
	fb_ether(&b);
	p = open_all(&b);
	check_packet("first", &p, 4, true);

	fb_ip4_fragment(b.at + 14, 77, 64, 0);
	p = open_all(&b);
	check_packet("later", &p, 4, false);
	assert_int_equal(p.fragment, PACKET_FRAGMENT_LATER);
	assert_int_equal(p.notes, PACKET_NOTE_TUNNEL_FRAGMENT);

	b.at[14 + 9] = 6; /* of no tunnel */
	p = open_all(&b);
	assert_int_equal(p.notes, 0);

	inner_packet(&b, 6);
	fb_fragment6(&b, 78, 64, 0);
	fb_ip6(&b, "2001:db8:1::1", "2001:db8:1::2");
	b.at[40] = 41;
	fb_ether(&b);
	p = open_all(&b);
	check_packet("later, IPv6", &p, 6, false);
	assert_int_equal(p.notes, PACKET_NOTE_TUNNEL_FRAGMENT);

	/* an inner fragment is one of the inner datagram */
	inner_packet(&b, 4);
	fb_ip4_fragment(b.at, 79, 64, 0);
	outer_header(&b, 6);
	p = open_all(&b);
	assert_int_equal(p.key.ip_version, 4);
	assert_int_equal(p.fragment, PACKET_FRAGMENT_LATER);
	assert_int_equal(p.fragment_id, 79);
	assert_int_equal(p.notes, PACKET_NOTE_DECAPSULATED);
}

/* What an ICMP error quotes is no tunnel, whatever it looks like. */
static void test_quoted(void **state)
{
	static struct fb b;
	struct packet p;

	(void)state;
	inner_packet(&b, 4);
	fb_ip4(&b, "172.16.0.1", "172.16.0.2");
	fb_icmp(&b, 1, 3, 1);
	outer_header(&b, 4);
	p = open_all(&b);
	check_packet("quoted", &p, 4, false);
	assert_int_equal(p.key.protocol, 1);
	assert_int_equal(p.key.dst_port, 3 * 256 + 1);
}

/* What the frame told stays, what the outer packet told does not; octets behind the outer packet are none. */
static void test_facts(void **state)
{
	struct decode_config config = {
		.max_layers = 16, .tunnels = (uint32_t)ALL, .key_vlan = true, .key_tos = true};
	static struct fb b;
	struct packet p;
	uint8_t *ip;

	(void)state;
	inner_packet(&b, 4);
	b.at[1] = 0x20;
	b.at[8] = 9;
	ip = fb_ip6(&b, "2001:db8:1::1", "2001:db8:1::2");
	ip[0] = 0x6b;
	ip[1] = 0x81;
	ip[7] = 200;
	fb_vlan(&b, 0x8100, 7);
	fb_ether(&b);
	fb_pad(&b, 20, 0xee);
	p = decode(&b, &config, b.len);
	check_packet("facts", &p, 4, true);
	assert_int_equal(p.flow_label, 0);
	assert_int_equal(p.tos, 0x20);
	assert_int_equal(p.key.tos, 0x20);
	assert_int_equal(p.ttl, 9);
	assert_int_equal(p.vlan, 7);
	assert_int_equal(p.key.vlan, 7);
	assert_int_equal(p.link_octets, b.len);
	fb_put16(b.at + 14 + 4 + 40 + 2,
		 0); /* total length 0 by offload: up to the end of the outer packet */
	p = decode(&b, &config, b.len);
	assert_int_equal(p.octets, 68);
	assert_int_equal(p.notes, PACKET_NOTE_DECAPSULATED | PACKET_NOTE_LENGTH_ZERO);
	fb_put16(b.at + 14 + 4 + 40 + 2, 80); /* longer than the outer packet has room for */
	p = decode(&b, &config, b.len);
	assert_int_equal(p.octets, 80);
	assert_int_equal(p.notes, PACKET_NOTE_DECAPSULATED | PACKET_NOTE_LENGTH_BEYOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_quoted),
		cmocka_unit_test(test_outer_fragments),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_both_ports),
		cmocka_unit_test(test_octets_behind_udp),
		cmocka_unit_test(test_udp_length_that_wrapped),
	};

	return cmocka_run_group_tests_name("decode_tunnel", tests, NULL, NULL);
}
