/*
 * flow_hand_over: flows that another table takes over live on there as if nothing had been, and both count
 * them once. Covers flow/flow_hand_over.c, and what flow/fragment.c hands over.
 */
#include "cm.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "pitot/clock.h"
#include "pitot/flow_table.h"
#include "pitot/fragment.h"

#define T0	 (UINT64_C(1700000000) * NS_PER_SEC)
#define ACTIVE	 (60 * NS_PER_SEC)
#define INACTIVE (15 * NS_PER_SEC)
#define TCP_END	 (2 * NS_PER_SEC)

enum { FIN = 1, FLOWS = 3000, MEMORY = 4 << 20 };

struct side {
	struct flow_table *table;
	struct record_list out;
	size_t packet_size;
};

static void side_on_record(void *ctx, const struct flow_record *r)
{
	record_list_add(&((struct side *)ctx)->out, r);
}

static struct side *side_new(uint32_t max_flows, uint32_t blocks, unsigned seed)
{
	struct side *s = calloc(1, sizeof(*s));
	struct diag diag = {""};
	struct flow_table_config config = {.max_flows = max_flows,
					   .active_ns = ACTIVE,
					   .inactive_ns = INACTIVE,
					   .tcp_end_ns = TCP_END,
					   .on_record = side_on_record,
					   .ctx = s};

	assert_non_null(s);
	record_layout_init(&config.layout, blocks, 0);
	s->packet_size = config.layout.packet_size;
	hash_seed_fixed(&config.seed, seed);
	assert_int_equal(flow_table_new(&s->table, &config, &diag), 0);
	return s;
}

static void side_free(struct side *s)
{
	const struct flow_stats *n = flow_table_stats(s->table);
	uint64_t ended = 0;

	for (unsigned i = 0; i < FLOW_END_COUNT; i++)
		ended += n->ended[i];
	assert_int_equal(n->created + n->taken_over.records,
			 n->in_table.records + ended + n->handed_over.records);
	flow_table_free(s->table);
	record_list_free(&s->out);
	free(s);
}

static void put(struct side *s, uint32_t key, uint64_t time_ns, uint16_t tcp_flags, uint16_t point)
{
	struct packet *p = aligned_alloc(64, s->packet_size);

	assert_non_null(p);
	memset((void *)p, 0, s->packet_size);
	p->time_ns = time_ns;
	p->octets = 100;
	p->link_octets = 118;
	p->tcp_flags = tcp_flags;
	p->ttl = 64;
	p->key.protocol = 6;
	p->key.ip_version = 4;
	p->key.point = point;
	memcpy(p->key.src, &key, sizeof(key));
	flow_table_prefetch(s->table, p, 1);
	flow_table_update(s->table, p, 1);
	free(p);
}

static size_t hand_over(const struct side *s, void *memory)
{
	struct sections_writer w;

	sections_write_init(&w, memory, flow_table_hand_over_octets(s->table) + 256);
	flow_table_hand_over(s->table, &w);
	return sections_finish(&w);
}

static int take_over(struct side *s, const void *memory, size_t size, const struct flow_points *points,
		     uint64_t now_ns, const char **missing)
{
	struct sections_reader r;
	struct section section;
	struct diag diag = {""};
	int ret;

	assert_int_equal(sections_read_init(&r, memory, size), 0);
	if (!sections_find(&r, FLOW_SECTION, FLOW_SECTION_VERSION, &section))
		return -1;
	ret = flow_table_take_over(s->table, &section, points, 1000 * NS_PER_SEC, now_ns, missing, &diag);
	assert_true(ret == 0 || diag.text[0]);
	return ret;
}

static void *memory_new(void)
{
	void *memory = calloc(1, MEMORY);

	assert_non_null(memory);
	return memory;
}

static const struct flow_points no_points = {0};

/* Half of the packets here and half there: one record each, with all of them. */
static void test_flows_live_on(void **state)
{
	struct side *old = side_new(FLOWS, 0, 1), *new = side_new(FLOWS, 0, 2);
	void *memory = memory_new();
	const char *missing;
	size_t size;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++) {
		put(old, i, T0, 0, 0);
		put(old, i, T0 + NS_PER_SEC, 0, 0);
	}
	size = hand_over(old, memory);
	assert_true(size > 0);
	assert_int_equal(flow_table_stats(old->table)->in_table.records, FLOWS); /* nothing changed */
	assert_int_equal(take_over(new, memory, size, &no_points, T0 + NS_PER_SEC, &missing), 0);
	assert_null(missing);
	flow_table_let_go(old->table);
	assert_int_equal(old->out.n, 0);
	assert_memory_equal(&flow_table_stats(old->table)->handed_over,
			    &flow_table_stats(new->table)->taken_over, sizeof(struct totals));
	assert_int_equal(flow_table_stats(new->table)->taken_over.packets, 2 * FLOWS);
	for (uint32_t i = 0; i < FLOWS; i++)
		put(new, i, T0 + 3 * NS_PER_SEC, 0, 0);
	assert_int_equal(flow_table_stats(new->table)->created, 0);
	flow_table_flush(new->table, FLOW_END_FORCED);
	assert_int_equal(new->out.n, FLOWS);
	for (size_t i = 0; i < new->out.n; i++) {
		assert_int_equal(new->out.records[i].packets, 3);
		assert_int_equal(new->out.records[i].octets, 300);
		assert_int_equal(new->out.records[i].first_ns, T0);
		assert_int_equal(new->out.records[i].last_ns, T0 + 3 * NS_PER_SEC);
	}
	put(old, 1, T0 + 4 * NS_PER_SEC, 0, 0); /* and the older one could go on */
	assert_int_equal(flow_table_stats(old->table)->in_table.records, 1);
	side_free(old);
	side_free(new);
	free(memory);
}

/* Time-outs go on: by the clock, and behind a FIN. */
static void test_time_goes_on(void **state)
{
	struct side *old = side_new(10, 0, 1), *new = side_new(10, 0, 2);
	void *memory = memory_new();
	const char *missing;

	(void)state;
	put(old, 1, T0, 0, 0);
	put(old, 2, T0, FIN, 0);
	assert_int_equal(
		take_over(new, memory, hand_over(old, memory), &no_points, T0 + NS_PER_SEC, &missing), 0);
	flow_table_expire(new->table, 1001 * NS_PER_SEC, T0 + 2 * NS_PER_SEC, UINT64_MAX);
	assert_int_equal(new->out.n, 0);
	flow_table_expire(new->table, 1004 * NS_PER_SEC, T0 + 4 * NS_PER_SEC, UINT64_MAX);
	assert_int_equal(new->out.n, 1);
	assert_int_equal(new->out.records[0].end_reason, FLOW_END_DETECTED);
	flow_table_expire(new->table, 1014 * NS_PER_SEC, T0 + 14 * NS_PER_SEC, UINT64_MAX);
	assert_int_equal(new->out.n, 1);
	flow_table_expire(new->table, 1017 * NS_PER_SEC, T0 + 17 * NS_PER_SEC, UINT64_MAX);
	assert_int_equal(new->out.n, 2);
	assert_int_equal(new->out.records[1].end_reason, FLOW_END_IDLE);
	flow_table_let_go(old->table);
	side_free(old);
	side_free(new);
	free(memory);
}

/* Other blocks: those that both have are taken by their names. */
static void test_blocks(void **state)
{
	uint32_t link = 1u << BLOCK_LINK, frames = 1u << BLOCK_FRAMES, tunnel = 1u << BLOCK_TUNNEL;
	struct side *old = side_new(10, link | frames, 1), *new = side_new(10, frames | tunnel, 2);
	struct side *again = side_new(10, frames, 3);
	void *memory = memory_new();
	struct record_layout layout;
	const struct block_frames *block;
	const char *missing;

	(void)state;
	put(old, 1, T0, 0, 0);
	put(old, 1, T0, 0, 0);
	assert_int_equal(take_over(new, memory, hand_over(old, memory), &no_points, T0, &missing), 0);
	assert_string_equal(missing, "TUNNEL");
	assert_int_equal(take_over(again, memory, hand_over(new, memory), &no_points, T0, &missing), 0);
	assert_null(missing);
	put(again, 1, T0, 0, 0);
	flow_table_flush(again->table, FLOW_END_FORCED);
	assert_int_equal(again->out.n, 1);
	assert_int_equal(again->out.records[0].packets, 3);
	record_layout_init(&layout, frames, 0);
	block = flow_record_block(&layout, &again->out.records[0], BLOCK_FRAMES);
	(void)block; /* a list of records keeps their cores */
	side_free(old);
	side_free(new);
	side_free(again);
	free(memory);
}

/* Flows that came in by chance stay such; those of a process that left none out have nothing missing. */
static void test_slices(void **state)
{
	uint32_t slice = 1u << BLOCK_SLICE;
	struct side *plain = side_new(10, 0, 1), *old = side_new(10, slice, 2), *new = side_new(10, slice, 3);
	void *memory = memory_new();
	struct record_layout layout;
	const struct block_slice *block;
	const char *missing;

	(void)state;
	record_layout_init(&layout, slice, 0);
	put(plain, 1, T0, 0, 0);
	assert_int_equal(take_over(old, memory, hand_over(plain, memory), &no_points, T0, &missing), 0);
	assert_null(missing);
	flow_table_set_slicing(old->table, 1);
	for (uint32_t key = 2; flow_table_stats(old->table)->created == 0; key++)
		put(old, key, T0, 0, 0);
	assert_int_equal(take_over(new, memory, hand_over(old, memory), &no_points, T0, &missing), 0);
	flow_table_flush(new->table, FLOW_END_FORCED);
	assert_int_equal(new->out.n, 2);
	for (size_t i = 0; i < 2; i++) {
		uint32_t key;

		memcpy(&key, new->out.records[i].key.src, sizeof(key));
		block = flow_record_block(&layout, &new->out.records[i], BLOCK_SLICE);
		assert_int_equal(block->step, key == 1 ? 0 : 1);
		assert_int_equal(block->octets, key == 1 ? 0 : 100);
	}
	side_free(plain);
	side_free(old);
	side_free(new);
	free(memory);
}

/* An interface that is another one of several now. */
static void test_points(void **state)
{
	static const uint16_t to[] = {0, 2, 1};
	struct side *old = side_new(10, 0, 1), *new = side_new(10, 0, 2);
	void *memory = memory_new();
	const char *missing;

	(void)state;
	put(old, 1, T0, 0, 1);
	put(old, 1, T0, 0, 2);
	assert_int_equal(
		take_over(new, memory, hand_over(old, memory), &(struct flow_points){to, 3}, T0, &missing),
		0);
	put(new, 1, T0, 0, 1);
	put(new, 1, T0, 0, 1);
	put(new, 1, T0, 0, 2);
	assert_int_equal(flow_table_stats(new->table)->created, 0);
	flow_table_flush(new->table, FLOW_END_FORCED);
	assert_int_equal(new->out.n, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(new->out.records[i].packets, new->out.records[i].key.point == 1 ? 3 : 2);
	side_free(old);
	side_free(new);
	free(memory);
}

/* A smaller table: flows that had to give way have records. */
/* Polite mode: what was drawn at one rate there is not called drawn at another here. */
static void test_selectors(void **state)
{
	struct side *a = side_new(100, 0, 1), *b = side_new(100, 0, 2);
	void *memory = memory_new();
	const char *missing;

	(void)state;
	flow_table_set_selector(a->table, 3);
	put(a, 1, T0, 0, 0);
	assert_int_equal(take_over(b, memory, hand_over(a, memory), &no_points, T0, &missing), 0);
	put(b, 1, T0 + 1, 0, 0); /* of selector 0: the record ends, and another one begins */
	assert_int_equal(b->out.n, 1);
	assert_int_equal(b->out.records[0].selector, 3);
	assert_int_equal(b->out.records[0].packets, 1);
	flow_table_flush(b->table, FLOW_END_FORCED);
	assert_int_equal(b->out.n, 2);
	assert_int_equal(b->out.records[1].selector, 0);
	flow_table_let_go(a->table);
	free(memory);
	side_free(a);
	side_free(b);
}

static void test_less_room(void **state)
{
	struct side *old = side_new(100, 0, 1), *new = side_new(30, 0, 2);
	void *memory = memory_new();
	const char *missing;

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		put(old, i, T0, 0, 0);
	assert_int_equal(take_over(new, memory, hand_over(old, memory), &no_points, T0, &missing), 0);
	assert_int_equal(flow_table_stats(new->table)->in_table.records, 30);
	assert_int_equal(flow_table_stats(new->table)->ended[FLOW_END_RESOURCES], 70);
	assert_int_equal(new->out.n, 70);
	side_free(old);
	side_free(new);
	free(memory);
}

/* What is cut in the middle, and what is no flow, is an error; what was before it is there. */
static void test_broken(void **state)
{
	struct side *old = side_new(10, 1u << BLOCK_FRAMES, 1);
	uint8_t *memory = memory_new();
	const char *missing;
	size_t size;

	(void)state;
	put(old, 1, T0, 0, 0);
	put(old, 2, T0, 0, 0);
	size = hand_over(old, memory);
	for (uint64_t cut = 1; cut < 300; cut++) {
		struct side *new = side_new(10, 1u << BLOCK_FRAMES, 2);
		uint8_t *copy = malloc(size);
		uint64_t octets;

		assert_non_null(copy);
		memcpy(copy, memory, size);
		memcpy(&octets, copy + 8 + 32, sizeof(octets));
		octets = octets > cut ? octets - cut : 0;
		memcpy(copy + 8 + 32, &octets, sizeof(octets));
		if (take_over(new, copy, size, &no_points, T0, &missing) == 0)
			assert_true(flow_table_stats(new->table)->in_table.records < 2);
		side_free(new);
		free(copy);
	}
	side_free(old);
	free(memory);
}

static void test_fragments(void **state)
{
	struct fragment_table *old, *new;
	struct flow_stats stats = {0};
	struct hash_seed seeds[2];
	struct diag diag = {""};
	struct packet p = {.time_ns = T0, .fragment = PACKET_FRAGMENT_FIRST, .fragment_id = 7};
	void *memory = memory_new();
	struct sections_writer w;
	struct sections_reader r;
	struct section s;

	(void)state;
	hash_seed_fixed(&seeds[0], 1);
	hash_seed_fixed(&seeds[1], 2);
	assert_int_equal(fragment_table_new(&old, 64, 30 * NS_PER_SEC, &seeds[0], &diag), 0);
	assert_int_equal(fragment_table_new(&new, 8, 30 * NS_PER_SEC, &seeds[1], &diag), 0);
	p.key = (struct flow_key){.protocol = 17, .ip_version = 4, .src_port = 1000, .dst_port = 53};
	fragment_track(old, &p, &stats);
	sections_write_init(&w, memory, fragment_table_hand_over_octets(old) + 256);
	fragment_table_hand_over(old, &w);
	assert_int_equal(sections_read_init(&r, memory, sections_finish(&w)), 0);
	assert_true(sections_find(&r, FRAGMENT_SECTION, FRAGMENT_SECTION_VERSION, &s));
	assert_int_equal(fragment_table_take_over(new, &s, &no_points), 0);
	p = (struct packet){.time_ns = T0 + NS_PER_SEC, .fragment = PACKET_FRAGMENT_LATER, .fragment_id = 7};
	p.key = (struct flow_key){.protocol = 17, .ip_version = 4};
	fragment_track(new, &p, &stats);
	assert_int_equal(p.key.src_port, 1000);
	assert_int_equal(p.key.dst_port, 53);
	assert_true(sections_find(&r, FRAGMENT_SECTION, FRAGMENT_SECTION_VERSION, &s));
	s.left--;
	assert_int_not_equal(fragment_table_take_over(new, &s, &no_points), 0);
	fragment_table_free(old);
	fragment_table_free(new);
	free(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flows_live_on), cmocka_unit_test(test_time_goes_on),
		cmocka_unit_test(test_blocks),	      cmocka_unit_test(test_points),
		cmocka_unit_test(test_selectors),     cmocka_unit_test(test_less_room),
		cmocka_unit_test(test_broken),	      cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_slices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
