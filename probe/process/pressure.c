/* pressure: see pressure.h. */
#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pitot/clock.h"

uint64_t pressure_parse(const char *text)
{
	const char *some = strstr(text, "some "), *total = some ? strstr(some, "total=") : NULL;
	unsigned long long us;
	char *end;

	if (!total || total[6] < '0' || total[6] > '9')
		return PRESSURE_UNKNOWN;
	errno = 0;
	us = strtoull(total + 6, &end, 10);
	if (errno || us > UINT64_MAX / NS_PER_USEC - 1)
		return PRESSURE_UNKNOWN;
	return us * NS_PER_USEC;
}

uint64_t pressure_read(int fd)
{
	char text[256];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return PRESSURE_UNKNOWN;
	text[n] = '\0';
	return pressure_parse(text);
}

int pressure_open(const char *path, struct diag *diag)
{
	static const char *const places[] = {"/proc/pressure/cpu", "/sys/fs/cgroup/cpu.pressure"};
	int fd, err = ENOENT;

	for (unsigned i = 0; i < (path ? 1 : sizeof(places) / sizeof(*places)); i++) {
		const char *place = path ? path : places[i];

		fd = open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 && pressure_read(fd) != PRESSURE_UNKNOWN)
			return fd;
		if (fd < 0) {
			err = errno;
			continue;
		}
		close(fd);
		err = EINVAL; /* not such a file; or the kernel's, of a kernel that was told not to count */
	}
	return diag_set(diag, -err, "%.400s: %s", path ? path : places[0],
			err == EINVAL ? "it has no line \"some ... total=\"" : strerror(err));
}

uint64_t pressure_cpu_ns(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return 0;
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}
