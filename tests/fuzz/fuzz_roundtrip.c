/*
 * Records of any values through the exporter, and back by a collector that knows only the formats
 * (tests/lib/reader.h): every record that was taken is decoded once, with its own values, or is in a counter.
 */
#include <errno.h>

#include "fuzz.h"
#include "roundtrip.h"

#define MOST5 (UINT64_C(1) << 37) /* counters in NetFlow v5: records of at most so many parts */

static struct {
	const uint8_t *at;
	size_t left;
} in;

static uint64_t take(unsigned n)
{
	uint64_t v = 0;

	for (; n > 0; n--) {
		v = v << 8 | (in.left ? *in.at : 0);
		in.at += in.left > 0;
		in.left -= in.left > 0;
	}
	return v;
}

static void take_octets(void *out, size_t n)
{
	size_t there = n < in.left ? n : in.left;

	memset(out, 0, n);
	memcpy(out, in.at, there);
	in.at += there;
	in.left -= there;
}

/* ---- reading */

static void check_option(const struct reader_record *record)
{
	const struct reader_template *t = record->template;
	uint64_t scope = reader_uint(record->values[0], record->sizes[0]);

	for (unsigned i = 1; i < t->n; i++) {
		uint16_t id = t->fields[i].id;
		bool fixed = run.format == FORMAT_NETFLOW9, known = false;

		for (unsigned k = 0; id == 82 && k < run.config.n_interfaces; k++)
			if (run.interfaces[k].ifindex == scope)
				known = true;
		if (id == 82)
			assert_true(known &&
				    is_utf8((const char *)record->values[i],
					    strnlen((const char *)record->values[i], record->sizes[i])));
		if (id == 82 && run.config.n_interfaces == 1)
			check_name(record->values[i], record->sizes[i], fixed, run.interfaces[0].name);
		if (id == 83 && run.config.n_interfaces == 1)
			check_name(record->values[i], record->sizes[i], fixed, run.interfaces[0].description);
	}
	/* OT-1: what was sent before; the record may have gone into the message after that */
	if (reader_value(record, 41) >= 0 && !run.lossy) {
		uint64_t n = (uint64_t)reader_value(record, 41);

		assert_in_range(n, run.index ? run.index - 1 : 0, run.index);
		assert_int_equal(reader_value(record, 42), run.before[n].records);
		assert_int_equal(reader_value(record, 40), run.before[n].octets);
	}
}

static void on_record(struct reader *reader, const struct reader_record *record)
{
	const struct reader_template *t = record->template;
	struct given *g;

	if (t->options) {
		check_option(record);
		return;
	}
	while (run.next < n_given && (given[run.next].unfit || given[run.next].dropped))
		run.next++;
	assert_true(run.next < n_given);
	g = &given[run.next];
	assert_false(g->decoded);
	check_template(t, g->record.key.ip_version == 6);
	for (unsigned i = 0; i < t->n; i++)
		check_value(g, t->fields[i].id, record->values[i], record->sizes[i]);
	if (run.format != FORMAT_NETFLOW5)
		run.records++;
	else
		check_counters(g, (uint64_t)reader_value(record, 2), (uint64_t)reader_value(record, 1));
	if (run.format == FORMAT_NETFLOW5 && run.packets < g->record.packets)
		return;
	if (t->seen < 2 && t->id && !run.reliable && !run.lossy) /* TM-3 */
		fail_msg("message %u: data after one copy of template %u", reader->messages, t->id);
	if (run.format == FORMAT_IPFIX) /* IP-2 */
		assert_true(run.config.offline ? run.wild || reader->seconds >= g->record.last_ns / NS_PER_SEC
					       : reader->seconds >= g->now.realtime_ns / NS_PER_SEC);
	g->decoded = true;
	run.packets = run.octets = 0;
	run.oversized = false;
	run.next++;
}

static void begin_session(void)
{
	for (unsigned i = 0; i < run.reader.n_templates; i++) /* TM-5 */
		if (run.reliable && !run.lossy)
			assert_int_equal(run.reader.templates[i].seen, 1);
	run.reader = (struct reader){.record = on_record};
	run.sequence = 0;
}

/* V5-3, V9-2, IP-3, IP-6: what stands before the message, and what was lost there. */
static void check_sequence(void)
{
	struct reader *r = &run.reader;
	uint32_t gap = r->sequence - run.sequence;

	if (run.refused) {
		assert_true((int32_t)gap >= 0);
	} else {
		assert_true(gap <= run.missed && (gap == 0 || r->version != 9));
		run.missed -= gap;
	}
	run.sequence = r->sequence + (r->version == 5	? r->count
				      : r->version == 9 ? 1
							: r->option_records + r->flow_records);
}

static void check_header(void)
{
	const struct reader *r = &run.reader;
	uint64_t ms = (uint64_t)r->seconds * 1000 + r->nanoseconds / 1000000;

	assert_int_equal(r->version, run.format == FORMAT_NETFLOW5   ? 5
				     : run.format == FORMAT_NETFLOW9 ? 9
								     : 10);
	assert_int_equal(r->domain, r->version == 5 ? run.config.domain & 0xffff : run.config.domain);
	if (!run.config.offline)
		assert_true(ms <= run.latest_wall_ns / NS_PER_MSEC + (r->version == 9 ? 999 : 0));
	if (r->version == 10 && !run.config.offline) {
		assert_true(r->seconds >= run.export_time);
		run.export_time = r->seconds;
	}
}

static void read_message(unsigned i)
{
	const struct sink_message *m = &run.sink->messages[i];

	run.index = i;
	while (run.session < run.n_sessions && run.session_at[run.session] <= i) {
		begin_session();
		run.session++;
	}
	if (run.harsh) /* what is between was lost; without, nothing can be */
		run.next = m->load.flows.records ? run.first_of[i] : run.next;
	run.records = 0;
	reader_message(&run.reader, m->data, m->size);
	check_header();
	check_sequence();
	assert_int_equal(run.records, m->load.flows.records);
	if (m->load.flows.records)
		assert_in_range(run.next, run.first_of[i] + m->load.flows.records, n_given);
	run.sent_records += m->sent ? m->load.flows.records : 0;
	run.unsent_records += m->sent ? 0 : m->load.flows.records;
	run.sent_octets += m->size;
	run.before[i + 1] = (struct sent_totals){run.sent_records, run.sent_octets};
}

static void check_ledger(void)
{
	struct collector_stats s;
	struct exporter_stats all;
	uint64_t lost = 0, unfit = 0, dropped = 0, dropped_fit = 0;

	exporter_get_collector_stats(run.e, 0, &s);
	exporter_get_stats(run.e, &all);
	for (unsigned i = 0; i < n_given; i++) {
		unfit += given[i].unfit;
		dropped += given[i].dropped;
		dropped_fit += given[i].dropped && !given[i].unfit;
		lost += !given[i].unfit && !given[i].dropped && !given[i].decoded;
	}
	if (!run.lossy && run.n_sessions == 0) {
		assert_int_equal(lost, 0);
		if (run.format != FORMAT_NETFLOW5)
			assert_int_equal(s.saturated, run.saturated);
	}
	assert_int_equal(s.taken.records, n_given);
	assert_int_equal(s.pending.records, 0);
	assert_int_equal(s.unfit.records, unfit);
	assert_int_equal(s.sent.records, run.sent_records);
	assert_int_equal(s.lost.records, dropped_fit + lost + run.unsent_records);
	assert_int_equal(all.taken.records, n_given);
	assert_int_equal(all.exported, s.sent.records);
	assert_int_equal(all.dropped, dropped);
}

/* ---- writing */

static void choose_fields(void)
{
	unsigned n = (unsigned)take(1) % 64;
	size_t at = 0, room = sizeof(run.fields);

	for (unsigned i = 0; i < n; i++) {
		unsigned pick = (unsigned)take(1);
		unsigned row = pick % 128 % (unsigned)ARRAY_SIZE(rows);

		if (!(rows[row].protocols & (P9 | PX)))
			continue;
		if (pick < 128)
			at += (size_t)snprintf(run.fields + at, room - at, "%s%s", at ? "," : "",
					       rows[row].name);
		else
			at += (size_t)snprintf(run.fields + at, room - at, "%s%u", at ? ", " : "",
					       rows[row].id);
		expect(rows[row].id);
		if (at > room - 64)
			break;
	}
	if (at)
		run.config.fields = run.fields;
}

static void take_record(struct flow_record *r)
{
	uint64_t mode, first;

	take_octets(r, sizeof(*r));
	mode = take(1);
	r->key.ip_version = mode & 1 ? 6 : 4;
	r->key.point_high = 0;
	if (run.config.sampling.n_selectors && mode & 64)
		r->selector %= EXPORT_SELECTORS; /* else whatever a process that was taken over may write */
	if (mode & 2)				 /* a time near now; else any */
		r->last_ns = run.now.realtime_ns - take(5) * 1000;
	else if (mode & 4)
		r->last_ns = run.now.realtime_ns + take(4) * 1000;
	first = mode & 8 ? take(5) * 1000 : mode & 16 ? take(5) * 10000000 : r->first_ns;
	r->first_ns = first <= r->last_ns ? r->last_ns - first : 0;
	if (mode & 32)
		r->key.protocol = mode & 64 ? 6 : 1;
	if (mode & 128) {
		r->packets &= 0xffffff;
		r->octets &= 0xffffffff;
	}
	if (run.format == FORMAT_NETFLOW5) { /* a record is at most as many messages as there is memory for */
		r->packets %= run.harsh ? UINT32_MAX : MOST5;
		r->octets %= run.harsh ? UINT32_MAX : MOST5;
		if (mode & 64) /* large ones */
			r->packets %= 100;
	}
}

/* Which records are in the messages that came since the last call. */
static void note_messages(void)
{
	for (; run.n_noted < run.sink->n; run.n_noted++)
		run.first_of[run.n_noted] = run.first_open;
}

static void put(const struct flow_record *r)
{
	const struct message *open = &run.e->collectors[0].message;
	struct given *g = &given[n_given];
	struct collector_stats before, after;

	if (n_given == GIVEN || run.sink->n > SINK_MESSAGES / 2)
		return;
	*g = (struct given){.record = *r, .now = run.now};
	n_given++;
	run.wild = run.wild || r->last_ns / NS_PER_SEC >= UINT32_MAX - 1;
	exporter_get_collector_stats(run.e, 0, &before);
	exporter_record(run.e, &g->record, &run.now);
	exporter_get_collector_stats(run.e, 0, &after);
	g->unfit = after.unfit.records > before.unfit.records;
	note_messages();
	if (open->open && open->load.flows.records == 1 && !g->unfit)
		run.first_open = n_given - 1;
	if (run.format == FORMAT_NETFLOW5)
		assert_int_equal(g->unfit, r->key.ip_version == 6);
}

static void pass_time(uint64_t ns, int64_t step_s)
{
	run.now.monotonic_ns += ns;
	run.now.realtime_ns += ns;
	if (step_s && run.now.realtime_ns / NS_PER_SEC + (uint64_t)step_s - 1000000000 < 2000000000)
		run.now.realtime_ns += (uint64_t)(step_s * (int64_t)NS_PER_SEC);
	if (run.now.realtime_ns / NS_PER_SEC > 4000000000)
		run.now.realtime_ns = 1000000000 * NS_PER_SEC;
	if (run.now.realtime_ns > run.latest_wall_ns)
		run.latest_wall_ns = run.now.realtime_ns;
	exporter_tick(run.e, &run.now);
}

static void take_periods(struct exporter_periods *p)
{
	*p = (struct exporter_periods){.template_ns = (1 + take(1)) * NS_PER_SEC,
				       .template_messages = (uint32_t)take(1) + 1,
				       .stats_ns = take(1) * NS_PER_SEC,
				       .flush_ns = take(1) * 100 * NS_PER_MSEC,
				       .active_ns = take(4) * NS_PER_MSEC,
				       .inactive_ns = take(4) * NS_PER_MSEC};
}

static void drop(const struct flow_record *r)
{
	if (n_given == GIVEN)
		return;
	/* what the format cannot carry would not have been sent either: no loss, and no gap */
	given[n_given] = (struct given){.record = *r,
					.now = run.now,
					.dropped = true,
					.unfit = run.format == FORMAT_NETFLOW5 && r->key.ip_version == 6};
	run.missed += !given[n_given].unfit;
	exporter_drop(run.e, &given[n_given++].record, &run.now);
}

/* What goes wrong. */
static void harm(unsigned what, const struct flow_record *r, struct export_process_facts *facts)
{
	unsigned how;

	switch (what) {
	case 0:
		drop(r);
		break;
	case 1:
		facts->lost.records += take(2);
		run.missed += facts->lost.records - run.e->facts.lost.records;
		exporter_set_facts(run.e, facts);
		break;
	case 2:
		how = (unsigned)take(1);
		run.sink->lose = how & 1;
		run.sink->refuse = how & 2;
		run.sink->hold = how & 4;
		run.refused = run.refused || run.sink->refuse;
		run.lossy = run.lossy || (how & 7);
		break;
	default:
		if (run.n_sessions == GIVEN)
			break;
		run.session_at[run.n_sessions++] = run.sink->n;
		run.sink->t.session++;
		pass_time(take(1) * NS_PER_MSEC, (int8_t)take(1));
	}
}

static void write_all(void)
{
	struct export_process_facts facts = {0};
	struct exporter_periods periods;
	struct flow_record r = {.key = {.ip_version = 4}};

	while (in.left && n_given < GIVEN && run.sink->n <= SINK_MESSAGES / 2) {
		unsigned op = (unsigned)take(1) % 16;

		switch (op) {
		case 7:
			pass_time(take(1) * 10 * NS_PER_MSEC, 0);
			break;
		case 8:
			pass_time(take(4) * NS_PER_MSEC, 0);
			break;
		case 9:
			pass_time(take(1) * NS_PER_MSEC, (int32_t)take(4));
			break;
		case 10:
			exporter_refresh(run.e, &run.now);
			if (run.config.sampling.n_selectors)
				exporter_set_selector(
					run.e,
					(unsigned)(run.now.monotonic_ns / NS_PER_MSEC % EXPORT_SELECTORS),
					&run.now);
			break;
		case 11:
			take_periods(&periods);
			exporter_set_periods(run.e, &periods, &run.now);
			break;
		case 6:
			for (uint64_t n = take(1) % 64; n > 0; n--, r.id++)
				put(&r);
			break;
		default:
			if (op >= 12 && run.harsh) {
				harm(op - 12, &r, &facts);
				break;
			}
			take_record(&r);
			put(&r);
		}
		note_messages();
	}
	exporter_finish(run.e, &run.now);
	note_messages();
}

static void take_interfaces(void)
{
	run.config.n_interfaces = (unsigned)take(1) % 4;
	for (unsigned i = 0; i < run.config.n_interfaces; i++) {
		struct export_interface *n = &run.interfaces[i];

		n->ifindex = (uint32_t)take(take(1) & 1 ? 4 : 1);
		take_octets(n->name, take(1) % sizeof(n->name));
		take_octets(n->description, take(1) % sizeof(n->description));
	}
	run.config.interfaces = run.interfaces;
}

static void take_config(void)
{
	static const struct collector_config collector[] = {
		{.url = "sink", .format = FORMAT_NETFLOW5, .transport = TRANSPORT_FILE},
		{.url = "sink", .format = FORMAT_NETFLOW9, .transport = TRANSPORT_FILE},
		{.url = "sink", .format = FORMAT_IPFIX, .transport = TRANSPORT_FILE},
	};
	unsigned flags = (unsigned)take(1);
	struct exporter_periods periods;

	run.format = collector[flags % 3].format;
	run.now = sink_time(0);
	run.latest_wall_ns = run.now.realtime_ns;
	flags = (unsigned)take(1);
	run.reliable = flags & 1;
	run.harsh = flags & 2;
	take_periods(&periods);
	run.config = (struct exporter_config){
		.collectors = &collector[run.format == FORMAT_NETFLOW5	 ? 0
					 : run.format == FORMAT_NETFLOW9 ? 1
									 : 2],
		.n_collectors = 1,
		.domain = (uint32_t)take(4),
		.template_ns = periods.template_ns,
		.template_messages = periods.template_messages,
		.stats_ns = periods.stats_ns,
		.flush_ns = periods.flush_ns,
		.active_ns = periods.active_ns,
		.inactive_ns = periods.inactive_ns,
		.flow_key = (uint32_t)take(1),
		.offline = flags & 4,
		.has_ethernet = flags & 8,
		.has_direction = flags & 16,
		.sampling = {.n_selectors = flags & 128 ? EXPORT_SELECTORS : 0},
		.start_ns = run.now.realtime_ns,
		.start_monotonic_ns = run.now.monotonic_ns,
	};
	record_layout_init(&run.config.layout, 1u << BLOCK_LINK, 0);
	run.size = 300 - 48 + (flags & 32 ? take(2) : take(1) * 8); /* --mtu is at least 300 */
	if (run.size > 65535)
		run.size = 65535;
	take_interfaces();
	if (flags & 64)
		choose_fields();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sink_opener opener = {&run.sink};
	struct diag diag = {""};
	int r;

	setenv("CMOCKA_TEST_ABORT", "1", 1); /* what fails without a test around it */
	in.at = data;
	in.left = size;
	run = (struct run){.reader = {.record = on_record}};
	n_given = 0;
	take_config();
	run.sink = sink_new(run.size, run.reliable);
	run.config.open_transport = sink_open;
	run.config.open_ctx = &opener;
	r = exporter_new(&run.e, &run.config, &diag);
	if (run.config.fields && run.format != FORMAT_NETFLOW5 &&
	    (!run.n_expected[0] || !run.n_expected[1])) {
		FUZZ_CHECK(r == -EINVAL && diag.text[0]); /* nothing is known of one family */
		sink_free(run.sink);
		return 0;
	}
	FUZZ_CHECK(r == 0);
	write_all();
	for (unsigned i = 0; i < run.sink->n; i++)
		read_message(i);
	begin_session();
	check_ledger();
	exporter_free(run.e);
	sink_free(run.sink);
	return 0;
}
