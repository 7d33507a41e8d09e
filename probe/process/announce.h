/* announce: a line at the start that says what is measured and where that goes, and one at the end with
 * totals. */
#ifndef ANNOUNCE_H
#define ANNOUNCE_H

#include "ledger.h"
#include "pitot/config.h"

/* What runs for long, or in the background, or is looked at closely; --quiet says nothing. */
bool announce_is_wanted(const struct config *c);
void announce_start(const struct config *c);
void announce_stop(const struct ledger *l);

#endif
