/* task: see task.h. */
#include "pitot/task.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a line of /proc/PID/task/TID/stat says of processor time, in ticks; -1: nothing. */
static int64_t task_ticks(const char *line)
{
	const char *at = strrchr(line, ')'); /* its name may hold anything; then the state and ten numbers */
	unsigned long long user;
	char *end;

	for (unsigned fields = 0; at && fields < 12; fields++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -1;
	user = strtoull(at, &end, 10);
	return (int64_t)(user + strtoull(end, NULL, 10));
}

bool task_look(struct task_seen *seen, int process, int thread)
{
	char path[64], text[512];
	const char *at;
	int64_t ticks;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", process, thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	ticks = task_ticks(text);
	if (ticks < 0)
		return false;
	at = strrchr(text, ')'); /* task_ticks() has found it, and numbers behind it */
	*seen = (struct task_seen){.cpu_ms = ticks * 1000 / sysconf(_SC_CLK_TCK), .state = at[2]};
	return true;
}
