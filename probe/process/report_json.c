/* report_json: see report.h.  Rows become members; a row of another group or family closes and opens objects.
 */
#include "report.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/log.h"

void report_string(FILE *out, const char *s)
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

void report_name(FILE *out, const char *name)
{
	fputc('"', out);
	for (; *name; name++)
		fputc(tolower((unsigned char)*name), out);
	fputc('"', out);
}

void report_seconds(FILE *out, uint64_t ns)
{
	fprintf(out, "%" PRIu64 ".%03" PRIu64, ns / NS_PER_SEC, ns / NS_PER_MSEC % 1000);
}

static void json_name(FILE *out, const char *name)
{
	report_name(out, name);
	fputs(": ", out);
}

static void json_value(FILE *out, const struct ledger_row *row, uint64_t value)
{
	json_name(out, row->name);
	if (value == LEDGER_UNKNOWN)
		fputs("null", out);
	else if (row->unit == LEDGER_SECONDS)
		report_seconds(out, value);
	else
		fprintf(out, "%" PRIu64, value);
}

/* The members of rows that share a group, those of a family in an object of its own. */
static void json_rows(FILE *out, const struct ledger_row *rows, const uint64_t *values, unsigned n)
{
	const char *family = "", *comma = "";

	for (unsigned i = 0; i < n; i++) {
		if (strcmp(rows[i].family, family) != 0) {
			if (*family)
				fputc('}', out);
			if (*rows[i].family) {
				fputs(comma, out);
				json_name(out, rows[i].family);
				fputc('{', out);
				comma = "";
			} else {
				comma = ", ";
			}
			family = rows[i].family;
		}
		fputs(comma, out);
		json_value(out, &rows[i], values[i]);
		comma = ", ";
	}
	if (*family)
		fputc('}', out);
}

static void json_groups(FILE *out, const struct ledger *l)
{
	for (unsigned i = 0, end; i < LEDGER_NUMBERS; i = end) {
		for (end = i + 1; end < LEDGER_NUMBERS; end++)
			if (strcmp(ledger_rows[end].group, ledger_rows[i].group) != 0)
				break;
		fputs("  ", out);
		json_name(out, ledger_rows[i].group);
		fputc('{', out);
		json_rows(out, ledger_rows + i, l->values + i, end - i);
		fputs("},\n", out);
	}
}

static void json_collectors(FILE *out, const struct ledger *l)
{
	fputs("  \"collectors\": [", out);
	for (unsigned i = 0; i < l->n_collectors; i++) {
		const struct ledger_collector *c = &l->collectors[i];

		fprintf(out, "%s\n    {\"url\": ", i ? "," : "");
		report_string(out, c->url);
		fprintf(out, ", \"state\": \"%s\",\n     ", c->state);
		json_rows(out, ledger_collector_rows, c->values, LEDGER_COLLECTOR_NUMBERS);
		if (c->last_error) {
			fputs(", \"last_error\": ", out);
			report_string(out, c->last_error);
		}
		fputc('}', out);
	}
	fprintf(out, "%s],\n", l->n_collectors ? "\n  " : "");
}

void report_json(FILE *out, const struct ledger *l)
{
	fprintf(out, "{\n  \"version\": \"%s\", \"seconds\": ", PITOT_VERSION);
	report_seconds(out, l->duration_ns);
	fprintf(out, ", \"final\": %s,\n", l->final ? "true" : "false");
	json_groups(out, l);
	json_collectors(out, l);
	fprintf(out, "  \"ledger\": {\"balanced\": %s", l->balanced ? "true" : "false");
	if (l->unbalanced) {
		fputs(", \"unbalanced\": ", out);
		report_string(out, l->unbalanced);
	}
	fputs("}\n}\n", out);
}
