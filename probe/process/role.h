/*
 * role: the two processes that control forks: what each lets go of that is another's, how it becomes what it
 * is to be, and its life.
 */
#ifndef ROLE_H
#define ROLE_H

#include "control_internal.h"

/* The exporting process: opens the collectors, tells self that it is ready, and works until it is told to
 * end. */
_Noreturn void role_export(struct control *r, struct child *self);
/* The metering process: its captures are open, or were handed over. */
_Noreturn void role_meter(struct control *r, struct child *self);
/* The metering threads of the configuration; they have no captures yet. */
int role_new_workers(struct control *r, struct diag *diag);

/* ---- what both begin with */

/* What captures: the memory and the descriptors, but not what they are of. */
void role_let_captures_go(struct control *r);
/* What is control's alone. */
void role_leave_control(struct control *r);
/* --polite: it gives way to everybody by itself, once and for all, for there is no way back. */
void role_give_way(const struct control *r);
void role_close(int *fd);

#endif
