/*
 * reporting: the numbers of one moment, and where they go: --stats, --metrics-file, standard error.
 */
#ifndef REPORTING_H
#define REPORTING_H

#include "control_internal.h"
#include "report.h"

/* The ledger of this moment; report must live as long as it. */
void reporting_take(struct control *r, struct report *report, struct ledger *ledger, bool final);
void reporting_take_exporting(const struct control *r, struct exporting_stats *stats);
/* Writes them to wherever the user wants to have them.  1: a file of them cannot be written. */
int reporting_write(struct control *r, bool final);
/* When that is next; UINT64_MAX: never. */
uint64_t reporting_due_ns(const struct control *r);
/* --stats-every and --metrics-file, if it is time; what goes wrong is logged, and tried again the next time.
 */
void reporting_step(struct control *r, uint64_t now_ns);

#endif
