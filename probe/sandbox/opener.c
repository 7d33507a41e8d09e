/* opener: see include/pitot/opener.h.  This is the side of whoever asks; opener_serve.c is the opener. */
#include "pitot/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "sandbox/opener_internal.h"

#define ANSWER_NS (5 * NS_PER_SEC)

struct opener {
	int fd;
	pid_t pid;
	pthread_mutex_t mutex; /* one question at a time */
	uint32_t number;
	const struct opener_file *files;
	unsigned n_files;
	char missing[256];
};

/* ---- messages */

int opener_send(int fd, const struct opener_reply *reply, const int *fds, unsigned n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(OPENER_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)reply, .iov_len = sizeof(*reply)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS,
						  .cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void opener_close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

/* Descriptors of one control message: those that there is room for are kept, the others closed. */
static void opener_take(const struct cmsghdr *c, int *fds, unsigned *n_fds)
{
	unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

	for (unsigned i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (*n_fds < OPENER_FDS)
			fds[(*n_fds)++] = fd;
		else
			close(fd);
	}
}

int opener_receive(int fd, struct opener_reply *reply, int *fds, unsigned *n_fds)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(OPENER_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = reply, .iov_len = sizeof(*reply)};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);

	*n_fds = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			opener_take(c, fds, n_fds);
	/* cut off: of the answer, or of its descriptors, for which there was no room or no number left */
	if (n == sizeof(*reply) && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		reply->text[sizeof(reply->text) - 1] = '\0';
		return 0;
	}
	opener_close_all(fds, *n_fds);
	*n_fds = 0;
	return n == 0 ? 1 : -EPROTO;
}

/* ---- start and end */

static int opener_wait(struct opener *o, uint32_t number, struct opener_reply *reply, int *fds,
		       unsigned *n_fds)
{
	uint64_t end_ns = clock_monotonic_ns() + ANSWER_NS;

	for (;;) {
		struct pollfd pfd = {.fd = o->fd, .events = POLLIN};
		uint64_t now_ns = clock_monotonic_ns();
		int n = now_ns < end_ns ? poll(&pfd, 1, (int)((end_ns - now_ns) / NS_PER_MSEC) + 1) : 0, r;

		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		r = opener_receive(o->fd, reply, fds, n_fds);
		if (r == 1)
			return -EPIPE;
		if (r < 0)
			return r;
		if (reply->number == number)
			return 0;
		opener_close_all(fds, *n_fds); /* the answer to a question that nobody waits for any more */
	}
}

static int opener_started(struct opener *o, struct diag *diag)
{
	struct opener_reply reply;
	int fds[OPENER_FDS];
	unsigned n_fds;
	int r = opener_wait(o, 0, &reply, fds, &n_fds);

	if (r < 0)
		return diag_set(diag, r, "the opener process did not start: %s", strerror(-r));
	if (reply.result < 0)
		return diag_set(diag, reply.result, "the opener process: %s", reply.text);
	snprintf(o->missing, sizeof(o->missing), "%s", reply.text);
	return 0;
}

int opener_start(struct opener **op, const struct opener_config *config, struct diag *diag)
{
	struct opener *o = calloc(1, sizeof(*o));
	int fds[2], r;

	if (!o)
		return diag_set(diag, -ENOMEM, "the opener process: out of memory");
	*o = (struct opener){.fd = -1, .pid = -1, .files = config->files, .n_files = config->n_files};
	pthread_mutex_init(&o->mutex, NULL);
	r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
	if (r == 0) {
		o->fd = fds[0];
		o->pid = fork();
		r = o->pid < 0 ? -errno : 0;
		if (o->pid == 0) {
			close(fds[0]);
			_exit(opener_serve(fds[1], config));
		}
		close(fds[1]);
	}
	r = r < 0 ? diag_set(diag, r, "the opener process: %s", strerror(-r)) : opener_started(o, diag);
	if (r < 0) {
		opener_stop(o);
		return r;
	}
	*op = o;
	return 0;
}

void opener_stop(struct opener *o)
{
	if (!o)
		return;
	if (o->fd >= 0) {
		shutdown(o->fd, SHUT_RDWR); /* a child that was forked since may hold it, too */
		close(o->fd);
	}
	while (o->pid > 0 && waitpid(o->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&o->mutex);
	free(o);
}

int opener_pid(const struct opener *o)
{
	return o->pid;
}

const char *opener_missing(const struct opener *o)
{
	return o->missing;
}

/* ---- questions */

static int opener_ask(struct opener *o, enum opener_kind kind, unsigned index, struct opener_reply *reply,
		      int *fds, unsigned *n_fds)
{
	struct opener_request request = {.kind = (uint16_t)kind, .index = (uint16_t)index};
	int r = 0;

	*n_fds = 0;
	*reply = (struct opener_reply){0};
	pthread_mutex_lock(&o->mutex);
	request.number = ++o->number ? o->number : ++o->number;
	if (send(o->fd, &request, sizeof(request), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		r = -errno;
	if (r == 0)
		r = opener_wait(o, request.number, reply, fds, n_fds);
	pthread_mutex_unlock(&o->mutex);
	if (r < 0)
		snprintf(reply->text, sizeof(reply->text), "the opener process: %s",
			 r == -EPIPE ? "it has ended" : strerror(-r));
	return r < 0 ? r : reply->result;
}

int opener_capture(struct opener *o, unsigned index, struct opener_answer *answer, struct diag *diag)
{
	struct opener_reply reply;
	int r;

	*answer = (struct opener_answer){0};
	r = opener_ask(o, OPENER_CAPTURE, index, &reply, answer->fds, &answer->n_fds);
	if (r < 0) {
		opener_close_all(answer->fds, answer->n_fds);
		return diag_set(diag, r, "%s", reply.text);
	}
	memcpy(answer->facts, reply.facts, sizeof(answer->facts));
	return 0;
}

/* Without an opener, and for what it does not know: the caller does it. */
static int opener_do_path(enum opener_kind kind, const char *path, int *fd, struct diag *diag)
{
	struct path_at at;
	int r = path_find(&at, path, geteuid(), diag);

	if (r == 0)
		r = opener_do(kind, &at, fd, diag);
	path_forget(&at);
	return r;
}

static int opener_ask_file(struct opener *o, enum opener_kind kind, const char *path, int *fd,
			   struct diag *diag)
{
	struct opener_reply reply;
	int fds[OPENER_FDS], r;
	unsigned n_fds, i = 0;

	*fd = -1;
	while (o && i < o->n_files && strcmp(o->files[i].path, path))
		i++;
	if (!o || i == o->n_files)
		return opener_do_path(kind, path, fd, diag);
	r = opener_ask(o, kind, i, &reply, fds, &n_fds);
	if (r == 0 && n_fds != (kind == OPENER_REWRITE))
		r = -EPROTO;
	if (r == 0 && n_fds)
		*fd = fds[0];
	else
		opener_close_all(fds, n_fds);
	return r < 0 ? diag_set(diag, r, "%.255s", reply.text[0] ? reply.text : strerror(-r)) : 0;
}

int opener_rewrite(struct opener *o, const char *path, struct diag *diag)
{
	int fd, r = opener_ask_file(o, OPENER_REWRITE, path, &fd, diag);

	return r < 0 ? r : fd;
}

int opener_finish(struct opener *o, const char *path, struct diag *diag)
{
	int fd;

	return opener_ask_file(o, OPENER_FINISH, path, &fd, diag);
}

int opener_remove(struct opener *o, const char *path, struct diag *diag)
{
	int fd;

	return opener_ask_file(o, OPENER_REMOVE, path, &fd, diag);
}
