/*
 * A savefile through everything that measures: capture, decode, fragments, the flow table.  The first octet
 * says how small the table is, the second how time goes.  Inside: nothing that was received is unaccounted
 * for.
 */
#include "fuzz.h"

#include "exact.h"
#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/decode.h"
#include "pitot/flow_table.h"
#include "pitot/fragment.h"

struct pipeline {
	struct capture *capture;
	struct decoder *decoder; /* for link_type */
	int link_type;
	struct flow_table *table;
	struct fragment_table *fragments;
	struct flow_stats fragment_stats;
	uint64_t received, metered, ignored, metered_octets;
	uint64_t out_packets, out_octets, out_records;
	uint64_t elapsed_ns, now_ns;
};

static void on_record(void *ctx, const struct flow_record *r)
{
	struct pipeline *l = ctx;

	FUZZ_CHECK(r->packets > 0 && r->first_ns <= r->last_ns);
	FUZZ_CHECK(r->end_reason >= FLOW_END_IDLE && r->end_reason < FLOW_END_COUNT);
	l->out_records++;
	l->out_packets += r->packets;
	l->out_octets += r->octets;
}

static void check(const struct pipeline *l)
{
	const struct flow_stats *s = flow_table_stats(l->table);
	uint64_t ended = 0;

	for (unsigned i = 0; i < FLOW_END_COUNT; i++)
		ended += s->ended[i];
	FUZZ_CHECK(l->received == l->metered + l->ignored);
	FUZZ_CHECK(l->metered == l->out_packets + s->in_table.packets);
	FUZZ_CHECK(l->metered_octets == l->out_octets + s->in_table.octets);
	FUZZ_CHECK(s->created == s->in_table.records + ended && ended == l->out_records);
	FUZZ_CHECK(s->in_table.records <= flow_table_capacity(l->table));
}

static const struct decode_config decode = {.key_vlan = true, .max_layers = 32};

/* 0, or the link type is unknown and the first. */
static int turn_to(struct pipeline *l, int link_type)
{
	struct diag diag;
	int r;

	if (l->decoder && l->link_type == link_type)
		return 0;
	r = l->decoder && !decode_knows_link_type(link_type) ? 1 : 0;
	decoder_free(l->decoder);
	l->decoder = NULL;
	l->link_type = link_type;
	return r ? decoder_new_unknown(&l->decoder, &decode, &diag)
		 : decoder_new(&l->decoder, link_type, &decode, &diag);
}

static void feed(struct pipeline *l, const struct frame_batch *b, uint8_t pace)
{
	static struct packet packets[BATCH_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct packet *p = &packets[n];
		struct exact x; /* a read past the frame, inside the file's buffer, would go unseen */

		exact_init(&x, b->frames[i].data, b->frames[i].cap_len, b->frames[i].wire_len);
		x.frame.time_ns = b->frames[i].time_ns;
		decode_frame(l->decoder, &x.frame, p);
		exact_deinit(&x);
		l->received++;
		if (p->verdict != PACKET_METERED) {
			l->ignored++;
			continue;
		}
		if (p->fragment != PACKET_FRAGMENT_NONE)
			fragment_track(l->fragments, p, &l->fragment_stats);
		l->metered++;
		l->metered_octets += p->octets;
		l->now_ns = p->time_ns;
		n++;
	}
	flow_table_prefetch(l->table, packets, n);
	flow_table_update(l->table, packets, n);
	check(l);
	l->elapsed_ns += pace * 100 * NS_PER_MSEC;
	flow_table_expire(l->table, l->elapsed_ns, l->now_ns, pace);
	check(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pipeline l = {0};
	struct capture_config capture = {0};
	struct flow_table_config table = {.active_ns = 60 * NS_PER_SEC,
					  .inactive_ns = 15 * NS_PER_SEC,
					  .tcp_end_ns = 2 * NS_PER_SEC,
					  .on_record = on_record,
					  .ctx = &l};
	struct frame_batch b;
	struct diag diag;
	char path[64];
	int fd;

	if (size < 2)
		return 0;
	fd = fuzz_file(data + 2, size - 2, path, sizeof(path));
	capture.path = path;
	capture.link_types = decode_link_types(&capture.n_link_types);
	table.max_flows = 1 + data[0] % 100;
	hash_seed_fixed(&table.seed, data[0]);
	if (capture_open(&l.capture, &capture, &diag) < 0)
		goto out;
	if (l.capture->link_type >= 0 && turn_to(&l, l.capture->link_type) < 0)
		goto out;
	FUZZ_CHECK(flow_table_new(&l.table, &table, &diag) == 0);
	FUZZ_CHECK(fragment_table_new(&l.fragments, 16, 30 * NS_PER_SEC, &table.seed, &diag) == 0);
	while (capture_recv(l.capture, &b, 0, &diag) == 0 && b.n) {
		FUZZ_CHECK(turn_to(&l, l.capture->link_type) == 0);
		feed(&l, &b, data[1]);
		capture_release(l.capture, &b);
	}
	flow_table_flush(l.table, FLOW_END_FORCED);
	check(&l);
	FUZZ_CHECK(flow_table_stats(l.table)->in_table.records == 0 && l.metered == l.out_packets);
out:
	fragment_table_free(l.fragments);
	flow_table_free(l.table);
	decoder_free(l.decoder);
	capture_close(l.capture);
	close(fd);
	return 0;
}
