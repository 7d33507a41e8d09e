/*
 * Templates by mask: which one a record has, that it is made and announced when its first record comes and
 * not before, and what it holds.  Covers export/flow_templates.c.
 */
#include "export/flow_templates.h"

#include <errno.h>

#include "reader.h"
#include "sink.h"

static const enum export_format both[] = {FORMAT_NETFLOW9, FORMAT_IPFIX};
union wide_record {
	_Alignas(64) uint8_t octets[384];
	struct flow_record r;
};

static union wide_record wide;
static const char fields[] = "8,outerSourceIPv4Address,7,layer2SegmentId,1,outerSourceTransportPort";

static struct exporter_config tunnel_config(const char *list)
{
	struct exporter_config config = sink_config();

	record_layout_init(&config.layout, 1u << BLOCK_LINK | 1u << BLOCK_TUNNEL, 0);
	config.opens_tunnels = true;
	config.fields = list;
	return config;
}

/* Record i, in a tunnel over IP of this version, or in none. */
static const struct flow_record *make(union wide_record *w, const struct record_layout *layout, unsigned i,
				      uint8_t outer, uint64_t last_ns)
{
	struct block_tunnel *t = (struct block_tunnel *)(void *)(w->octets + layout->record_at[BLOCK_TUNNEL]);

	assert_true(layout->record_size <= sizeof(*w));
	memset(w, 0, sizeof(*w));
	w->r = sink_record(i, last_ns);
	t->ip_version = outer;
	if (!outer)
		return &w->r;
	memset(t->src, 0xab, outer == 4 ? 4 : 16);
	t->src_port = 4444;
	t->segment = UINT64_C(0x0100000000001234);
	return &w->r;
}

static void test_masks(void **state)
{
	struct exporter_config config = tunnel_config(fields);
	struct flow_templates f;
	struct diag diag;

	(void)state;
	assert_int_equal(flow_templates_init(&f, PX, &config, false, &diag), 0);
	for (unsigned i = 0; i < FLOW_MASKS; i++)
		assert_int_equal(f.made[i] != NULL, i < 2); /* the rest when it comes */
	for (unsigned i = 0; i < 3; i++) {
		uint8_t outer = i == 0 ? 0 : i == 1 ? 4 : 6;

		assert_int_equal(flow_templates_mask(&f, make(&wide, &config.layout, 3, outer, 0)), 2 * i);
		assert_int_equal(flow_templates_mask(&f, make(&wide, &config.layout, 2, outer, 0)),
				 2 * i + 1);
	}
	assert_int_equal(flow_templates_make_all(&f), 0);
	for (unsigned i = 0; i < FLOW_MASKS; i++) {
		const struct template *t = f.made[i];
		bool v6 = i & FLOW_MASK_IP6;

		assert_ptr_equal(flow_templates_make(&f, i), t);
		assert_int_equal(t->id, 256 + i);
		assert_int_equal(t->n_fields, i < 2 ? 3 : 6);
		if (i < 2)
			continue;
		/* RFC 7011 §8: of two of a kind the outer packet's stands first */
		assert_int_equal(t->fields[0].id, i & FLOW_MASK_OUTER6 ? 27 : 8);
		assert_int_equal(t->fields[1].id, 351);
		assert_int_equal(t->fields[2].id, 7);
		assert_int_equal(t->fields[3].id, v6 ? 27 : 8);
		assert_int_equal(t->fields[4].id, 7);
	}
	flow_templates_deinit(&f);

	/* nobody asked what the tunnel is: its flows are like all others */
	config.fields = NULL;
	assert_int_equal(flow_templates_init(&f, PX, &config, true, &diag), 0);
	assert_int_equal(flow_templates_make_all(&f), 0);
	assert_null(f.made[2]);
	assert_true(template_has(f.made[0], &ie_table[IE_flowId]));
	flow_templates_deinit(&f);

	config = sink_config();
	config.fields = "1,greKey";
	assert_int_equal(flow_templates_init(&f, PX, &config, false, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--decapsulate"));
	flow_templates_deinit(&f);
}

static unsigned n_tunnelled;

static void check_record(struct reader *reader, const struct reader_record *record)
{
	(void)reader;
	if (record->template->id < 258 || record->template->options)
		return;
	n_tunnelled++;
	/* the first of a kind is the outer packet's */
	assert_int_equal(record->values[0][0], 0xab);
	assert_int_equal(reader_value(record, 351), 0x0100000000001234);
	assert_int_equal(reader_value(record, 7), 4444);
}

/*
 * A tunnelled record in the middle of a session: its template goes before it, over UDP twice; where templates
 * are sent once, once.  Nothing is announced that nobody needs.
 */
static void test_first_use(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 8; round++) {
		enum export_format format = both[round & 1];
		bool reliable = round & 2;
		struct sink *sink = sink_new(1400, reliable);
		struct exporter_config config = tunnel_config(fields);
		struct clock_time now = sink_time(0);
		struct reader reader = {.record = check_record};
		struct exporter *e;
		unsigned flows = 0, seen = 0;
		uint32_t sequence = 0;

		config.offline = round & 4;
		e = sink_exporter(config, 1, &format, &sink);
		n_tunnelled = 0;
		for (unsigned i = 0; i < 300; i++) {
			uint8_t outer = i < 100 ? 0 : i < 200 ? (i % 2 ? 4 : 0) : i % 3 ? 4 : 6;

			exporter_record(
				e, make(&wide, &config.layout, i, outer, now.realtime_ns - NS_PER_SEC), &now);
		}
		exporter_finish(e, &now);
		for (unsigned i = 0; i < sink->n; i++) {
			/* the reader fails where data come before their template */
			reader_message(&reader, sink->messages[i].data, sink->messages[i].size);
			assert_int_equal(reader.sequence, sequence);
			sequence = reader.sequence +
				   (reader.version == 9 ? 1 : reader.option_records + reader.flow_records);
			assert_true(!reader.flow_records || !reader.template_records);
			flows += reader.flow_records;
		}
		assert_int_equal(flows, 300);
		assert_int_equal(n_tunnelled, 50 + 100);
		for (unsigned mask = 0; mask < FLOW_MASKS; mask++) {
			const struct reader_template *t = reader_find(&reader, FLOW_TEMPLATE_ID + mask);

			if (t && mask >= 2)
				assert_true(reliable ? t->seen == 1 : t->seen >= 2);
			seen += t != NULL;
		}
		/* IPv6 in IPv6 never came: i % 3 decides both */
		assert_int_equal(seen, FLOW_MASKS - 1);
		exporter_free(e);
		sink_free(sink);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_first_use),
	};

	return cmocka_run_group_tests_name("flow_templates", tests, NULL, NULL);
}
