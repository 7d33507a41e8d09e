/*
 * daemon: what makes a program a daemon: background, signals.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"

/*
 * Forks; the child returns 0 and goes on, the parent waits until daemon_ready() and never returns: it leaves
 * by _exit() with the child's status.  TERM and INT reach the child through it; a second one ends both at
 * once. Negative errno when there is no child.
 */
int daemon_fork(struct diag *diag);
/* Everything is open: the parent may leave, and the standard streams go to /dev/null. */
void daemon_ready(void);
/* In a process that was forked meanwhile: it does not say that it is ready. */
void daemon_forget(void);

/* Lets the process have that many files open, as far as the system allows it; never fewer than before. */
void daemon_allow_files(uint64_t n);

/* Blocks the signals that the program answers, SIGCHLD among them, and returns a descriptor to read them
 * from. */
int daemon_signals(struct diag *diag);
/* A descriptor that can be polled, and is not read: TERM or INT waits to be read from the other one.  -1:
 * none. */
int daemon_stop_fd(void);
/* Whether TERM and INT end the program by themselves: while it opens what may not be there, as a pipe's other
 * end. */
void daemon_may_end(bool may);
/* The next signal's number, or 0 when there is none. */
int daemon_next_signal(int fd);

/* Ends the program as it stands: nothing is flushed, freed or waited for. */
_Noreturn void daemon_abandon(int status);

#endif
