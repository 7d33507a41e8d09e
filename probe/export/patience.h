/* patience: where the exporting process waits for collectors, see patience.c. */
#ifndef PITOT_EXPORT_PATIENCE_H
#define PITOT_EXPORT_PATIENCE_H

#include "format.h"

/* Offline: would a record push out another one, or is it not known yet where to send it? */
bool patience_is_needed(const struct exporter *e);
/* Until it is not, or until those that it waits for have taken nothing for --stop-timeout. */
void patience_for_room(struct exporter *e);
/*
 * Nothing more comes: until the collectors have what is left, or --stop-timeout is over.  The exporter ticks
 * at p->now as long as patience goes on.
 */
struct patience {
	struct clock_time begun, now;
	uint64_t begun_ns, most_ns, goodbye_ns; /* of waiting's clock */
};
void patience_begin(struct patience *p, const struct exporter *e, const struct clock_time *now);
/* The last messages are made: now for what is left of them, and for sessions to end in good order. */
void patience_begin_goodbye(struct patience *p, const struct exporter *e);
/* False: nothing is left, or there is no more time. */
bool patience_goes_on(struct patience *p, struct exporter *e);
/* When the last transport has to be closed. */
uint64_t patience_close_by_ns(const struct exporter *e);

#endif
