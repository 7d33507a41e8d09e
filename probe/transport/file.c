/*
 * file: a message stream in a file (RFC 5655 for IPFIX), on standard output or in a FIFO; also the test
 * double.
 *
 * Messages gather in a buffer that is written in large blocks.  A regular file grows as PATH.part and is
 * renamed to PATH when it is complete; there is no fsync().  Where a block cannot be written whole, a regular
 * file is cut back to the block's beginning, so it always ends with a whole message; the block is lost and
 * counted.  Writing to a pipe may wait for its reader: whoever reads too slowly gets everything, late.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/opener.h"
#include "pitot/path.h"
#include "pitot/transport.h"

#define MESSAGE_MOST 65535u
#define BUFFER_SIZE  (512u * 1024u)
#define LOADS	     1024u

struct file_load {
	size_t size;
	struct transport_load load;
};

struct file {
	struct transport t; /* first */
	bool regular;
	bool temporary;	       /* written as path.part */
	struct opener *opener; /* to be asked for its new name */
	uint64_t written;      /* octets that stand in a regular file */
	size_t start; /* what waits is [start, used): what is lent behind it keeps its place while that is
			 written */
	size_t used;
	unsigned n_loads;
	char path[4096];
	struct file_load loads[LOADS];
	uint8_t buffer[BUFFER_SIZE];
};

static int file_open_path(struct file *f, const char *path, unsigned user, struct diag *diag)
{
	struct path_at at;
	struct stat st;
	int r;

	if (strcmp(path, "-") == 0) {
		if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY)
			return diag_set(diag, -EBADF, "-: standard output is closed");
		f->t.fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return f->t.fd < 0 ? diag_set(diag, -errno, "-: %s", strerror(errno)) : 0;
	}
	snprintf(f->path, sizeof(f->path), "%s", path);
	r = path_find(&at, path, user, diag);
	if (r < 0)
		return r;
	r = path_stat(&at, &st);
	f->temporary = r == -ENOENT || (r == 0 && S_ISREG(st.st_mode) && !at.is_proc_link);
	f->t.fd = f->temporary ? path_make_part(&at, diag) : path_open_special(&at, diag);
	path_forget(&at);
	return f->t.fd < 0 ? f->t.fd : 0;
}

static int file_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	const char *path = config->collector->path;
	struct file *f = calloc(1, sizeof(*f));
	struct diag why;
	struct stat st;
	int r;

	if (!f)
		return diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	r = file_open_path(f, path, config->user, &why);
	if (r) {
		free(f);
		return diag_set(diag, r, "--collector %.150s: cannot write to %.300s", config->collector->url,
				why.text);
	}
	f->regular = fstat(f->t.fd, &st) == 0 && S_ISREG(st.st_mode) && f->temporary;
	if (!f->regular) /* a reader that goes away is an error like any other */
		signal(SIGPIPE, SIG_IGN);
	f->opener = config->opener;
	f->t.ops = &transport_file_ops;
	f->t.state = TRANSPORT_STATE_UP;
	f->t.limits = (struct transport_limits){.max_message = MESSAGE_MOST, .reliable = true};
	f->t.session = f->t.stats.sessions = 1;
	*tp = &f->t;
	return 0;
}

/* 0, or the negative errno that ended it; *done says how far it came. */
static int write_all(int fd, const uint8_t *data, size_t size, size_t *done)
{
	*done = 0;
	while (*done < size) {
		ssize_t n = write(fd, data + *done, size - *done);

		if (n > 0) {
			*done += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) { /* somebody made the pipe non-blocking */
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			if (poll(&p, 1, 1000) < 0 && errno != EINTR)
				return -errno;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static void file_flush(struct transport *t)
{
	struct file *f = (struct file *)t;
	size_t done, end = 0;
	int r;

	if (f->used == f->start)
		return;
	r = write_all(t->fd, f->buffer + f->start, f->used - f->start, &done);
	if (r) {
		t->stats.errors++;
		t->stats.last_error = -r;
		t->state = TRANSPORT_STATE_FAILED;
		if (f->regular && ftruncate(t->fd, (off_t)f->written) == 0 &&
		    lseek(t->fd, (off_t)f->written, SEEK_SET) >= 0)
			done = 0;
	} else {
		t->state = TRANSPORT_STATE_UP;
	}
	f->written += done;
	for (unsigned i = 0; i < f->n_loads; i++) {
		end += f->loads[i].size;
		transport_resolve(t, &f->loads[i].load, f->loads[i].size, end <= done);
	}
	f->start = f->used;
	f->n_loads = 0;
}

static uint8_t *file_reserve(struct transport *t)
{
	struct file *f = (struct file *)t;

	if (BUFFER_SIZE - f->used < MESSAGE_MOST || f->n_loads == LOADS)
		file_flush(t);
	if (f->start == f->used)
		f->start = f->used = 0;
	return f->buffer + f->used;
}

static void file_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct file *f = (struct file *)t;

	f->loads[f->n_loads++] = (struct file_load){.size = size, .load = *load};
	f->used += size;
}

static void file_tick(struct transport *t, const struct clock_time *now)
{
	(void)t;
	(void)now;
}

static void file_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	struct file *f = (struct file *)t;
	struct diag why;
	int r;

	(void)deadline_ns;
	file_flush(t);
	if (close(t->fd) != 0 && errno != EINTR) { /* some file systems say ENOSPC only here */
		t->stats.errors++;
		t->stats.last_error = errno;
	}
	/* what is not complete keeps its name */
	r = f->temporary && t->stats.lost_messages == 0 ? opener_finish(f->opener, f->path, &why) : 0;
	if (r < 0) {
		t->stats.errors++;
		t->stats.last_error = -r;
		snprintf(t->stats.reason, sizeof(t->stats.reason), "%.190s", why.text);
	}
	*last = t->stats;
	free(f);
}

const struct transport_ops transport_file_ops = {
	.name = "file",
	.open = file_open,
	.reserve = file_reserve,
	.commit = file_commit,
	.flush = file_flush,
	.tick = file_tick,
	.close = file_close,
};
