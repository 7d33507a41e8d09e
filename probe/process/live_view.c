/*
 * live_view: see live_view.h.
 *
 * It shows what pitotctl top does, over a socket pair, in the protocol of the control socket.  It reads what
 * control answers and the files of /proc that everybody may read, and has no privileges; the list of system
 * calls and Landlock are not for it, as it uses what a terminal and its description need.
 */
#include "live_view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/log.h"
#include "pitot/sandbox.h"
#include "pitot/screen.h"

enum { STOP_MS = 1000, STEP_MS = 10 };

/* ---- the process */

static int live_view_child(const struct live_view_config *config, int ask, int parent)
{
	static const char *const nothing[] = {NULL};
	struct sandbox_config sandbox = {.mode = SANDBOX_OFF,
					 .role = SANDBOX_EXPORTING,
					 .user = config->user,
					 .stay_root = config->stay_root,
					 .read_paths = nothing,
					 .write_paths = nothing};
	struct sandbox *s = NULL;
	struct diag diag;
	sigset_t none;
	int r;

	if (ask > 3)
		close_range(3, (unsigned)ask - 1, 0);
	close_range((unsigned)ask + 1, ~0u, 0);
	log_close();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	r = sandbox_enter(&s, &sandbox, &diag);
	/* after the change of user, which undoes it; not KILL: the terminal has to be left as it was */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (r == 0 && getppid() == parent)
		r = screen_run(ask, &diag);
	if (r < 0)
		log_error("--live: %s", diag.text);
	sandbox_free(s);
	return r < 0;
}

/* ---- control */

int live_view_start(struct live_view *v, const struct live_view_config *config, int *client,
		    struct diag *diag)
{
	int parent = getpid(), ends[2];
	pid_t pid;

	if (tcgetattr(STDIN_FILENO, &v->before) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return diag_set(diag, -errno, "--live: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NAME, "pitot-view");
		_exit(live_view_child(config, ends[1], parent));
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return diag_set(diag, -errno, "--live: cannot start the process: %s", strerror(errno));
	}
	if (isatty(STDERR_FILENO))
		log_hold();
	v->pid = pid;
	*client = ends[0];
	return 0;
}

/* In the background of a shell the terminal would stop us rather than take its settings back. */
static void live_view_restore(const struct live_view *v)
{
	sigset_t quiet, before;

	sigemptyset(&quiet);
	sigaddset(&quiet, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &quiet, &before);
	tcsetattr(STDIN_FILENO, TCSANOW, &v->before);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum live_view_end live_view_look(struct live_view *v)
{
	int status;

	if (!v->pid || waitpid(v->pid, &status, WNOHANG) == 0)
		return LIVE_VIEW_RUNS;
	v->pid = 0;
	if (WIFSIGNALED(status))
		live_view_restore(v);
	log_release();
	if (WIFSIGNALED(status))
		log_error("--live: the view was killed by signal %d; 'reset' clears the terminal",
			  WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? LIVE_VIEW_LEFT : LIVE_VIEW_FAILED;
}

void live_view_stop(struct live_view *v)
{
	if (v->pid)
		kill(v->pid, SIGTERM);
	for (unsigned waited_ms = 0; v->pid && live_view_look(v) == LIVE_VIEW_RUNS; waited_ms += STEP_MS) {
		if (waited_ms >= STOP_MS)
			kill(v->pid, SIGKILL);
		poll(NULL, 0, STEP_MS);
	}
}
