/*
 * report: the ledger in words and in JSON (pitot(8), LEDGER).
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "exporting.h"
#include "pitot/stats.h"

struct report {
	struct metering_stats metering; /* sum over all workers */
	struct exporting_stats exporting;
	uint64_t duration_ns;
	uint64_t gaps, gap_ns; /* interfaces that were down or gone, and how long in sum */
	bool final;	       /* everything was flushed: nothing may be under way */
};

void report_add(struct metering_stats *sum, const struct metering_stats *one);

/* What the exporting process has to know of it. */
struct export_process_facts report_facts(const struct metering_stats *sum);

/* Records, packets and octets between the metering processes and the exporting process. */
struct totals report_queued(const struct report *r);

/* Whether every identity of the ledger holds. */
bool report_balanced(const struct report *r);

void report_json(FILE *out, const struct report *r);
void report_summary(FILE *out, const struct report *r);

#endif
