/*
 * contacts: by what others find a measurement that runs, and look at it: the pid file, the control socket,
 * the metrics page and the view of --live.
 */
#ifndef CONTACTS_H
#define CONTACTS_H

#include "control_internal.h"

/* Before anything else: what an earlier process still writes to must not be touched while it does. */
int contacts_take_pidfile(struct control *r, struct diag *diag);
int contacts_write_pidfile(struct control *r, struct diag *diag);
/* --control, or a path of its own in the directory for that, where one may be made; "" for none. */
void contacts_choose_control(struct control *r);
int contacts_open_control(struct control *r, struct diag *diag);
/* A process of its own: before there are threads, and anything that it should not have. */
int contacts_open_metrics(struct control *r, struct diag *diag);
/* Before control gives up what opens a terminal's description, and once nothing else can go wrong. */
int contacts_open_view(struct control *r, struct diag *diag);

#endif
