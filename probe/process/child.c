/* child: see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void child_hold_on(const struct child *c)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != c->pid) /* it has ended before that */
		raise(SIGKILL);
}

static void child_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int child_fork(struct child *c, const char *name, struct child_report *report, struct diag *diag)
{
	pid_t parent = getpid(), pid;
	int fds[2] = {-1, -1}, r;

	if (report)
		*report = (struct child_report){.ready = false};
	if (report && pipe2(fds, O_CLOEXEC) < 0)
		return diag_set(diag, -errno, "%s: %s", name, strerror(errno));
	pid = fork();
	if (pid < 0) {
		r = diag_set(diag, -errno, "%s: cannot start the process: %s", name, strerror(errno));
		child_close(fds[0]);
		child_close(fds[1]);
		return r;
	}
	child_close(fds[pid == 0 ? 0 : 1]);
	*c = (struct child){.name = name,
			    .report = report,
			    .pid = pid ? pid : parent,
			    .report_fd = fds[pid == 0 ? 1 : 0]};
	if (pid > 0)
		return 0;
	(void)prctl(PR_SET_NAME, name);
	child_hold_on(c);
	return 1;
}

void child_tell(struct child *c, int result, const struct diag *diag)
{
	c->report->diag = *diag;
	atomic_store(&c->report->result, result);
	atomic_store(&c->report->ready, true);
	close(c->report_fd);
	c->report_fd = -1;
}

int child_await(struct child *c, struct diag *diag)
{
	char end;
	int r;

	while (read(c->report_fd, &end, 1) < 0 && errno == EINTR)
		;
	close(c->report_fd);
	c->report_fd = -1;
	if (!atomic_load(&c->report->ready)) {
		child_end(c);
		return diag_set(diag, -ECHILD, "the process %s has ended before it was ready", c->name);
	}
	r = atomic_load(&c->report->result);
	if (r < 0)
		diag_set(diag, r, "%.*s", (int)sizeof(diag->text) - 1, c->report->diag.text);
	return r;
}

enum child_state child_look(struct child *c)
{
	pid_t r;
	int status;

	if (c->pid <= 0)
		return CHILD_ENDED;
	r = waitpid(c->pid, &status, WNOHANG | WUNTRACED);
	if (r == 0 || (r < 0 && errno == EINTR))
		return CHILD_RUNS;
	if (r > 0 && WIFSTOPPED(status))
		return CHILD_STOPPED;
	c->status = r > 0 ? status : 0;
	c->pid = 0;
	return CHILD_ENDED;
}

void child_describe_end(const struct child *c, char *text, size_t size)
{
	if (WIFSTOPPED(c->status))
		snprintf(text, size, "it was stopped");
	else if (WIFSIGNALED(c->status))
		snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(c->status),
			 strsignal(WTERMSIG(c->status)));
	else
		snprintf(text, size, "exit status %d", WEXITSTATUS(c->status));
}

void child_kill(const struct child *c)
{
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

void child_end(struct child *c)
{
	if (c->pid <= 0)
		return;
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
}
