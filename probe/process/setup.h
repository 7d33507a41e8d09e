/*
 * setup: everything before the measurement: the configuration becomes captures, metering threads, the shared
 * region and the other processes.
 */
#ifndef SETUP_H
#define SETUP_H

#include "control_internal.h"

/* Captures, then collectors, then whatever has to be given up.  0, or negative errno and a sentence. */
int setup_open(struct control *r, struct diag *diag);

#endif
