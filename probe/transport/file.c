/*
 * file: a message stream in a file (RFC 5655 for IPFIX), on standard output or in a FIFO; also the test
 * double.
 *
 * A thread of its own writes (file_writer.c): whoever does not read, and a disk that takes its time, keep
 * nobody waiting but their own queue (--send-buffer), and what has no room there is lost and counted.  Of a
 * savefile nothing is lost as long as the reader takes something from time to time: whoever hands on records
 * then waits (crowded).
 *
 * Which file that is, and when it has its name, is file_place.c's.  Another one is another session, so that
 * each can be read by itself.  Live it is looked for by the thread, and taken once it is there; of a savefile
 * it depends on the records alone.  There is no fsync().  Where a block cannot be written whole, a regular
 * file is cut back to the block's beginning, so it always ends with a whole message; the block is lost and
 * counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pitot/opener.h"
#include "pitot/path.h"
#include "pitot/transport.h"
#include "transport/file_writer.h"

static const uint64_t again_ns = NS_PER_SEC; /* between two looks at what could not be opened */

/* Of a file that is to be small: not much more than that; a heading has room. */
enum { MESSAGE_LEAST = 8192 };

enum { SWITCH_TRIES = 1000, SWITCH_MS = 5 }; /* offline: until the disk has come after */

struct file {
	struct transport t; /* first */
	struct file_place place;
	struct file_piece piece; /* that new messages are for */
	bool offline;
	uint64_t octets;		/* of the queue */
	uint64_t next_ns;		/* something could not be opened: the next look, monotonic */
	struct file_writer *writer;	/* NULL: a pipe that nobody has opened to read yet; no record yet */
	uint64_t every_ns, most_octets; /* of one file; 0: no limit */
	uint64_t change_ns;		/* the next one is for this instant; UINT64_MAX */
	uint64_t piece_octets;
	bool full;
	bool asked;   /* SIGHUP: it may have been moved away */
	bool looking; /* for the next one */
	bool ready;   /* it was found, and is to be taken */
	struct file_piece next;
};

/* ---- which file */

/* From midnight of the zone that names are in. */
static uint64_t file_slot(const struct file *f, uint64_t now_ns)
{
	time_t now = (time_t)(now_ns / NS_PER_SEC);
	struct tm tm = {0};
	uint64_t offset =
		f->place.local_time && localtime_r(&now, &tm) ? (uint64_t)tm.tm_gmtoff * NS_PER_SEC : 0;

	return f->every_ns ? now_ns - (now_ns + offset) % f->every_ns : now_ns;
}

static void file_begin(struct file *f, const struct file_piece *piece, uint64_t now_ns)
{
	f->piece = *piece;
	f->piece_octets = 0;
	f->full = f->looking = false;
	f->change_ns = f->every_ns ? file_slot(f, now_ns) + f->every_ns : UINT64_MAX;
	f->t.continues = piece->continues;
	f->t.rotate_ns = f->offline ? f->change_ns : UINT64_MAX;
}

static int file_start(struct file *f, const struct file_piece *piece, uint64_t now_ns)
{
	bool regular = f->place.kind != FILE_SPECIAL;
	int r = file_writer_new(&f->writer, &f->place, piece, regular, f->octets);

	if (r < 0) {
		close(piece->fd);
		return r;
	}
	file_begin(f, piece, now_ns);
	if (!regular) /* a reader that goes away is an error like any other */
		signal(SIGPIPE, SIG_IGN);
	f->t.fd = file_writer_fd(f->writer);
	f->t.state = TRANSPORT_STATE_UP;
	f->t.session = f->t.stats.sessions = 1;
	return 0;
}

static void file_notice(struct file *f, const char *text)
{
	if (!text[0])
		return;
	f->t.notices++;
	snprintf(f->t.notice, sizeof(f->t.notice), "--collector %.240s", text);
}

static enum file_kind file_kind_of(const struct path_at *at, bool offline)
{
	struct stat st;
	int r = path_stat(at, &st);

	if (r != -ENOENT && (r < 0 || !S_ISREG(st.st_mode) || at->is_proc_link))
		return FILE_SPECIAL;
	return offline ? FILE_RESULT : FILE_CONTINUED;
}

/* What the process before this one wrote: nothing of it is looked at, which its user may not. */
static int file_open_again(struct file *f, enum compression compression, struct file_piece *piece,
			   struct diag *diag)
{
	bool part;
	int r;

	f->place.kind = path_has_time(f->place.path) ? FILE_SERIES : FILE_CONTINUED;
	r = file_place_compress(&f->place, compression, diag);
	if (r < 0)
		return r;
	r = file_place_resume(&f->place, piece, diag);
	if (r == FILE_E_OTHER) {
		r = file_place_next(&f->place, -1, clock_now().realtime_ns / NS_PER_SEC, piece, diag);
		if (r == 0 && !diag->text[0])
			diag_set(diag, 0, "%.300s: what was written is not there any more; it is begun anew",
				 f->place.path);
	} else if (r == 0) {
		diag->text[0] = '\0';
	}
	if (r != -EBADRQC || f->place.kind == FILE_SERIES)
		return r;
	f->place.kind = FILE_SPECIAL;
	f->place.mark = NULL;
	r = opener_rewrite(f->place.opener, f->place.path, &part, diag);
	if (r < 0)
		return r;
	piece->fd = r;
	diag->text[0] = '\0';
	return fcntl(r, F_SETFL, 0) < 0 ? -errno : 0;
}

static int file_open_at(struct file *f, const struct path_at *at, struct file_piece *piece, struct diag *diag)
{
	int r = 0;

	switch (f->place.kind) {
	case FILE_SERIES:
		if (f->offline)
			return path_may_rewrite(at, diag);
		return file_place_next(&f->place, -1, clock_now().realtime_ns / NS_PER_SEC, piece, diag);
	case FILE_CONTINUED:
		return file_place_next(&f->place, -1, clock_now().realtime_ns / NS_PER_SEC, piece, diag);
	case FILE_RESULT:
		piece->fd = r = path_make_part(at, diag);
		if (r >= 0)
			file_place_begin(&f->place, piece->fd);
		break;
	case FILE_SPECIAL:
		piece->fd = r = path_open_special(at, f->offline, diag);
		break;
	}
	return r < 0 ? r : 0;
}

/* The first file.  0; -ENXIO: nobody reads the pipe.  piece->fd -1: it is opened for the first record. */
static int file_open_path(struct file *f, const struct transport_config *config, struct file_piece *piece,
			  struct diag *diag)
{
	const char *path = config->collector->path;
	struct path_at at;
	int r;

	piece->fd = -1;
	if (strcmp(path, "-") == 0) {
		if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY)
			return diag_set(diag, -EBADF, "-: standard output is closed");
		piece->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		return piece->fd < 0 ? diag_set(diag, -errno, "-: %s", strerror(errno)) : 0;
	}
	snprintf(f->place.path, sizeof(f->place.path), "%s", path);
	if (config->again)
		return file_open_again(f, config->collector->compression, piece, diag);
	r = path_find(&at, path, config->user, diag);
	if (r < 0)
		return r;
	f->place.kind = path_has_time(path) ? FILE_SERIES : file_kind_of(&at, f->offline);
	r = file_place_compress(&f->place, config->collector->compression, diag);
	if (r == 0)
		r = file_open_at(f, &at, piece, diag);
	path_forget(&at);
	return r;
}

static void file_init(struct file *f, const struct transport_config *config)
{
	f->place.opener = config->opener;
	f->place.heading = config->heading;
	f->place.mark = config->mark;
	f->place.local_time = config->collector->local_time;
	f->offline = config->offline;
	f->every_ns = config->collector->rotate_ns;
	f->most_octets = config->collector->rotate_octets;
	f->change_ns = UINT64_MAX;
	f->octets = config->buffer_octets;
	f->t.ops = &transport_file_ops;
	f->t.fd = -1;
	f->t.limits = (struct transport_limits){.max_message = FILE_MESSAGE_MOST, .reliable = true};
	if (f->most_octets && f->most_octets / 8 < f->t.limits.max_message)
		f->t.limits.max_message =
			f->most_octets / 8 > MESSAGE_LEAST ? f->most_octets / 8 : MESSAGE_LEAST;
}

static int file_open(struct transport **tp, const struct transport_config *config, struct diag *diag)
{
	struct file *f = calloc(1, sizeof(*f));
	struct file_piece piece = {.fd = -1};
	struct diag why = {""};
	int r;

	if (!f)
		return diag_set(diag, -ENOMEM, "--collector %s: out of memory", config->collector->url);
	file_init(f, config);
	r = file_open_path(f, config, &piece, &why);
	if (r == 0) {
		file_notice(f, why.text);
		f->t.rotates = f->place.kind == FILE_SERIES || f->place.kind == FILE_CONTINUED;
		f->t.state = TRANSPORT_STATE_UP;
		if (piece.fd >= 0 && file_start(f, &piece, clock_now().realtime_ns) < 0)
			r = diag_set(&why, -ENOMEM, "%.100s: out of memory", f->place.path);
		if (r == 0 && f->t.continues && config->again && f->place.mark)
			f->piece_octets = atomic_load(&f->place.mark->octets);
	} else if (r == -ENXIO && !config->offline) {
		r = 0; /* it is looked at from time to time */
	}
	if (r < 0) {
		free(f);
		*diag = why;
		return diag_prefix(diag, r, "--collector %.150s: cannot write to ", config->collector->url);
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
	t->stats.unnamed |= news->unnamed;
	if (news->errors)
		snprintf(t->stats.reason, sizeof(t->stats.reason), "%s", news->reason);
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
	f->asked |= news.removed && t->rotates && !f->offline && !f->looking && !f->ready;
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
	struct file *f = (struct file *)t;

	file_writer_commit(f->writer, size, load);
	f->piece_octets += size;
	if (!f->most_octets || f->piece_octets < f->most_octets)
		return;
	f->full = true;
	if (f->offline)
		t->rotate_ns = 0;
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
	struct file_piece piece = {.fd = -1};
	struct diag why;
	bool part;

	if (now->monotonic_ns < f->next_ns)
		return;
	f->next_ns = now->monotonic_ns + again_ns;
	piece.fd = opener_rewrite(f->place.opener, f->place.path, &part, &why);
	if (piece.fd < 0)
		return;
	if (part || fcntl(piece.fd, F_SETFL, 0) < 0) /* it became a file meanwhile */
		close(piece.fd);
	else
		(void)file_start(f, &piece, now->realtime_ns);
}

/* ---- the next file */

static void file_fail(struct file *f, int r, const struct diag *why)
{
	f->t.stats.errors++;
	f->t.stats.last_error = -r;
	snprintf(f->t.stats.reason, sizeof(f->t.stats.reason), "no other file: %.170s", why->text);
}

/* A clock that was set back does not keep a file open for longer than it is for. */
static bool file_is_over(const struct file *f, uint64_t now_ns)
{
	return f->every_ns && (now_ns >= f->change_ns || f->change_ns - now_ns > f->every_ns);
}

/* Live: asks for it when it is time, and has it taken once it is there. */
static void file_follow(struct file *f, const struct clock_time *now)
{
	bool over = file_is_over(f, now->realtime_ns);
	struct diag why;
	int r;

	if (f->ready)
		return;
	if (f->looking) {
		r = file_writer_found(f->writer, &f->next, &why);
		if (r == FILE_WRITER_E_WAIT)
			return;
		f->looking = false;
		if (r < 0) {
			file_fail(f, r, &why);
			f->asked = true;
			f->next_ns = now->monotonic_ns + again_ns;
		} else if (r == 0) {
			file_notice(f, why.text);
			f->ready = true;
			f->t.rotate_ns = 0;
		}
	} else if ((f->asked || f->full || over) && now->monotonic_ns >= f->next_ns) {
		f->looking = true;
		f->asked = false; /* one that comes from now on is for the next look */
		file_writer_look(f->writer,
				 (over ? file_slot(f, now->realtime_ns) : now->realtime_ns) / NS_PER_SEC);
	}
}

/* Of a savefile: the one for this instant, now. */
static int file_find_now(struct file *f, uint64_t now_ns, struct file_piece *next, struct diag *why)
{
	uint64_t slot_ns = f->writer && !f->full ? file_slot(f, now_ns) : now_ns;

	return file_place_next(&f->place, -1, slot_ns / NS_PER_SEC, next, why);
}

static void file_rotate(struct transport *t, uint64_t now_ns)
{
	struct file *f = (struct file *)t;
	struct file_piece next = f->next;
	struct diag why = {""};
	int r = f->offline ? file_find_now(f, now_ns, &next, &why) : 0;

	f->ready = false;
	t->rotate_ns = f->offline ? now_ns + again_ns : UINT64_MAX;
	if (r == 0 && !f->writer) {
		r = file_start(f, &next, now_ns);
		if (r < 0)
			diag_set(&why, r, "%s", strerror(-r));
	} else if (r == 0) {
		r = file_writer_switch(f->writer, &next);
		for (unsigned i = 0; r == -EAGAIN && i < SWITCH_TRIES; i++) {
			poll(NULL, 0, SWITCH_MS);
			file_flush(t);
			r = file_writer_switch(f->writer, &next);
		}
		if (r == 0) {
			file_begin(f, &next, now_ns);
			t->session = ++t->stats.sessions;
		} else {
			close(next.fd);
			diag_set(&why, r, "%.200s: what was before is not written yet", f->place.path);
		}
	}
	if (r < 0)
		file_fail(f, r, &why);
}

static void file_refresh(struct transport *t)
{
	struct file *f = (struct file *)t;

	f->asked |= t->rotates && !f->offline;
}

static void file_tick(struct transport *t, const struct clock_time *now)
{
	struct file *f = (struct file *)t;

	if (!f->writer && f->place.kind == FILE_SPECIAL)
		file_look_again(f, now);
	file_collect(t);
	if (t->rotates && !f->offline && f->writer)
		file_follow(f, now);
}

static uint64_t file_due_ns(const struct transport *t)
{
	const struct file *f = (const struct file *)t;
	struct clock_time now;

	if (!f->writer)
		return f->place.kind == FILE_SPECIAL ? f->next_ns : UINT64_MAX;
	if (!file_writer_is_empty(f->writer) || f->ready || f->looking || f->asked || f->full)
		return 0;
	if (!f->every_ns)
		return UINT64_MAX;
	now = clock_now();
	return file_is_over(f, now.realtime_ns) ? 0 : now.monotonic_ns + f->change_ns - now.realtime_ns;
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

/* The path is in what else there is to say, and a sentence has no room for it twice. */
static const char *file_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What is not complete keeps its name, and whoever looks for it hears which that is. */
static void file_name(struct file *f, bool hangs, bool damaged)
{
	bool is_result = f->place.kind == FILE_RESULT;
	struct transport_stats *s = &f->t.stats;
	struct diag why, text = {""};
	int r;

	if ((!is_result && f->place.kind != FILE_SERIES) || f->t.incomplete || !f->writer)
		return;
	if (!hangs && damaged && s->last_error == ENOENT) {
		diag_set(&text, 0,
			 "what was written is gone, as its file was removed or replaced; if one is there, "
			 "remove it: %.300s.part",
			 f->place.path);
	} else if (hangs || (is_result ? s->lost_messages > 0 : damaged)) {
		diag_set(&text, 0, "%s; what was written is left as %.300s.part",
			 s->last_error ? strerror(s->last_error) : "it takes its time", f->place.path);
	} else {
		r = is_result ? opener_finish(f->place.opener, f->place.path, &why)
			      : file_place_complete(&f->place, &f->piece, &why);
		if (r < 0) {
			s->errors++;
			s->last_error = EIO;
			s->unnamed = true;
			diag_prefix(&why, 0,
				    "all of it is left as %.60s.part: ", file_base_name(f->place.path));
			text = why;
		}
	}
	if (text.text[0])
		snprintf(s->reason, sizeof(s->reason), "%.191s", text.text);
}

static void file_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	struct file *f = (struct file *)t;
	struct file_writer_news news = {0};
	uint64_t lost;
	struct diag ignored;
	int r = 0;

	if (f->ready) { /* and it stays empty */
		close(f->next.fd);
		(void)file_place_complete(&f->place, &f->next, &ignored);
	}
	if (f->writer) {
		lost = t->stats.lost_messages;
		r = file_writer_end(f->writer, deadline_ns, &news, file_tell, t);
		file_note(t, &news);
		if (r < 0 || t->stats.lost_messages > lost) { /* for want of time */
			t->stats.errors++;
			t->stats.last_error = r < 0 ? -r : ETIMEDOUT;
		}
	}
	file_name(f, r == -ETIMEDOUT, news.damaged || t->stats.last_error == ETIMEDOUT);
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
	.due_ns = file_due_ns,
	.rotate = file_rotate,
	.refresh = file_refresh,
	.crowded = file_crowded,
	.idle = file_idle,
	.close = file_close,
};
