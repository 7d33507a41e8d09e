/*
 * control: one measurement from opening to the last record.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "pitot/config.h"

/* The exit status: 0, 1 failure, 2 usage.  The command line is what the configuration came from. */
int control_run(const struct config *config, int argc, char **argv);

#endif
