/*
 * diagnose: --doctor and --dry-run: what would keep flows from arriving, before anything is opened.
 */
#ifndef DIAGNOSE_H
#define DIAGNOSE_H

#include "pitot/config.h"

/* probe: try the collectors' ports, too, and say at the end what was found.  The exit status: 1 when
 * something is wrong. */
int diagnose_run(const struct config *c, bool probe, void (*print)(void *ctx, const char *line), void *ctx);

#endif
