/* selection: what is metered and what is reported of frames, tags and link types, and how much of them. */
#include "cm.h"

#include <string.h>

#include "selection.h"

static struct ring shared;
static struct ring_writer ring;
static struct ring_reader reader;
_Alignas(64) static struct packet_sample slots[1024];
static struct sample_stats stats;
static uint8_t data[BATCH_MAX][64];

static void fill(struct frame_batch *b, unsigned n, uint32_t ifindex)
{
	*b = (struct frame_batch){.n = n};
	for (unsigned i = 0; i < n; i++) {
		memset(data[i], (int)i, sizeof(data[i]));
		data[i][12] = 8;
		data[i][13] = 0;
		b->frames[i] = (struct frame){.data = data[i],
					      .cap_len = 64,
					      .wire_len = 100 + i,
					      .time_ns = i,
					      .ifindex = ifindex,
					      .flags = FRAME_INGRESS};
	}
}

static struct selection make(enum sampler_kind flows, uint32_t n, enum sampler_kind samples, uint32_t m)
{
	struct selection s;

	stats = (struct sample_stats){0};
	selection_init(&s,
		       &(struct selection_config){
			       .flows = {flows, n, 1}, .samples = {samples, m, 2}, .header_max = 128},
		       &ring, NULL);
	return s;
}

static int set_up(void **state)
{
	(void)state;
	shared = (struct ring){0};
	ring_write_at(&ring, &shared, slots, 1024, sizeof(slots[0]));
	ring_read_at(&reader, &shared, slots, 1024, sizeof(slots[0]));
	return 0;
}

/* Everything that came in is metered or unselected, in packets and in octets. */
static void test_frames(void **state)
{
	struct selection s = make(SAMPLER_RANDOM, 10, SAMPLER_NONE, 1);
	struct meter_stats meter = {0};
	uint64_t octets = 0, kept = 0, kept_octets = 0;
	struct frame_batch b;

	(void)state;
	for (unsigned round = 0; round < 1000; round++) {
		fill(&b, BATCH_MAX, 1);
		b.frames[3].flags |= FRAME_VLAN;
		for (unsigned i = 0; i < BATCH_MAX; i++)
			octets += b.frames[i].wire_len + (b.frames[i].flags & FRAME_VLAN ? 4 : 0);
		selection_frames(&s, &b, &meter);
		kept += b.n;
		for (unsigned i = 0; i < b.n; i++) {
			kept_octets += b.frames[i].wire_len + (b.frames[i].flags & FRAME_VLAN ? 4 : 0);
			assert_true(i == 0 || b.frames[i].time_ns > b.frames[i - 1].time_ns);
		}
	}
	assert_int_equal(kept + meter.unselected_packets, 1000 * BATCH_MAX);
	assert_int_equal(meter.received_packets, meter.unselected_packets);
	assert_int_equal(kept_octets + meter.unselected_octets, octets);
	assert_in_range(kept, 6100, 6700); /* 6400, four standard errors */
	assert_int_equal(s.flows.selected, kept);
}

static void test_none(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_NONE, 1);
	struct meter_stats meter = {0};
	struct frame_batch b;

	(void)state;
	fill(&b, BATCH_MAX, 1);
	selection_frames(&s, &b, &meter);
	selection_draw(&s, &b, 1, &stats);
	assert_int_equal(b.n, BATCH_MAX);
	assert_int_equal(meter.received_packets, 0);
	assert_int_equal(stats.pool, 0);
}

static void test_packets(void **state)
{
	struct selection s = make(SAMPLER_HASH, 4, SAMPLER_NONE, 1);
	struct meter_stats meter = {0};
	struct packet packets[BATCH_MAX];
	unsigned n;

	(void)state;
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		packets[i] = (struct packet){.link_octets = 50};
		packets[i].key.src[0] = (uint8_t)(i / 2);
		packets[i].key.ip_version = 4;
	}
	n = selection_packets(&s, packets, sizeof(packets[0]), BATCH_MAX, &meter);
	assert_in_range(n, 2, 40);
	assert_int_equal(n % 2, 0); /* both packets of a flow, or none */
	assert_int_equal(n + meter.unselected_packets, BATCH_MAX);
	assert_int_equal(meter.unselected_octets, meter.unselected_packets * 50);
}

/* A savefile may have more octets of a frame than it says that the frame had: no header is longer than its
 * frame. */
static void test_longer_than_it_was(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);
	struct frame_batch b;

	(void)state;
	fill(&b, 3, 1);
	b.frames[0].wire_len = 60;
	b.frames[1].wire_len = 0;
	b.frames[2].wire_len = 64;
	selection_draw(&s, &b, 1, &stats);
	selection_publish(&s);
	assert_int_equal(ring_peek(&reader), 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct packet_sample *p = ring_slot(&reader, i);

		assert_int_equal(p->frame_len, i ? 64 : 60);
		assert_int_equal(p->header_len, p->frame_len);
	}
	assert_int_equal(stats.dropped, 1);
}

/* The pools of the samples of all sources add up to what came in, and every sample is of its frame. */
static void test_draw(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 7);
	uint64_t pool[3] = {0};
	struct frame_batch b;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		fill(&b, BATCH_MAX, 1 + round % 2);
		selection_draw(&s, &b, 1, &stats);
		ring_publish(&ring);
	}
	assert_int_equal(stats.pool, 20 * BATCH_MAX);
	assert_int_equal(stats.taken, ring_peek(&reader));
	for (uint64_t i = 0; i < stats.taken; i++) {
		const struct packet_sample *p = ring_slot(&reader, i);
		unsigned k = p->header[0];

		pool[p->source] += p->pool;
		assert_int_equal(p->frame_len, 100 + k);
		assert_int_equal(p->header_len, 64);
		assert_memory_equal(p->header, data[k], 64);
		assert_int_equal(p->input, p->source);
		assert_int_equal(p->rate, 7);
		assert_int_equal(p->vlan, 0);
	}
	assert_int_equal(pool[1] + s.sources[0].pool, 10 * BATCH_MAX);
	assert_int_equal(pool[2] + s.sources[1].pool, 10 * BATCH_MAX);
}

static void test_full(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);
	struct frame_batch b;
	const struct packet_sample *last;

	(void)state;
	for (unsigned i = 0; i < 17; i++) {
		fill(&b, BATCH_MAX, 1);
		selection_draw(&s, &b, 1, &stats);
		ring_publish(&ring);
	}
	assert_int_equal(stats.taken, 1024);
	assert_int_equal(stats.dropped, 64);
	assert_int_equal(ring_peek(&reader), 1024);
	ring_consume(&reader, 1024);
	fill(&b, 1, 1);
	selection_draw(&s, &b, 1, &stats);
	ring_publish(&ring);
	assert_int_equal(ring_peek(&reader), 1);
	last = ring_slot(&reader, 0);
	assert_int_equal(last->pool, 65);
	assert_int_equal(last->drops, 64);
}

/* A tag in metadata is put back; one in the frame is where it was. */
static void test_tags(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);
	const struct packet_sample *p;
	struct frame_batch b;

	(void)state;
	fill(&b, 2, 1);
	b.frames[0].flags |= FRAME_VLAN;
	b.frames[0].vlan_tci = 3 << 13 | 77;
	b.frames[0].vlan_tpid = 0x88a8;
	data[1][12] = 0x81;
	data[1][13] = 0;
	data[1][14] = 5 << 5;
	data[1][15] = 9;
	selection_draw(&s, &b, 1, &stats);
	ring_publish(&ring);
	p = ring_slot(&reader, 0);
	assert_int_equal(p->frame_len, 104);
	assert_int_equal(p->header_len, 68);
	assert_memory_equal(p->header + 12, "\x88\xa8\x60\x4d\x08\x00", 6);
	assert_int_equal(p->vlan, 77);
	assert_int_equal(p->priority, 3);
	p = ring_slot(&reader, 1);
	assert_int_equal(p->header_len, 64);
	assert_int_equal(p->vlan, 9);
	assert_int_equal(p->priority, 5);
}

static void test_link_types(void **state)
{
	static const struct {
		int link_type;
		unsigned strip, protocol;
		uint8_t first;
	} rows[] = {{101, 0, 11, 0x45}, {101, 0, 12, 0x60}, {0, 4, 11, 0x45}, {9, 0, 7, 0x21}};
	struct frame_batch b;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);
		const struct packet_sample *p;

		fill(&b, 1, 0);
		data[0][rows[i].strip] = rows[i].first;
		selection_draw(&s, &b, rows[i].link_type, &stats);
		ring_publish(&ring);
		assert_int_equal(ring_peek(&reader), 1);
		p = ring_slot(&reader, 0);
		assert_int_equal(p->protocol, rows[i].protocol);
		assert_int_equal(p->frame_len, 100 - rows[i].strip);
		assert_int_equal(p->header_len, 64 - rows[i].strip);
		assert_int_equal(p->vlan, PACKET_SAMPLE_NO_VLAN);
		assert_int_equal(p->input, 0);
		ring_consume(&reader, 1);
	}
	{ /* one that sFlow has no name for */
		struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);

		fill(&b, 1, 0);
		selection_draw(&s, &b, 239, &stats);
		selection_draw(&s, &b, 101, &stats); /* neither IPv4 nor IPv6 */
		ring_publish(&ring);
		assert_int_equal(ring_peek(&reader), 0);
		assert_int_equal(stats.dropped, 2);
	}
}

/* A cooked header says what follows it, which interface the frame is of, and which way it went. */
static void test_cooked(void **state)
{
	/* type, reserved, index, hardware, way, length, address; then the frame */
#define SLL2(type, index, way, ...)                                                                          \
	{                                                                                                    \
		(type) >> 8, (type)&255, 0, 0, 0, 0, 0, index, 0, 1, way, 6, 2, 0, 0, 0, 0, 1, 0, 0,         \
			__VA_ARGS__                                                                          \
	}
	static const struct {
		unsigned protocol, at, source, input, output; /* protocol 0: it has no name */
		uint8_t frame[32];
	} rows[] = {
		{11, 20, 7, 7, 0, SLL2(0x0800, 7, 0, 0x45)},
		{12, 20, 8, 0, 8, SLL2(0x86dd, 8, 4, 0x60)},
		{13, 20, 7, 7, 0, SLL2(0x8847, 7, 1, 0x45)},
		{11, 24, 7, 7, 0, SLL2(0x8100, 7, 0, 0, 5, 8, 0, 0x45)},
		{11, 28, 7, 7, 0, SLL2(0x88a8, 7, 0, 0, 5, 0x81, 0, 0, 6, 8, 0, 0x45)},
		{0, 0, 0, 0, 0, SLL2(0x0806, 7, 0, 0, 1)}, /* ARP */
		{0, 0, 0, 0, 0, SLL2(0x88cc, 7, 0, 2, 7)},
		{0, 0, 0, 0, 0, SLL2(0x8100, 7, 0, 0, 5, 8, 6, 0x45)},
	};
#undef SLL2
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_RANDOM, 1);
	struct frame_batch b;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct packet_sample *p;

		fill(&b, 1, 0);
		memcpy(data[0], rows[i].frame, sizeof(rows[i].frame));
		b.frames[0].flags = 0;
		selection_draw(&s, &b, 276, &stats);
		ring_publish(&ring);
		assert_int_equal(ring_peek(&reader), rows[i].protocol ? 1 : 0);
		if (!rows[i].protocol)
			continue;
		p = ring_slot(&reader, 0);
		assert_int_equal(p->protocol, rows[i].protocol);
		assert_int_equal(p->frame_len, 100 - rows[i].at);
		assert_int_equal(p->header_len, 64 - rows[i].at);
		assert_int_equal(p->source, rows[i].source);
		assert_int_equal(p->input, rows[i].input);
		assert_int_equal(p->output, rows[i].output);
		assert_int_equal(p->vlan, PACKET_SAMPLE_NO_VLAN);
		ring_consume(&reader, 1);
	}
	assert_int_equal(stats.pool, ARRAY_SIZE(rows));
	assert_int_equal(stats.dropped, 3);
	fill(&b, 1, 0); /* one that ends within its header */
	b.frames[0].cap_len = 19;
	selection_draw(&s, &b, 276, &stats);
	assert_int_equal(stats.dropped, 4);
	fill(&b, 1, 0); /* the older header has its type behind, and no index */
	data[0][14] = 8;
	data[0][16] = 0x45;
	selection_draw(&s, &b, 113, &stats);
	ring_publish(&ring);
	assert_int_equal(ring_peek(&reader), 1);
	assert_int_equal(((const struct packet_sample *)ring_slot(&reader, 0))->protocol, 11);
	assert_int_equal(((const struct packet_sample *)ring_slot(&reader, 0))->frame_len, 84);
}

/* Polite mode: all, one of four, none but counted, none; everything is in one place. */
static void test_follows(void **state)
{
	struct selection s = make(SAMPLER_NONE, 1, SAMPLER_NONE, 1);
	struct meter_stats meter = {0};
	struct frame_batch b;
	uint64_t kept = 0;

	(void)state;
	selection_follow(&s, 1, 0, false);
	fill(&b, 10, 1);
	selection_frames(&s, &b, &meter);
	assert_int_equal(b.n, 10);
	selection_follow(&s, 4, 2, false);
	for (unsigned i = 0; i < 400; i++) {
		fill(&b, 10, 1);
		selection_frames(&s, &b, &meter);
		kept += b.n;
	}
	assert_in_range(kept, 835, 1165);
	assert_int_equal(meter.unselected_packets, 4000 - kept);
	assert_int_equal(meter.unselected_by[2], 4000 - kept);
	assert_int_equal(meter.unselected_by[0], 0);
	selection_follow(&s, 0, 10, true);
	fill(&b, 10, 1);
	selection_frames(&s, &b, &meter);
	assert_int_equal(b.n, 0);
	assert_int_equal(s.counted.packets, 10);
	assert_int_equal(s.counted.octets, 1045);
	selection_follow(&s, 0, 10, false);
	fill(&b, 10, 1);
	selection_frames(&s, &b, &meter);
	assert_int_equal(b.n, 0);
	assert_int_equal(s.counted.packets, 10);
	assert_int_equal(meter.ignored[PACKET_POLITE], 10);
	assert_int_equal(meter.ignored_octets, 1045);
	assert_int_equal(meter.last_ignored_ns, 9);
	assert_int_equal(meter.received_packets, 4000 - kept + 10);
	selection_count_left_out(&meter, 77, 5, 500); /* a mark that nobody has */
	assert_int_equal(meter.unselected_by[0], 5);
}

int main(void)
{
#define WITH_RING(test) cmocka_unit_test(test_follows), cmocka_unit_test_setup(test, set_up)
	const struct CMUnitTest tests[] = {
		WITH_RING(test_frames),	    WITH_RING(test_none),
		WITH_RING(test_packets),    WITH_RING(test_draw),
		WITH_RING(test_full),	    WITH_RING(test_tags),
		WITH_RING(test_link_types), WITH_RING(test_longer_than_it_was),
		WITH_RING(test_cooked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
