/* announce: a line at the start that says what is measured and where that goes, and one at the end with
 * totals. */
#ifndef ANNOUNCE_H
#define ANNOUNCE_H

#include "ledger.h"
#include "pitot/config.h"

/* What runs for long, or is looked at closely, without --quiet; and whatever writes into a log, or is a
 * service: who looks there later wants to know when it began and ended. */
bool announce_is_wanted(const struct config *c);
void announce_start(const struct config *c);
void announce_stop(const struct ledger *l);

#endif
