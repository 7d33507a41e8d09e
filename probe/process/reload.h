/*
 * reload: the configuration of a program that runs, read again (SIGHUP).
 */
#ifndef RELOAD_H
#define RELOAD_H

#include "pitot/config.h"

struct reload {
	int argc;
	char **argv;
	struct config config; /* in force, once there was one */
	bool held;
};

/*
 * Reads the configuration file of the command line again.  What is in force is replaced only when all of the
 * new one can be: 0; then *config is it.  Else negative errno or CONFIG_E_USAGE with the sentence, and
 * nothing has changed.
 */
int reload_read(struct reload *r, const struct config **config, struct diag *diag);
void reload_deinit(struct reload *r);

#endif
