/* screen_none: this build has no ncurses. */
#include "screen.h"

#include <errno.h>

int screen_run(struct client *c, struct diag *diag)
{
	(void)c;
	return diag_set(diag, -ENOSYS, "this build of pitotctl has no ncurses; flows --follow shows flows");
}
