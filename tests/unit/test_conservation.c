/*
 * Conservation: what went in is in exported records or in the table or ignored under a name, packets and
 * octets, at every step, whatever the frames and however small the table.
 *
 * Frames of the catalogue, whole, cut and spoilt, go through decode, fragments and the table.
 */
#include "cm.h"

#include <string.h>

#include "catalogue.h"
#include "exact.h"
#include "model.h"
#include "pitot/clock.h"
#include "pitot/decode.h"
#include "pitot/fragment.h"

struct ledger {
	uint64_t received, metered, metered_octets, ignored[PACKET_VERDICTS];
	uint64_t out_packets, out_octets;
};

static struct fb b;
static uint64_t random_state = 99;

static void on_record(void *ctx, const struct flow_record *r)
{
	struct ledger *l = ctx;

	assert_true(r->packets > 0);
	assert_true(r->first_ns <= r->last_ns);
	assert_true(r->min_octets <= r->max_octets);
	assert_in_range(r->end_reason, FLOW_END_IDLE, FLOW_END_RESOURCES);
	l->out_packets += r->packets;
	l->out_octets += r->octets;
}

static unsigned below(unsigned n)
{
	return (unsigned)(test_random(&random_state) % n);
}

/* One frame of the catalogue for the link type, often spoilt. */
static void random_frame(struct exact *x, int link_type, uint64_t time_ns)
{
	const struct catalogue_frame *c;
	size_t cap;

	do
		c = &catalogue[below((unsigned)catalogue_size)];
	while (c->link_type != link_type);
	fb_init(&b);
	c->build(&b);
	for (unsigned spoil = below(4); spoil; spoil--)
		b.at[below((unsigned)b.len)] = (uint8_t)test_random(&random_state);
	cap = below(3) ? b.len : below((unsigned)b.len + 1);
	exact_init(x, b.at, cap, b.len);
	x->frame.time_ns = time_ns;
}

static void check(const struct ledger *l, const struct flow_table *t)
{
	const struct flow_stats *s = flow_table_stats(t);
	uint64_t ignored = 0;

	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		ignored += l->ignored[i];
	assert_int_equal(l->received, l->metered + ignored);
	assert_int_equal(l->metered, l->out_packets + s->in_table.packets);
	assert_int_equal(l->metered_octets, l->out_octets + s->in_table.octets);
	assert_int_equal(l->out_packets, s->handed_on.packets);
	assert_int_equal(l->out_octets, s->handed_on.octets);
}

static void run(int link_type, uint32_t max_flows)
{
	static struct packet packets[BATCH_MAX];
	struct decode_config dc = {.max_layers = 32, .key_vlan = true};
	struct ledger l = {0};
	struct flow_table_config tc = {.max_flows = max_flows,
				       .active_ns = 60 * NS_PER_SEC,
				       .inactive_ns = 15 * NS_PER_SEC,
				       .tcp_end_ns = 2 * NS_PER_SEC,
				       .on_record = on_record,
				       .ctx = &l};
	struct flow_stats fragment_stats = {0};
	struct fragment_table *fragments = NULL;
	struct flow_table *t = NULL;
	struct decoder *d = NULL;
	struct diag diag;
	uint64_t now = UINT64_C(1700000000) * NS_PER_SEC, elapsed = 0;

	hash_seed_fixed(&tc.seed, max_flows);
	assert_int_equal(decoder_new(&d, link_type, &dc, &diag), 0);
	assert_int_equal(flow_table_new(&t, &tc, &diag), 0);
	assert_int_equal(fragment_table_new(&fragments, 16, 30 * NS_PER_SEC, &tc.seed, &diag), 0);
	for (unsigned batch = 0; batch < 100; batch++) {
		unsigned n = 0;

		for (unsigned i = below(BATCH_MAX) + 1; i; i--) {
			struct packet *p = &packets[n];
			struct exact x;
			uint64_t step = below(3) ? below(1000) : below(3) * NS_PER_SEC;

			elapsed += step;
			now += step;
			if (below(50) == 0)
				now -= below(100) * NS_PER_SEC;
			random_frame(&x, link_type, now);
			decode_frame(d, &x.frame, p);
			exact_deinit(&x);
			l.received++;
			if (p->verdict != PACKET_METERED) {
				l.ignored[p->verdict]++;
				continue;
			}
			if (p->fragment != PACKET_FRAGMENT_NONE)
				fragment_track(fragments, p, &fragment_stats);
			l.metered++;
			l.metered_octets += p->octets;
			n++;
		}
		flow_table_prefetch(t, packets, n);
		flow_table_update(t, packets, n);
		check(&l, t);
		flow_table_expire(t, elapsed, now, below(200));
		check(&l, t);
	}
	flow_table_flush(t, FLOW_END_FORCED);
	check(&l, t);
	assert_int_equal(flow_table_stats(t)->in_table.packets, 0);
	assert_int_equal(flow_table_stats(t)->in_table.octets, 0);
	assert_true(l.metered > 0);
	flow_table_free(t);
	fragment_table_free(fragments);
	decoder_free(d);
}

static void test_conservation(void **state)
{
	static const int link_types[] = {1, 113, 276, 101, 0, 108, 9, 51, 228, 229};
	static const uint32_t sizes[] = {1, 4, 30, 10000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(link_types); i++)
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
			run(link_types[i], sizes[s]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conservation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
