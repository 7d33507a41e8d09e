/*
 * opener: a small process that keeps the privileges which the program gives up.
 *
 * It is forked before the sandbox is entered, has no socket but the one to its parent, and
 * does what it was told at its start and nothing else: open capture number i again (an interface was deleted
 * and made anew), and with file number i what the file is there for: statistics are written again, an output
 * file gets its name when it is complete, or another one is begun, a pid file is removed.  Requests hold a
 * number and at most an instant, never a name; paths are walked once, at its start (path.h).  It ends when
 * its parent does.
 *
 * It is two processes, of which one works and the other one starts it again; either can be killed or stopped.
 * A question that one of them ended over is answered with that, and the next ones are answered as always.
 *
 * opener_rewrite() and the like take a NULL opener and then do it themselves, as far as the user may.  All
 * may be called from any thread but those that parse packets; they wait for the answer, 5 s at most.  One
 * that comes later is thrown away, and until it has come further questions fail at once.
 */
#ifndef PITOT_OPENER_H
#define PITOT_OPENER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/path.h"

enum { OPENER_FDS = 4, OPENER_FACTS = 128, OPENER_READS = 4 };

struct opener_answer {
	int fds[OPENER_FDS];
	unsigned n_fds;
	_Alignas(8) uint8_t facts[OPENER_FACTS]; /* what the two ends agreed on */
};

enum opener_right {
	OPENER_REWRITES = 1 << 0, /* opened, emptied, made */
	OPENER_FINISHES = 1 << 1, /* renamed from FILE.part */
	OPENER_REMOVES = 1 << 2,
	OPENER_CONTINUES = 1 << 3, /* opened to be written on, made, put aside */
	OPENER_ROTATES = 1 << 4, /* the path is a pattern: made as FILE.part, continued, renamed from there */
};

struct opener_file {
	const char *path;
	const char *option; /* for sentences */
	unsigned rights;
};

struct opener_config {
	const char *name; /* of the process, at most 15 characters; NULL: pitot-opener */
	unsigned n_captures;
	/* Runs in the opener. */
	int (*open_capture)(void *ctx, unsigned index, int group, struct opener_answer *answer,
			    struct diag *diag);
	void *ctx;
	const struct opener_file *files;
	unsigned n_files;
	const char *const
		*reads; /* kept open from the start, for who may not open them later: OPENER_READS */
	unsigned n_reads;
	unsigned user; /* whom the program becomes, and the opener, too, where that is enough */
	unsigned group;
	bool sandbox; /* Landlock and a list of system calls for the opener, too */
	bool detach;  /* it leaves the terminal */
};

struct opener;

/* Forks.  The strings and ctx must live as long as the caller: the opener has its copy of everything. */
int opener_start(struct opener **op, const struct opener_config *config, struct diag *diag);
void opener_stop(struct opener *o);	/* NULL is fine */
int opener_pid(const struct opener *o); /* of the one that is a child of ours */
/*
 * Answers are waited for only for a moment while urgent_fd (-1: none) is readable, and after *until_ns
 * (monotonic), which whoever ends the program may write at any time; NULL: no such word. NULL is fine.
 */
void opener_hurry(struct opener *o, int urgent_fd, const _Atomic uint64_t *until_ns);
/* After a fork, in a process that has nothing to ask of it; NULL is fine. */
void opener_forget(struct opener *o);
bool opener_has_ended(struct opener *o); /* both its processes, at once; NULL: no */
/*
 * For whoever started it, now and then, until it is false: whether one more of its processes has ended, or
 * was stopped, which ends it; *status as waitpid() has it.  Another one is in its place.  NULL: no.
 */
bool opener_look(struct opener *o, int *status);
/* In a process that may ask it, but did not start it. */
void opener_leave_alone(struct opener *o);
static inline const char *opener_name(const struct opener_config *config)
{
	return config->name ? config->name : "pitot-opener";
}
const char *opener_whose(const struct opener *o);   /* the name of its processes */
const char *opener_missing(const struct opener *o); /* layers of the sandbox that it lacks; "" for none */

/* Negative errno and the opener's sentence when it did not work.  group: as capture_describe() has it. */
int opener_capture(struct opener *o, unsigned index, int group, struct opener_answer *answer,
		   struct diag *diag);

/* See path.h for what they do: path_rewrite(), path_finish_part(), path_remove() and so on. */
int opener_rewrite(struct opener *o, const char *path, bool *part, struct diag *diag); /* a descriptor */
int opener_finish(struct opener *o, const char *path, struct diag *diag);
int opener_remove(struct opener *o, const char *path, struct diag *diag);
int opener_continue(struct opener *o, const char *path, struct diag *diag); /* a descriptor */
int opener_set_aside(struct opener *o, const char *path, char name[PATH_NAME_SIZE], struct diag *diag);
/* path: a pattern.  A descriptor; time->number is the file's then. */
int opener_begin(struct opener *o, const char *path, struct path_time *time, struct diag *diag);
/* What was begun, to be continued: a descriptor. */
int opener_resume(struct opener *o, const char *path, const struct path_time *time, struct diag *diag);
/* One of the files that are kept open: a descriptor, whose offset is at its begin.  -ENOENT: it is none. */
int opener_read(struct opener *o, const char *path, struct diag *diag);
int opener_complete(struct opener *o, const char *path, const struct path_time *time, struct diag *diag);

#endif
