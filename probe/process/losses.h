/*
 * losses: what is lost when a process dies, as numbers that add up.
 *
 * What it published last is true.  Control settles it when the process is gone: flows that were in its table
 * are records that are lost, and so is what it had in hand or held back.  The process that comes in its place
 * begins with the numbers as settled.
 */
#ifndef LOSSES_H
#define LOSSES_H

#include "shared.h"

/* Of a metering process: all its threads.  What they had published is handed on. */
void losses_settle_metering(const struct shared *s);
/* Of the exporting process.  keeps: what waited for a session is on disk, and will be sent. */
void losses_settle_exporting(const struct shared *s, bool keeps);

/* The sum of two processes, one after the other: what they had counted, and how the later one stands. */
void losses_add_exporting(struct exporting_stats *later, const struct exporting_stats *earlier);

#endif
