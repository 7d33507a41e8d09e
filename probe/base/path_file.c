/* path_file: see include/pitot/path.h.  What is done at the place that a path leads to. */
#include "pitot/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int path_error(const struct path_at *at, int r, struct diag *diag)
{
	return diag_set(diag, r, "%.400s: %s", at->path, strerror(-r));
}

static bool path_may_own(const struct path_at *at, const struct stat *st)
{
	struct stat dir;

	if (st->st_uid == 0 || st->st_uid == geteuid() || st->st_uid == at->user)
		return true;
	return fstat(at->dir, &dir) == 0 && dir.st_uid == st->st_uid && !(dir.st_mode & S_ISVTX);
}

/* Whether what has this name may be used; suffix is for the sentence. */
static int path_check(const struct path_at *at, const char *suffix, const struct stat *st, struct diag *diag)
{
	if (S_ISLNK(st->st_mode))
		return diag_set(diag, -ELOOP,
				"%.300s%s: is a symbolic link, and may lead to anybody's file: remove it",
				at->path, suffix);
	if (S_ISDIR(st->st_mode))
		return diag_set(diag, -EISDIR, "%.300s%s: %s", at->path, suffix, strerror(EISDIR));
	if (!path_may_own(at, st))
		return diag_set(diag, -EPERM,
				"%.300s%s: belongs to uid %u, who is neither root nor the user of pitot: "
				"remove it or change its owner",
				at->path, suffix, (unsigned)st->st_uid);
	if (S_ISREG(st->st_mode) && st->st_nlink != 1)
		return diag_set(diag, -EMLINK,
				"%.300s%s: has %u names (hard links), and may be anybody's file: remove it",
				at->path, suffix, (unsigned)st->st_nlink);
	return 0;
}

/* Whose a new file will be, if not root's. */
static bool path_heir(const struct path_at *at, struct stat *dir)
{
	return geteuid() == 0 && fstat(at->dir, dir) == 0 && dir->st_uid != 0 && !(dir->st_mode & S_ISVTX);
}

/* A new file belongs to whom the directory belongs to, as far as we may give it away. */
static void path_give(const struct path_at *at, int fd)
{
	struct stat dir;

	if (path_heir(at, &dir))
		(void)!fchown(fd, dir.st_uid, dir.st_gid);
}

bool path_gives(const struct path_at *at)
{
	struct stat st;

	return path_heir(at, &st) || (geteuid() == 0 && path_stat(at, &st) == 0 && st.st_uid != 0);
}

/*
 * Names right in /dev are devices', and a device may be missing for a moment: a file that took its name would
 * stay, and whoever writes to /dev/null from then on would fill it.
 */
static bool path_is_for_devices(const struct path_at *at)
{
	struct stat dir, dev;

	return fstat(at->dir, &dir) == 0 && stat("/dev", &dev) == 0 && dir.st_dev == dev.st_dev &&
	       dir.st_ino == dev.st_ino;
}

static int path_make(const struct path_at *at, const char *name, int how)
{
	int fd;

	if (path_is_for_devices(at))
		return -ENODEV;
	if (*at->path && at->path[strlen(at->path) - 1] == '/') /* a directory was meant, and is not there */
		return -EISDIR;
	fd = openat(at->dir, name, how | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, PATH_MODE);
	if (fd < 0)
		return -errno;
	path_give(at, fd);
	return fd;
}

static int path_part_name(const struct path_at *at, char part[PATH_NAME_SIZE])
{
	return snprintf(part, PATH_NAME_SIZE, "%s.part", at->name) >= PATH_NAME_SIZE ? -ENAMETOOLONG : 0;
}

int path_make_part(const struct path_at *at, struct diag *diag)
{
	char part[PATH_NAME_SIZE];
	struct stat st;
	int r = path_part_name(at, part);

	for (unsigned tries = 0; r == 0 && tries < 2; tries++) {
		r = path_make(at, part, O_WRONLY);
		if (r != -EEXIST)
			break;
		r = fstatat(at->dir, part, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
		if (r == 0) {
			r = path_check(at, ".part", &st, diag);
			if (r < 0)
				return r;
			r = unlinkat(at->dir, part, 0) < 0 ? -errno : 0;
		}
		r = r == -ENOENT ? 0 : r;
	}
	return r < 0 ? path_error(at, r, diag) : r == 0 ? path_error(at, -EEXIST, diag) : r;
}

int path_finish_part(const struct path_at *at, struct diag *diag)
{
	char part[PATH_NAME_SIZE];
	struct stat st;
	int r = path_part_name(at, part);

	if (r == 0 && path_is_for_devices(at))
		r = -ENODEV;
	if (r == 0 && fstatat(at->dir, part, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r < 0)
		return path_error(at, r, diag);
	r = path_check(at, ".part", &st, diag);
	if (r < 0)
		return r;
	/* a device or a pipe that came meanwhile is not ours to replace */
	if (path_stat(at, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return diag_set(diag, -EEXIST, "%.400s: is no file, and stays", at->path);
	return renameat(at->dir, part, at->dir, at->name) < 0 ? path_error(at, -errno, diag) : 0;
}

static int path_open_there(const struct path_at *at, int how)
{
	int fd = openat(at->dir, at->name, how | O_CLOEXEC | O_NOCTTY | (at->is_proc_link ? 0 : O_NOFOLLOW));

	return fd < 0 ? -errno : fd;
}

/* Opens what is there, which was looked at before and is again; or makes it. */
static int path_open(const struct path_at *at, int how, struct diag *diag)
{
	struct stat st;
	int fd = path_stat(at, &st), r;

	if (fd == -ENOENT)
		fd = path_make(at, at->name, how);
	else if (fd == 0)
		fd = path_open_there(at, how);
	if (fd == -ELOOP)
		return path_check(at, "", &(struct stat){.st_mode = S_IFLNK}, diag);
	if (fd < 0)
		return path_error(at, fd, diag);
	r = fstat(fd, &st) < 0 ? path_error(at, -errno, diag) : 0;
	if (r == 0 && !at->is_proc_link)
		r = path_check(at, "", &st, diag);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

int path_may_rewrite(const struct path_at *at, struct diag *diag)
{
	struct stat st;
	int r = path_stat(at, &st);

	if (r == -ENOENT && path_is_for_devices(at))
		return path_error(at, -ENODEV, diag);
	if (r == -ENOENT)
		return faccessat(at->dir, ".", W_OK | X_OK, AT_EACCESS) < 0 ? path_error(at, -errno, diag)
									    : 0;
	if (r == 0 && !at->is_proc_link)
		r = path_check(at, "", &st, diag);
	else if (r < 0)
		path_error(at, r, diag);
	if (r == 0 && faccessat(at->dir, at->name, W_OK, AT_EACCESS) < 0)
		r = path_error(at, -errno, diag);
	return r;
}

/* As whoever made the file wanted it, for those who read it. */
static void path_take_after(int fd, const struct stat *old)
{
	(void)!fchmod(fd, old->st_mode & 0777);
	if (geteuid() == 0)
		(void)!fchown(fd, old->st_uid, old->st_gid);
}

/* -EACCES and the like: the directory takes no new file. */
static int path_rewrite_part(const struct path_at *at, struct diag *diag)
{
	struct stat st;
	int r = path_stat(at, &st), fd;

	if (r < 0 && r != -ENOENT)
		return path_error(at, r, diag);
	if (r == 0 && (!S_ISREG(st.st_mode) || at->is_proc_link))
		return -EACCES;
	if (r == 0 && path_check(at, "", &st, diag) < 0)
		return -EMLINK;
	fd = path_make_part(at, diag);
	if (fd >= 0 && r == 0)
		path_take_after(fd, &st);
	return fd;
}

int path_rewrite(const struct path_at *at, bool *part, struct diag *diag)
{
	struct stat st;
	int fd = path_rewrite_part(at, diag);

	*part = fd >= 0;
	if (fd >= 0 || (fd != -EACCES && fd != -EPERM && fd != -EROFS && fd != -EMLINK))
		return fd;
	fd = path_open(at, O_WRONLY | O_NONBLOCK, diag);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || ftruncate(fd, 0) == 0)
		return fd;
	close(fd);
	return path_error(at, -errno, diag);
}

int path_own(const struct path_at *at, struct diag *diag)
{
	struct stat st;

	/* a device takes what is written, and is not ours: --pidfile /dev/null */
	return path_open(at, path_stat(at, &st) == 0 && !S_ISREG(st.st_mode) ? O_WRONLY | O_NONBLOCK : O_RDWR,
			 diag);
}

int path_open_special(const struct path_at *at, bool wait, struct diag *diag)
{
	struct stat st;
	int r = path_stat(at, &st), fd;

	if (r == 0 && S_ISREG(st.st_mode) && !at->is_proc_link)
		r = -EEXIST;
	if (r < 0)
		return path_error(at, r, diag);
	/* before it is opened: whoever planted a pipe could have us wait for its reader */
	r = at->is_proc_link ? 0 : path_check(at, "", &st, diag);
	if (r < 0)
		return r;
	fd = path_open(at, O_WRONLY | (S_ISREG(st.st_mode) ? O_APPEND : 0) | (wait ? 0 : O_NONBLOCK), diag);
	if (fd >= 0 && !wait && fcntl(fd, F_SETFL, S_ISREG(st.st_mode) ? O_APPEND : 0) < 0) {
		close(fd);
		return path_error(at, -errno, diag);
	}
	if (fd < 0 || at->is_proc_link || (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)))
		return fd;
	close(fd); /* it became a file meanwhile */
	return path_error(at, -EEXIST, diag);
}

/* Whether nobody else decides what stands in the file. */
static int path_check_obeyed(const struct path_at *at, int fd, struct diag *diag)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return path_error(at, -errno, diag);
	if (!S_ISREG(st.st_mode) || (path_may_own(at, &st) && !(st.st_mode & S_IWOTH)))
		return 0;
	if (st.st_mode & S_IWOTH)
		return diag_set(diag, -EPERM,
				"%.300s: everybody may change it, and decide what pitot does: chmod o-w",
				at->path);
	return diag_set(diag, -EPERM,
			"%.300s: it is uid %u's, who may change it, and decide what pitot does: it has to be "
			"root's or your own (chown)",
			at->path, (unsigned)st.st_uid);
}

static int path_read_checked(const char *path, unsigned user, int how, bool obeyed, struct diag *diag)
{
	struct path_at at;
	int r = path_find_to_read(&at, path, user, diag), fd;

	if (r < 0)
		return r;
	fd = path_open_there(&at, O_RDONLY | how);
	r = fd < 0 ? path_error(&at, fd, diag) : obeyed ? path_check_obeyed(&at, fd, diag) : 0;
	path_forget(&at);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return r;
}

int path_read(const char *path, unsigned user, int how, struct diag *diag)
{
	return path_read_checked(path, user, how, true, diag);
}

int path_open_to_read(const char *path, unsigned user, int how, struct diag *diag)
{
	return path_read_checked(path, user, how, false, diag);
}

int path_continue(const struct path_at *at, struct diag *diag)
{
	return path_open(at, O_RDWR | O_APPEND | O_NONBLOCK, diag);
}

enum { NUMBERS_MOST = 10000 };

/* A regular file of ours, and nothing has the new name.  -EEXIST: something has. */
static int path_move(const struct path_at *at, const char *from, const char *to, struct diag *diag)
{
	struct stat st;
	int r = fstatat(at->dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;

	if (r < 0)
		return path_error(at, r, diag);
	r = path_check(at, "", &st, diag);
	if (r < 0)
		return r;
	if (renameat2(at->dir, from, at->dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL) /* there are file systems that cannot do that */
		return path_error(at, -errno, diag);
	if (fstatat(at->dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return path_error(at, -EEXIST, diag);
	return renameat(at->dir, from, at->dir, to) < 0 ? path_error(at, -errno, diag) : 0;
}

int path_set_aside(const struct path_at *at, char name[PATH_NAME_SIZE], struct diag *diag)
{
	struct path_at pattern = *at, aside;
	struct path_time when = {0};
	struct stat st;
	int r = path_stat(at, &st);

	if (r < 0)
		return path_error(at, r, diag);
	when.seconds = st.st_mtime > 0 ? (uint64_t)st.st_mtime : 0;
	if (path_insert(pattern.name, sizeof(pattern.name), at->name, "-%Y%m%d%H%M%S") < 0)
		return path_error(at, -ENAMETOOLONG, diag);
	do {
		r = path_at_time(&aside, &pattern, &when);
		if (r < 0)
			return path_error(at, r, diag);
		r = path_move(at, at->name, aside.name, diag);
	} while (r == -EEXIST && ++when.number < NUMBERS_MOST);
	memcpy(name, aside.name, sizeof(aside.name));
	return r;
}

int path_begin_part(const struct path_at *pattern, struct path_time *time, struct diag *diag)
{
	char part[PATH_NAME_SIZE];
	struct path_at at;
	struct stat st;
	int r;

	for (time->number = 0; time->number < NUMBERS_MOST; time->number++) {
		r = path_at_time(&at, pattern, time);
		if (r == 0)
			r = path_part_name(&at, part);
		if (r < 0)
			return path_error(pattern, r, diag);
		if (path_stat(&at, &st) != -ENOENT)
			continue;
		r = path_make(&at, part, O_WRONLY);
		if (r != -EEXIST)
			return r < 0 ? path_error(pattern, r, diag) : r;
	}
	return path_error(pattern, -EEXIST, diag);
}

int path_resume_part(const struct path_at *pattern, const struct path_time *time, struct diag *diag)
{
	char part[PATH_NAME_SIZE];
	struct path_at at;
	struct stat st;
	int r = path_at_time(&at, pattern, time);

	if (r == 0)
		r = path_part_name(&at, part);
	if (r == 0)
		r = snprintf(at.name, sizeof(at.name), "%s", part) < 0 ? -EINVAL : path_stat(&at, &st);
	return r < 0 ? path_error(pattern, r, diag) : path_open(&at, O_RDWR | O_APPEND | O_NONBLOCK, diag);
}

int path_complete_part(const struct path_at *pattern, const struct path_time *time, struct diag *diag)
{
	char part[PATH_NAME_SIZE];
	struct path_at at;
	int r = path_at_time(&at, pattern, time);

	if (r == 0)
		r = path_part_name(&at, part);
	return r < 0 ? path_error(pattern, r, diag) : path_move(&at, part, at.name, diag);
}

int path_remove(const struct path_at *at, struct diag *diag)
{
	struct stat st;
	int r = path_stat(at, &st);

	if (r == 0 && !at->is_proc_link && !S_ISREG(st.st_mode) && !S_ISSOCK(st.st_mode))
		return diag_set(diag, -EPERM, "%.400s: is no file, and stays", at->path);
	if (r == 0)
		r = unlinkat(at->dir, at->name, 0) < 0 ? -errno : 0;
	return r < 0 ? path_error(at, r, diag) : 0;
}

int path_directory(const struct path_at *at, bool *made, struct diag *diag)
{
	int fd, r;

	*made = mkdirat(at->dir, at->name, 0700) == 0;
	if (!*made && errno != EEXIST && errno != EROFS)
		return path_error(at, -errno, diag);
	r = *made || errno == EEXIST ? 0 : -errno;
	fd = path_open_there(at, O_RDONLY | O_DIRECTORY);
	if (fd == -ENOENT && r < 0) /* why it could not be made says more */
		fd = r;
	return fd < 0 ? path_error(at, fd, diag) : fd;
}
