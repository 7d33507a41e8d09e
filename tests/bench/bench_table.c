/*
 * bench_table: ns per packet of the flow table alone, packets in memory, no decoding and no export.
 *
 *   new      every packet a new flow, until the table has the flows of the line
 *   hit      packets of these flows in a random order
 *   silent   nobody comes any more: the records end by time, ns per record
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/flow_table.h"

enum { HITS = 2 << 20 };

static uint64_t records;

static void count_record(void *ctx, const struct flow_record *r)
{
	(void)ctx;
	(void)r;
	records++;
}

static uint32_t scramble(uint32_t v)
{
	v ^= v >> 16;
	v *= 0x7feb352du;
	v ^= v >> 15;
	v *= 0x846ca68bu;
	return v ^ v >> 16;
}

static void make_packet(struct packet *p, uint32_t flow, uint64_t now_ns)
{
	uint32_t h = scramble(flow);

	packet_clear(p);
	memcpy(p->key.src, &flow, 4);
	memcpy(p->key.dst, &h, 4);
	p->key.src_port = (uint16_t)flow;
	p->key.dst_port = 443;
	p->key.protocol = 6;
	p->key.ip_version = 4;
	p->time_ns = now_ns;
	p->octets = 64;
	p->tcp_flags = 0x10;
	p->verdict = PACKET_METERED;
}

/*
 * n packets in batches; which flow is chosen by `random`.  Only the table's two phases are on the clock, and
 * what reading the clock costs is taken off again.
 */
static double run(struct flow_table *t, uint32_t n, uint32_t flows, unsigned size, bool random,
		  uint64_t now_ns)
{
	static struct packet packets[BATCH_MAX];
	uint64_t spent_ns = 0, clock_ns = clock_monotonic_ns();

	for (unsigned i = 0; i < 1000; i++)
		(void)clock_monotonic_ns();
	clock_ns = (clock_monotonic_ns() - clock_ns) / 1000;
	for (uint32_t done = 0; done < n;) {
		unsigned k = n - done < size ? n - done : size;
		uint64_t begin_ns;

		for (unsigned i = 0; i < k; i++, done++)
			make_packet(&packets[i], random ? scramble(done * 3 + 1) % flows : done, now_ns);
		begin_ns = clock_monotonic_ns();
		flow_table_prefetch(t, packets, k);
		flow_table_update(t, packets, k);
		spent_ns += clock_monotonic_ns() - begin_ns - clock_ns;
	}
	return (double)spent_ns / n;
}

static double silence(struct flow_table *t, uint64_t now_ns)
{
	uint64_t begin_ns = clock_monotonic_ns(), before = records;

	for (uint64_t step = 0; flow_table_stats(t)->in_table.records && step < 4000; step++)
		flow_table_expire(t, step * 10 * NS_PER_MSEC, now_ns + step * 10 * NS_PER_MSEC, UINT64_MAX);
	return (double)(clock_monotonic_ns() - begin_ns) / (double)(records - before ? records - before : 1);
}

static void bench(uint32_t flows, uint32_t capacity, unsigned size)
{
	struct flow_table_config config = {.max_flows = capacity,
					   .active_ns = 60 * NS_PER_SEC,
					   .inactive_ns = 15 * NS_PER_SEC,
					   .tcp_end_ns = 2 * NS_PER_SEC,
					   .on_record = count_record};
	uint64_t now_ns = 1000 * NS_PER_SEC;
	double fresh, hit, silent;
	struct flow_table *t;
	struct diag diag;

	hash_seed_fixed(&config.seed, 1);
	if (flow_table_new(&t, &config, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	fresh = run(t, flows, flows, size, false, now_ns);
	hit = run(t, HITS, flows, size, true, now_ns);
	silent = silence(t, now_ns);
	printf("%8u flows in %8u (%2.0f %%), batches of %2u: new %6.1f, hit %6.1f ns a packet; silent %6.1f "
	       "ns a record\n",
	       flows, capacity, 100.0 * flows / capacity, size, fresh, hit, silent);
	flow_table_free(t);
}

int main(void)
{
	static const unsigned sizes[] = {1, 8, 32, BATCH_MAX};

	for (uint32_t flows = 10000; flows <= 1000000; flows *= 10)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			bench(flows, 1 << 20, sizes[i]);
	bench(1000000, 1000000, BATCH_MAX);
	return 0;
}
