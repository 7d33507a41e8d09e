/*
 * pressure: how long somebody has waited for a processor, as the kernel counts it (PSI:
 * Documentation/accounting/ psi.rst), and how much processor time processes have taken.
 *
 * The averages and triggers of PSI are too slow to be polite by; the total is not.
 */
#ifndef PRESSURE_H
#define PRESSURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pitot/diag.h"

#define PRESSURE_UNKNOWN UINT64_MAX

/*
 * A file of the kernel's, or one like it, to be read again and again.  path NULL: the host's, or in a
 * container that has not that the cgroup's.  Its descriptor, or negative errno and a sentence.
 */
int pressure_open(const char *path, struct diag *diag);
/* The total in ns; PRESSURE_UNKNOWN. */
uint64_t pressure_read(int fd);
/* Of the text of such a file. */
uint64_t pressure_parse(const char *text);

/* All that a process has taken, in ns; 0 when there is none. */
uint64_t pressure_cpu_ns(pid_t pid);

#endif
