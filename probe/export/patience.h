/* patience: where the exporting process waits for collectors, see patience.c. */
#ifndef PITOT_EXPORT_PATIENCE_H
#define PITOT_EXPORT_PATIENCE_H

#include "format.h"

/* Offline: would a record push out another one, or is it not known yet where to send it? */
bool patience_is_needed(const struct exporter *e);
/* Until it is not, or until those that it waits for have taken nothing for --stop-timeout. */
void patience_for_room(struct exporter *e);
/*
 * Nothing more comes: until the collectors have what is left, or --stop-timeout is over; then last() makes
 * the last messages, and the sessions end.  All transports are closed afterwards.
 */
void patience_for_the_end(struct exporter *e, const struct clock_time *now, void (*last)(struct exporter *e));

#endif
