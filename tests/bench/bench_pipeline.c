/*
 * bench_pipeline: a savefile through capture, decode and flow table; records are counted and thrown away.
 *
 *     bench_pipeline FILE [ACTIVE INACTIVE MAX_FLOWS]
 *
 * Prints ns of CPU time a packet for each phase added to those before it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/decode.h"
#include "pitot/flow_table.h"

enum phase { PHASE_WALK, PHASE_DECODE, PHASE_PREFETCH, PHASE_UPDATE, PHASES };

static const char *const names[PHASES] = {"walk", "+ decode", "+ hash", "+ update, expire"};
static uint64_t records, record_packets;

static void count_record(void *ctx, const struct flow_record *r)
{
	(void)ctx;
	records++;
	record_packets += r->packets;
}

static double cpu_seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

static void bench(const char *path, struct flow_table_config *config, enum phase last)
{
	static struct frame_batch batch;
	static struct packet packets[BATCH_MAX];
	struct capture_config cc = {.path = path};
	struct decode_config dc = {.max_layers = 16};
	struct capture *c;
	struct decoder *d;
	struct flow_table *t;
	struct diag diag;
	uint64_t n = 0, next = 0, start_ns = 0;
	double before;

	records = record_packets = 0;
	if (capture_open(&c, &cc, &diag) < 0 || decoder_new(&d, c->link_type, &dc, &diag) < 0 ||
	    flow_table_new(&t, config, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		exit(1);
	}
	before = cpu_seconds();
	while (capture_recv(c, &batch, 0, &diag) == 0) {
		unsigned kept = 0;
		uint64_t now;

		n += batch.n;
		now = batch.n ? batch.frames[0].time_ns : 0;
		if (last >= PHASE_DECODE)
			decode_batch(d, &batch, packets);
		for (unsigned i = 0; i < batch.n && last >= PHASE_PREFETCH; i++)
			if (packets[i].verdict == PACKET_METERED && kept++ != i)
				packets[kept - 1] = packets[i];
		capture_release(c, &batch);
		if (last >= PHASE_PREFETCH)
			flow_table_prefetch(t, packets, kept);
		if (last < PHASE_UPDATE)
			continue;
		flow_table_update(t, packets, kept);
		if (!start_ns)
			start_ns = now;
		if (now > next && flow_table_stats(t)->in_table.records > config->max_flows / 2) {
			next = now + NS_PER_MSEC;
			flow_table_expire(t, now - start_ns, now, UINT64_MAX);
		}
	}
	flow_table_flush(t, FLOW_END_FORCED);
	printf("%-18s %7.1f ns/packet  (%" PRIu64 " packets, %" PRIu64 " records of %" PRIu64 " packets)\n",
	       names[last], (cpu_seconds() - before) * 1e9 / (double)(n ? n : 1), n, records, record_packets);
	flow_table_free(t);
	decoder_free(d);
	capture_close(c);
}

int main(int argc, char **argv)
{
	struct flow_table_config config = {
		.max_flows = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 1 << 20,
		.active_ns = (argc > 2 ? strtoull(argv[2], NULL, 10) : 60) * NS_PER_SEC,
		.inactive_ns = (argc > 3 ? strtoull(argv[3], NULL, 10) : 15) * NS_PER_SEC,
		.tcp_end_ns = 2 * NS_PER_SEC,
		.on_record = count_record};

	if (argc < 2) {
		fprintf(stderr, "usage: bench_pipeline FILE [ACTIVE INACTIVE MAX_FLOWS]\n");
		return 2;
	}
	hash_seed_fixed(&config.seed, 1);
	for (int i = 0; i < PHASES; i++)
		bench(argv[1], &config, (enum phase)i);
	return 0;
}
