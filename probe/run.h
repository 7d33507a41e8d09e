/*
 * run: one measurement from opening to the last record.
 */
#ifndef RUN_H
#define RUN_H

#include "pitot/config.h"

/* The exit status: 0, 1 failure, 2 usage.  The command line is what the configuration came from. */
int run(const struct config *config, int argc, char **argv);

#endif
