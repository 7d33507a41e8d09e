/*
 * screen_terminal: whether there is a terminal, and one that is known.  A file of its own, as the names that
 * <term.h> defines are everybody's.
 */
#include <curses.h>
#include <errno.h>
#include <stdlib.h>
#include <term.h>
#include <unistd.h>

#include "pitot/screen.h"

int screen_check(struct diag *diag)
{
	int found;

	if (!(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
		return diag_set(diag, -ENOTTY,
				"the view wants a terminal on standard input and standard output");
	if (setupterm(NULL, STDOUT_FILENO, &found) != ERR)
		return 0;
	return diag_set(diag, -ENOTTY, "the terminal (TERM=%.40s) is unknown",
			getenv("TERM") ? getenv("TERM") : "");
}
