/*
 * sandbox_user: who the process becomes.
 *
 * Root that names nobody becomes "pitot" where the system has such a user and "nobody" elsewhere: to keep
 * uid 0 it has to be asked for.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/path.h"
#include "sandbox/sandbox_internal.h"

static bool user_parse_id(const char *text, unsigned *id)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v > 0xfffffffe)
		return false;
	*id = (unsigned)v;
	return true;
}

static void user_default(struct sandbox_user *user)
{
	static const char *const names[] = {"pitot", "nobody"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct passwd *pw = getpwnam(names[i]);

		if (!pw || pw->pw_uid == 0)
			continue;
		*user = (struct sandbox_user){.uid = pw->pw_uid, .gid = pw->pw_gid, .change = true};
		snprintf(user->name, sizeof(user->name), "%s", names[i]);
		return;
	}
	/* a container without /etc/passwd: the number that has no rights anywhere */
	*user = (struct sandbox_user){.uid = 65534, .gid = 65534, .change = true};
	snprintf(user->name, sizeof(user->name), "65534");
}

static int user_named(struct sandbox_user *user, const char *text, struct diag *diag)
{
	const char *group = strchr(text, ':');
	const struct passwd *pw;
	char name[256];

	snprintf(name, sizeof(name), "%.*s", (int)(group ? group - text : (ptrdiff_t)strlen(text)), text);
	*user = (struct sandbox_user){.change = true};
	snprintf(user->name, sizeof(user->name), "%.60s", text);
	pw = getpwnam(name);
	if (pw) {
		user->uid = pw->pw_uid;
		user->gid = pw->pw_gid;
	} else if (user_parse_id(name, &user->uid)) {
		user->gid = user->uid;
	} else {
		return diag_set(diag, -ENOENT, "--user %s: there is no user \"%s\"", text, name);
	}
	if (group && group[1]) {
		const struct group *gr = getgrnam(group + 1);

		if (gr)
			user->gid = gr->gr_gid;
		else if (!user_parse_id(group + 1, &user->gid))
			return diag_set(diag, -ENOENT, "--user %s: there is no group \"%s\"", text,
					group + 1);
	}
	return 0;
}

int sandbox_find_user(struct sandbox_user *user, const char *name, bool stay_root, struct diag *diag)
{
	int r = 0;

	*user = (struct sandbox_user){.uid = geteuid(), .gid = getegid()};
	if (name && stay_root)
		return diag_set(diag, -EINVAL, "--user and --stay-root do not go together");
	if (name)
		r = user_named(user, name, diag);
	else if (geteuid() == 0 && !stay_root)
		user_default(user);
	if (r == 0 && user->change && user->uid == 0)
		return diag_set(diag, -EINVAL, "--user %s is root: name another user, or say --stay-root",
				name);
	return r;
}

int sandbox_set_user(const struct sandbox_user *user)
{
	if (geteuid() != 0 && geteuid() == user->uid && getegid() == user->gid)
		return 0; /* already there, and without the right to say so */
	if (setgroups(0, NULL) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return -errno;
	return 0;
}

static bool user_is_empty(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	unsigned n = 0;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}
	while (readdir(dir))
		n++;
	closedir(dir);
	return n <= 2; /* itself and its parent */
}

int sandbox_make_directory(const char *path, const struct sandbox_user *user, struct diag *diag)
{
	struct path_at at;
	struct stat st;
	bool made = false;
	int r = path_find(&at, path, user->uid, diag), fd = r < 0 ? r : path_directory(&at, &made, diag);

	r = fd < 0 ? fd : 0;
	if (r == 0 && fstat(fd, &st) < 0)
		r = diag_set(diag, -errno, "%.400s: %s", path, strerror(errno));
	if (r == 0 && user->change && st.st_uid != user->uid) {
		/* where a link leads to may be empty by chance */
		if (st.st_uid == 0 && !(st.st_mode & S_ISVTX) &&
		    (made || (!at.is_linked && user_is_empty(fd))))
			r = fchown(fd, user->uid, user->gid) < 0
				    ? diag_set(diag, -errno, "%.400s: cannot be given to uid %u: %s", path,
					       user->uid, strerror(errno))
				    : 0;
		else
			r = diag_set(diag, SANDBOX_E_OWNER, "%.400s: belongs to uid %u", path, st.st_uid);
	}
	if (fd >= 0)
		close(fd);
	path_forget(&at);
	return r;
}
