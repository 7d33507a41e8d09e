/*
 * path: the one way to what has a name and is opened, made, renamed or removed with privileges.
 *
 * Whoever may write in a directory on the way can put a link there, to have root write where they may not.
 * So a path is walked once, name by name, to a descriptor of the last directory, and whatever happens later
 * is relative to that: what was looked at is what is used.
 *
 *   a symbolic link is followed if root or this process's user made it, in a directory that nobody else may
 *   write (like the kernel's protected_symlinks, and not only where a directory is sticky); links of procfs,
 *   which /dev/stdout leads to, are descriptors and not paths
 *   a file is made anew (O_EXCL), for its owner and its group at most, and belongs to the owner of the
 *   directory
 *   a file that is there is used if it is a regular file with no other name, of root, this process's user,
 *   the user that this process becomes, or the owner of a directory that is not sticky
 *   a FIFO or a device is opened as it is, if it has such an owner
 *
 * Functions return 0, or a negative errno and a sentence that begins with the path; a descriptor where that
 * is said.
 */
#ifndef PITOT_PATH_H
#define PITOT_PATH_H

#include <stdbool.h>
#include <sys/stat.h>

#include "pitot/diag.h"

enum { PATH_NAME_SIZE = 256, PATH_MODE = 0640 };

struct path_at {
	const char *path; /* as it was given: lives longer */
	int dir;
	char name[PATH_NAME_SIZE];
	unsigned user;	   /* whom this process becomes */
	bool is_linked;	   /* a link led here */
	bool is_proc_link; /* name is a link of procfs */
};

/* The last name need not exist.  user: whose files may be used besides root's and our own. */
int path_find(struct path_at *at, const char *path, unsigned user, struct diag *diag);
int path_find_to_read(struct path_at *at, const char *path, unsigned user, struct diag *diag);
void path_forget(struct path_at *at);

/* What is there now; -ENOENT. */
int path_stat(const struct path_at *at, struct stat *st);

/* NAME.part, new and empty; one that an earlier run left is removed first.  A descriptor. */
int path_make_part(const struct path_at *at, struct diag *diag);
/* From NAME.part to NAME. */
int path_finish_part(const struct path_at *at, struct diag *diag);
/*
 * To be written anew: NAME.part, which gets the name by path_finish_part() (*part), so that nobody reads a
 * half of it, and has the mode of what is there.  What is no file is opened as it is, and a file where its
 * directory takes no new one is emptied.  A pipe that nobody reads is not waited for: -ENXIO.  A descriptor.
 */
int path_rewrite(const struct path_at *at, bool *part, struct diag *diag);
/* Whether that would work now; nothing is opened or made. */
int path_may_rewrite(const struct path_at *at, struct diag *diag);
/* Made, or opened to be read and written (a pid file): not emptied, and never a link.  A descriptor. */
int path_own(const struct path_at *at, struct diag *diag);
/*
 * A pipe or a device; -EISDIR and the like for what else is there.  A pipe that nobody reads is waited for,
 * or -ENXIO.  A descriptor.
 */
int path_open_special(const struct path_at *at, bool wait, struct diag *diag);
/*
 * What pitot obeys or trusts (a configuration, a key): nobody else may change it.  Of a sticky directory the
 * links of its owner are followed, too: nobody else can have made or replaced them.  how: O_NONBLOCK waits
 * for no pipe's other end, 0 does.  A descriptor.
 */
int path_read(const char *path, unsigned user, int how, struct diag *diag);
/* The same for who looks at the owner by himself, as at that of a key. */
int path_open_to_read(const char *path, unsigned user, int how, struct diag *diag);
int path_remove(const struct path_at *at, struct diag *diag);

/* A directory, made with mode 0700 if it is not there: *made says so.  A descriptor. */
int path_directory(const struct path_at *at, bool *made, struct diag *diag);

#endif
