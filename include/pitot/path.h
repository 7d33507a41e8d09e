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
#include <stddef.h>
#include <stdint.h>
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
/* Whether what is made there is given to somebody else than root, which takes CAP_CHOWN. */
bool path_gives(const struct path_at *at);
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
/* To be continued at its end, or made; read, too, to see what it ends with.  A descriptor. */
int path_continue(const struct path_at *at, struct diag *diag);
/* The file gets a name that says when it was written last, and nobody's place.  name: that name. */
int path_set_aside(const struct path_at *at, char name[PATH_NAME_SIZE], struct diag *diag);

/*
 * Names with a time in them: path_name.c.  %Y %m %d %H %M %S of an instant, and %% for a % itself, in the
 * last name of a path only.
 */
struct path_time {
	uint64_t seconds; /* since 1970 */
	uint32_t number;  /* of those that would have the same name; 0 the first, which has none */
	uint32_t local;	  /* 0: UTC.  tzset() was called */
};

bool path_has_time(const char *path);
int path_check_time(const char *path, struct diag *diag);
/* The same place, with the name at that time.  dir is the pattern's: nothing to forget. */
int path_at_time(struct path_at *at, const struct path_at *pattern, const struct path_time *time);
/* words stand before the last point of a name (before both of .json.gz), or at its end.  -ENAMETOOLONG */
int path_insert(char *out, size_t size, const char *path, const char *words);
/*
 * A new file that is NAME.part for the first number from 0 on of which there is neither that nor a NAME: what
 * another run has left or completed stays.  A descriptor.
 */
int path_begin_part(const struct path_at *pattern, struct path_time *time, struct diag *diag);
/* The same file once more, to be continued.  A descriptor. */
int path_resume_part(const struct path_at *pattern, const struct path_time *time, struct diag *diag);
/* It gets its name, if nothing else has it. */
int path_complete_part(const struct path_at *pattern, const struct path_time *time, struct diag *diag);

/* A directory, made with mode 0700 if it is not there: *made says so.  A descriptor. */
int path_directory(const struct path_at *at, bool *made, struct diag *diag);

#endif
