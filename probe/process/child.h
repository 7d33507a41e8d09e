/*
 * child: a process of the program's, forked by control.
 *
 * It reports once, whether its set-up is done or why not, and ends when control does.
 */
#ifndef CHILD_H
#define CHILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pitot/diag.h"

/* In the shared region: a process that parses packets may not write when it reports. */
struct child_report {
	_Atomic bool ready;
	_Atomic int32_t result;
	struct diag diag;
};

struct child {
	const char *name; /* at most 15 characters */
	struct child_report *report;
	pid_t pid;     /* 0: there is none */
	int report_fd; /* the end of a pipe that this process has: it is closed when there is a report */
	int status;    /* how it ended, as waitpid() says it */
};

/* 1 in the child, 0 in its parent, or negative errno.  The child has no other thread.  report NULL: it has
 * none to make, and is not awaited. */
int child_fork(struct child *c, const char *name, struct child_report *report, struct diag *diag);
/* The child: 0 or negative errno and the sentence. */
void child_tell(struct child *c, int result, const struct diag *diag);
/* The child, after its user was changed, which lets go of this: its end when control ends. */
void child_hold_on(const struct child *c);
/* The parent: waits for the report, and returns it. */
int child_await(struct child *c, struct diag *diag);

/* What has become of it, without waiting: it has ended (once), or was stopped. */
enum child_state { CHILD_RUNS, CHILD_STOPPED, CHILD_ENDED };
enum child_state child_look(struct child *c);
/* "killed by signal 9 (Killed)", "exit status 1" */
void child_describe_end(const struct child *c, char *text, size_t size);
void child_kill(const struct child *c);
/* Ends it, if it is there, and waits for its end. */
void child_end(struct child *c);

#endif
