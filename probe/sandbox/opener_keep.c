/*
 * opener_keep: the two processes of an opener.  The younger one works, the elder one waits for its end.
 *
 * What they keep nobody else has any more, so nobody else can start them again.  When the younger one is
 * killed or stopped the elder one forks another; when the elder one is killed the younger one takes its
 * place.  Questions wait in the socket meanwhile, which both have.
 *
 * A process that is stopped is continued by the kernel when its parent ends (PR_SET_PDEATHSIG), so none is
 * left behind: each finds the socket closed when it goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "sandbox/opener_internal.h"

enum { AGAIN_MS = 100 }; /* between two processes that end at once */

static const uint64_t young_ns = NS_PER_SEC;

/* Whether nobody is left who would ask; one that ended young is waited for. */
static bool keep_pause(int fd, uint64_t born_ns)
{
	struct pollfd p = {.fd = fd};
	bool young = clock_monotonic_ns() - born_ns < young_ns;

	return poll(&p, 1, young ? AGAIN_MS : 0) > 0 && p.revents & (POLLHUP | POLLERR);
}

/* How the younger one ended; one that was stopped is ended. */
static int keep_wait(pid_t pid)
{
	int status = 0, ended;

	while (waitpid(pid, &status, WUNTRACED) < 0 && errno == EINTR)
		;
	if (!WIFSTOPPED(status))
		return status;
	kill(pid, SIGKILL);
	while (waitpid(pid, &ended, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* In the younger one: what it is for, until it is alone. */
static int keep_work(int pair[2], int fd, int (*work)(void *ctx, int fd, int elder_fd), void *ctx)
{
	int r;

	close(pair[1]);
	(void)prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0);
	r = work(ctx, fd, pair[0]);
	close(pair[0]);
	return r;
}

void opener_step_up(struct opener_life *life)
{
	uint32_t n = atomic_load(&life->elders);

	atomic_store(&life->elder[n % OPENER_ENDS], (int32_t)getpid());
	atomic_store(&life->elders, n + 1);
}

int opener_keep(struct opener_life *life, int fd, int (*work)(void *ctx, int fd, int elder_fd), void *ctx)
{
	for (;;) {
		uint64_t born_ns = clock_monotonic_ns();
		int pair[2], status, r;
		pid_t pid;

		(void)prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0);
		pid = pipe2(pair, O_CLOEXEC) < 0 ? -2 : fork();
		if (pid == 0) {
			atomic_store(&life->younger, (int32_t)getpid());
			r = keep_work(pair, fd, work, ctx);
			if (r != OPENER_E_ALONE)
				return r;
			opener_step_up(life);
			continue;
		}
		if (pid != -2)
			close(pair[0]);
		status = pid > 0 ? keep_wait(pid) : 0;
		if (pid != -2)
			close(pair[1]);
		if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return 0;
		if (pid > 0) {
			atomic_store(&life->ends[atomic_load(&life->exits) % OPENER_ENDS], status);
			atomic_fetch_add(&life->exits, 1);
		}
		if (keep_pause(fd, born_ns))
			return 0;
	}
}
