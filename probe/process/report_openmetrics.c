/*
 * report_openmetrics: see report.h.  Text exposition format 0.0.4: all samples of a metric stand together,
 * below its HELP and TYPE.
 */
#include "report.h"

#include <inttypes.h>
#include <string.h>

/* "pitot_" + prefix + the row's metric + "_total" */
static void openmetrics_name(FILE *out, const char *prefix, const struct ledger_row *row)
{
	fprintf(out, "pitot_%s%s%s", prefix, row->metric, row->kind == LEDGER_COUNTER ? "_total" : "");
}

/* OpenMetrics names a counter without what its samples end in. */
static void openmetrics_head(FILE *out, bool open, const char *prefix, const struct ledger_row *row,
			     const char *help)
{
	const char *end = row->kind == LEDGER_COUNTER && !open ? "_total" : "";

	fprintf(out, "# HELP pitot_%s%s%s %s\n", prefix, row->metric, end, help);
	fprintf(out, "# TYPE pitot_%s%s%s %s\n", prefix, row->metric, end,
		row->kind == LEDGER_COUNTER ? "counter" : "gauge");
}

static void openmetrics_value(FILE *out, const struct ledger_row *row, uint64_t value)
{
	fputc(' ', out);
	if (row->unit == LEDGER_SECONDS)
		report_seconds(out, value);
	else
		fprintf(out, "%" PRIu64, value);
	fputc('\n', out);
}

static void openmetrics_label(FILE *out, const struct ledger_row *row)
{
	if (!row->label)
		return;
	fprintf(out, "{%s=", row->label);
	report_name(out, row->name);
	fputc('}', out);
}

static void openmetrics_collector(FILE *out, const struct ledger_collector *c)
{
	fputs("{collector=", out);
	report_string(out, c->url);
	fputc('}', out);
}

/* A family's own help is each member's; the metric's says what they have in common. */
static const char *openmetrics_help(const struct ledger_row *row)
{
	static const struct {
		const char *metric, *help;
	} families[] = {
		{"ignored_packets", "frames that were not metered, by reason"},
		{"noted_packets", "metered packets with something odd about them, by what it is"},
		{"ended_flows", "flow records that ended, by reason"},
	};

	for (unsigned i = 0; row->label && i < sizeof(families) / sizeof(families[0]); i++)
		if (!strcmp(families[i].metric, row->metric))
			return families[i].help;
	return row->help;
}

static void openmetrics_numbers(FILE *out, bool open, const struct ledger *l)
{
	const char *last = "";

	for (unsigned i = 0; i < LEDGER_NUMBERS; i++) {
		const struct ledger_row *row = &ledger_rows[i];

		if (strcmp(row->metric, last) != 0)
			openmetrics_head(out, open, "", row, openmetrics_help(row));
		last = row->metric;
		if (l->values[i] == LEDGER_UNKNOWN)
			continue;
		openmetrics_name(out, "", row);
		openmetrics_label(out, row);
		openmetrics_value(out, row, l->values[i]);
	}
}

static void openmetrics_collectors(FILE *out, bool open, const struct ledger *l)
{
	for (unsigned i = 0; i < LEDGER_COLLECTOR_NUMBERS && l->n_collectors; i++) {
		const struct ledger_row *row = &ledger_collector_rows[i];

		openmetrics_head(out, open, "collector_", row, row->help);
		for (unsigned k = 0; k < l->n_collectors; k++) {
			openmetrics_name(out, "collector_", row);
			openmetrics_collector(out, &l->collectors[k]);
			openmetrics_value(out, row, l->collectors[k].values[i]);
		}
	}
	if (!l->n_collectors)
		return;
	fputs("# HELP pitot_collector_up whether the collector can be sent to\n"
	      "# TYPE pitot_collector_up gauge\n",
	      out);
	for (unsigned k = 0; k < l->n_collectors; k++) {
		fputs("pitot_collector_up", out);
		openmetrics_collector(out, &l->collectors[k]);
		fprintf(out, " %d\n", !strcmp(l->collectors[k].state, "up"));
	}
}

static void openmetrics_page(FILE *out, bool open, const struct ledger *l)
{
	fprintf(out,
		"# HELP pitot_build_info the program that these numbers are of\n# TYPE pitot_build_info "
		"gauge\n"
		"pitot_build_info{version=\"%s\"} 1\n",
		PITOT_VERSION);
	fputs("# HELP pitot_uptime_seconds time since the program began\n# TYPE pitot_uptime_seconds "
	      "gauge\n"
	      "pitot_uptime_seconds ",
	      out);
	report_seconds(out, l->duration_ns);
	fputc('\n', out);
	openmetrics_numbers(out, open, l);
	openmetrics_collectors(out, open, l);
	fprintf(out,
		"# HELP pitot_ledger_balanced whether every packet is in exactly one counter\n"
		"# TYPE pitot_ledger_balanced gauge\npitot_ledger_balanced %d\n",
		l->balanced);
}

void report_prometheus(FILE *out, const struct ledger *l)
{
	openmetrics_page(out, false, l);
}

void report_openmetrics(FILE *out, const struct ledger *l)
{
	openmetrics_page(out, true, l);
	fputs("# EOF\n", out);
}
