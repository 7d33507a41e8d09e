/*
 * file: a message stream in a file (RFC 5655 for IPFIX), on standard output or in a FIFO; also the test
 * double.
 *
 * A thread of its own writes (file_writer.c): whoever does not read, and a disk that takes its time, keep
 * nobody waiting but their own queue (--send-buffer), and what has no room there is lost and counted.  Of a
 * savefile nothing is lost as long as the reader takes something from time to time: whoever hands on records
 * then waits (crowded).
 *
 * A regular file grows as PATH.part and is renamed to PATH when it is complete; there is no fsync().  Where a
 * block cannot be written whole, a regular file is cut back to the block's beginning, so it always ends with
 * a whole message; the block is lost and counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/opener.h"
#include "pitot/path.h"
#include "pitot/transport.h"
#include "transport/file_writer.h"

static const uint64_t again_ns = NS_PER_SEC; /* between two looks at a pipe that nobody reads */

struct file {
	struct transport t; /* first */
	bool temporary;	    /* written as path.part */
	uint64_t octets;    /* of the queue */
	uint64_t next_ns;   /* not open yet: the next look */
	struct opener *opener;
	struct file_writer *writer; /* NULL: a pipe that nobody has opened to read yet */
	char path[4096];
};

/* A descriptor, or negative errno; -ENXIO: nobody reads the pipe. */
static int file_open_path(struct file *f, const char *path, const struct transport_config *config,
			  struct diag *diag)
{
	struct path_at at;
	struct stat st;
	int r;

	if (strcmp(path, "-") == 0) {
		if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY)
			return diag_set(diag, -EBADF, "-: standard output is closed");
		r = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return r < 0 ? diag_set(diag, -errno, "-: %s", strerror(errno)) : r;
	}
	snprintf(f->path, sizeof(f->path), "%s", path);
	r = path_find(&at, path, config->user, diag);
	if (r < 0)
		return r;
	r = path_stat(&at, &st);
	f->temporary = r == -ENOENT || (r == 0 && S_ISREG(st.st_mode) && !at.is_proc_link);
	r = f->temporary ? path_make_part(&at, diag) : path_open_special(&at, config->offline, diag);
	path_forget(&at);
	return r;
}

static int file_start(struct file *f, int fd)
{
	struct stat st;
	bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && f->temporary;
	int r = file_writer_new(&f->writer, fd, regular, f->octets);

	if (r < 0) {
		close(fd);
		return r;
	}
	if (!regular) /* a reader that goes away is an error like any other */
		signal(SIGPIPE, SIG_IGN);
	f->t.fd = file_writer_fd(f->writer);
	f->t.state = TRANSPORT_STATE_UP;
	f->t.session = f->t.stats.sessions = 1;
	return 0;
}

static int file_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	const char *path = config->collector->path;
	struct file *f = calloc(1, sizeof(*f));
	struct diag why;
	int r;

	if (!f)
		return diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	f->opener = config->opener;
	f->octets = config->buffer_octets ? config->buffer_octets : 16 << 20;
	f->t.ops = &transport_file_ops;
	f->t.fd = -1;
	f->t.limits = (struct transport_limits){.max_message = FILE_MESSAGE_MOST, .reliable = true};
	r = file_open_path(f, path, config, &why);
	if (r >= 0)
		r = file_start(f, r) < 0 ? diag_set(&why, -ENOMEM, "%.100s: out of memory", path) : 0;
	else if (r == -ENXIO && !config->offline)
		r = 0; /* it is looked at from time to time */
	if (r < 0) {
		free(f);
		return diag_set(diag, r, "--collector %.150s: cannot write to %.300s", config->collector->url,
				why.text);
	}
	*tp = &f->t;
	return 0;
}

/* ---- messages */

static void file_tell(void *ctx, const struct transport_load *load, size_t size, bool written)
{
	transport_resolve(ctx, load, size, written);
}

static void file_note(struct transport *t, const struct file_writer_news *news)
{
	t->progress = news->taken;
	t->stats.errors += news->errors;
	if (news->error)
		t->stats.last_error = news->error;
	t->state = news->well || !news->error ? TRANSPORT_STATE_UP : TRANSPORT_STATE_FAILED;
}

static void file_collect(struct transport *t)
{
	struct file *f = (struct file *)t;
	struct file_writer_news news;

	if (!f->writer)
		return;
	file_writer_collect(f->writer, &news, file_tell, t);
	file_note(t, &news);
}

static uint8_t *file_reserve(struct transport *t)
{
	struct file *f = (struct file *)t;
	uint8_t *room = f->writer ? file_writer_reserve(f->writer) : NULL;

	if (room || !f->writer)
		return room;
	file_collect(t);
	return file_writer_reserve(f->writer);
}

static void file_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	file_writer_commit(((struct file *)t)->writer, size, load);
}

static void file_flush(struct transport *t)
{
	struct file *f = (struct file *)t;

	if (f->writer)
		file_writer_flush(f->writer);
	file_collect(t);
}

/* Has somebody opened the pipe to read it? */
static void file_look_again(struct file *f, const struct clock_time *now)
{
	struct diag why;
	bool part;
	int fd;

	if (now->monotonic_ns < f->next_ns)
		return;
	f->next_ns = now->monotonic_ns + again_ns;
	fd = opener_rewrite(f->opener, f->path, &part, &why);
	if (fd < 0)
		return;
	if (part || fcntl(fd, F_SETFL, 0) < 0) /* it became a file meanwhile */
		close(fd);
	else
		(void)file_start(f, fd);
}

static void file_tick(struct transport *t, const struct clock_time *now)
{
	struct file *f = (struct file *)t;

	if (!f->writer)
		file_look_again(f, now);
	file_collect(t);
}

static bool file_crowded(const struct transport *t)
{
	const struct file *f = (const struct file *)t;

	return f->writer && file_writer_is_crowded(f->writer);
}

static bool file_idle(const struct transport *t, uint64_t until_ns)
{
	const struct file *f = (const struct file *)t;

	(void)until_ns;
	return !f->writer || file_writer_is_empty(f->writer);
}

/* ---- the end */

/* What is not complete keeps its name, and whoever looks for it hears which that is. */
static void file_name(struct file *f, bool hangs)
{
	struct transport_stats *s = &f->t.stats;
	struct diag why, text = {""};

	if (!f->temporary || f->t.incomplete)
		return;
	if (hangs || s->lost_messages) {
		diag_set(&text, 0, "%s; what was written is left as %.300s.part",
			 s->last_error ? strerror(s->last_error) : "it takes its time", f->path);
	} else if (opener_finish(f->opener, f->path, &why) < 0) {
		s->errors++;
		s->last_error = EIO;
		s->unnamed = true;
		diag_set(&text, 0, "all of it is left as %.200s.part: %.200s", f->path, why.text);
	}
	snprintf(s->reason, sizeof(s->reason), "%.191s", text.text);
}

static void file_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	struct file *f = (struct file *)t;
	struct file_writer_news news;
	uint64_t lost;
	int r = 0;

	if (f->writer) {
		lost = t->stats.lost_messages;
		r = file_writer_end(f->writer, deadline_ns, &news, file_tell, t);
		file_note(t, &news);
		if (r < 0 || t->stats.lost_messages > lost) { /* for want of time */
			t->stats.errors++;
			t->stats.last_error = r < 0 ? -r : ETIMEDOUT;
		}
	}
	file_name(f, r == -ETIMEDOUT);
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
	.crowded = file_crowded,
	.idle = file_idle,
	.close = file_close,
};
