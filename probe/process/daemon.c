/* daemon: see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/sandbox.h"

static int ready_fd = -1;

/* The parent, until the child is ready or has ended. */
static _Noreturn void daemon_wait(pid_t pid, int ready, int signals)
{
	struct pollfd fds[] = {{.fd = ready, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	int status = 0, told = 0;
	char byte;

	while (!fds[0].revents && (poll(fds, 2, -1) >= 0 || errno == EINTR)) {
		int s = fds[1].revents ? daemon_next_signal(signals) : 0;

		if (s == SIGTERM || s == SIGINT)
			kill(pid, told++ ? SIGKILL : s);
		if (told > 1)
			_exit(1);
	}
	if (read(ready, &byte, 1) == 1)
		_exit(0);
	if (waitpid(pid, &status, 0) != pid)
		_exit(1);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int daemon_fork(struct diag *diag)
{
	int fds[2] = {-1, -1}, signals = daemon_signals(diag), r = 0;
	pid_t pid = -1;

	if (signals < 0)
		return signals;
	if (pipe2(fds, O_CLOEXEC) == 0)
		pid = fork();
	if (pid < 0)
		r = diag_set(diag, -errno, "--daemon: %s", strerror(errno));
	if (pid > 0) {
		close(fds[1]);
		daemon_wait(pid, fds[0], signals);
	}
	close(signals);
	if (fds[0] >= 0)
		close(fds[0]);
	if (pid < 0) {
		if (fds[1] >= 0)
			close(fds[1]);
		return r;
	}
	setsid();
	ready_fd = fds[1];
	return 0;
}

void daemon_forget(void)
{
	if (ready_fd >= 0)
		close(ready_fd);
	ready_fd = -1;
}

void daemon_ready(void)
{
	if (ready_fd < 0)
		return;
	sandbox_leave_terminal();
	if (write(ready_fd, "", 1) != 1)
		return; /* the parent was killed: nobody waits */
	close(ready_fd);
	ready_fd = -1;
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
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file that reaches RLIMIT_FSIZE is an error like a full disk */
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? diag_set(diag, -errno, "signals: %s", strerror(errno)) : fd;
}

int daemon_stop_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
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
