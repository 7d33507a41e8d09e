/*
 * roles: the exporting and the metering process begin, and begin again.  Control opens what captures, for
 * that may need its privileges, makes the shared region and forks.
 */
#ifndef ROLES_H
#define ROLES_H

#include "control_internal.h"

/*
 * Forks the exporting and the metering process, and waits until each is ready to begin; afterwards control
 * has nothing that is theirs.
 */
int roles_start(struct control *r, struct diag *diag);
/* All are ready: packets are read from now on. */
void roles_go(struct control *r);
/* In the place of one that has ended; live. */
int roles_restart_exporting(struct control *r, struct diag *diag);
int roles_restart_metering(struct control *r, struct diag *diag);

#endif
