/* descriptors: see include/pitot/descriptors.h. */
#include "pitot/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union descriptors_control {
	struct cmsghdr header;
	char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

int descriptors_send(int fd, const void *message, size_t size, const int *fds, unsigned n, int flags)
{
	union descriptors_control control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > DESCRIPTORS_MAX)
		return -EINVAL;
	if (n) {
		control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS,
						  .cmsg_len = CMSG_LEN(n * sizeof(int))};
		memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | flags) < 0 ? -errno : 0;
}

/* Of one control message; false: there was no room for all of them. */
static bool descriptors_take(const struct cmsghdr *c, int *fds, unsigned max, unsigned *n)
{
	unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)), taken = *n;

	for (unsigned i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (*n < max)
			fds[(*n)++] = fd;
		else
			close(fd);
	}
	return *n - taken == count;
}

int descriptors_receive(int fd, void *message, size_t size, int *fds, unsigned max, unsigned *n, int flags)
{
	union descriptors_control control = {0};
	struct iovec iov = {.iov_base = message, .iov_len = size};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | flags);
	bool whole = true;

	*n = 0;
	if (got < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			whole &= descriptors_take(c, fds, max, n);
	/* cut off: of the message, or of its descriptors, for which there was no room or no number left */
	if (whole && got == (ssize_t)size && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	descriptors_close(fds, *n);
	*n = 0;
	return got == 0 ? 1 : -EPROTO;
}

void descriptors_close(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

int descriptors_open_standard(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* the lowest free number is this one */
		if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0 && open("/", O_PATH) < 0)
			return -errno;
	}
	return 0;
}
