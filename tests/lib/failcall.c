/* failcall: see failcall.h.  close() never fails: what it does is done all the same. */
#include "failcall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Calls before the first that fails (0: it is the turn of those that fail), and how many fail. */
static _Thread_local unsigned countdown, left;
static _Thread_local int error_wanted;
static _Thread_local const char *name_failed;

void failcall_start(unsigned n, unsigned times, int error)
{
	countdown = n - 1;
	left = times;
	error_wanted = error;
	name_failed = NULL;
}

void failcall_hold(void)
{
	left = 0;
}

bool failcall_stop(void)
{
	left = 0;
	return name_failed != NULL;
}

const char *failcall_name(void)
{
	return name_failed ? name_failed : "";
}

static bool is_turn(const char *name)
{
	if (left == 0)
		return false;
	if (countdown) {
		countdown--;
		return false;
	}
	left--;
	if (!name_failed)
		name_failed = name;
	return true;
}

static bool fails(const char *name)
{
	if (!is_turn(name) || error_wanted == FAILCALL_SHORT)
		return false;
	errno = error_wanted;
	return true;
}

/* For calls that may do less than they are asked for: changes the size. */
static bool fails_short(const char *name, size_t *size)
{
	if (!is_turn(name))
		return false;
	if (error_wanted == FAILCALL_SHORT) {
		*size = *size > 1 ? *size / 2 : *size;
		return false;
	}
	errno = error_wanted;
	return true;
}

#define WRAP(type, name, parameters, arguments)                                                              \
	type __real_##name parameters;                                                                       \
	type __wrap_##name parameters;                                                                       \
	type __wrap_##name parameters                                                                        \
	{                                                                                                    \
		return fails(#name) ? -1 : __real_##name arguments;                                          \
	}

#define WRAP_SIZED(type, name, parameters, arguments, size)                                                  \
	type __real_##name parameters;                                                                       \
	type __wrap_##name parameters;                                                                       \
	type __wrap_##name parameters                                                                        \
	{                                                                                                    \
		size_t n = size;                                                                             \
                                                                                                             \
		return fails_short(#name, &n) ? -1 : __real_##name arguments;                                \
	}

WRAP_SIZED(ssize_t, read, (int fd, void *p, size_t size), (fd, p, n), size)
WRAP_SIZED(ssize_t, write, (int fd, const void *p, size_t size), (fd, p, n), size)
WRAP_SIZED(ssize_t, pread, (int fd, void *p, size_t size, int64_t at), (fd, p, n, at), size)
WRAP_SIZED(ssize_t, pread64, (int fd, void *p, size_t size, int64_t at), (fd, p, n, at), size)
WRAP_SIZED(ssize_t, pwrite, (int fd, const void *p, size_t size, int64_t at), (fd, p, n, at), size)
WRAP_SIZED(ssize_t, pwrite64, (int fd, const void *p, size_t size, int64_t at), (fd, p, n, at), size)
WRAP_SIZED(ssize_t, send, (int fd, const void *p, size_t size, int flags), (fd, p, n, flags), size)
WRAP_SIZED(ssize_t, recv, (int fd, void *p, size_t size, int flags), (fd, p, n, flags), size)
WRAP_SIZED(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned count, int flags), (fd, m, (unsigned)n, flags),
	   count)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
WRAP(int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(int, bind, (int fd, const struct sockaddr *a, socklen_t size), (fd, a, size))
WRAP(int, connect, (int fd, const struct sockaddr *a, socklen_t size), (fd, a, size))
WRAP(int, shutdown, (int fd, int how), (fd, how))
WRAP(int, getsockname, (int fd, struct sockaddr *a, socklen_t *size), (fd, a, size))
WRAP(int, getpeername, (int fd, struct sockaddr *a, socklen_t *size), (fd, a, size))
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *size),
     (fd, level, name, value, size))
WRAP(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     (fd, level, name, value, size))
WRAP(int, ftruncate, (int fd, int64_t size), (fd, size))
WRAP(int, ftruncate64, (int fd, int64_t size), (fd, size))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, sync_file_range, (int fd, int64_t at, int64_t size, unsigned flags), (fd, at, size, flags))
WRAP(int, flock, (int fd, int what), (fd, what))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))

#define WRAP_OPEN(name)                                                                                      \
	int __real_##name(const char *path, int flags, ...);                                                 \
	int __wrap_##name(const char *path, int flags, ...);                                                 \
	int __wrap_##name(const char *path, int flags, ...)                                                  \
	{                                                                                                    \
		va_list ap;                                                                                  \
		unsigned mode;                                                                               \
                                                                                                             \
		va_start(ap, flags);                                                                         \
		mode = flags & O_CREAT ? va_arg(ap, unsigned) : 0;                                           \
		va_end(ap);                                                                                  \
		return fails(#name) ? -1 : __real_##name(path, flags, mode);                                 \
	}

#define WRAP_OPENAT(name)                                                                                    \
	int __real_##name(int fd, const char *path, int flags, ...);                                         \
	int __wrap_##name(int fd, const char *path, int flags, ...);                                         \
	int __wrap_##name(int fd, const char *path, int flags, ...)                                          \
	{                                                                                                    \
		va_list ap;                                                                                  \
		unsigned mode;                                                                               \
                                                                                                             \
		va_start(ap, flags);                                                                         \
		mode = flags & O_CREAT ? va_arg(ap, unsigned) : 0;                                           \
		va_end(ap);                                                                                  \
		return fails(#name) ? -1 : __real_##name(fd, path, flags, mode);                             \
	}

WRAP_OPEN(open)
WRAP_OPEN(open64)
WRAP_OPENAT(openat)
WRAP_OPENAT(openat64)

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *p;

	va_start(ap, request);
	p = va_arg(ap, void *);
	va_end(ap);
	return fails("ioctl") ? -1 : __real_ioctl(fd, request, p);
}
