/*
 * path, base/path_file.c, base/path_name.c: whose links are followed, which files are used, and what new ones
 * look like.
 *
 * As root with a hostile user, who owns a directory; elsewhere only what needs no other user.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lacking.h"
#include "pitot/path.h"

enum { HOSTILE = 54321, OURS = 54322 };

static char root[64];

static const char *at_root(const char *name)
{
	static char text[8][256];
	static unsigned i;
	char *to = text[i++ % 8];

	snprintf(to, sizeof(text[0]), "%s/%s", root, name);
	return to;
}

static void make(const char *name, const char *text, unsigned owner)
{
	int fd = open(at_root(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_true(owner == geteuid() || fchown(fd, owner, owner) == 0);
	close(fd);
}

static void make_directory(const char *name, unsigned owner, mode_t mode)
{
	assert_int_equal(mkdir(at_root(name), 0700), 0);
	assert_int_equal(chmod(at_root(name), mode), 0);
	assert_true(owner == geteuid() || chown(at_root(name), owner, owner) == 0);
}

static void make_link(const char *target, const char *name, unsigned owner)
{
	assert_int_equal(symlink(target, at_root(name)), 0);
	assert_true(owner == geteuid() || lchown(at_root(name), owner, owner) == 0);
}

static void assert_holds(const char *name, const char *text)
{
	char found[64] = "";
	int fd = open(at_root(name), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, found, sizeof(found) - 1) >= 0);
	assert_string_equal(found, text);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	umask(0);
	snprintf(root, sizeof(root), "/tmp/test_path.XXXXXX");
	return mkdtemp(root) && chmod(root, 0755) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execlp("rm", "rm", "-rf", root, NULL);
		_exit(1);
	}
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

enum operation { MAKE_PART, FINISH_PART, REWRITE, OWN, READ, REMOVE };

/* Does it; 0 or the negative errno, with the sentence in *diag. */
static int operate(enum operation o, const char *path, struct diag *diag)
{
	struct path_at at;
	bool is_part = false;
	int r;

	*diag = (struct diag){""};
	if (o == READ) {
		r = path_read(path, OURS, 0, diag);
	} else {
		r = path_find(&at, path, OURS, diag);
		if (r == 0)
			r = o == MAKE_PART     ? path_make_part(&at, diag)
			    : o == FINISH_PART ? path_finish_part(&at, diag)
			    : o == REWRITE     ? path_rewrite(&at, &is_part, diag)
			    : o == OWN	       ? path_own(&at, diag)
					       : path_remove(&at, diag);
		path_forget(&at);
	}
	if (r < 0) /* one sentence that begins with the path */
		assert_true(strncmp(diag->text, path, strlen(path)) == 0 &&
			    strlen(diag->text) > strlen(path));
	if (r > 0) {
		(void)!write(r, "new", 3);
		close(r);
	}
	if (r > 0 && is_part && operate(FINISH_PART, path, diag) < 0)
		fail_msg("%s", diag->text);
	return r < 0 ? r : 0;
}

static void assert_refused(enum operation o, const char *path, int error)
{
	struct diag diag;

	assert_int_equal(operate(o, path, &diag), error);
}

static void assert_done(enum operation o, const char *path)
{
	struct diag diag;

	if (operate(o, path, &diag) < 0)
		fail_msg("%s", diag.text);
}

static void needs_root(void)
{
	if (geteuid() != 0 || chown(root, HOSTILE, HOSTILE) < 0 || chown(root, 0, 0) < 0)
		lacking_here("only root can make files of other users");
}

/* ---- links on the way */

static void test_links_of_the_administrator(void **state)
{
	(void)state;
	make_directory("real", geteuid(), 0755);
	make_link("real", "relative", geteuid());
	make_link(at_root("real"), "absolute", geteuid());
	make_link("absolute", "twice", geteuid());
	make_link("real/../relative/file", "last", geteuid());
	assert_done(REWRITE, at_root("relative/file"));
	assert_holds("real/file", "new");
	assert_done(MAKE_PART, at_root("twice//./file"));
	assert_holds("real/file.part", "new");
	assert_done(FINISH_PART, at_root("last"));
	assert_done(READ, at_root("last"));
	assert_done(OWN, at_root("absolute/pid"));
	assert_done(REMOVE, at_root("absolute/pid"));
	make_link("round", "round", geteuid());
	assert_refused(REWRITE, at_root("round"), -ELOOP);
	assert_refused(REWRITE, at_root("nowhere/file"), -ENOENT);
	assert_refused(REWRITE, at_root("real/file/below"), -ENOTDIR);
	assert_refused(REWRITE, "", -ENOENT);
	assert_refused(REWRITE, "/", -EISDIR);
}

/* Whoever made the link, and wherever others may make one. */
static void test_links_of_others(void **state)
{
	static const struct {
		const char *directory;
		unsigned owner, link_owner;
		mode_t mode;
	} cases[] = {
		{"of-hostile", HOSTILE, HOSTILE, 0755},
		{"root-in-hostile", HOSTILE, 0, 0755},
		{"hostile-in-root", 0, HOSTILE, 0755},
		{"tmp", 0, HOSTILE, 01777},
		{"open", 0, 0, 0777},
		{"of-user", OURS, OURS, 0755},
	};
	static const enum operation all[] = {MAKE_PART, FINISH_PART, REWRITE, OWN, READ, REMOVE};

	(void)state;
	needs_root();
	make_directory("victim", 0, 0755);
	make("victim/file", "secret", 0);
	make("victim/file.part", "secret", 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		char link[64], path[128];

		make_directory(cases[i].directory, cases[i].owner, cases[i].mode);
		snprintf(link, sizeof(link), "%s/link", cases[i].directory);
		make_link(at_root("victim"), link, cases[i].link_owner);
		snprintf(path, sizeof(path), "%s/file", at_root(link));
		for (unsigned o = 0; o < ARRAY_SIZE(all); o++)
			assert_refused(all[o], path, -ELOOP);
		snprintf(link, sizeof(link), "%s/last", cases[i].directory);
		make_link(at_root("victim/file"), link, cases[i].link_owner);
		for (unsigned o = 0; o < ARRAY_SIZE(all); o++)
			assert_refused(all[o], at_root(link), -ELOOP);
	}
	assert_holds("victim/file", "secret");
	assert_holds("victim/file.part", "secret");
}

/* As in a volume of secrets: a sticky directory, in which root has links of its own. */
static void test_links_in_a_sticky_directory(void **state)
{
	(void)state;
	needs_root();
	make_directory("volume", 0, 01777);
	make_directory("volume/data", 0, 0755);
	make("volume/data/key", "secret", 0);
	make_link("data/key", "volume/key", 0);
	make_link("data/key", "volume/planted", HOSTILE);
	assert_done(READ, at_root("volume/key"));
	assert_refused(READ, at_root("volume/planted"), -ELOOP);
	assert_refused(REWRITE, at_root("volume/key"), -ELOOP);
	assert_holds("volume/data/key", "secret");
}

/* ---- what stands at the place */

/* Between the walk and the use. */
static void test_planted_meanwhile(void **state)
{
	bool is_part;
	struct path_at at;
	struct diag diag;

	(void)state;
	make_directory("d", geteuid(), 0777);
	make("victim", "secret", geteuid());
	make("other", "secret", geteuid());
	assert_int_equal(path_find(&at, at_root("d/file"), OURS, &diag), 0);
	make_link(at_root("victim"), "d/file", geteuid());
	assert_int_equal(path_rewrite(&at, &is_part, &diag), -ELOOP);
	assert_int_equal(path_own(&at, &diag), -ELOOP);
	assert_int_equal(path_may_rewrite(&at, &diag), -ELOOP);
	assert_true(path_open_special(&at, true, &diag) < 0);
	assert_int_equal(path_remove(&at, &diag), -EPERM);
	make_link(at_root("victim"), "d/file.part", geteuid());
	assert_int_equal(path_make_part(&at, &diag), -ELOOP);
	assert_non_null(strstr(diag.text, "file.part"));
	assert_int_equal(path_finish_part(&at, &diag), -ELOOP);
	unlink(at_root("d/file.part"));
	unlink(at_root("d/file"));
	assert_int_equal(link(at_root("other"), at_root("d/file")), 0);
	assert_int_equal(path_rewrite(&at, &is_part, &diag), -EMLINK);
	assert_int_equal(path_own(&at, &diag), -EMLINK);
	assert_int_equal(link(at_root("other"), at_root("d/file.part")), 0);
	assert_int_equal(path_make_part(&at, &diag), -EMLINK);
	assert_int_equal(path_finish_part(&at, &diag), -EMLINK);
	/* the directory itself is another one now: the first is used */
	unlink(at_root("d/file.part"));
	unlink(at_root("d/file"));
	assert_int_equal(rename(at_root("d"), at_root("moved")), 0);
	make_directory("elsewhere", geteuid(), 0755);
	make_link("elsewhere", "d", geteuid());
	assert_int_equal(close(path_make_part(&at, &diag)), 0);
	assert_int_equal(path_finish_part(&at, &diag), 0);
	assert_int_equal(access(at_root("moved/file"), F_OK), 0);
	assert_int_equal(access(at_root("elsewhere/file"), F_OK), -1);
	path_forget(&at);
	assert_holds("victim", "secret");
	assert_holds("other", "secret");
}

static void test_owners(void **state)
{
	(void)state;
	needs_root();
	make_directory("tmp", 0, 01777);
	make_directory("theirs", HOSTILE, 0755);
	make("tmp/file", "old", HOSTILE);
	make("tmp/file.part", "old", HOSTILE);
	assert_refused(REWRITE, at_root("tmp/file"), -EPERM);
	assert_refused(OWN, at_root("tmp/file"), -EPERM);
	assert_refused(MAKE_PART, at_root("tmp/file"), -EPERM);
	assert_refused(FINISH_PART, at_root("tmp/file"), -EPERM);
	assert_refused(READ, at_root("tmp/file"), -EPERM);
	assert_holds("tmp/file", "old");
	make("tmp/mine", "old", OURS);
	assert_done(REWRITE, at_root("tmp/mine"));
	assert_holds("tmp/mine", "new");
	/* in a directory of theirs they may do all that anyway */
	make("theirs/file", "old", HOSTILE);
	assert_done(REWRITE, at_root("theirs/file"));
	assert_done(READ, at_root("theirs/file"));
	assert_int_equal(chmod(at_root("theirs/file"), 0666), 0);
	assert_refused(READ, at_root("theirs/file"), -EPERM);
}

static void assert_new(const char *name, unsigned owner)
{
	struct stat st;

	assert_int_equal(stat(at_root(name), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640); /* although the umask is 0 */
	assert_int_equal(st.st_uid, owner);
}

static void test_new_files(void **state)
{
	(void)state;
	assert_done(REWRITE, at_root("stats"));
	assert_done(OWN, at_root("pid"));
	make("out.part", "left by an earlier run", geteuid());
	assert_done(MAKE_PART, at_root("out"));
	assert_holds("out.part", "new");
	assert_new("stats", geteuid());
	assert_new("pid", geteuid());
	assert_new("out.part", geteuid());
	make_directory("d", geteuid(), 0755);
	assert_refused(REWRITE, at_root("d"), -EISDIR);
	assert_refused(REMOVE, at_root("d"), -EPERM);
	if (geteuid() != 0)
		return;
	make_directory("theirs", OURS, 0755);
	assert_done(MAKE_PART, at_root("theirs/out"));
	assert_new("theirs/out.part", OURS);
}

/* What is no regular file goes on working where an administrator names it. */
static void test_special(void **state)
{
	struct path_at at;
	struct diag diag;
	int pair[2], fd;
	char path[64], byte;

	(void)state;
	assert_done(REWRITE, "/dev/null");
	assert_done(OWN, "/dev/null");
	assert_int_equal(path_find(&at, "/dev/null", OURS, &diag), 0);
	fd = path_open_special(&at, true, &diag);
	assert_true(fd >= 0);
	close(fd);
	path_forget(&at);
	/* a device that is not there is no file to make: one day it is there again */
	assert_refused(REWRITE, "/dev/pitot-no-such-device", -ENODEV);
	assert_refused(OWN, "/dev/pitot-no-such-device", -ENODEV);
	assert_refused(MAKE_PART, "/dev/pitot-no-such-device", -ENODEV);
	assert_refused(FINISH_PART, "/dev/pitot-no-such-device", -ENODEV);
	assert_int_equal(mkfifo(at_root("fifo"), 0600), 0);
	assert_refused(REWRITE, at_root("fifo"), -ENXIO); /* nobody reads, and nobody waits */
	/* one that came while a file of this name was written is not replaced */
	make("fifo.part", "new", geteuid());
	assert_refused(FINISH_PART, at_root("fifo"), -EEXIST);
	assert_done(REMOVE, at_root("fifo.part"));
	assert_int_equal(pipe(pair), 0);
	snprintf(path, sizeof(path), "/dev/fd/%d", pair[1]);
	assert_int_equal(path_find(&at, path, OURS, &diag), 0);
	assert_true(at.is_proc_link);
	fd = path_open_special(&at, true, &diag);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	path_forget(&at);
}

/* A pipe that another user put where a file is expected is not waited for, nor given anything. */
static void test_planted_pipe(void **state)
{
	static const bool waits[] = {false, true};

	(void)state;
	needs_root();
	make_directory("tmp", 0, 01777);
	assert_int_equal(mkfifo(at_root("tmp/pipe"), 0666), 0);
	assert_int_equal(chown(at_root("tmp/pipe"), HOSTILE, HOSTILE), 0);
	for (unsigned i = 0; i < sizeof(waits); i++) {
		struct path_at at;
		struct diag diag;

		assert_int_equal(path_find(&at, at_root("tmp/pipe"), OURS, &diag), 0);
		assert_int_equal(path_open_special(&at, waits[i], &diag), -EPERM);
		assert_non_null(strstr(diag.text, "uid 54321"));
		path_forget(&at);
	}
	assert_int_equal(chown(at_root("tmp/pipe"), OURS, OURS), 0);
	assert_refused(REWRITE, at_root("tmp/pipe"), -ENXIO);
}

/* As under redirection: /dev/stdout is a file, which is not emptied nor renamed to. */
static void test_descriptor_of_a_file(void **state)
{
	struct path_at at;
	struct diag diag;
	char path[64];
	int fd, of;

	(void)state;
	make("file", "old", geteuid());
	of = open(at_root("file"), O_WRONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", of);
	assert_int_equal(path_find(&at, path, OURS, &diag), 0);
	fd = path_open_special(&at, true, &diag);
	assert_int_equal(write(fd, "new", 3), 3);
	close(fd);
	close(of);
	path_forget(&at);
	assert_holds("file", "oldnew");
}

static void test_directory(void **state)
{
	struct path_at at;
	struct diag diag;
	struct stat st;
	bool made;
	int fd;

	(void)state;
	/* no file takes the name of a directory that is not there */
	assert_int_equal(path_find(&at, at_root("missing/"), OURS, &diag), 0);
	assert_int_equal(path_make_part(&at, &diag), -EISDIR);
	assert_int_equal(path_own(&at, &diag), -EISDIR);
	path_forget(&at);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(path_find(&at, at_root("spool"), OURS, &diag), 0);
		fd = path_directory(&at, &made, &diag);
		assert_true(fd >= 0);
		assert_int_equal(made, round == 0);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0700);
		close(fd);
		path_forget(&at);
	}
	make("file", "", geteuid());
	assert_int_equal(path_find(&at, at_root("file"), OURS, &diag), 0);
	assert_int_equal(path_directory(&at, &made, &diag), -ENOTDIR);
	path_forget(&at);
	assert_int_equal(path_find(&at, at_root("planted"), OURS, &diag), 0);
	make_link("spool", "planted", geteuid());
	assert_true(path_directory(&at, &made, &diag) < 0);
	path_forget(&at);
}

static void test_long_names(void **state)
{
	static char path[8192];
	struct path_at at;
	struct diag diag;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	assert_int_equal(path_find(&at, path, OURS, &diag), -ENAMETOOLONG);
	path[300] = '\0';
	assert_int_equal(path_find(&at, path, OURS, &diag), -ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/%.*s", root, 252,
		 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		 "yyyyyyyyyyyyyyyyyy"
		 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
		 "yyyyyyyyyyyyyyyyyy");
	assert_refused(MAKE_PART, path, -ENAMETOOLONG); /* ".part" has no room */
}

static void expect_name(const char *pattern, uint64_t seconds, uint32_t number, const char *name)
{
	const struct path_time time = {.seconds = seconds, .number = number};
	struct path_at at, from = {.path = pattern, .dir = -1};

	snprintf(from.name, sizeof(from.name), "%s", pattern);
	assert_int_equal(path_at_time(&at, &from, &time), 0);
	assert_string_equal(at.name, name);
}

static void test_names_with_times(void **state)
{
	struct path_at at, from = {.dir = -1};
	struct path_time time = {0};
	struct diag diag;
	char out[16];

	(void)state;
	expect_name("f-%Y%m%d%H%M%S.json", 1700000000, 0, "f-20231114221320.json");
	expect_name("f-%Y%m%d%H%M%S.json", 1700000000, 7, "f-20231114221320-7.json");
	expect_name("%%%S", 0, 0, "%00");
	expect_name("%S", 0, 2, "00-2");
	expect_name(".%S", 0, 2, ".00-2");
	assert_true(path_has_time("/a/%Y") && !path_has_time("/%Y/a"));
	assert_int_equal(path_check_time("/a/%Y-%%", &diag), 0);
	assert_int_equal(path_check_time("/%Y/a", &diag), -EINVAL);
	assert_int_equal(path_check_time("%y", &diag), -EINVAL);
	assert_int_equal(path_check_time("a%", &diag), -EINVAL);
	assert_int_equal(path_insert(out, sizeof(out), "/d.d/name", "-12"), 0);
	assert_string_equal(out, "/d.d/name-12");
	assert_int_equal(path_insert(out, sizeof(out), "/d.d/name.x", "-1234"), -ENAMETOOLONG);
	memset(from.name, 'x', sizeof(from.name) - 1);
	assert_int_equal(path_at_time(&at, &from, &time), 0);
	memcpy(from.name, "%Y%Y%Y%Y", 8);
	assert_int_equal(path_at_time(&at, &from, &time), -ENAMETOOLONG);
	time.seconds = UINT64_MAX / 2;
	assert_int_equal(path_at_time(&at, &from, &time), -EOVERFLOW);
}

/* Parts that others left and names that are taken stay as they are; so do links. */
static void test_series(void **state)
{
	struct path_time time = {.seconds = 5};
	char name[PATH_NAME_SIZE];
	struct path_at at;
	struct diag diag;
	int fd;

	(void)state;
	make("a-05", "one", geteuid());
	make("a-05-1.part", "two", geteuid());
	make_link("nowhere", "a-05-2.part", geteuid());
	assert_int_equal(path_find(&at, at_root("a-%S"), OURS, &diag), 0);
	fd = path_begin_part(&at, &time, &diag);
	assert_true(fd >= 0);
	assert_int_equal(time.number, 3);
	assert_int_equal(write(fd, "three", 5), 5);
	close(fd);
	assert_new("a-05-3.part", geteuid());
	make("a-05-3", "taken", geteuid());
	assert_int_equal(path_complete_part(&at, &time, &diag), -EEXIST);
	assert_holds("a-05-3.part", "three");
	assert_int_equal(unlink(at_root("a-05-3")), 0);
	assert_int_equal(path_complete_part(&at, &time, &diag), 0);
	assert_holds("a-05-3", "three");
	assert_holds("a-05", "one");
	assert_holds("a-05-1.part", "two");
	make_link("a-05", "a-05-4.part", geteuid());
	time.number = 4;
	assert_int_equal(path_complete_part(&at, &time, &diag), -ELOOP);
	path_forget(&at);
	assert_int_equal(path_find(&at, at_root("a-05"), OURS, &diag), 0);
	fd = path_continue(&at, &diag);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, " more", 5), 5);
	close(fd);
	assert_holds("a-05", "one more");
	assert_int_equal(path_set_aside(&at, name, &diag), 0);
	assert_holds(name, "one more");
	assert_int_equal(access(at_root("a-05"), F_OK), -1);
	fd = path_continue(&at, &diag);
	assert_true(fd >= 0);
	close(fd);
	assert_new("a-05", geteuid());
	path_forget(&at);
}

#define IN_DIRECTORY(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIRECTORY(test_links_of_the_administrator),
		IN_DIRECTORY(test_links_of_others),
		IN_DIRECTORY(test_links_in_a_sticky_directory),
		IN_DIRECTORY(test_planted_pipe),
		IN_DIRECTORY(test_planted_meanwhile),
		IN_DIRECTORY(test_owners),
		IN_DIRECTORY(test_new_files),
		IN_DIRECTORY(test_special),
		IN_DIRECTORY(test_descriptor_of_a_file),
		IN_DIRECTORY(test_directory),
		IN_DIRECTORY(test_long_names),
		IN_DIRECTORY(test_names_with_times),
		IN_DIRECTORY(test_series),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
