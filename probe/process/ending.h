/*
 * ending: how a measurement is told to end, and when its metering threads have.
 */
#ifndef ENDING_H
#define ENDING_H

#include "control_internal.h"

/* From here on --stop-timeout runs. */
void ending_stop_workers(struct control *r);
/* One that hangs after it was told to stop is not waited for. */
bool ending_all_done(struct control *r);
/* The same of the exporting process, when --stop-timeout is over. */
bool ending_is_too_late(struct control *r, uint64_t now_ns);
/* signal: TERM or INT, which cuts a savefile short; 0: whoever runs it wants its end in good order.  A second
 * one ends the program at once. */
void ending_stop(struct control *r, int signal);
void ending_remove_pidfile(const struct control *r);

#endif
