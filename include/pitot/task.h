/*
 * task: what the kernel says of a thread, by proc(5).  It tells one that hangs from one that gets no
 * processor time.
 */
#ifndef PITOT_TASK_H
#define PITOT_TASK_H

#include <stdbool.h>
#include <stdint.h>

struct task_seen {
	int64_t cpu_ms; /* that it has had, in user and kernel mode */
	char state;	/* R: it wants a processor, or has one; D: a disk; T: it was stopped; S: it waits */
};

/* False: nothing is to be seen of it. */
bool task_look(struct task_seen *seen, int process, int thread);

#endif
