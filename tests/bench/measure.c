/*
 * measure: runs a program on one processor and says what it cost.
 *
 *     measure CPU|all REPORT PROGRAM [ARGUMENT...]
 *
 * TERM and INT are handed on to it.  REPORT becomes one line: status= (its exit status, or 128 + the signal
 * that ended it), user_us= and sys_us= of all its threads and the children it waited for, wall_us=, max_kib=
 * (most memory of any of them).  A program of its own because what a shell or an interpreter had before exec
 * counts as memory of what it starts.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench_file.h"
#include "pitot/clock.h"

static volatile pid_t child;

static void on_signal(int number)
{
	if (child > 0)
		kill(child, number);
}

static void bind_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bench_die("sched_setaffinity", strerror(errno));
}

static void be_child(const char *cpu, char **command)
{
	if (strcmp(cpu, "all") != 0)
		bind_to((unsigned)bench_number(cpu, 0, CPU_SETSIZE - 1));
	execvp(command[0], command);
	bench_die(command[0], strerror(errno));
}

static uint64_t microseconds(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

int main(int argc, char **argv)
{
	struct sigaction forward = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct rusage usage;
	uint64_t begin_ns;
	int status, code;
	FILE *report;

	if (argc < 4)
		bench_die("usage", "measure CPU|all REPORT PROGRAM [ARGUMENT...]");
	begin_ns = clock_monotonic_ns();
	child = fork();
	if (child == 0)
		be_child(argv[1], argv + 3);
	if (child < 0)
		bench_die("fork", strerror(errno));
	sigaction(SIGTERM, &forward, NULL);
	sigaction(SIGINT, &forward, NULL);
	if (wait4(child, &status, 0, &usage) < 0)
		bench_die("wait4", strerror(errno));
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	report = fopen(argv[2], "w");
	if (!report)
		bench_die(argv[2], strerror(errno));
	fprintf(report, "status=%d user_us=%" PRIu64 " sys_us=%" PRIu64 " wall_us=%" PRIu64 " max_kib=%ld\n",
		code, microseconds(usage.ru_utime), microseconds(usage.ru_stime),
		(clock_monotonic_ns() - begin_ns) / 1000, usage.ru_maxrss);
	return fclose(report) ? 1 : code;
}
