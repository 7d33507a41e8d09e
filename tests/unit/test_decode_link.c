/*
 * Headers before the IP header, one by one: each with IPv4 and IPv6 behind it, cut at every octet, and with
 * what makes it something else.  Covers decode/decode_eth.c, decode/decode_link.c.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <string.h>

#include "exact.h"
#include "frames.h"
#include "pitot/decode.h"

/*
 * A header, as hexadecimal digits; blanks do not count, and . stands for both MAC addresses.  behind is 4 or
 * 6 for a UDP packet, 0 for 60 octets of zeros.
 */
struct header {
	const char *name;
	int link_type;
	const char *octets;
	int behind;
	enum packet_verdict verdict;
};

static const struct header headers[] = {
	{"NULL, neither family but a type", 0, "0f00 0800", 4, PACKET_METERED},
	{"NULL, a type for IPv6", 0, "0102 86dd", 6, PACKET_METERED},
	{"NULL, a type and nothing else", 0, "0000 0800", 4, PACKET_METERED},
	{"NULL, a type the other way round", 0, "0008 0000", 4, PACKET_METERED},
	{"NULL, a type for ARP", 0, "0f00 0806", 0, PACKET_NOT_IP},
	{"NULL, nothing known", 0, "0f00 0007", 0, PACKET_NOT_IP},
	{"LOOP, a type", 108, "0f00 86dd", 6, PACKET_METERED},
	{"LOOP, a family the other way round", 108, "0200 0000", 0, PACKET_NOT_IP},
	{"PPP in Ethernet", 1, ". 880b 0021", 4, PACKET_METERED},
	{"PPP in Ethernet, IPv6", 1, ". 880b 0057", 6, PACKET_METERED},
	{"PPP, compressed protocol", 1, ". 880b 21", 4, PACKET_METERED},
	{"PPP, MPLS", 9, "ff03 0281 00011140", 4, PACKET_METERED},
	{"PPP, MPLS multicast", 50, "ff03 0283 00011140", 6, PACKET_METERED},
	{"PPP, LCP", 9, "ff03 c021", 0, PACKET_NOT_IP},
	{"PPP, nothing but the protocol", 9, "21", 4, PACKET_METERED},
	{"PPPoE session", 51, "1100 0001 0022 0021", 4, PACKET_METERED},
	{"PPPoE discovery", 51, "1109 0001 0022", 0, PACKET_NOT_IP},
	{"PPPoE of another version", 1, ". 8864 2100 0001 0022 0021", 4, PACKET_BAD_LINK},
	{"802.1ah", 1, ". 88e7 00000001 . 0800", 4, PACKET_METERED},
	{"802.1ah, a tag within", 1, ". 88e7 00000001 . 8100 0007 86dd", 6, PACKET_METERED},
	{"NSH, IPv4", 1, ". 894f 0fc2 0101 00000001", 4, PACKET_METERED},
	{"NSH, IPv6", 1, ". 894f 0fc2 0102 00000001", 6, PACKET_METERED},
	{"NSH, Ethernet", 1, ". 894f 0fc2 0103 00000001 . 0800", 4, PACKET_METERED},
	{"NSH, MPLS", 1, ". 894f 0fc2 0105 00000001 00011140", 4, PACKET_METERED},
	{"NSH, something else", 1, ". 894f 0fc2 0104 00000001", 0, PACKET_NOT_IP},
	{"NSH with metadata", 1, ". 894f 0fc4 0101 00000001 0123456789abcdef", 4, PACKET_METERED},
	{"NSH shorter than its base", 1, ". 894f 0fc1 0101 00000001", 4, PACKET_BAD_LINK},
	{"NSH longer than the frame", 1, ". 894f 0fff 0101 00000001", 4, PACKET_CUT_LINK},
	{"VN-Tag", 1, ". 8926 00000001 0800", 4, PACKET_METERED},
	{"E-Tag", 1, ". 893f 000000000001 86dd", 6, PACKET_METERED},
	{"R-Tag", 1, ". f1c1 00000001 0800", 4, PACKET_METERED},
	{"three kinds of tag", 1, ". 88a8 0001 9100 0002 8100 0003 0800", 4, PACKET_METERED},
	{"an unknown type", 1, ". 88cc", 0, PACKET_NOT_IP},
	{"LLC, IP's own SAP", 1, ". 0027 060603", 4, PACKET_METERED},
	{"LLC, spanning tree", 1, ". 0026 424203", 0, PACKET_NOT_IP},
	{"SNAP", 1, ". 0028 aaaa03 000000 0800", 4, PACKET_METERED},
	{"SNAP, bridged", 1, ". 0028 aaaa03 0000f8 86dd", 6, PACKET_METERED},
	{"SNAP, Cisco's protocols", 1, ". 0028 aaaa03 00000c 2000", 0, PACKET_NOT_IP},
	{"SNAP with a length", 1, ". 0028 aaaa03 000000 0027", 0, PACKET_NOT_IP},
	{"MPLS, two labels", 1, ". 8847 00010040 00011140", 4, PACKET_METERED},
	{"MPLS, a pseudowire", 1, ". 8848 00011140 . 0800", 4, PACKET_METERED},
	{"MPLS, a pseudowire with control word", 1, ". 8847 00011140 00000001 . 86dd", 6, PACKET_METERED},
	{"MPLS, a pseudowire of 802.3", 1, ". 8847 00011140 00000000 . 001f 060603", 4, PACKET_METERED},
	{"MPLS, a pseudowire of who knows what", 1, ". 8847 00011140 . 7777", 0, PACKET_NOT_IP},
	{"MPLS, an associated channel", 1, ". 8847 00011140 10000021", 0, PACKET_NOT_IP},
	{"SLL", 113, "0000 0001 0006 020000000001 0000 0800", 4, PACKET_METERED},
	{"SLL, outgoing", 113, "0004 0001 0006 020000000001 0000 86dd", 6, PACKET_METERED},
	{"SLL, an odd packet type", 113, "0107 0001 0006 020000000001 0000 0800", 4, PACKET_METERED},
	{"SLL, LLC", 113, "0000 0001 0006 020000000001 0000 0004 060603", 4, PACKET_METERED},
	{"SLL, 802.3", 113, "0000 0001 0006 020000000001 0000 0001", 0, PACKET_NOT_IP},
	{"SLL, netlink", 113, "0000 0338 0000 0000000000000000 0800", 0, PACKET_NOT_IP},
	{"SLL2", 276, "0800 0000 00000007 0001 00 06 0200000000010000", 4, PACKET_METERED},
	{"SLL2, outgoing", 276, "86dd 0000 00000007 0304 04 00 0000000000000000", 6, PACKET_METERED},
	{"SLL2, a tag", 276, "88a8 0000 00000007 0001 00 06 0200000000010000 0005 8100 000a 0800", 4,
	 PACKET_METERED},
	{"NULL", 0, "02000000", 4, PACKET_METERED},
	{"NULL, the other order", 0, "00000002", 4, PACKET_METERED},
	{"NULL, IPv6 of FreeBSD", 0, "1c000000", 6, PACKET_METERED},
	{"NULL, another family", 0, "07000000", 0, PACKET_NOT_IP},
	{"LOOP, IPv6 of macOS", 108, "0000001e", 6, PACKET_METERED},
	{"LOOP, a type", 108, "00000800", 4, PACKET_METERED},
	{"Cisco HDLC", 104, "0f00 0800", 4, PACKET_METERED},
	{"Cisco HDLC, told by its address", 50, "8f00 86dd", 6, PACKET_METERED},
	{"Cisco HDLC, keepalive", 104, "8f00 8035", 0, PACKET_NOT_IP},
	{"frame relay, IPv4", 107, "1841 03cc", 4, PACKET_METERED},
	{"frame relay, IPv6 after padding", 107, "1841 0300 8e", 6, PACKET_METERED},
	{"frame relay, SNAP", 107, "1841 0300 80 000000 0800", 4, PACKET_METERED},
	{"frame relay, SNAP of another", 107, "1841 0300 80 00000c 0800", 0, PACKET_NOT_IP},
	{"frame relay, four octets of address", 107, "18404041 03cc", 4, PACKET_METERED},
	{"frame relay, Cisco", 107, "1841 0800", 4, PACKET_METERED},
	{"frame relay, LMI", 107, "0001 0308", 0, PACKET_NOT_IP},
	{"NFLOG", 239, "02000000 0500 0a00 61000000 0400 0900", 4, PACKET_METERED},
	{"NFLOG, the other order", 239, "0a000000 0005 000a 61000000 0044 0009", 6, PACKET_METERED},
	{"NFLOG, bridge", 239, "07000000 0400 0900", 0, PACKET_NOT_IP},
	{"NFLOG, an item of no length", 239, "02000000 0000 0900", 0, PACKET_BAD_LINK},
	{"NFLOG, an item longer than the frame", 239, "02000000 ffff 0a00", 0, PACKET_CUT_LINK},
	{"NFLOG without a packet", 239, "02000000 4000 0a00", 0, PACKET_CUT_LINK},
	{"802.11", 105, "0801 0000 010203040506 010203040506 010203040506 0000 aaaa03 000000 0800", 4,
	 PACKET_METERED},
	{"802.11, between stations of a bridge", 105,
	 "0803 0000 010203040506 010203040506 010203040506 0000 010203040506 aaaa03 000000 0800", 4,
	 PACKET_METERED},
	{"802.11, QoS", 105, "8801 0000 010203040506 010203040506 010203040506 0000 0000 aaaa03 000000 86dd",
	 6, PACKET_METERED},
	{"802.11, QoS with HT control", 105,
	 "8881 0000 010203040506 010203040506 010203040506 0000 0000 00000000 aaaa03 000000 0800", 4,
	 PACKET_METERED},
	{"802.11, beacon", 105, "8000 0000 010203040506 010203040506 010203040506 0000", 0, PACKET_NOT_IP},
	{"802.11, no data", 105, "4801 0000 010203040506 010203040506 010203040506 0000", 0, PACKET_NOT_IP},
	{"802.11, protected", 105, "0841 0000 010203040506 010203040506 010203040506 0000", 0, PACKET_NOT_IP},
	{"radiotap", 127,
	 "0000 0a00 00000000 0000 0801 0000 010203040506 010203040506 010203040506 0000 aaaa03 000000 0800",
	 4, PACKET_METERED},
	{"radiotap, too short", 127, "0000 0700 00000000", 0, PACKET_BAD_LINK},
	{"radiotap, longer than the frame", 127, "0000 ff00 00000000", 0, PACKET_CUT_LINK},
};

/* What a tag's rest is is told from what follows it, so these cannot be cut anywhere. */
static const struct header rests[] = {
	{"SLL2, the packet's type and the rest of a tag", 276,
	 "0800 0000 00000007 0001 00 06 0200000000010000 000a 0800", 4, PACKET_METERED},
	{"SLL2, the rest of two tags", 276,
	 "86dd 0000 00000007 0001 00 06 0200000000010000 0004 8100 4500 86dd", 6, PACKET_METERED},
	{"SLL2, a tag's value like a header", 276, "0800 0000 00000007 0001 00 06 0200000000010000 4501 0800",
	 4, PACKET_METERED},
	{"SLL, a tag put back and the rest of another", 113,
	 "0000 0001 0006 020000000001 0000 88a8 0005 0800 000a 0800", 4, PACKET_METERED},
	{"SLL2, no tag but nonsense", 276, "0800 0000 00000007 0001 00 06 0200000000010000 000a 86dd", 0,
	 PACKET_BAD_VERSION},
};

static struct packet decode_with(int link_type, const struct decode_config *config, const uint8_t *data,
				 size_t captured, size_t wire)
{
	struct decoder *d = NULL;
	struct diag diag = {""};
	struct packet p;
	struct exact x;

	assert_int_equal(decoder_new(&d, link_type, config, &diag), 0);
	exact_init(&x, data, captured, wire);
	decode_frame(d, &x.frame, &p);
	exact_deinit(&x);
	decoder_free(d);
	return p;
}

static struct packet decode(int link_type, const uint8_t *data, size_t captured, size_t wire)
{
	return decode_with(link_type, &(struct decode_config){.max_layers = 16}, data, captured, wire);
}

/* The header alone is never enough for a packet, however much of it there is. */
static void check_cuts(const struct header *h, const uint8_t *data, size_t size, size_t header)
{
	for (size_t n = 0; n < size; n++) {
		struct packet p = decode(h->link_type, data, n, size);

		if (p.verdict == PACKET_METERED && n < header + 20)
			fail_msg("%s: metered after %zu octets of %zu", h->name, n, size);
		if (h->verdict == PACKET_METERED && n < header && p.verdict != PACKET_CUT_LINK &&
		    p.verdict != PACKET_CUT_IP && p.verdict != PACKET_NOT_IP && p.verdict != PACKET_BAD_LINK)
			fail_msg("%s: verdict %u after %zu octets", h->name, p.verdict, n);
	}
}

static void test_rests(void **state)
{
	static struct fb b;

	(void)state;
	for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		const struct header *h = &rests[i];
		uint8_t data[512] = {0};
		size_t header = fb_octets(data, h->octets);

		fb_init(&b);
		fb_udp(&b, 1000, 53);
		if (h->behind == 6)
			fb_ip6(&b, "2001:db8::1", "2001:db8::2");
		else
			fb_ip4(&b, "10.0.0.1", "10.0.0.2");
		memcpy(data + header, b.at, b.len);
		for (size_t n = 0; n <= header + b.len; n++) {
			struct packet p = decode(h->link_type, data, n, header + b.len);

			if (n == header + b.len && p.verdict != h->verdict)
				fail_msg("%s: verdict %u instead of %d", h->name, p.verdict, h->verdict);
			if (p.verdict == PACKET_METERED && h->behind == 4)
				assert_int_equal(p.key.ip_version, 4);
			if (n == header + b.len && h->verdict == PACKET_METERED)
				assert_int_equal(p.key.dst_port, 53);
		}
	}
}

static void test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		const struct header *h = &headers[i];
		uint8_t data[512] = {0};
		size_t header = fb_octets(data, h->octets), size = header + 60;
		struct packet p;

		if (h->behind) {
			static struct fb b;

			fb_init(&b);
			fb_udp(&b, 1000, 53);
			if (h->behind == 4)
				fb_ip4(&b, "10.0.0.1", "10.0.0.2");
			else
				fb_ip6(&b, "2001:db8::1", "2001:db8::2");
			memcpy(data + header, b.at, b.len);
			size = header + b.len;
		}
		p = decode(h->link_type, data, size, size);
		if (p.verdict != h->verdict)
			fail_msg("%s: verdict %u instead of %d", h->name, p.verdict, h->verdict);
		if (h->verdict == PACKET_METERED) {
			assert_int_equal(p.key.ip_version, h->behind);
			assert_int_equal(p.key.src_port, 1000);
			assert_int_equal(p.key.dst_port, 53);
			assert_int_equal(p.octets, h->behind == 4 ? 28 : 48);
		}
		check_cuts(h, data, size, header);
	}
}

static void test_directions(void **state)
{
	uint8_t data[128] = {0};
	static struct fb b;
	struct packet p;
	size_t header = fb_octets(data, "0800 0000 00000007 0001 00 06 0200000000010000");

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1000, 53);
	fb_ip4(&b, "10.0.0.1", "10.0.0.2");
	memcpy(data + header, b.at, b.len);
	p = decode(276, data, header + b.len, header + b.len);
	assert_int_equal(p.ingress, 7);
	assert_int_equal(p.egress, 0);
	data[10] = 4;
	p = decode(276, data, header + b.len, header + b.len);
	assert_int_equal(p.ingress, 0);
	assert_int_equal(p.egress, 7);
}

/* Cooked captures have the source's MAC address alone, and no MAC address where it is no Ethernet's. */
static void test_cooked_source(void **state)
{
	static const struct {
		int link_type;
		const char *octets;
		const char *src_mac;
	} cooked[] = {
		{113, "0000 0001 0006 020000000009 0000 0800", "\2\0\0\0\0\x9"},
		{113, "0000 0200 0006 020000000009 0000 0800", "\0\0\0\0\0\0"}, /* PPP */
		{113, "0000 0001 0004 020000000009 0000 0800", "\0\0\0\0\0\0"}, /* four octets */
		{276, "0800 0000 00000007 0001 00 06 0200000000090000", "\2\0\0\0\0\x9"},
		{276, "0800 0000 00000007 0200 00 06 0200000000090000", "\0\0\0\0\0\0"},
		{276, "0800 0000 00000007 0001 00 08 0200000000090000", "\0\0\0\0\0\0"},
	};
	static struct fb b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cooked); i++) {
		struct decode_config config = {.max_layers = 16};
		const struct block_link *link;
		uint8_t data[128] = {0};
		size_t header = fb_octets(data, cooked[i].octets);
		struct packet p;

		fb_init(&b);
		fb_udp(&b, 1000, 53);
		fb_ip4(&b, "10.0.0.1", "10.0.0.2");
		memcpy(data + header, b.at, b.len);
		record_layout_init(&config.layout, 1u << BLOCK_LINK, 0);
		p = decode_with(cooked[i].link_type, &config, data, header + b.len, header + b.len);
		assert_int_equal(p.verdict, PACKET_METERED);
		link = (const struct block_link *)(const void *)p.blocks;
		assert_memory_equal(link->src_mac, cooked[i].src_mac, 6);
		assert_memory_equal(link->dst_mac, "\0\0\0\0\0\0", 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_directions),
		cmocka_unit_test(test_cooked_source),
	};

	return cmocka_run_group_tests_name("decode_link", tests, NULL, NULL);
}
