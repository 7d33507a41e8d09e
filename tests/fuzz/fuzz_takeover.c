/* What a process that takes over is handed: sections of flows, fragments and sessions that another one has
 * written. */
#include "fuzz.h"

#include "pitot/clock.h"
#include "pitot/exporter.h"
#include "pitot/flow_table.h"
#include "pitot/fragment.h"

static struct record_layout layout;

static void fuzz_on_record(void *ctx, const struct flow_record *r)
{
	uint64_t *n = ctx;

	*n += r->packets > 0;
}

static void fuzz_say(void *ctx, const char *sentence)
{
	(void)ctx;
	FUZZ_CHECK(sentence[0]);
}

static void fuzz_flows(const struct sections_reader *r, const struct flow_points *points)
{
	uint64_t ended = 0;
	struct flow_table_config config = {.max_flows = 8,
					   .active_ns = 60 * NS_PER_SEC,
					   .inactive_ns = 15 * NS_PER_SEC,
					   .tcp_end_ns = NS_PER_SEC,
					   .layout = layout,
					   .on_record = fuzz_on_record,
					   .ctx = &ended};
	struct flow_table *table;
	struct section s;
	struct diag diag = {""};
	const char *missing;
	const struct flow_stats *stats;

	hash_seed_fixed(&config.seed, 1);
	FUZZ_CHECK(flow_table_new(&table, &config, &diag) == 0);
	if (sections_find(r, FLOW_SECTION, FLOW_SECTION_VERSION, &s))
		(void)flow_table_take_over(table, &s, points, NS_PER_SEC, UINT64_C(1700000000) * NS_PER_SEC,
					   &missing, &diag);
	flow_table_expire(table, 100 * NS_PER_SEC, UINT64_C(1700000100) * NS_PER_SEC, UINT64_MAX);
	flow_table_flush(table, FLOW_END_FORCED);
	stats = flow_table_stats(table);
	FUZZ_CHECK(stats->taken_over.records == ended && stats->in_table.records == 0);
	flow_table_free(table);
}

static void fuzz_fragments(const struct sections_reader *r, const struct flow_points *points)
{
	struct fragment_table *table;
	struct hash_seed seed;
	struct section s;
	struct diag diag = {""};

	hash_seed_fixed(&seed, 1);
	FUZZ_CHECK(fragment_table_new(&table, 8, NS_PER_SEC, &seed, &diag) == 0);
	if (sections_find(r, FRAGMENT_SECTION, FRAGMENT_SECTION_VERSION, &s))
		(void)fragment_table_take_over(table, &s, points);
	fragment_table_free(table);
}

static void fuzz_sessions(const struct sections_reader *r)
{
	static struct collector_config collectors[] = {
		{.url = "a",
		 .format = FORMAT_IPFIX,
		 .transport = TRANSPORT_UDP,
		 .host = "127.0.0.1",
		 .port = 9},
		{.url = "b",
		 .format = FORMAT_NETFLOW9,
		 .transport = TRANSPORT_UDP,
		 .host = "127.0.0.1",
		 .port = 9},
		{.url = "c",
		 .format = FORMAT_SFLOW,
		 .transport = TRANSPORT_UDP,
		 .host = "127.0.0.1",
		 .port = 9},
	};
	struct exporter_config config = {.collectors = collectors,
					 .n_collectors = 3,
					 .layout = layout,
					 .template_ns = NS_PER_SEC,
					 .active_ns = NS_PER_SEC,
					 .inactive_ns = NS_PER_SEC};
	int fds[] = {-1, -1, -1, -1};
	struct exporter *e;
	struct diag diag = {""};

	if (exporter_new(&e, &config, &diag) < 0)
		return;							   /* no sockets here */
	FUZZ_CHECK(exporter_take_over(e, r, fds, 4, fuzz_say, NULL) == 0); /* these are no sockets */
	exporter_free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t to[] = {1, 0, UINT16_MAX};
	const struct flow_points points = {to, 3};
	struct sections_reader r;

	record_layout_init(&layout, 1u << BLOCK_LINK | 1u << BLOCK_TUNNEL | 1u << BLOCK_FRAMES,
			   1u << BLOCK_TUNNEL);
	if (sections_read_init(&r, data, size) < 0)
		return 0;
	fuzz_flows(&r, &points);
	fuzz_fragments(&r, &points);
	fuzz_sessions(&r);
	return 0;
}
