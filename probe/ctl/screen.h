/*
 * screen: the terminal of pitotctl top: shows what top_draw() drew, and leaves it as it was.
 */
#ifndef CTL_SCREEN_H
#define CTL_SCREEN_H

#include "client.h"

/* Until the user leaves (0), a signal ends it (0), or pitot is gone: negative and a sentence. */
int screen_run(struct client *c, struct diag *diag);

#endif
