/*
 * screen: the view of pitotctl top on the terminal: shows what view_draw() drew, and leaves the terminal as
 * it was.
 */
#ifndef PITOT_SCREEN_H
#define PITOT_SCREEN_H

#include "pitot/diag.h"

/* 0, or negative and a sentence: there is no terminal on standard input and output, or one that is unknown.
 */
int screen_check(struct diag *diag);

/*
 * After screen_check().  fd: a conversation with a control socket, which stays the caller's.  Until the user
 * leaves (0), a signal ends it (0), or pitot is gone: negative and a sentence.
 */
int screen_run(int fd, struct diag *diag);

#endif
