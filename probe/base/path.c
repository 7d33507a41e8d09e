/* path: see include/pitot/path.h.  The walk to where a path leads. */
#include "pitot/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 }; /* as many as the kernel follows */

#define OPEN_ON_THE_WAY (O_PATH | O_DIRECTORY | O_CLOEXEC)

struct path_walk {
	struct path_at *at;
	char rest[PATH_MAX]; /* what has not been walked yet */
	unsigned links;
	bool reads;
};

static bool path_is_ours(uid_t owner)
{
	return owner == 0 || owner == geteuid();
}

/* Whether somebody else may put a link there. */
static bool path_others_write(const struct stat *dir)
{
	return !path_is_ours(dir->st_uid) || (dir->st_mode & S_IWOTH) ||
	       ((dir->st_mode & S_IWGRP) && dir->st_gid != 0 && dir->st_gid != getegid());
}

static bool path_is_proc(int dir)
{
	struct statfs fs;

	return fstatfs(dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

static int path_enter(struct path_at *at, int dir)
{
	if (dir < 0)
		return -errno;
	if (at->dir >= 0)
		close(at->dir);
	at->dir = dir;
	return 0;
}

/* Takes the next name off the rest; *is_last: nothing but slashes is behind it. */
static int path_next(struct path_walk *w, bool *is_last)
{
	size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/");
	const char *name = n ? w->rest + skip : "."; /* of "/" itself */
	size_t size = n ? n : 1;

	if (size >= sizeof(w->at->name))
		return -ENAMETOOLONG;
	memcpy(w->at->name, name, size);
	w->at->name[size] = '\0';
	memmove(w->rest, w->rest + skip + n, strlen(w->rest + skip + n) + 1);
	*is_last = w->rest[strspn(w->rest, "/")] == '\0';
	return 0;
}

static int path_follow(struct path_walk *w, const struct stat *link, struct diag *diag)
{
	struct path_at *at = w->at;
	char target[PATH_MAX];
	size_t left = strlen(w->rest);
	struct stat dir;
	ssize_t n;

	if (fstat(at->dir, &dir) != 0)
		return diag_set(diag, -errno, "%.300s: %s", at->path, strerror(errno));
	if (!path_is_ours(link->st_uid) ||
	    (path_others_write(&dir) && !(w->reads && (dir.st_mode & S_ISVTX) && path_is_ours(dir.st_uid))))
		return diag_set(
			diag, -ELOOP,
			"%.250s: \"%.100s\" is a symbolic link that uid %u made or others may replace: "
			"it is not followed; name the place itself",
			at->path, at->name, (unsigned)link->st_uid);
	n = readlinkat(at->dir, at->name, target, sizeof(target));
	if (n < 0 || ++w->links > LINKS_MAX || (size_t)n + left + 1 >= sizeof(target))
		return diag_set(diag, n < 0 ? -errno : -ELOOP, "%.300s: %s", at->path,
				strerror(n < 0 ? errno : ELOOP));
	memmove(w->rest + n, w->rest, left + 1); /* it is empty, or begins with a slash */
	memcpy(w->rest, target, (size_t)n);
	at->is_linked = true;
	return w->rest[0] == '/' ? path_enter(at, open("/", OPEN_ON_THE_WAY)) : 0;
}

/* One name; *done: it was the last one, and no link that is followed. */
static int path_step(struct path_walk *w, bool *done, struct diag *diag)
{
	struct path_at *at = w->at;
	bool is_last = false, is_link, is_proc_link;
	struct stat st;
	int r = path_next(w, &is_last);

	*done = false;
	if (r == 0 && fstatat(at->dir, at->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		r = -errno;
	if (r < 0) {
		*done = is_last && r == -ENOENT;
		if (!is_last && r == -ENOENT)
			return diag_set(diag, r, "%.250s: %s: there is no directory \"%.100s\"", at->path,
					strerror(ENOENT), at->name);
		return *done ? 0 : diag_set(diag, r, "%.300s: %s", at->path, strerror(-r));
	}
	is_link = S_ISLNK(st.st_mode);
	is_proc_link = is_link && path_is_proc(at->dir);
	if (is_link && !is_proc_link)
		return path_follow(w, &st, diag);
	at->is_proc_link = is_last && is_proc_link;
	*done = is_last;
	if (!is_last)
		r = path_enter(at,
			       openat(at->dir, at->name, OPEN_ON_THE_WAY | (is_proc_link ? 0 : O_NOFOLLOW)));
	return r < 0 ? diag_set(diag, r, "%.300s: %s", at->path, strerror(-r)) : 0;
}

static int path_walk(struct path_at *at, const char *path, unsigned user, bool reads, struct diag *diag)
{
	struct path_walk w = {.at = at, .reads = reads};
	bool done = false;
	int r;

	*at = (struct path_at){.path = path, .dir = -1, .user = user};
	if (!*path || snprintf(w.rest, sizeof(w.rest), "%s", path) >= (int)sizeof(w.rest))
		return diag_set(diag, *path ? -ENAMETOOLONG : -ENOENT, "%.300s: %s", path,
				strerror(*path ? ENAMETOOLONG : ENOENT));
	r = path_enter(at, open(*path == '/' ? "/" : ".", OPEN_ON_THE_WAY));
	if (r < 0)
		diag_set(diag, r, "%.300s: %s", path, strerror(-r));
	while (r == 0 && !done)
		r = path_step(&w, &done, diag);
	if (r < 0)
		path_forget(at);
	return r;
}

int path_find(struct path_at *at, const char *path, unsigned user, struct diag *diag)
{
	return path_walk(at, path, user, false, diag);
}

int path_find_to_read(struct path_at *at, const char *path, unsigned user, struct diag *diag)
{
	return path_walk(at, path, user, true, diag);
}

void path_forget(struct path_at *at)
{
	if (at->dir >= 0)
		close(at->dir);
	at->dir = -1;
}

int path_stat(const struct path_at *at, struct stat *st)
{
	return fstatat(at->dir, at->name, st, at->is_proc_link ? 0 : AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}
