/*
 * flow_table: ageing to the nanosecond, TCP end, steps of the clock, reuse, eviction, conservation.
 * Covers flow/flow_table.c, flow/flow_update.c, flow/flow_expire.c, flow/flow_wheel.c,
 * flow/flow_walk.c.
 */
#include "cm.h"

#include <inttypes.h>

#include "model.h"
#include "pitot/clock.h"
#include "pitot/flow_table.h"

#define T0	 (UINT64_C(1700000000) * NS_PER_SEC)
#define ACTIVE	 (60 * NS_PER_SEC)
#define INACTIVE (15 * NS_PER_SEC)
#define TCP_END	 (2 * NS_PER_SEC)

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

struct fixture {
	struct flow_table *table;
	struct record_list out;
	uint64_t packets, octets;	  /* put in */
	uint64_t out_packets, out_octets; /* handed on */
	uint64_t elapsed_ns;
};

static void fixture_on_record(void *ctx, const struct flow_record *r)
{
	struct fixture *f = ctx;

	f->out_packets += r->packets;
	f->out_octets += r->octets;
	record_list_add(&f->out, r);
}

static struct fixture *open_table(uint32_t max_flows, uint64_t active_ns, uint64_t inactive_ns,
				  uint64_t tcp_end_ns)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct diag diag = {""};
	struct flow_table_config config = {.max_flows = max_flows,
					   .active_ns = active_ns,
					   .inactive_ns = inactive_ns,
					   .tcp_end_ns = tcp_end_ns,
					   .on_record = fixture_on_record,
					   .ctx = f};

	hash_seed_fixed(&config.seed, 1);
	assert_int_equal(flow_table_new(&f->table, &config, &diag), 0);
	return f;
}

static void check_ledger(const struct fixture *f)
{
	const struct flow_stats *s = flow_table_stats(f->table);
	uint64_t ended = 0;

	for (unsigned i = 0; i < FLOW_END_COUNT; i++)
		ended += s->ended[i];
	assert_int_equal(s->created, s->in_table.records + ended);
	assert_int_equal(ended, f->out.n);
	assert_int_equal(s->handed_on.packets, f->out_packets);
	assert_int_equal(s->handed_on.octets, f->out_octets);
	assert_int_equal(f->packets, s->in_table.packets + s->handed_on.packets + s->sliced.packets);
	assert_int_equal(f->octets, s->in_table.octets + s->handed_on.octets + s->sliced.octets);
	assert_true(s->in_table.records <= flow_table_capacity(f->table));
}

static void close_table(struct fixture *f)
{
	check_ledger(f);
	flow_table_free(f->table);
	record_list_free(&f->out);
	free(f);
}

static void put_batch(struct fixture *f, struct packet *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		f->packets++;
		f->octets += p[i].octets;
	}
	flow_table_prefetch(f->table, p, n);
	flow_table_update(f->table, p, n);
	check_ledger(f);
}

static struct packet make(uint32_t key, uint64_t time_ns, uint16_t tcp_flags)
{
	struct packet p = {.time_ns = time_ns,
			   .octets = 100,
			   .tcp_flags = tcp_flags,
			   .ttl = 64,
			   .direction = FLOW_DIRECTION_UNKNOWN};

	memcpy(p.key.src, &key, 4);
	p.key.dst[0] = 10;
	p.key.src_port = (uint16_t)key;
	p.key.dst_port = 80;
	p.key.protocol = 6;
	p.key.ip_version = 4;
	return p;
}

static void put(struct fixture *f, uint32_t key, uint64_t time_ns, uint16_t tcp_flags)
{
	struct packet p = make(key, time_ns, tcp_flags);

	put_batch(f, &p, 1);
}

/* Turns the wheels further by far more than any time-out and looks with the clock at now_ns. */
static void expire(struct fixture *f, uint64_t now_ns)
{
	for (unsigned i = 0; i < 4; i++) {
		f->elapsed_ns += 100 * NS_PER_SEC;
		flow_table_expire(f->table, f->elapsed_ns, now_ns, UINT64_MAX);
	}
	check_ledger(f);
}

static void test_idle_at_arrival(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 1, T0 + INACTIVE, 0); /* not more than the time-out: the same record */
	assert_int_equal(f->out.n, 0);
	put(f, 1, T0 + 2 * INACTIVE + 1, 0);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_IDLE);
	assert_int_equal(f->out.records[0].packets, 2);
	assert_int_equal(f->out.records[0].octets, 200);
	assert_int_equal(f->out.records[0].first_ns, T0);
	assert_int_equal(f->out.records[0].last_ns, T0 + INACTIVE);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 1); /* a new record with that packet */
	close_table(f);
}

static void test_active_at_arrival(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);
	uint64_t t;

	(void)state;
	for (t = T0; t <= T0 + ACTIVE; t += 10 * NS_PER_SEC)
		put(f, 1, t, 0);
	assert_int_equal(f->out.n, 0); /* t - first == active */
	put(f, 1, T0 + ACTIVE + 1, 0);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_ACTIVE);
	assert_int_equal(f->out.records[0].packets, 7);
	put(f, 1, T0 + ACTIVE + 2, 0);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 2);
	assert_int_equal(f->out.records[1].end_reason, FLOW_END_FORCED);
	assert_int_equal(f->out.records[1].first_ns, T0 + ACTIVE + 1);
	assert_int_equal(f->out.records[1].packets, 2);
	close_table(f);
}

/* Both rules hold: it is the idle one that is asked first. */
static void test_idle_before_active(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 1, T0 + 10 * ACTIVE, 0);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_IDLE);
	close_table(f);
}

static void test_idle_by_the_clock(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 2, T0 + 5, 0);
	expire(f, T0 + INACTIVE);
	assert_int_equal(f->out.n, 0);
	expire(f, T0 + INACTIVE + 1);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].key.src_port, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_IDLE);
	expire(f, T0 + INACTIVE + 5);
	assert_int_equal(f->out.n, 1);
	expire(f, T0 + INACTIVE + 6);
	assert_int_equal(f->out.n, 2);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 0);
	close_table(f);
}

static void test_active_by_the_clock(void **state)
{
	struct fixture *f = open_table(16, 20 * NS_PER_SEC, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 1, T0 + 10 * NS_PER_SEC, 0);
	expire(f, T0 + 20 * NS_PER_SEC);
	assert_int_equal(f->out.n, 0);
	expire(f, T0 + 20 * NS_PER_SEC + 1);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_ACTIVE);
	close_table(f);
}

/* A silent record is found within a slot of the wheel after its time, not only after many turns. */
static void test_expiry_is_prompt(void **state)
{
	struct fixture *f = open_table(1000, ACTIVE, INACTIVE, TCP_END);
	uint64_t t;

	(void)state;
	for (uint32_t key = 0; key < 500; key++)
		put(f, key, T0 + key, 0);
	for (t = 0; t <= INACTIVE + NS_PER_SEC; t += 100 * NS_PER_MSEC) {
		flow_table_expire(f->table, t, T0 + t, UINT64_MAX);
		if (t <= INACTIVE)
			assert_int_equal(f->out.n, 0);
	}
	assert_int_equal(f->out.n, 500);
	close_table(f);
}

/* Whoever sleeps until something is due ends every record as promptly, and has little to look at. */
static void test_due(void **state)
{
	const uint64_t slot = INACTIVE / 1000; /* about */
	struct fixture *f = open_table(1000, ACTIVE, INACTIVE, TCP_END);
	uint64_t t = 0;
	unsigned looks = 0;

	(void)state;
	assert_int_equal(flow_table_due_ns(f->table), UINT64_MAX);
	put(f, 1, T0, 0);
	put(f, 2, T0, SYN);
	put(f, 2, T0 + 1, FIN); /* the end of a connection */
	put(f, 3, T0, 0);
	put(f, 3, T0 + 2, 0); /* another wheel */
	for (; flow_table_due_ns(f->table) != UINT64_MAX; looks++) {
		uint64_t due_ns = flow_table_due_ns(f->table);

		assert_true(due_ns >= t);
		t = due_ns;
		assert_true(f->out.n >= 1 || t <= TCP_END + 10 * slot);
		assert_true(f->out.n >= 3 || t <= INACTIVE + ACTIVE / 100);
		flow_table_expire(f->table, t, T0 + t, UINT64_MAX);
	}
	assert_int_equal(f->out.n, 3);
	assert_true(t <= ACTIVE + 10 * slot);
	assert_true(looks < 20);
	close_table(f);
}

static void test_tcp_end(void **state)
{
	static const uint16_t ends[] = {FIN | ACK, RST, RST | ACK, FIN};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

		put(f, 1, T0, SYN);
		put(f, 1, T0 + 1, ends[i]);
		put(f, 1, T0 + 1 + TCP_END, ACK); /* not more than tcp-end: still the same record */
		assert_int_equal(f->out.n, 0);
		expire(f, T0 + 1 + 2 * TCP_END);
		assert_int_equal(f->out.n, 0);
		put(f, 1, T0 + 2 + 2 * TCP_END, ACK);
		assert_int_equal(f->out.n, 1);
		assert_int_equal(f->out.records[0].end_reason, FLOW_END_DETECTED);
		assert_int_equal(f->out.records[0].packets, 3);
		assert_int_equal(f->out.records[0].tcp_flags, SYN | ends[i] | ACK);
		/* the new record is not ended: its flags have no FIN */
		expire(f, T0 + 2 + 2 * TCP_END + INACTIVE);
		assert_int_equal(f->out.n, 1);
		expire(f, T0 + 3 + 2 * TCP_END + INACTIVE);
		assert_int_equal(f->out.n, 2);
		assert_int_equal(f->out.records[1].end_reason, FLOW_END_IDLE);
		assert_int_equal(f->out.records[1].tcp_flags, ACK);
		close_table(f);
	}
}

static void test_tcp_end_by_the_clock(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, FIN);
	put(f, 2, T0, SYN);
	expire(f, T0 + TCP_END);
	assert_int_equal(f->out.n, 0);
	expire(f, T0 + TCP_END + 1);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_DETECTED);
	close_table(f);
}

static void test_tcp_end_off(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, UINT64_MAX);

	(void)state;
	put(f, 1, T0, FIN);
	expire(f, T0 + INACTIVE);
	assert_int_equal(f->out.n, 0);
	expire(f, T0 + INACTIVE + 1);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_IDLE);
	close_table(f);
}

static void test_step_back(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 1, T0 - 3600 * NS_PER_SEC, 0); /* closes nothing, discards nothing */
	assert_int_equal(f->out.n, 0);
	flow_table_expire(f->table, NS_PER_SEC, T0 - 3600 * NS_PER_SEC, UINT64_MAX);
	assert_int_equal(f->out.n, 0);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].packets, 2);
	assert_int_equal(f->out.records[0].first_ns, T0 - 3600 * NS_PER_SEC);
	assert_int_equal(f->out.records[0].last_ns, T0);
	close_table(f);
}

/* After a step back the first time is older: the active time-out is measured from there. */
static void test_step_back_then_on(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 1, T0 - 50 * NS_PER_SEC, 0);
	put(f, 1, T0 + 10 * NS_PER_SEC, 0);
	assert_int_equal(f->out.n, 0);
	put(f, 1, T0 + 10 * NS_PER_SEC + 1, 0);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_ACTIVE);
	close_table(f);
}

/* Times at both ends of what 64 bits hold. */
static void test_extreme_times(void **state)
{
	struct fixture *f = open_table(16, UINT64_MAX, UINT64_MAX, UINT64_MAX);

	(void)state;
	put(f, 1, 0, 0);
	put(f, 1, UINT64_MAX, 0);
	put(f, 1, 5, FIN);
	expire(f, UINT64_MAX);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].packets, 3);
	assert_int_equal(f->out.records[0].first_ns, 0);
	assert_int_equal(f->out.records[0].last_ns, UINT64_MAX);
	close_table(f);

	f = open_table(16, 1, 1, 1);
	put(f, 1, UINT64_MAX - 1, 0);
	put(f, 1, UINT64_MAX, 0);
	assert_int_equal(f->out.n, 0);
	close_table(f);
}

static void check_fresh(const struct flow_record *r, const struct packet *p)
{
	struct flow_record expected;

	model_start(&expected, p);
	expected.id = r->id;
	expected.end_reason = r->end_reason;
	expected.state = r->state;
	assert_memory_equal(r, &expected, sizeof(expected));
}

/* A record that begins in a used entry has nothing of what was there. */
static void test_reuse_carries_nothing_over(void **state)
{
	struct fixture *f = open_table(1, ACTIVE, INACTIVE, TCP_END);
	struct packet big = make(1, T0, FIN | RST | 0xff0), small = make(2, T0 + 100, SYN);

	(void)state;
	big.octets = UINT32_MAX + UINT64_C(5);
	big.ingress = 3;
	big.egress = 4;
	big.flow_label = 0xfffff;
	big.vlan = 4095;
	big.tos = 255;
	big.ttl = 255;
	big.direction = FLOW_DIRECTION_EGRESS;
	put_batch(f, &big, 1);
	assert_int_equal(f->out.n, 0);
	small.ttl = 1;
	put_batch(f, &small, 1); /* evicts the first */
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_RESOURCES);
	assert_int_equal(f->out.records[0].min_octets, UINT32_MAX);
	assert_int_equal(f->out.records[0].max_octets, UINT32_MAX);
	small.time_ns += INACTIVE + 1;
	put_batch(f, &small, 1); /* restarts in place */
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 3);
	check_fresh(&f->out.records[2], &small);
	small.time_ns -= INACTIVE + 1;
	check_fresh(&f->out.records[1], &small);
	assert_true(f->out.records[0].id != f->out.records[1].id);
	assert_true(f->out.records[1].id != f->out.records[2].id);
	close_table(f);
}

static size_t count_reason(const struct fixture *f, enum flow_end_reason reason)
{
	size_t n = 0;

	for (size_t i = 0; i < f->out.n; i++)
		n += f->out.records[i].end_reason == reason;
	return n;
}

/* The record nearest to its time-out goes first. */
static void test_eviction_order(void **state)
{
	enum { N = 1000 };
	struct fixture *f = open_table(N, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	for (uint32_t i = 0; i < 2 * N; i++) { /* a second each 100 flows: the wheel turns along */
		uint64_t since = i * 10 * NS_PER_MSEC;

		put(f, i, T0 + since, 0);
		flow_table_expire(f->table, since, T0 + since, 0);
	}
	assert_int_equal(f->out.n, N);
	assert_int_equal(count_reason(f, FLOW_END_RESOURCES), N);
	/* within the width of a slot of the wheel (15 s / 1020) the order is free: two flows */
	for (size_t i = 0; i < f->out.n; i++) {
		int64_t off = (int64_t)(f->out.records[i].first_ns - (T0 + i * 10 * NS_PER_MSEC));

		assert_in_range((uint64_t)(off + (int64_t)(100 * NS_PER_MSEC)), 0, 200 * NS_PER_MSEC);
	}
	close_table(f);
}

/*
 * Nor does a look at what has come due disturb that: what was not ended of a slot of the wheel stays in
 * order, but for the 62 flows that a chunk of it holds.
 */
static void test_eviction_order_in_a_slot(void **state)
{
	enum { N = 1000 };
	const uint64_t step_ns = 20 * NS_PER_USEC; /* 735 flows a slot */
	struct fixture *f = open_table(N, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	for (uint32_t i = 0; i < 4 * N; i++) {
		put(f, i, T0 + i * step_ns, 0);
		if (i % 50 == 0)
			flow_table_expire(f->table, i * step_ns, T0 + i * step_ns, UINT64_MAX);
	}
	assert_int_equal(count_reason(f, FLOW_END_RESOURCES), 3 * N);
	for (size_t i = 0; i < f->out.n; i++) {
		int64_t off = (int64_t)(f->out.records[i].first_ns - (T0 + i * step_ns));

		assert_in_range((uint64_t)(off + (int64_t)(62 * step_ns)), 0, 2 * 62 * step_ns);
	}
	close_table(f);
}

/* What was begun to be evicted still ends by time. */
static void test_evicted_slot_comes_due(void **state)
{
	enum { N = 100 };
	struct fixture *f = open_table(N, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	for (uint32_t i = 0; i < N + 10; i++)
		put(f, i, T0 + i, 0);
	assert_int_equal(f->out.n, 10);
	flow_table_expire(f->table, INACTIVE - NS_PER_SEC, T0 + INACTIVE - NS_PER_SEC, UINT64_MAX);
	assert_int_equal(f->out.n, 10);
	flow_table_expire(f->table, INACTIVE + NS_PER_SEC, T0 + INACTIVE + NS_PER_SEC, UINT64_MAX);
	assert_int_equal(f->out.n, N + 10);
	assert_int_equal(count_reason(f, FLOW_END_IDLE), N);
	close_table(f);
}

/* A flood of single-packet flows ends single-packet flows, as long as there are any. */
static void test_flood_spares_established(void **state)
{
	enum { MAX = 2048, ESTABLISHED = 1000, FLOOD = 20000 };
	struct fixture *f = open_table(MAX, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	for (uint32_t i = 0; i < ESTABLISHED; i++) {
		put(f, i, T0 + i, SYN);
		put(f, i, T0 + i + 1, ACK);
	}
	for (uint32_t i = 0; i < FLOOD; i++)
		put(f, 100000 + i, T0 + 2000 + i * NS_PER_USEC, SYN);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, MAX);
	for (size_t i = 0; i < f->out.n; i++)
		if (f->out.records[i].packets > 1)
			fail_msg("an established flow was ended: record %zu of %zu", i, f->out.n);
	assert_int_equal(count_reason(f, FLOW_END_RESOURCES), ESTABLISHED + FLOOD - MAX);
	close_table(f);
}

/* Nor does a record that has only just begun again count as a flood. */
static void test_flood_with_time(void **state)
{
	enum { MAX = 512, ESTABLISHED = 100 };
	struct fixture *f = open_table(MAX, ACTIVE, INACTIVE, TCP_END);
	uint64_t t = 0;
	uint32_t next = 100000;
	uint64_t established_packets = 0, seen = 0;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		t += 500 * NS_PER_MSEC;
		for (uint32_t i = 0; i < ESTABLISHED; i++, established_packets++)
			put(f, i, T0 + t + i, ACK);
		for (unsigned i = 0; i < 1000; i++)
			put(f, next++, T0 + t + 1000 + i, SYN);
		flow_table_expire(f->table, t, T0 + t + 2000, UINT64_MAX);
	}
	flow_table_flush(f->table, FLOW_END_FORCED);
	for (size_t i = 0; i < f->out.n; i++) {
		const struct flow_record *r = &f->out.records[i];

		if (r->key.src_port >= ESTABLISHED || r->key.src[2] || r->key.src[1])
			continue;
		seen += r->packets;
		if (r->end_reason == FLOW_END_RESOURCES && r->packets > 1)
			fail_msg("established flow %u gave way to a flood", r->key.src_port);
	}
	assert_int_equal(seen, established_packets);
	close_table(f);
}

/* -m N is room for N flows, not for about N. */
static void test_holds_as_many_as_it_says(void **state)
{
	static const uint32_t sizes[] = {1, 5, 16, 1000, 2048, 5000, 16384};

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct fixture *f = open_table(sizes[s], ACTIVE, INACTIVE, TCP_END);

		for (uint32_t i = 0; i < sizes[s]; i++)
			put(f, i, T0 + i, ACK);
		assert_int_equal(f->out.n, 0);
		assert_int_equal(flow_table_stats(f->table)->in_table.records, sizes[s]);
		put(f, 1000000, T0, ACK);
		assert_int_equal(f->out.n, 1);
		close_table(f);
	}
}

static void test_only_established(void **state)
{
	enum { MAX = 300 };
	struct fixture *f = open_table(MAX, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	for (uint32_t i = 0; i < 4 * MAX; i++) {
		put(f, i, T0 + i * NS_PER_MSEC, ACK);
		put(f, i, T0 + i * NS_PER_MSEC + 1, ACK);
	}
	assert_int_equal(count_reason(f, FLOW_END_RESOURCES), 3 * MAX);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, MAX);
	close_table(f);
}

static void test_flush(void **state)
{
	struct fixture *f = open_table(100, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	flow_table_flush(f->table, FLOW_END_FORCED); /* of nothing */
	assert_int_equal(f->out.n, 0);
	for (uint32_t i = 0; i < 100; i++)
		put(f, i, T0, 0);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 100);
	assert_int_equal(count_reason(f, FLOW_END_FORCED), 100);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 0);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 100);
	for (uint32_t i = 0; i < 100; i++) /* and it is of use afterwards */
		put(f, i, T0 + 1, 0);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 100);
	close_table(f);
}

static void test_budget(void **state)
{
	struct fixture *f = open_table(1000, ACTIVE, INACTIVE, TCP_END);
	size_t before;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		put(f, i, T0, 0);
	flow_table_expire(f->table, 10 * INACTIVE, T0 + 10 * INACTIVE, 0);
	assert_int_equal(f->out.n, 0);
	flow_table_expire(f->table, 10 * INACTIVE, T0 + 10 * INACTIVE, 100);
	assert_in_range(f->out.n, 1, 100);
	for (unsigned i = 0; i < 40; i++) {
		before = f->out.n;
		flow_table_expire(f->table, 10 * INACTIVE, T0 + 10 * INACTIVE, 100);
		assert_in_range(f->out.n - before, 0, 100);
	}
	assert_int_equal(f->out.n, 1000);
	close_table(f);
}

/* A record has packets of one selector: it ends when the first of another one comes. */
static void test_selectors(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	put(f, 2, T0, 0);
	flow_table_set_selector(f->table, 3);
	assert_int_equal(f->out.n, 0); /* nothing of a flow that is silent */
	put(f, 1, T0 + 1, 0);
	put(f, 1, T0 + 2, 0);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_RESOURCES);
	assert_int_equal(f->out.records[0].selector, 0);
	assert_int_equal(f->out.records[0].packets, 1);
	flow_table_set_selector(f->table, 0);
	put(f, 2, T0 + 3, 0); /* as before */
	put(f, 1, T0 + 2 * INACTIVE, 0);
	assert_int_equal(f->out.n, 2);
	assert_int_equal(f->out.records[1].end_reason,
			 FLOW_END_IDLE); /* of both reasons the one it has anyway */
	assert_int_equal(f->out.records[1].selector, 3);
	assert_int_equal(f->out.records[1].packets, 2);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 4);
	assert_int_equal(f->out.records[2].selector | f->out.records[3].selector, 0);
	close_table(f);
}

/* A record that is whole goes the way of all others. */
static void test_hand_on(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);
	struct flow_record r = {.packets = 7, .octets = 900};

	(void)state;
	put(f, 1, T0, 0);
	f->packets += r.packets;
	f->octets += r.octets;
	flow_table_hand_on(f->table, &r, FLOW_END_ACTIVE);
	check_ledger(f);
	assert_int_equal(f->out.n, 1);
	assert_int_equal(f->out.records[0].packets, 7);
	assert_int_equal(f->out.records[0].end_reason, FLOW_END_ACTIVE);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_not_equal(f->out.records[0].id, f->out.records[1].id);
	close_table(f);
}

static void test_set_timeouts(void **state)
{
	struct fixture *f = open_table(16, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	put(f, 1, T0, 0);
	flow_table_set_timeouts(f->table, ACTIVE, NS_PER_SEC, UINT64_MAX);
	flow_table_expire(f->table, 2 * NS_PER_SEC, T0 + NS_PER_SEC, UINT64_MAX);
	assert_int_equal(f->out.n, 0);
	flow_table_expire(f->table, 4 * NS_PER_SEC, T0 + NS_PER_SEC + 1, UINT64_MAX);
	assert_int_equal(f->out.n, 1);
	close_table(f);
}

/* The MAC addresses make two flows only where they are in the key. */
static void test_key_size(void **state)
{
	(void)state;
	for (unsigned with_mac = 0; with_mac < 2; with_mac++) {
		struct record_list out = {0};
		struct flow_table_config config = {.max_flows = 16,
						   .active_ns = ACTIVE,
						   .inactive_ns = INACTIVE,
						   .tcp_end_ns = TCP_END,
						   .first_id = UINT64_C(3) << 56,
						   .on_record = record_list_add,
						   .ctx = &out};
		struct packet p[2] = {make(1, T0, 0), make(1, T0, 0)};
		struct flow_table *t;
		struct diag diag;

		hash_seed_fixed(&config.seed, 9);
		record_layout_init(&config.layout, 1u << BLOCK_LINK, with_mac << BLOCK_LINK);
		p[1].blocks[config.layout.packet_at[BLOCK_LINK] - offsetof(struct packet, blocks) + 11] = 1;
		assert_int_equal(flow_table_new(&t, &config, &diag), 0);
		flow_table_prefetch(t, p, 2);
		flow_table_update(t, p, 2);
		assert_int_equal(flow_table_stats(t)->in_table.records, 1 + with_mac);
		flow_table_flush(t, FLOW_END_FORCED);
		assert_int_equal(out.records[0].id >> 56, 3);
		flow_table_free(t);
		record_list_free(&out);
	}
}

/* Every octet of the key tells flows apart. */
static void test_every_key_octet(void **state)
{
	struct fixture *f = open_table(1000, ACTIVE, INACTIVE, TCP_END);
	struct packet base = make(1, T0, 0);

	(void)state;
	put_batch(f, &base, 1);
	for (size_t i = 0; i < sizeof(base.key); i++) {
		struct packet p = base;

		((uint8_t *)&p.key)[i] ^= 0x10;
		put_batch(f, &p, 1);
		put_batch(f, &p, 1);
	}
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 1 + sizeof(base.key));
	close_table(f);
}

static struct packet random_packet(uint64_t *random, unsigned keys, uint64_t time_ns)
{
	static const uint16_t flags[] = {ACK, ACK, ACK, SYN, FIN | ACK, RST};
	struct packet p = make((uint32_t)(test_random(random) % keys), time_ns,
			       flags[test_random(random) % ARRAY_SIZE(flags)]);

	p.octets = 20 + test_random(random) % 1500;
	p.ttl = (uint8_t)test_random(random);
	return p;
}

static void compare_lists(struct record_list *a, struct record_list *b, bool reasons)
{
	assert_int_equal(a->n, b->n);
	qsort(a->records, a->n, sizeof(*a->records), record_compare);
	qsort(b->records, b->n, sizeof(*b->records), record_compare);
	for (size_t i = 0; i < a->n; i++) {
		struct flow_record x = a->records[i], y = b->records[i];

		x.id = y.id = 0;
		x.state = y.state = 0;
		if (!reasons)
			x.end_reason = y.end_reason = 0;
		if (memcmp(&x, &y, sizeof(x)))
			fail_msg("record %zu: packets %" PRIu64 "/%" PRIu64 " first %" PRIu64 "/%" PRIu64
				 " last %" PRIu64 "/%" PRIu64 " reason %u/%u",
				 i, x.packets, y.packets, x.first_ns, y.first_ns, x.last_ns, y.last_ns,
				 x.end_reason, y.end_reason);
	}
}

/* Random packets, times that step back and forth: exactly the records of the model. */
static void test_against_model(void **state)
{
	uint64_t random = 42;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		bool by_clock = round % 2;
		unsigned keys = 1 + (unsigned)(test_random(&random) % 200);
		struct model m = {ACTIVE, INACTIVE, round % 3 ? TCP_END : UINT64_MAX, {0}, {0}};
		struct fixture *f = open_table(1000, m.active_ns, m.inactive_ns, m.tcp_end_ns);
		uint64_t t = T0;

		for (unsigned batches = 0; batches < 60; batches++) {
			struct packet p[BATCH_MAX];
			unsigned n = 1 + (unsigned)(test_random(&random) % BATCH_MAX);

			for (unsigned i = 0; i < n; i++) {
				t += test_random(&random) % 10 == 0 ? test_random(&random) % (5 * NS_PER_SEC)
								    : test_random(&random) % NS_PER_MSEC;
				if (!by_clock && test_random(&random) % 20 == 0)
					t -= test_random(&random) % (30 * NS_PER_SEC);
				p[i] = random_packet(&random, keys, t);
				model_packet(&m, &p[i]);
			}
			put_batch(f, p, n);
			if (by_clock)
				flow_table_expire(f->table, t - T0, t, UINT64_MAX);
		}
		flow_table_flush(f->table, FLOW_END_FORCED);
		model_flush(&m);
		compare_lists(&f->out, &m.ended, !by_clock);
		model_free(&m);
		close_table(f);
	}
}

/* Tables that are far too small: what is handed on is complete all the same, key by key. */
static void test_tiny_tables(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 17, 33, 64};
	uint64_t random = 7;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		enum { KEYS = 200 };
		struct fixture *f = open_table(sizes[s], ACTIVE, INACTIVE, TCP_END);
		uint64_t packets[KEYS] = {0}, t = 0;

		for (unsigned batches = 0; batches < 400; batches++) {
			struct packet p[BATCH_MAX];
			unsigned n = 1 + (unsigned)(test_random(&random) % BATCH_MAX);

			for (unsigned i = 0; i < n; i++) {
				t += test_random(&random) % (20 * NS_PER_MSEC);
				p[i] = random_packet(&random, KEYS, T0 + t);
				packets[p[i].key.src_port]++;
			}
			put_batch(f, p, n);
			flow_table_expire(f->table, t, T0 + t, test_random(&random) % 100);
			check_ledger(f);
		}
		flow_table_flush(f->table, FLOW_END_FORCED);
		for (size_t i = 0; i < f->out.n; i++)
			packets[f->out.records[i].key.src_port] -= f->out.records[i].packets;
		for (unsigned i = 0; i < KEYS; i++)
			assert_int_equal(packets[i], 0);
		assert_true(count_reason(f, FLOW_END_RESOURCES) > 0);
		close_table(f);
	}
}

/* ---- walks */

struct walk {
	unsigned char seen[4096];
	unsigned visits;
	bool even; /* those end */
};

static bool walk_visit(void *ctx, const struct flow_record *r)
{
	struct walk *w = ctx;
	uint32_t key;

	memcpy(&key, r->key.src, 4);
	w->visits++;
	w->seen[key]++;
	return w->even && key % 2 == 0;
}

/* Every flow that lives all the time is seen once, a few at a time, while others come and go. */
static void test_walk(void **state)
{
	struct fixture *f = open_table(4096, ACTIVE, INACTIVE, TCP_END);
	struct walk w = {.visits = 0};
	uint32_t cursor = 0;
	unsigned calls = 0, before;
	bool more = true;

	(void)state;
	assert_false(flow_table_walk(f->table, &cursor, 10, walk_visit, &w, FLOW_END_NONE));
	for (uint32_t i = 0; i < 1000; i++)
		put(f, i, T0, 0);
	for (; more; calls++) {
		before = w.visits;
		more = flow_table_walk(f->table, &cursor, 10, walk_visit, &w, FLOW_END_NONE);
		assert_in_range(w.visits - before, 0, 10);
		put(f, 2000 + calls, T0, 0);
	}
	assert_in_range(calls, 100, 200);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(w.seen[i], 1);
	cursor = UINT32_MAX;
	assert_false(flow_table_walk(f->table, &cursor, 10, walk_visit, &w, FLOW_END_NONE));
	close_table(f);
}

/* Those that are told to end do, with the reason; their entries are used again, the others stay as they are.
 */
static void test_walk_ends(void **state)
{
	struct fixture *f = open_table(1000, ACTIVE, INACTIVE, TCP_END);
	struct walk w = {.even = true};
	uint32_t cursor = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		put(f, i, T0, 0);
	while (flow_table_walk(f->table, &cursor, 7, walk_visit, &w, FLOW_END_FORCED))
		check_ledger(f);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 500);
	assert_int_equal(f->out.n, 500);
	assert_int_equal(flow_table_stats(f->table)->ended[FLOW_END_FORCED], 500);
	for (uint32_t i = 0; i < 1000;
	     i++) /* the odd ones go on, the even ones begin anew: nobody has to go */
		put(f, i, T0 + 1, 0);
	assert_int_equal(flow_table_stats(f->table)->created, 1500);
	assert_int_equal(flow_table_stats(f->table)->ended[FLOW_END_RESOURCES], 0);
	expire(f, T0 + 1000 * NS_PER_SEC);
	assert_int_equal(flow_table_stats(f->table)->in_table.records, 0);
	close_table(f);
}

/* ---- slices: new flows by chance */

static struct fixture *open_slicing_table(uint32_t max_flows)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct diag diag = {""};
	struct flow_table_config config = {.max_flows = max_flows,
					   .active_ns = ACTIVE,
					   .inactive_ns = INACTIVE,
					   .tcp_end_ns = TCP_END,
					   .slicing_seed = 7,
					   .on_record = fixture_on_record,
					   .ctx = f};

	record_layout_init(&config.layout, 1 << BLOCK_SLICE, 0);
	assert_int_equal(config.layout.record_size, sizeof(struct flow_record)); /* it stands in the core */
	hash_seed_fixed(&config.seed, 1);
	assert_int_equal(flow_table_new(&f->table, &config, &diag), 0);
	return f;
}

static const struct block_slice *slice_of(const struct flow_record *r)
{
	struct record_layout l;

	record_layout_init(&l, 1 << BLOCK_SLICE, 0);
	return flow_record_block(&l, r, BLOCK_SLICE);
}

/* A packet of so many octets; without the ledger's look at all records. */
static void put_sized(struct fixture *f, uint32_t key, uint64_t octets)
{
	struct packet p = make(key, T0, 0);

	p.octets = octets;
	p.link_octets = octets + 14;
	f->packets++;
	f->octets += octets;
	flow_table_prefetch(f->table, &p, 1);
	flow_table_update(f->table, &p, 1);
}

static bool within_three_errors(double value, double truth, double variance)
{
	return (value - truth) * (value - truth) <= 9 * variance;
}

/* Of 100000 flows of a packet one in 16 is let in, within three standard errors; each packet is in one
 * counter. */
static void test_slices_admit(void **state)
{
	enum { FLOWS = 100000 };
	struct fixture *f = open_slicing_table(FLOWS);
	const struct flow_stats *s = flow_table_stats(f->table);

	(void)state;
	flow_table_set_slicing(f->table, 4);
	for (uint32_t i = 0; i < FLOWS; i++)
		put_sized(f, i, 40 + i % 1000);
	check_ledger(f);
	assert_int_equal(s->created + s->sliced.packets, FLOWS);
	assert_true(within_three_errors((double)s->created, FLOWS / 16.0, FLOWS / 16.0 * 15 / 16));
	flow_table_flush(f->table, FLOW_END_FORCED);
	for (size_t i = 0; i < f->out.n; i++) {
		const struct block_slice *slice = slice_of(&f->out.records[i]);

		assert_int_equal(slice->step, 4);
		assert_int_equal(slice->octets, f->out.records[i].octets);
		assert_int_equal(slice->link_octets, f->out.records[i].octets + 14);
	}
	close_table(f);
}

/* A flow that is in the table is counted whole, in the record that there is and in those after it. */
static void test_slices_spare_known_flows(void **state)
{
	struct fixture *f = open_slicing_table(16);

	(void)state;
	put(f, 1, T0, 0);
	flow_table_set_slicing(f->table, 31);
	for (unsigned i = 0; i < 99; i++)
		put(f, 1, T0 + i, 0);
	put(f, 2, T0, 0);
	put(f, 1, T0 + ACTIVE + 1, 0); /* a record of its own, of the same entry */
	put(f, 3, T0, SYN);
	put(f, 3, T0, FIN);
	assert_int_equal(flow_table_stats(f->table)->sliced.packets, 3);
	assert_int_equal(flow_table_stats(f->table)->sliced.octets, 300);
	assert_int_equal(flow_table_stats(f->table)->created, 2);
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.records[0].packets, 100);
	assert_int_equal(f->out.records[1].packets, 1);
	assert_int_equal(slice_of(&f->out.records[0])->step, 0);
	assert_int_equal(slice_of(&f->out.records[1])->step, 0);
	close_table(f);
}

/* A flow keeps the step under which it came in, until its record ends. */
static void test_slices_keep_their_step(void **state)
{
	struct fixture *f = open_slicing_table(16);
	uint32_t key = 0;

	(void)state;
	flow_table_set_slicing(f->table, 3);
	while (flow_table_stats(f->table)->created == 0)
		put_sized(f, ++key, 500);
	flow_table_set_slicing(f->table, 1);
	put_sized(f, key, 60);
	flow_table_set_slicing(f->table, 0);
	put_sized(f, key, 60);
	put_sized(f, 1000, 60);
	put(f, key, T0 + INACTIVE + 1, 0); /* the next one begins for sure */
	flow_table_flush(f->table, FLOW_END_FORCED);
	assert_int_equal(f->out.n, 3);
	assert_int_equal(slice_of(&f->out.records[0])->step, 3);
	assert_int_equal(slice_of(&f->out.records[0])->octets, 500);
	assert_int_equal(f->out.records[0].packets, 3);
	assert_int_equal(slice_of(&f->out.records[1])->step, 0);
	assert_int_equal(slice_of(&f->out.records[2])->step, 0);
	close_table(f);
}

/*
 * Many small flows, of 1 to 8 packets of 40 to 1499 octets that come in turn, while the step changes: what
 * records stand for is the truth within three standard errors, which are those of the flows' own errors.
 */
static void test_slices_estimate(void **state)
{
	enum { FLOWS = 20000, TURNS = 8 };
	static uint64_t truth[FLOWS][2], estimate[FLOWS][2];
	struct fixture *f = open_slicing_table(FLOWS);
	uint64_t draws = 3;

	(void)state;
	for (unsigned turn = 0; turn < TURNS; turn++) {
		flow_table_set_slicing(f->table, 1 + turn % 5);
		for (uint32_t i = 0; i < FLOWS; i++) {
			uint64_t octets = 40 + hash_draw(&draws) % 1460;

			if (i % TURNS < turn)
				continue;
			put_sized(f, i, octets);
			truth[i][0]++;
			truth[i][1] += octets;
		}
	}
	check_ledger(f);
	flow_table_flush(f->table, FLOW_END_FORCED);
	for (size_t n = 0; n < f->out.n; n++) {
		const struct flow_record *r = &f->out.records[n];
		uint64_t missed = block_slice_missed(slice_of(r));
		uint32_t i;

		memcpy(&i, r->key.src, 4);
		estimate[i][0] = r->packets + missed;
		estimate[i][1] = r->octets + missed * slice_of(r)->octets;
	}
	for (unsigned of = 0; of < 2; of++) {
		double sum = 0, all = 0, variance = 0;

		for (unsigned i = 0; i < FLOWS; i++) {
			double error = (double)estimate[i][of] - (double)truth[i][of];

			sum += (double)estimate[i][of];
			all += (double)truth[i][of];
			variance += error * error;
		}
		assert_true(variance > 0 && variance < all * all / 10000); /* a standard error is below 1 % */
		assert_true(within_three_errors(sum, all, variance));
	}
	close_table(f);
}

/* Records that could not tell are not sliced. */
static void test_slices_want_their_block(void **state)
{
	struct fixture *f = open_table(100, ACTIVE, INACTIVE, TCP_END);

	(void)state;
	flow_table_set_slicing(f->table, 10);
	for (uint32_t i = 0; i < 100; i++)
		put(f, i, T0, 0);
	assert_int_equal(flow_table_stats(f->table)->created, 100);
	close_table(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_at_arrival),
		cmocka_unit_test(test_active_at_arrival),
		cmocka_unit_test(test_idle_before_active),
		cmocka_unit_test(test_idle_by_the_clock),
		cmocka_unit_test(test_active_by_the_clock),
		cmocka_unit_test(test_expiry_is_prompt),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_tcp_end),
		cmocka_unit_test(test_tcp_end_by_the_clock),
		cmocka_unit_test(test_tcp_end_off),
		cmocka_unit_test(test_step_back),
		cmocka_unit_test(test_step_back_then_on),
		cmocka_unit_test(test_extreme_times),
		cmocka_unit_test(test_reuse_carries_nothing_over),
		cmocka_unit_test(test_eviction_order),
		cmocka_unit_test(test_eviction_order_in_a_slot),
		cmocka_unit_test(test_evicted_slot_comes_due),
		cmocka_unit_test(test_flood_spares_established),
		cmocka_unit_test(test_flood_with_time),
		cmocka_unit_test(test_holds_as_many_as_it_says),
		cmocka_unit_test(test_only_established),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_selectors),
		cmocka_unit_test(test_hand_on),
		cmocka_unit_test(test_set_timeouts),
		cmocka_unit_test(test_key_size),
		cmocka_unit_test(test_every_key_octet),
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_tiny_tables),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_walk_ends),
		cmocka_unit_test(test_slices_admit),
		cmocka_unit_test(test_slices_spare_known_flows),
		cmocka_unit_test(test_slices_keep_their_step),
		cmocka_unit_test(test_slices_estimate),
		cmocka_unit_test(test_slices_want_their_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
