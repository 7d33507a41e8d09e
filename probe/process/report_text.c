/* report_text: see report.h. */
#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "pitot/log.h"

#define N(group, name)	l->values[LEDGER_##group##_##name]
#define C(family, name) c->values[LEDGER_COLLECTOR_##family##_##name]

/* "; 5 flows not sent"; nothing when there are none */
static void text_count(FILE *out, uint64_t n, const char *noun, const char *what)
{
	if (n)
		fprintf(out, "; %" PRIu64 " %s%s%s", n, noun, log_plural(n), what);
}

static void text_collector(FILE *out, const struct ledger_collector *c)
{
	char url[1024];

	log_escape(url, sizeof(url), c->url);
	fprintf(out, "  %s: %" PRIu64 " flow%s in %" PRIu64 " message%s, %" PRIu64 " octets", url,
		C(, records), log_plural(C(, records)), C(, messages), log_plural(C(, messages)),
		C(, octets));
	text_count(out, C(not_sent, records), "flow", " not sent");
	text_count(out, C(, pending), "flow", " waiting");
	text_count(out, C(, resent), "flow", " sent again");
	text_count(out, C(spool, dropped), "flow", " of an earlier run dropped from the spool");
	text_count(out, C(not_exportable, records), "flow", "");
	if (C(not_exportable, records))
		fprintf(out, " (%" PRIu64 " packet%s) that the format cannot carry",
			C(not_exportable, packets), log_plural(C(not_exportable, packets)));
	text_count(out, C(, errors), "error", "");
	if (C(, errors) && c->last_error)
		fprintf(out, ", the last one: %s", c->last_error);
	fputc('\n', out);
}

static void text_packets(FILE *out, const struct ledger *l)
{
	fprintf(out, "packets: %" PRIu64 " received = %" PRIu64 " metered + %" PRIu64 " ignored",
		N(packets, received), N(packets, metered), ledger_family(l, "packets", "ignored"));
	if (N(packets, unselected))
		fprintf(out, " + %" PRIu64 " unselected", N(packets, unselected));
	if (N(packets, filtered) == LEDGER_UNKNOWN)
		fputs("; the kernel filtered, and does not count", out);
	else if (N(packets, filtered))
		fprintf(out, "; %" PRIu64 " filtered", N(packets, filtered));
	if (N(packets, dropped_by_kernel))
		fprintf(out, "; %" PRIu64 " DROPPED by the kernel", N(packets, dropped_by_kernel));
	fputc('\n', out);
	if (N(interfaces, dropped))
		fprintf(out, "  %" PRIu64 " packet%s DROPPED by the interfaces\n", N(interfaces, dropped),
			log_plural(N(interfaces, dropped)));
	if (N(interfaces, gaps)) {
		fprintf(out, "  %" PRIu64 " time%s an interface was down, gone or not there yet, ",
			N(interfaces, gaps), log_plural(N(interfaces, gaps)));
		report_seconds(out, N(interfaces, gap_seconds));
		fputs(" s in all\n", out);
	}
	for (unsigned i = 0; i < LEDGER_NUMBERS; i++)
		if (l->values[i] && !strcmp(ledger_rows[i].family, "ignored"))
			fprintf(out, "  %" PRIu64 " ignored: %s\n", l->values[i], ledger_rows[i].help);
}

/* How long it was on which rung. */
static void text_polite(FILE *out, const struct ledger *l)
{
	const char *comma = "polite:";

	for (unsigned i = 0; i < LEDGER_NUMBERS; i++) {
		if (strcmp(ledger_rows[i].group, "polite") != 0 ||
		    strcmp(ledger_rows[i].family, "spent") != 0 || l->values[i] == LEDGER_UNKNOWN ||
		    !l->values[i])
			continue;
		fprintf(out, "%s ", comma);
		fprintf(out, "%s ", ledger_rows[i].name);
		report_seconds(out, l->values[i]);
		fputs(" s", out);
		comma = ",";
	}
	if (*comma == ',')
		fputc('\n', out);
	if (N(packets, sliced))
		fprintf(out,
			"  sliced: %" PRIu64 " metered packet%s of flows that were not begun; %" PRIu64
			" estimated in what was sent\n",
			N(packets, sliced), log_plural(N(packets, sliced)), N(packets, estimated));
}

void report_text(FILE *out, const struct ledger *l)
{
	text_packets(out, l);
	fprintf(out, "flows: %" PRIu64 " created", N(flows, created));
	if (N(flows, taken_over))
		fprintf(out, " + %" PRIu64 " taken over", N(flows, taken_over));
	fprintf(out, " = %" PRIu64 " exported", N(flows, exported));
	if (N(flows, not_sent))
		fprintf(out, " + %" PRIu64 " NOT SENT", N(flows, not_sent));
	if (N(flows, over_max_export_rate))
		fprintf(out, " (%" PRIu64 " over --max-export-rate)", N(flows, over_max_export_rate));
	if (N(flows, handed_over))
		fprintf(out, " + %" PRIu64 " handed over", N(flows, handed_over));
	if (N(flows, unwanted))
		fprintf(out, " + %" PRIu64 " without a collector", N(flows, unwanted));
	if (N(flows, active))
		fprintf(out, " + %" PRIu64 " in the table", N(flows, active));
	if (N(flows, queued))
		fprintf(out, " + %" PRIu64 " queued", N(flows, queued));
	fprintf(out, "; %" PRIu64 " octets metered\n", N(octets, metered));
	text_polite(out, l);
	for (unsigned i = 0; i < l->n_collectors; i++)
		text_collector(out, &l->collectors[i]);
	if (!l->balanced)
		fprintf(out,
			"LEDGER NOT BALANCED (%s): please report this as a bug, with the statistics of "
			"--stats\n",
			l->unbalanced);
}
