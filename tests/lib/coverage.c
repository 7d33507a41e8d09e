/* coverage: part of builds with -Db_coverage=true, so that counters are written whichever user the program
 * has become.
 *
 * Processes of several users add to the same files, so these are made with umask 0; everything else that a
 * test makes is not, because pitot refuses files that everybody may write.  A limit on the size of files is
 * lifted, too. _exit() is linked to the one here, which writes the counters first, as exit() does.
 *
 * That takes a moment, in which a process that has said why it ends would be killed by the one that it has
 * said it to: kill() is linked to the one here, which lets it finish.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ENDS = 256, STEP_MS = 5, BEGIN_MS = 200, WRITE_MS = 10000 };

/* Shared by a process and all that are forked from it: those that write their counters, or have. */
static struct {
	_Atomic unsigned n;
	struct {
		_Atomic pid_t pid;
		_Atomic bool done;
	} ends[ENDS];
} * shared;

static unsigned own; /* of this process */

void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));
int __real_kill(pid_t pid, int number);
int __wrap_kill(pid_t pid, int number);

__attribute__((constructor)) static void coverage_share(void)
{
	void *p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	shared = p == MAP_FAILED ? NULL : p;
}

/* gcc's own destructor writes the counters and has the priority 100: the higher number runs first. */
__attribute__((destructor(101))) static void coverage_begin(void)
{
	struct rlimit limit;

	if (shared) {
		own = atomic_fetch_add(&shared->n, 1) % ENDS;
		atomic_store(&shared->ends[own].done, false);
		atomic_store(&shared->ends[own].pid, getpid());
	}
	umask(0);
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_FSIZE, &limit);
	}
}

void __wrap__exit(int status)
{
	coverage_begin();
	__gcov_dump();
	if (shared)
		atomic_store(&shared->ends[own].done, true);
	__real__exit(status);
}

/* Whether it still writes; *begun: it writes, or has. */
static bool coverage_is_written(pid_t pid, bool *begun)
{
	siginfo_t end = {0};

	for (unsigned i = 0; i < ENDS; i++) {
		if (atomic_load(&shared->ends[i].pid) != pid)
			continue;
		*begun = true;
		if (atomic_load(&shared->ends[i].done))
			continue;
		/* by exit() it is done when it has ended */
		return waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid != pid;
	}
	return false;
}

int __wrap_kill(pid_t pid, int number)
{
	static const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
	bool begun = false;

	for (unsigned ms = 0; shared && pid > 0 && number == SIGKILL && ms < WRITE_MS; ms += STEP_MS) {
		if (!coverage_is_written(pid, &begun) && (begun || ms >= BEGIN_MS))
			break;
		nanosleep(&step, NULL);
	}
	return __real_kill(pid, number);
}
