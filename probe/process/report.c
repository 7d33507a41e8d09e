/* report: see report.h. */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/log.h"

static const struct ignored_reason {
	const char *name;
	const char *text;
} ignored_reasons[PACKET_VERDICTS] = {
#define IGNORED(name, text) [PACKET_##name] = {#name, text},
#include "pitot/ignored.def"
#undef IGNORED
};

static const char *const end_names[FLOW_END_COUNT] = {NULL, "idle", "active", "end", "forced", "resources"};

static const char *const note_names[] = {"transport_header_cut", "length_zero", "length_beyond_frame",
					 "extension_headers_cut", "jumbogram"};

void report_add(struct metering_stats *sum, const struct metering_stats *one)
{
	/* both are nothing but counters, except two times */
	uint64_t first = sum->meter.first_ignored_ns, last = sum->meter.last_ignored_ns;
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "counters only");
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
	if (first == 0 || (one->meter.first_ignored_ns && one->meter.first_ignored_ns < first))
		first = one->meter.first_ignored_ns;
	if (one->meter.last_ignored_ns > last)
		last = one->meter.last_ignored_ns;
	sum->meter.first_ignored_ns = first;
	sum->meter.last_ignored_ns = last;
}

struct export_process_facts report_facts(const struct metering_stats *sum)
{
	struct export_process_facts facts = {.ignored_octets = sum->meter.ignored_octets,
					     .first_ignored_ns = sum->meter.first_ignored_ns,
					     .last_ignored_ns = sum->meter.last_ignored_ns,
					     .dropped_packets = sum->meter.kernel_dropped,
					     .lost = sum->lost};

	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		facts.ignored_packets += sum->meter.ignored[i];
	return facts;
}

static uint64_t report_ignored(const struct report *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		n += r->metering.meter.ignored[i];
	return n;
}

static uint64_t report_ended(const struct report *r)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < FLOW_END_COUNT; i++)
		n += r->metering.flows.ended[i];
	return n;
}

struct totals report_queued(const struct report *r)
{
	const struct metering_stats *m = &r->metering;
	const struct exporter_stats *e = &r->exporting.exporter;

	struct totals queued = m->flows.handed_on;

	totals_subtract(&queued, &m->lost);
	totals_subtract(&queued, &e->taken);
	return queued;
}

bool report_balanced(const struct report *r)
{
	const struct meter_stats *m = &r->metering.meter;
	const struct flow_stats *f = &r->metering.flows;
	const struct exporter_stats *e = &r->exporting.exporter;
	struct totals q = report_queued(r);

	return m->received_packets == m->metered_packets + report_ignored(r) + m->unselected_packets &&
	       m->received_octets == m->metered_link_octets + m->ignored_octets + m->unselected_octets &&
	       m->metered_packets == f->in_table.packets + f->handed_on.packets &&
	       m->metered_octets == f->in_table.octets + f->handed_on.octets &&
	       f->created == f->in_table.records + report_ended(r) && (int64_t)q.records >= 0 &&
	       (int64_t)q.packets >= 0 && (int64_t)q.octets >= 0 &&
	       e->taken.records == e->exported + e->not_sent.records &&
	       (!r->final || (q.records == 0 && q.packets == 0 && q.octets == 0 && f->in_table.records == 0));
}

static void json_name(FILE *out, const char *name)
{
	for (; *name; name++)
		fputc(*name >= 'A' && *name <= 'Z' ? *name + ('a' - 'A') : *name, out);
}

static void json_string(FILE *out, const char *s)
{
	char text[2048];

	log_escape(text, sizeof(text), s);
	fputc('"', out);
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fputc('\\', out);
		fputc(*p, out);
	}
	fputc('"', out);
}

static void json_packets(FILE *out, const struct report *r)
{
	const struct meter_stats *m = &r->metering.meter;
	const char *comma = "";

	fprintf(out, "  \"packets\": {\"received\": %" PRIu64 ", \"metered\": %" PRIu64 ", \"ignored\": {",
		m->received_packets, m->metered_packets);
	for (unsigned i = 0; i < PACKET_VERDICTS; i++) {
		if (!ignored_reasons[i].name)
			continue;
		fprintf(out, "%s\"", comma);
		json_name(out, ignored_reasons[i].name);
		fprintf(out, "\": %" PRIu64, m->ignored[i]);
		comma = ", ";
	}
	fprintf(out,
		"}, \"unselected\": %" PRIu64 ", \"dropped_by_kernel\": %" PRIu64 ", \"filtered\": %" PRIu64
		", \"oversized\": %" PRIu64 ",\n    \"in_table\": %" PRIu64 ", \"queued\": %" PRIu64
		", \"not_sent\": %" PRIu64 "},\n",
		m->unselected_packets, m->kernel_dropped, m->filtered_packets, m->oversized,
		r->metering.flows.in_table.packets, report_queued(r).packets,
		r->metering.lost.packets + r->exporting.exporter.not_sent.packets);
	fprintf(out,
		"  \"octets\": {\"received\": %" PRIu64 ", \"metered\": %" PRIu64 ", \"ignored\": %" PRIu64
		", \"metered_on_the_wire\": %" PRIu64 ", \"in_table\": %" PRIu64 ", \"queued\": %" PRIu64
		", \"not_sent\": %" PRIu64 "},\n",
		m->received_octets, m->metered_octets, m->ignored_octets, m->metered_link_octets,
		r->metering.flows.in_table.octets, report_queued(r).octets,
		r->metering.lost.octets + r->exporting.exporter.not_sent.octets);
	fprintf(out, "  \"notes\": {");
	for (unsigned i = 0; i < sizeof(note_names) / sizeof(note_names[0]); i++)
		fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", note_names[i], m->notes[i]);
	fprintf(out, "},\n");
}

static void json_flows(FILE *out, const struct report *r)
{
	const struct flow_stats *f = &r->metering.flows;
	const struct exporter_stats *e = &r->exporting.exporter;

	fprintf(out,
		"  \"flows\": {\"created\": %" PRIu64 ", \"active\": %" PRIu64 ", \"queued\": %" PRIu64
		", \"exported\": %" PRIu64 ", \"not_sent\": %" PRIu64 ", \"ended\": {",
		f->created, f->in_table.records, report_queued(r).records, e->exported,
		e->not_sent.records + r->metering.lost.records);
	for (unsigned i = FLOW_END_IDLE; i < FLOW_END_COUNT; i++)
		fprintf(out, "%s\"%s\": %" PRIu64, i > FLOW_END_IDLE ? ", " : "", end_names[i], f->ended[i]);
	fprintf(out,
		"}, \"lost_on_the_way\": %" PRIu64 ", \"over_max_export_rate\": %" PRIu64
		"},\n  \"fragments\": {\"tracked\": %" PRIu64 ", \"joined\": %" PRIu64
		", \"evicted\": %" PRIu64 "},\n",
		r->metering.lost.records, e->dropped, f->fragments_tracked, f->fragments_joined,
		f->fragments_evicted);
}

static void json_collectors(FILE *out, const struct report *r)
{
	static const char *const states[] = {[TRANSPORT_STATE_CONNECTING] = "connecting",
					     [TRANSPORT_STATE_UP] = "up",
					     [TRANSPORT_STATE_FAILED] = "failed"};

	fprintf(out, "  \"collectors\": [");
	for (unsigned i = 0; i < r->exporting.n_collectors; i++) {
		const struct collector_stats *c = &r->exporting.collectors[i];

		fprintf(out, "%s\n    {\"url\": ", i ? "," : "");
		json_string(out, c->url);
		fprintf(out,
			", \"state\": \"%s\", \"messages\": %" PRIu64 ", \"octets\": %" PRIu64
			", \"records\": %" PRIu64 ", \"templates\": %" PRIu64 ", \"option_records\": %" PRIu64
			", \"errors\": %" PRIu64 ",\n     \"not_sent\": {\"records\": %" PRIu64
			", \"packets\": %" PRIu64 ", \"octets\": %" PRIu64
			"}, \"not_exportable\": {\"records\": %" PRIu64 ", \"packets\": %" PRIu64
			", \"octets\": %" PRIu64 "}, \"saturated\": %" PRIu64,
			states[c->state], c->messages, c->octets, c->records, c->templates, c->option_records,
			c->errors, c->lost.records, c->lost.packets, c->lost.octets, c->unfit.records,
			c->unfit.packets, c->unfit.octets, c->saturated);
		fprintf(out,
			",\n     \"taken\": %" PRIu64 ", \"pending\": %" PRIu64 ", \"resent\": %" PRIu64
			", \"sessions\": %" PRIu64,
			c->taken_records, c->pending_records, c->resent_records, c->sessions);
		if (c->last_error) {
			fprintf(out, ", \"last_error\": ");
			json_string(out, collector_cause(c));
		}
		fprintf(out, "}");
	}
	fprintf(out, "%s],\n", r->exporting.n_collectors ? "\n  " : "");
}

void report_json(FILE *out, const struct report *r)
{
	fprintf(out, "{\n  \"version\": \"%s\", \"seconds\": %" PRIu64 ".%03" PRIu64 ", \"final\": %s,\n",
		PITOT_VERSION, r->duration_ns / NS_PER_SEC, r->duration_ns / NS_PER_MSEC % 1000,
		r->final ? "true" : "false");
	json_packets(out, r);
	fprintf(out,
		"  \"interfaces\": {\"gaps\": %" PRIu64 ", \"gap_seconds\": %" PRIu64 ".%03" PRIu64 "},\n",
		r->gaps, r->gap_ns / NS_PER_SEC, r->gap_ns / NS_PER_MSEC % 1000);
	json_flows(out, r);
	json_collectors(out, r);
	fprintf(out, "  \"ledger\": {\"balanced\": %s}\n}\n", report_balanced(r) ? "true" : "false");
}

/* "; 5 flows not sent"; nothing when there are none */
static void summary_count(FILE *out, uint64_t n, const char *noun, const char *what)
{
	if (n)
		fprintf(out, "; %" PRIu64 " %s%s%s", n, noun, log_plural(n), what);
}

static void summary_collector(FILE *out, const struct collector_stats *c)
{
	char url[1024];

	log_escape(url, sizeof(url), c->url);
	fprintf(out, "  %s: %" PRIu64 " flow%s in %" PRIu64 " message%s, %" PRIu64 " octets", url, c->records,
		log_plural(c->records), c->messages, log_plural(c->messages), c->octets);
	summary_count(out, c->lost.records, "flow", " not sent");
	summary_count(out, c->pending_records, "flow", " waiting");
	summary_count(out, c->resent_records, "flow", " sent again");
	summary_count(out, c->unfit.records, "flow", "");
	if (c->unfit.records)
		fprintf(out, " (%" PRIu64 " packet%s) that the format cannot carry", c->unfit.packets,
			log_plural(c->unfit.packets));
	summary_count(out, c->errors, "error", "");
	if (c->errors)
		fprintf(out, ", the last one: %s", collector_cause(c));
	fputc('\n', out);
}

void report_summary(FILE *out, const struct report *r)
{
	const struct meter_stats *m = &r->metering.meter;
	const struct exporter_stats *e = &r->exporting.exporter;
	uint64_t not_sent = e->not_sent.records + r->metering.lost.records;

	fprintf(out, "packets: %" PRIu64 " received = %" PRIu64 " metered + %" PRIu64 " ignored",
		m->received_packets, m->metered_packets, report_ignored(r));
	if (m->unselected_packets)
		fprintf(out, " + %" PRIu64 " unselected", m->unselected_packets);
	if (m->filtered_packets)
		fprintf(out, "; %" PRIu64 " filtered", m->filtered_packets);
	if (m->kernel_dropped)
		fprintf(out, "; %" PRIu64 " DROPPED by the kernel", m->kernel_dropped);
	fputc('\n', out);
	if (r->gaps)
		fprintf(out,
			"  %" PRIu64 " time%s an interface was down or gone, %" PRIu64 ".%03" PRIu64
			" s in all\n",
			r->gaps, log_plural(r->gaps), r->gap_ns / NS_PER_SEC, r->gap_ns / NS_PER_MSEC % 1000);
	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		if (m->ignored[i] && ignored_reasons[i].text)
			fprintf(out, "  %" PRIu64 " ignored: %s\n", m->ignored[i], ignored_reasons[i].text);
	fprintf(out, "flows: %" PRIu64 " created = %" PRIu64 " exported", r->metering.flows.created,
		e->exported);
	if (not_sent)
		fprintf(out, " + %" PRIu64 " NOT SENT", not_sent);
	if (e->dropped)
		fprintf(out, " (%" PRIu64 " over --max-export-rate)", e->dropped);
	if (r->metering.flows.in_table.records)
		fprintf(out, " + %" PRIu64 " in the table", r->metering.flows.in_table.records);
	if (report_queued(r).records)
		fprintf(out, " + %" PRIu64 " queued", report_queued(r).records);
	fprintf(out, "; %" PRIu64 " octets metered\n", m->metered_octets);
	for (unsigned i = 0; i < r->exporting.n_collectors; i++)
		summary_collector(out, &r->exporting.collectors[i]);
	if (!report_balanced(r))
		fprintf(out,
			"LEDGER NOT BALANCED: please report this as a bug, with the statistics of --stats\n");
}
