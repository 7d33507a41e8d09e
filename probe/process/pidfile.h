/*
 * pidfile: the file that says which process is at work, and that one is.
 *
 * Whoever has it holds a lock on its first octet for life, however that ends, and one on the second until it
 * is told to stop.  So another process sees whether the file is in use, and whether it is worth waiting for.
 */
#ifndef PIDFILE_H
#define PIDFILE_H

#include <stdint.h>

#include "pitot/diag.h"

/*
 * Makes the file, or takes over what a process that is gone has left.  One that is ending is waited for, for
 * wait_ns at most.  A descriptor that stays open as long as the process does, or negative errno, -EAGAIN when
 * another process has it.  user: see path.h.
 */
int pidfile_take(const char *path, unsigned user, uint64_t wait_ns, struct diag *diag);
/* Writes the number of this process. */
int pidfile_write(int fd, const char *path, struct diag *diag);
/* This process is ending: whoever wants the file may wait for it. */
void pidfile_end(int fd);

#endif
