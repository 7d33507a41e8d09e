/*
 * live_view: --live: the view of pitotctl top on this terminal, by a process of its own that holds nothing
 * but the terminal and a conversation with control.
 */
#ifndef LIVE_VIEW_H
#define LIVE_VIEW_H

#include <stdbool.h>
#include <termios.h>

#include "pitot/diag.h"

struct live_view_config {
	const char *user; /* see struct sandbox_config */
	bool stay_root;
};

struct live_view {
	int pid; /* 0: there is none */
	struct termios before;
};

/*
 * Forks the process, which shows nothing before control answers.  *client is control's end of the
 * conversation, which is the caller's.  Lines of the log that would go to a terminal wait until it has ended.
 */
int live_view_start(struct live_view *v, const struct live_view_config *config, int *client,
		    struct diag *diag);

/* What became of it: once, when it has ended; the terminal is as it was. */
enum live_view_end { LIVE_VIEW_RUNS, LIVE_VIEW_LEFT, LIVE_VIEW_FAILED };
enum live_view_end live_view_look(struct live_view *v);
/* Ends it, if it has not. */
void live_view_stop(struct live_view *v);

#endif
