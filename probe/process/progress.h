/*
 * progress: a line on the terminal that says how far the reading of files is, while it takes long.
 *
 * Control has its own descriptors of the files that another process reads: they share their offsets.
 */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "savefiles.h"
#include "pitot/config.h"

struct progress {
	int *fds; /* of the files; NULL: nobody wants to know */
	unsigned n;
	uint64_t octets; /* of all files; 0: not known */
	uint64_t begun_ns, next_ns;
	bool shown;
};

/* Nothing unless standard error is a terminal that flows are not printed on, or with --quiet. */
void progress_open(struct progress *p, const struct config *c, const struct savefiles *files,
		   uint64_t now_ns);
/* At most five times a second; packets were received so far. */
void progress_step(struct progress *p, uint64_t packets, uint64_t now_ns);
/* The line as it is shown; done is in octets. */
void progress_text(const struct progress *p, uint64_t done, uint64_t packets, uint64_t now_ns, char *out,
		   size_t size);
/* Takes it off the terminal. */
void progress_erase(struct progress *p);
void progress_close(struct progress *p);
static inline bool progress_is_wanted(const struct progress *p)
{
	return p->fds != NULL;
}

#endif
