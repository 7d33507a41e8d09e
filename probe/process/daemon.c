/* daemon: see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int ready_fd = -1;

int daemon_fork(struct diag *diag)
{
	int fds[2], status = 1;
	pid_t pid;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return diag_set(diag, -errno, "--daemon: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		int r = diag_set(diag, -errno, "--daemon: %s", strerror(errno));

		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid > 0) {
		close(fds[1]);
		if (read(fds[0], &byte, 1) == 1)
			_exit(0);
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
			_exit(WEXITSTATUS(status));
		_exit(1);
	}
	close(fds[0]);
	setsid();
	ready_fd = fds[1];
	return 0;
}

void daemon_ready(void)
{
	int null;

	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		if (null > 2)
			close(null);
	}
	if (write(ready_fd, "", 1) != 1)
		return; /* the parent was killed: nobody waits */
	close(ready_fd);
	ready_fd = -1;
}

/* The lock is the process's, which no child inherits, and goes with it however it ends. */
static int lock_pidfile(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : -errno;
}

static pid_t pidfile_holder(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

int daemon_write_pidfile(const char *path, struct diag *diag)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), r;
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (fd < 0)
		return diag_set(diag, -errno, "--pidfile %s: %s", path, strerror(errno));
	r = lock_pidfile(fd);
	if (r == -EACCES || r == -EAGAIN)
		diag_set(diag, r, "--pidfile %s: it is that of process %ld, which is running", path,
			 (long)pidfile_holder(fd));
	else if ((ftruncate(fd, 0) < 0 && errno != EINVAL /* a device */) || write(fd, text, (size_t)n) != n)
		r = diag_set(diag, -errno, "--pidfile %s: %s", path, strerror(errno));
	else
		return fd;
	close(fd);
	return r;
}

void daemon_allow_files(uint64_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= n)
		return;
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int daemon_signals(struct diag *diag)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? diag_set(diag, -errno, "signals: %s", strerror(errno)) : fd;
}

void daemon_may_end(bool may)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(may ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

void daemon_abandon(int status)
{
	_exit(status);
}

int daemon_next_signal(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}
