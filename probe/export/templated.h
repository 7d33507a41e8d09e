/*
 * templated: what NetFlow v9 and IPFIX have in common: templates announced before data, refreshed by time and
 * by count, options, and data in sets.  netflow9.c and ipfix.c own their headers and template records.
 */
#ifndef PITOT_EXPORT_TEMPLATED_H
#define PITOT_EXPORT_TEMPLATED_H

#include "format.h"

int templated_setup(struct collector *c, struct diag *diag);
void templated_record(struct collector *c, const struct flow_record *r, const struct clock_time *now);
void templated_tick(struct collector *c, const struct clock_time *now);
void templated_refresh(struct collector *c);
void templated_finish(struct collector *c, const struct clock_time *now);
int templated_announce(struct collector *c);

#endif
