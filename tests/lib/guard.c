/*
 * guard [-m] PROGRAM ARGUMENT...: runs a test, and nothing outlives it.
 *
 * Whatever the test starts (programs that have become daemons or another user's, too) is ended with it, and
 * its temporary directory (TMPDIR) is removed, however it ends: also when it is ended from outside, as meson
 * does after a timeout and on Ctrl-C.  With -m that directory is in memory, where there is such a
 * place.  The exit status is the test's.
 *
 * There are three processes.  The first one has the process group that is killed from outside, and only
 * waits.  The second one is out of the way of that; what loses its parent becomes its child.  The third one
 * is the test.
 */
#include <dirent.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_TO_SAY_WHERE 5 /* an interrupted test says where it was: a traceback of Python */

static char directory[4096];
static const char *below;
static volatile pid_t keeper;

static void pass_on(int signal)
{
	(void)signal;
	if (keeper > 0)
		kill(keeper, SIGTERM);
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *ftw)
{
	(void)s;
	(void)kind;
	(void)ftw;
	(void)remove(path);
	return 0;
}

/* Of "PID (NAME) STATE PARENT ..."; -1: there is no such process. */
static long parent_of(const char *pid)
{
	char path[64], line[512] = "", state;
	const char *end;
	long parent = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fgets(line, sizeof(line), f) && (end = strrchr(line, ')')) &&
	    sscanf(end, ") %c %ld", &state, &parent) != 2)
		parent = -1;
	fclose(f);
	return parent;
}

/* Their own children become ours by that. */
static void kill_children(void)
{
	const struct dirent *entry;
	DIR *proc = opendir("/proc");

	while (proc && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    parent_of(entry->d_name) == getpid())
			kill((pid_t)atol(entry->d_name), SIGKILL);
	if (proc)
		closedir(proc);
}

/* The test's status; that of a test that was killed when it was interrupted and does not end. */
static int wait_for(pid_t test, const sigset_t *signals)
{
	struct timespec patience = {.tv_sec = SECONDS_TO_SAY_WHERE};
	int status = 0, interrupted = 0, signal;
	pid_t pid;

	for (;;) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == test)
				return status;
		signal = sigtimedwait(signals, NULL, interrupted ? &patience : NULL);
		if (signal == SIGTERM && !interrupted) {
			interrupted = 1;
			kill(-test, SIGINT);
		} else if (signal < 0 && interrupted) {
			return SIGKILL;
		}
	}
}

static void run(char **command, const sigset_t *mask)
{
	setpgid(0, 0);
	/* as root: what it mounts, and the network namespaces that it gives names to, end with it, too */
	if (unshare(CLONE_NEWNS) == 0)
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	setenv("TMPDIR", directory, 1);
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	perror(command[0]);
	_exit(127);
}

static void keep(char **command, pid_t parent, const sigset_t *signals, const sigset_t *mask)
{
	int status;
	pid_t test;

	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	snprintf(directory, sizeof(directory), "%s/pt-XXXXXX",
		 below && access(below, W_OK) == 0 ? below : "/tmp");
	if (!mkdtemp(directory) || chmod(directory, 0755)) {
		perror(directory);
		_exit(1);
	}
	test = fork();
	if (test == 0)
		run(command, mask);
	setpgid(test, test);
	status = test < 0 ? 1 << 8 : wait_for(test, signals);
	do
		kill_children();
	while (waitpid(-1, NULL, 0) > 0);
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
	const struct sigaction forward = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
	sigset_t signals, mask;
	int status;
	pid_t self = getpid();

	below = getenv("TMPDIR");
	if (argc > 2 && strcmp(argv[1], "-m") == 0) {
		below = "/dev/shm";
		argv++;
	} else if (argc < 2) {
		fprintf(stderr, "usage: guard [-m] PROGRAM ARGUMENT...\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	keeper = fork();
	if (keeper < 0) {
		perror("fork");
		return 1;
	}
	if (keeper == 0)
		keep(argv + 1, self, &signals, &mask);
	sigaction(SIGINT, &forward, NULL);
	sigaction(SIGTERM, &forward, NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (waitpid(keeper, &status, 0) != keeper || !WIFEXITED(status))
		return 1;
	status = WEXITSTATUS(status);
	if (status <= 128)
		return status;
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	signal(status - 128, SIG_DFL);
	raise(status - 128);
	return status;
}
