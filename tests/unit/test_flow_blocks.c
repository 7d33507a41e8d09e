/*
 * Blocks: where they stand, that nobody pays for what nobody asked for, and that they reach the record and
 * the key.  Covers flow/flow_blocks.c.
 */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exact.h"
#include "flow/flow_blocks.h"
#include "frames.h"
#include "pitot/decode.h"
#include "pitot/flow_table.h"

enum { ALL_BLOCKS = BLOCKS_OF_PACKETS };

static void test_layouts(void **state)
{
	struct record_layout core, link, all;

	(void)state;
	record_layout_init(&core, 0, 0);
	record_layout_init(&link, 1u << BLOCK_LINK, 0);
	assert_int_equal(core.record_size, sizeof(struct flow_record));
	assert_int_equal(core.packet_size, sizeof(struct packet));
	assert_int_equal(link.record_size, core.record_size); /* it fits into what the core leaves */
	assert_int_equal(link.packet_size, core.packet_size);
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_int_equal(core.record_at[i] | core.packet_at[i], 0);
	for (uint32_t blocks = 0; blocks <= ALL_BLOCKS; blocks++) {
		record_layout_init(&all, blocks, 0);
		assert_int_equal(all.record_size % 64 | all.packet_size % 64, 0);
		for (unsigned i = 0; i < BLOCKS; i++) {
			assert_int_equal(all.record_at[i] != 0, blocks >> i & 1);
			if (!(blocks >> i & 1))
				continue;
			assert_true(all.record_at[i] >= offsetof(struct flow_record, blocks));
			assert_true(all.record_at[i] + block_rows[i].record_size <= all.record_size);
			assert_true(all.packet_at[i] >= offsetof(struct packet, blocks));
			assert_true(all.packet_at[i] + block_rows[i].facts_size <= all.packet_size);
			for (unsigned k = 0; k < i; k++)
				assert_true(!all.record_at[k] ||
					    all.record_at[k] + block_rows[k].record_size <=
						    all.record_at[i] ||
					    all.record_at[i] + block_rows[i].record_size <= all.record_at[k]);
		}
	}
	record_layout_init(&all, 0, 1u << BLOCK_TUNNEL); /* what is in the key is there */
	assert_int_equal(all.blocks, 1u << BLOCK_TUNNEL);
}

struct kept {
	unsigned n;
	_Alignas(64) uint8_t records[8][512];
	size_t size;
};

static void keep(void *ctx, const struct flow_record *r)
{
	struct kept *k = ctx;

	assert_true(k->n < ARRAY_SIZE(k->records));
	memcpy(k->records[k->n++], r, k->size);
}

/* IPv4 in GRE with a key, over IPv4; `end` is the last octet of the outer source. */
static void build(struct fb *b, unsigned end, uint32_t key)
{
	char src[16];
	uint8_t *gre;

	snprintf(src, sizeof(src), "192.0.2.%u", end);
	fb_init(b);
	fb_udp(b, 1000, 53);
	fb_ip4(b, "10.0.0.1", "10.0.0.2");
	gre = fb_push(b, 8);
	fb_put16(gre, 0x2000);
	fb_put16(gre + 2, 0x0800);
	fb_put32(gre + 4, key);
	b->protocol = 47;
	fb_ip4(b, src, "192.0.2.2");
	fb_ether(b);
}

/* Decodes frames into packets of the layout, meters them, and keeps the records. */
static void meter(struct kept *k, struct record_layout layout, const struct fb *frames, unsigned n)
{
	struct decode_config dc = {.max_layers = 16, .tunnels = UINT32_MAX, .layout = layout};
	struct flow_table_config tc = {.max_flows = 16,
				       .active_ns = UINT64_C(60000000000),
				       .inactive_ns = UINT64_C(15000000000),
				       .tcp_end_ns = UINT64_MAX,
				       .layout = layout,
				       .on_record = keep,
				       .ctx = k};
	struct packet *packets = aligned_alloc(64, (size_t)n * layout.packet_size);
	struct decoder *d = NULL;
	struct flow_table *t = NULL;
	struct diag diag;
	struct exact x;

	*k = (struct kept){.size = layout.record_size};
	hash_seed_fixed(&tc.seed, 3);
	memset(packets, 0xa5, (size_t)n * layout.packet_size);
	assert_int_equal(decoder_new(&d, 1, &dc, &diag), 0);
	assert_int_equal(flow_table_new(&t, &tc, &diag), 0);
	for (unsigned i = 0; i < n; i++) {
		exact_init(&x, frames[i].at, frames[i].len, frames[i].len);
		decode_frame(d, &x.frame, packet_of(packets, layout.packet_size, i));
		exact_deinit(&x);
	}
	flow_table_prefetch(t, packets, n);
	flow_table_update(t, packets, n);
	flow_table_flush(t, FLOW_END_FORCED);
	flow_table_free(t);
	decoder_free(d);
	free(packets);
}

static void test_tunnel_reaches_the_record(void **state)
{
	static struct fb frames[4];
	static struct kept k;
	struct record_layout layout;
	const struct block_tunnel *t;
	const struct block_link *l;

	(void)state;
	build(&frames[0], 1, 7);
	build(&frames[1], 1, 7);
	build(&frames[2], 9, 7); /* over another path */
	build(&frames[3], 1, 8); /* and in another tunnel */
	record_layout_init(&layout, ALL_BLOCKS, 0);
	meter(&k, layout, frames, 4);
	assert_int_equal(k.n, 1);
	t = flow_record_block(&layout, (const struct flow_record *)(const void *)k.records[0], BLOCK_TUNNEL);
	assert_memory_equal(t->src, ((uint8_t[16]){192, 0, 2, 1}), 16);
	assert_memory_equal(t->dst, ((uint8_t[16]){192, 0, 2, 2}), 16);
	assert_int_equal(t->protocol, 47);
	assert_int_equal(t->ip_version, 4);
	assert_int_equal(t->gre_key, 7);
	assert_int_equal(t->segment, 0);
	l = flow_record_block(&layout, (const struct flow_record *)(const void *)k.records[0], BLOCK_LINK);
	assert_memory_equal(l->src_mac, "\2\0\0\0\0\1", 6);

	record_layout_init(&layout, ALL_BLOCKS, 1u << BLOCK_TUNNEL); /* --flow-key tunnel */
	meter(&k, layout, frames, 4);
	assert_int_equal(k.n, 3);
}

/* A block that every packet changes. */
static void test_frames_are_counted(void **state)
{
	static struct fb frames[3];
	static struct kept k;
	struct record_layout layout;
	const struct block_frames *f;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		fb_init(&frames[i]);
		fb_payload(&frames[i], i == 0 ? 100 : i == 1 ? 10 : 1000);
		fb_udp(&frames[i], 1000, 53);
		fb_ip4(&frames[i], "10.0.0.1", "10.0.0.2");
		fb_ether(&frames[i]);
	}
	record_layout_init(&layout, 1u << BLOCK_FRAMES, 0);
	assert_int_equal(layout.packet_size, sizeof(struct packet)); /* it needs no facts */
	meter(&k, layout, frames, 3);
	assert_int_equal(k.n, 1);
	f = flow_record_block(&layout, (const struct flow_record *)(const void *)k.records[0], BLOCK_FRAMES);
	assert_int_equal(f->octets, 142 + 52 + 1042);
	assert_int_equal(f->min_octets, 52);
	assert_int_equal(f->max_octets, 1042);
}

/* SYN; PSH and ACK; FIN and ACK; RST: each packet counts for all flags that it has. */
static void test_flags_are_counted(void **state)
{
	static const uint16_t flags[] = {0x02, 0x18, 0x11, 0x04, 0x12};
	static struct fb frames[ARRAY_SIZE(flags)];
	static struct kept k;
	struct record_layout layout;
	const struct block_tcp *t;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		fb_init(&frames[i]);
		fb_tcp(&frames[i], 1000, 80, flags[i]);
		fb_ip4(&frames[i], "10.0.0.1", "10.0.0.2");
		fb_ether(&frames[i]);
	}
	record_layout_init(&layout, 1u << BLOCK_TCP, 0);
	assert_int_equal(layout.packet_size, sizeof(struct packet));
	meter(&k, layout, frames, ARRAY_SIZE(flags));
	assert_int_equal(k.n, 1);
	t = flow_record_block(&layout, (const struct flow_record *)(const void *)k.records[0], BLOCK_TCP);
	assert_int_equal(t->syn, 2);
	assert_int_equal(t->fin, 1);
	assert_int_equal(t->rst, 1);
	assert_int_equal(t->psh, 1);
}

/* With the MAC addresses in the key the VLAN id, which stands beside them, is not. */
static void test_key_is_a_part(void **state)
{
	static struct fb frames[2];
	static struct kept k;
	struct record_layout layout;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		fb_init(&frames[i]);
		fb_udp(&frames[i], 1000, 53);
		fb_ip4(&frames[i], "10.0.0.1", "10.0.0.2");
		fb_vlan(&frames[i], 0x8100, (uint16_t)(5 + i));
		fb_ether(&frames[i]);
	}
	record_layout_init(&layout, 0, 1u << BLOCK_LINK);
	meter(&k, layout, frames, 2);
	assert_int_equal(k.n, 1);
	assert_int_equal(
		((const struct block_link *)flow_record_block(
			 &layout, (const struct flow_record *)(const void *)k.records[0], BLOCK_LINK))
			->vlan,
		5);
}

/* A packet in no tunnel has nothing of the one that stood in its memory before. */
static void test_no_tunnel(void **state)
{
	static struct fb frame;
	static struct kept k;
	struct record_layout layout;
	struct block_tunnel none = {.ip_version = 0};

	(void)state;
	fb_init(&frame);
	fb_udp(&frame, 1000, 53);
	fb_ip4(&frame, "10.0.0.1", "10.0.0.2");
	fb_ether(&frame);
	record_layout_init(&layout, ALL_BLOCKS, 0);
	meter(&k, layout, &frame, 1);
	assert_int_equal(k.n, 1);
	assert_memory_equal(flow_record_block(&layout, (const struct flow_record *)(const void *)k.records[0],
					      BLOCK_TUNNEL),
			    &none, sizeof(none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),	      cmocka_unit_test(test_tunnel_reaches_the_record),
		cmocka_unit_test(test_no_tunnel),     cmocka_unit_test(test_frames_are_counted),
		cmocka_unit_test(test_flags_are_counted),
		cmocka_unit_test(test_key_is_a_part),
	};

	return cmocka_run_group_tests_name("flow_blocks", tests, NULL, NULL);
}
