/* pidfile: see pidfile.h. */
#include "pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/log.h"
#include "pitot/path.h"

enum { ALIVE, AT_WORK }; /* octets of the file */
enum { LOOK_MS = 50 };

/* One that was sent TERM a moment ago may not have heard it yet. */
static const uint64_t grace_ns = 500 * NS_PER_MSEC;

static int pidfile_lock(int fd, int octet, short how)
{
	struct flock lock = {.l_type = how, .l_whence = SEEK_SET, .l_start = octet, .l_len = 1};
	int r = fcntl(fd, F_SETLK, &lock) == 0 ? 0 : -errno;

	return r == -EACCES ? -EAGAIN : r;
}

static pid_t pidfile_holder(int fd, int octet)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = octet, .l_len = 1};

	return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

/* A descriptor with both locks; -EAGAIN: it is *holder's, and *at_work says how long that will be; -ESTALE:
 * look again.
 */
static int pidfile_try(const char *path, unsigned user, pid_t *holder, bool *at_work, struct diag *diag)
{
	struct path_at at;
	struct stat st;
	int r = path_find(&at, path, user, diag), fd = r < 0 ? r : path_own(&at, diag);

	path_forget(&at);
	if (fd < 0)
		return diag_prefix(diag, fd, "--pidfile ");
	r = pidfile_lock(fd, ALIVE, F_WRLCK);
	if (r == -EAGAIN) {
		*holder = pidfile_holder(fd, ALIVE);
		*at_work = pidfile_holder(fd, AT_WORK) != 0;
	} else if (r == 0 && (fstat(fd, &st) < 0 || st.st_nlink == 0)) {
		r = -ESTALE; /* whoever had it removed it at its end */
	} else if (r == 0) {
		r = pidfile_lock(fd, AT_WORK, F_WRLCK);
	}
	if (r == 0)
		return fd;
	close(fd);
	return r == -EAGAIN || r == -ESTALE ? r
					    : diag_set(diag, r, "--pidfile %.400s: %s", path, strerror(-r));
}

int pidfile_take(const char *path, unsigned user, uint64_t wait_ns, struct diag *diag)
{
	uint64_t begun_ns = clock_monotonic_ns();
	bool told = false;

	for (;;) {
		bool at_work = false;
		pid_t holder = 0;
		int fd = pidfile_try(path, user, &holder, &at_work, diag);
		uint64_t passed_ns = clock_monotonic_ns() - begun_ns;

		if (fd >= 0 || (fd != -EAGAIN && fd != -ESTALE))
			return fd;
		if (fd == -EAGAIN && passed_ns >= (at_work ? grace_ns : wait_ns))
			return diag_set(diag, fd, "--pidfile %.400s: it is that of process %ld, which is %s",
					path, (long)holder,
					at_work ? "running" : "ending, and takes its time");
		if (fd == -EAGAIN && !at_work && !told) {
			log_info("--pidfile %s: process %ld is ending; it is waited for", path, (long)holder);
			told = true;
		}
		poll(NULL, 0, LOOK_MS);
	}
}

int pidfile_write(int fd, const char *path, struct diag *diag)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if ((ftruncate(fd, 0) < 0 && errno != EINVAL /* a device */) || write(fd, text, (size_t)n) != n)
		return diag_set(diag, -errno, "--pidfile %.400s: %s", path, strerror(errno));
	return 0;
}

void pidfile_end(int fd)
{
	if (fd >= 0)
		(void)pidfile_lock(fd, AT_WORK, F_UNLCK);
}
