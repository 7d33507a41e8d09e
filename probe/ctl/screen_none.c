/* screen_none: this build has no ncurses, or no JSON library. */
#include "pitot/screen.h"

#include <errno.h>

int screen_check(struct diag *diag)
{
	return diag_set(diag, -ENOSYS,
			"this build has no ncurses; pitotctl flows --follow shows flows without it");
}

int screen_run(int fd, struct diag *diag)
{
	(void)fd;
	return diag_set(diag, -ENOSYS, "this build has no ncurses");
}
