/*
 * revive: looks after the other processes.  The metering or the exporting one is started again while
 * interfaces are measured when it has ended, was stopped or hangs; else that is a failure, and the end.
 * Openers start themselves again, and it is told.
 */
#ifndef REVIVE_H
#define REVIVE_H

#include "control_internal.h"

void revive_step(struct control *r, uint64_t now_ns);

#endif
