/*
 * report: the ledger for readers of three kinds (pitot(8), LEDGER).
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdio.h>

#include "ledger.h"

/* For programs: one JSON object (its schema: scripts/statistics.schema.json). */
void report_json(FILE *out, const struct ledger *l);
/* For people: what mattered. */
void report_text(FILE *out, const struct ledger *l);
/* For Prometheus: text format 0.0.4, and OpenMetrics 1.0. */
void report_prometheus(FILE *out, const struct ledger *l);
void report_openmetrics(FILE *out, const struct ledger *l);

/* In quotes, as JSON and Prometheus both have it: any text, and a row's name in small letters. */
void report_string(FILE *out, const char *s);
void report_name(FILE *out, const char *name);
void report_seconds(FILE *out, uint64_t ns);

#endif
