/*
 * decode: every link type, every verdict, every rule of pitot(8), MEASUREMENT.
 * Covers decode/decode.c, decode/decode_eth.c, decode/decode_link.c, decode/decode_ip.c, decode/decode_ip6.c,
 * decode/decode_walk.c.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "catalogue.h"
#include "exact.h"
#include "pitot/decode.h"

static const struct decode_config plain = {.max_layers = 64};
static struct fb b;

static struct decoder *new_decoder(int link_type, const struct decode_config *config)
{
	struct decoder *d = NULL;
	struct diag diag = {""};

	assert_int_equal(decoder_new(&d, link_type, config, &diag), 0);
	return d;
}

/* Decodes what is in b; flags and the rest of the frame are those of tweak, if given. */
static struct packet decode(int link_type, const struct decode_config *config, const struct frame *tweak)
{
	struct decoder *d = new_decoder(link_type, config);
	struct packet p;
	struct exact x;

	exact_init(&x, b.at, b.len, b.len);
	if (tweak) {
		x.frame.flags = tweak->flags;
		x.frame.ifindex = tweak->ifindex;
		x.frame.point = tweak->point;
		x.frame.vlan_tci = tweak->vlan_tci;
		x.frame.vlan_tpid = tweak->vlan_tpid;
		if (tweak->wire_len)
			x.frame.wire_len = tweak->wire_len;
	}
	memset(&p, 0xa5, sizeof(p)); /* nothing of what was there before may stay */
	decode_frame(d, &x.frame, &p);
	exact_deinit(&x);
	decoder_free(d);
	return p;
}

static void check_addresses(const struct catalogue_frame *c, const struct packet *p)
{
	uint8_t src[16] = {0}, dst[16] = {0};
	bool is6 = c->ip_version == 6;

	if (c->protocol == 4) /* IP in IP: the outer header's */
		return;
	inet_pton(is6 ? AF_INET6 : AF_INET, is6 ? SRC6 : SRC4, src);
	inet_pton(is6 ? AF_INET6 : AF_INET, is6 ? DST6 : DST4, dst);
	assert_memory_equal(p->key.src, src, 16);
	assert_memory_equal(p->key.dst, dst, 16);
}

static void test_catalogue(void **state)
{
	(void)state;
	for (size_t i = 0; i < catalogue_size; i++) {
		const struct catalogue_frame *c = &catalogue[i];
		struct packet p;

		fb_init(&b);
		c->build(&b);
		p = decode(c->link_type, &plain, NULL);
		if (p.verdict != c->verdict)
			fail_msg("%s: verdict %u instead of %d", c->name, p.verdict, c->verdict);
		assert_int_equal(p.link_octets, b.len);
		assert_int_equal(p.time_ns, UINT64_C(1700000000000000000));
		if (p.verdict != PACKET_METERED)
			continue;
		if (p.key.protocol != c->protocol || p.key.ip_version != c->ip_version)
			fail_msg("%s: version %u protocol %u", c->name, p.key.ip_version, p.key.protocol);
		if (p.key.src_port != c->src_port || p.key.dst_port != c->dst_port)
			fail_msg("%s: ports %u %u", c->name, p.key.src_port, p.key.dst_port);
		if (p.octets != c->octets)
			fail_msg("%s: %u octets instead of %u", c->name, (unsigned)p.octets, c->octets);
		if (p.vlan != c->vlan || p.tcp_flags != c->tcp_flags || p.fragment != c->fragment)
			fail_msg("%s: vlan %u flags %#x fragment %u", c->name, p.vlan, p.tcp_flags,
				 p.fragment);
		if (p.notes != c->notes)
			fail_msg("%s: notes %#x instead of %#x", c->name, p.notes, c->notes);
		check_addresses(c, &p);
		assert_int_equal(p.tos, 0x28);
		assert_int_equal(p.ttl, c->ip_version == 4 ? 61 : 62);
		assert_int_equal(p.flow_label, c->ip_version == 6 ? 0x12345 : 0);
		assert_int_equal(p.key.tos, 0);
		assert_int_equal(p.key.vlan, 0);
		assert_int_equal(p.key.point_high, 0);
		assert_int_equal(p.direction == FLOW_DIRECTION_UNKNOWN,
				 c->link_type != 113 && c->link_type != 276);
		if (c->fragment)
			assert_int_equal(p.fragment_id, 77);
	}
}

static void test_all_verdicts_are_reached(void **state)
{
	bool seen[PACKET_VERDICTS] = {false};

	(void)state;
	for (size_t i = 0; i < catalogue_size; i++)
		seen[catalogue[i].verdict] = true;
	seen[PACKET_OWN_EXPORT] = true; /* not decided by decode */
	seen[PACKET_PAUSED] = true;
	seen[PACKET_POLITE] = true;
	seen[PACKET_UNKNOWN_LINK] = true; /* test_unknown_link_type */
	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		if (!seen[i])
			fail_msg("no frame of the catalogue has verdict %u", i);
}

static void test_link_types(void **state)
{
	static const int known[] = {0, 1, 9, 12, 14, 50, 51, 101, 108, 113, 228, 229, 276};
	static const int unknown[] = {-1, 2, 147, 195, 249, 65535, 1 << 30};
	struct decoder *d = NULL;
	struct diag diag;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_true(decode_knows_link_type(known[i]));
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		char number[16];

		assert_false(decode_knows_link_type(unknown[i]));
		diag.text[0] = '\0';
		assert_int_equal(decoder_new(&d, unknown[i], &plain, &diag), -EPROTONOSUPPORT);
		snprintf(number, sizeof(number), "%d", unknown[i]);
		assert_non_null(strstr(diag.text, number));
	}
	decoder_free(NULL);
}

/* Where it is alone it fits into the core. */
static const struct block_link *link_of(const struct packet *p)
{
	return (const struct block_link *)(const void *)p->blocks;
}

static void test_key_extras(void **state)
{
	struct decode_config tos = {.key_tos = true, .max_layers = 64};
	struct decode_config vlan = {.key_vlan = true, .max_layers = 64};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_vlan(&b, 0x8100, 0xefff);
	fb_ether(&b);
	p = decode(1, &tos, NULL);
	assert_int_equal(p.key.tos, 0x28);
	assert_int_equal(p.key.vlan, 0);
	p = decode(1, &vlan, NULL);
	assert_int_equal(p.key.tos, 0);
	assert_int_equal(p.key.vlan, 0xfff);
	assert_int_equal(p.blocks[0] | p.blocks[11], 0); /* nobody asked for the MAC addresses */
	record_layout_init(&vlan.layout, 1u << BLOCK_LINK, 0);
	p = decode(1, &vlan, NULL);
	assert_memory_equal(link_of(&p)->src_mac, "\2\0\0\0\0\1", 6);
	assert_memory_equal(link_of(&p)->dst_mac, "\2\0\0\0\0\2", 6);
}

/* The MAC addresses are those of the frame, not of a frame inside it. */
static void test_mac_is_outer(void **state)
{
	struct decode_config config = plain;
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_ether(&b);
	fb_mpls(&b, 18, 1);
	fb_ether(&b);
	b.at[0] = 0x06; /* outer destination */
	b.at[6] = 0x0a; /* outer source */
	record_layout_init(&config.layout, 1u << BLOCK_LINK, 0);
	p = decode(1, &config, NULL);
	assert_int_equal(p.verdict, PACKET_METERED);
	assert_int_equal(link_of(&p)->dst_mac[0], 0x06);
	assert_int_equal(link_of(&p)->src_mac[0], 0x0a);
}

/* A time that had to be moved is noted. */
static void test_moved_time(void **state)
{
	struct frame tweak = {.flags = FRAME_MOVED};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_ether(&b);
	p = decode(1, &plain, &tweak);
	assert_int_equal(p.verdict, PACKET_METERED);
	assert_int_equal(p.notes, PACKET_NOTE_TIME_MOVED);
	assert_int_equal(p.direction, FLOW_DIRECTION_UNKNOWN);
}

/* A tag that the kernel took out is the outermost one. */
static void test_kernel_vlan(void **state)
{
	struct frame tweak = {.flags = FRAME_VLAN, .vlan_tci = 0x2123, .vlan_tpid = 0x88a8};
	struct decode_config vlan = {.key_vlan = true, .max_layers = 64};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_vlan(&b, 0x8100, 5);
	fb_ether(&b);
	p = decode(1, &vlan, &tweak);
	assert_int_equal(p.vlan, 0x123);
	assert_int_equal(p.key.vlan, 0x123);
}

/* Each type of tag, alone and in front of another one: the outermost is the packet's. */
static void test_tag_types(void **state)
{
	static const uint16_t types[] = {0x8100, 0x88a8, 0x9100, 0x9200};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned inner = 0; inner <= 4; inner++) {
			struct packet p;

			fb_init(&b);
			fb_udp(&b, 1, 2);
			fb_ip4(&b, SRC4, DST4);
			if (inner < 4)
				fb_vlan(&b, types[inner], 5);
			fb_vlan(&b, types[i], 0x6123);
			fb_ether(&b);
			p = decode(1, &plain, NULL);
			assert_int_equal(p.verdict, PACKET_METERED);
			assert_int_equal(p.vlan, 0x123);
		}
}

static void test_direction(void **state)
{
	struct frame in = {.flags = FRAME_INGRESS, .ifindex = 4, .point = 2};
	struct frame out = {.flags = FRAME_EGRESS, .ifindex = 5};
	struct frame unknown = {.ifindex = 6};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_ether(&b);
	p = decode(1, &plain, &in);
	assert_int_equal(p.direction, FLOW_DIRECTION_INGRESS);
	assert_int_equal(p.ingress, 4);
	assert_int_equal(p.egress, 0);
	assert_int_equal(p.key.point, 2);
	p = decode(1, &plain, &out);
	assert_int_equal(p.direction, FLOW_DIRECTION_EGRESS);
	assert_int_equal(p.ingress, 0);
	assert_int_equal(p.egress, 5);
	p = decode(1, &plain, &unknown);
	assert_int_equal(p.direction, FLOW_DIRECTION_UNKNOWN);
	assert_int_equal(p.ingress, 0);
	assert_int_equal(p.egress, 0);
}

static void test_cooked_direction(void **state)
{
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1, 2);
	fb_ip4(&b, SRC4, DST4);
	fb_sll2(&b, 4, 9); /* outgoing */
	p = decode(276, &plain, NULL);
	assert_int_equal(p.direction, FLOW_DIRECTION_EGRESS);
	assert_int_equal(p.egress, 9);
	assert_int_equal(p.ingress, 0);
}

/* Octets never come from what was captured. */
static void test_octets_of_a_cut_packet(void **state)
{
	struct frame tweak = {.wire_len = 1514};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_tcp(&b, 1, 2, 0x10);
	fb_put16(fb_ip4(&b, SRC4, DST4) + 2, 1500);
	fb_ether(&b);
	p = decode(1, &plain, &tweak);
	assert_int_equal(p.verdict, PACKET_METERED);
	assert_int_equal(p.octets, 1500);
	assert_int_equal(p.link_octets, 1514);
	assert_int_equal(p.notes, 0);

	fb_init(&b);
	fb_tcp(&b, 1, 2, 0x10);
	fb_put16(fb_ip4(&b, SRC4, DST4) + 2, 0); /* offload: length on the wire from the IP header on */
	fb_ether(&b);
	tweak.wire_len = 20014;
	p = decode(1, &plain, &tweak);
	assert_int_equal(p.octets, 20000);
	assert_int_equal(p.notes, PACKET_NOTE_LENGTH_ZERO);
}

/* The octets that a savefile says were on the wire may be fewer than it has: no number may wrap. */
static void test_wire_length_is_a_lie(void **state)
{
	struct frame tweak = {.wire_len = 5};
	struct packet p;

	(void)state;
	fb_init(&b);
	fb_udp(&b, 1000, 53);
	fb_ip4(&b, SRC4, DST4);
	fb_ether(&b);
	p = decode(1, &plain, &tweak);
	assert_int_equal(p.verdict, PACKET_METERED);
	assert_int_equal(p.octets, 28);
	fb_put16(b.at + 14 + 2, 0);
	p = decode(1, &plain, &tweak);
	assert_true(p.verdict == PACKET_BAD_TOTAL_LENGTH || p.octets <= 28);
}

static void test_unknown_link_type(void **state)
{
	struct frame f = {
		.data = (const uint8_t *)"\x45", .cap_len = 1, .wire_len = 99, .time_ns = 7, .point = 3};
	struct decoder *d = NULL;
	struct diag diag;
	struct packet p;
	unsigned n;

	(void)state;
	assert_int_equal(decoder_new_unknown(&d, &plain, &diag), 0);
	decode_frame(d, &f, &p);
	decoder_free(d);
	assert_int_equal(p.verdict, PACKET_UNKNOWN_LINK);
	assert_int_equal(p.link_octets, 99);
	assert_int_equal(p.time_ns, 7);
	assert_int_equal(p.key.point, 3);
	assert_int_equal(decode_link_types(&n)[0], 0);
	assert_int_equal(n, 18);
}

static void test_nesting_limit(void **state)
{
	struct decode_config config = {.max_layers = 16};
	unsigned last_metered = 0, first_deep = 0;

	(void)state;
	for (unsigned tags = 0; tags < 40; tags++) {
		struct packet p;

		fb_init(&b);
		fb_udp(&b, 1, 2);
		fb_ip4(&b, SRC4, DST4);
		for (unsigned i = 0; i < tags; i++)
			fb_vlan(&b, 0x8100, 1);
		fb_ether(&b);
		p = decode(1, &config, NULL);
		assert_true(p.verdict == PACKET_METERED || p.verdict == PACKET_TOO_DEEP);
		if (p.verdict == PACKET_METERED)
			last_metered = tags;
		else if (!first_deep)
			first_deep = tags;
	}
	assert_int_equal(first_deep, last_metered + 1);	       /* one limit, no holes */
	assert_int_equal(last_metered, config.max_layers - 1); /* the Ethernet header is one */
	assert_true(last_metered >= 4);
}

static void test_batch(void **state)
{
	struct decoder *d = new_decoder(1, &plain);
	struct frame_batch batch = {.n = 0};
	static struct packet packets[BATCH_MAX];
	struct exact x[BATCH_MAX];

	(void)state;
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		fb_init(&b);
		fb_udp(&b, (uint16_t)i, 53);
		fb_ip4(&b, SRC4, DST4);
		fb_ether(&b);
		exact_init(&x[i], b.at, i == 7 ? 12 : b.len, b.len);
		batch.frames[batch.n++] = x[i].frame;
	}
	decode_batch(d, &batch, packets);
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		assert_int_equal(packets[i].verdict, i == 7 ? PACKET_CUT_LINK : PACKET_METERED);
		if (i != 7)
			assert_int_equal(packets[i].key.src_port, i);
		exact_deinit(&x[i]);
	}
	decoder_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_catalogue),
		cmocka_unit_test(test_all_verdicts_are_reached),
		cmocka_unit_test(test_link_types),
		cmocka_unit_test(test_key_extras),
		cmocka_unit_test(test_mac_is_outer),
		cmocka_unit_test(test_kernel_vlan),
		cmocka_unit_test(test_moved_time),
		cmocka_unit_test(test_tag_types),
		cmocka_unit_test(test_direction),
		cmocka_unit_test(test_cooked_direction),
		cmocka_unit_test(test_octets_of_a_cut_packet),
		cmocka_unit_test(test_wire_length_is_a_lie),
		cmocka_unit_test(test_nesting_limit),
		cmocka_unit_test(test_unknown_link_type),
		cmocka_unit_test(test_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
