/*
 * orders: what control tells the metering and the exporting process to do from now on, because the user asked
 * for it or because something around them has changed.
 */
#ifndef ORDERS_H
#define ORDERS_H

#include "control_internal.h"

/* The 5-tuples of the export itself, as they are now: what capture sees of them is not metered. */
void orders_own_flows(struct control *r);
void orders_set_timeouts(struct control *r, const struct metering_timeouts *timeouts);
/* Whether what comes is measured, or only counted. */
void orders_set_gather(struct control *r, bool on);
void orders_set_rate(struct control *r, uint32_t records);
/* Links, addresses or routes: what was remembered of them may not be so any more.  asked: by the user. */
void orders_follow_network(struct control *r, bool asked);
/* Templates again, names resolved again. */
void orders_refresh(struct control *r);
/* Without a configuration file: names and templates only.  What was refused is logged, too. */
int orders_reload(struct control *r, struct diag *diag);

#endif
