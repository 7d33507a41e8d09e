/*
 * file_writer: see file_writer.h.
 *
 * The queue is memory in segments, in which messages lie behind each other, and a ring of entries that say
 * where. Entries [tail, done) are written and not told, [done, published) are the writer's, [published, head)
 * are yet to be shown to it.  head and tail belong to whoever commits, done to the writer; the mutex guards
 * what they hand over.
 */
#include "file_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "transport/compress.h"

enum {
	ENTRIES = 4096,	      /* a power of two */
	RECORDS_MOST = 49152, /* that wait, however short: more memory is not touched for them */
	SEGMENT = 256 << 10,
	SEGMENTS_LEAST = 8,
	PUBLISH_AT = 128 << 10, /* octets that are worth waking the writer for */
	RUN_MOST = 1 << 20,	/* to be written by one call */
	PIECE = 16
		<< 10, /* of it for what may stop taking any: between two of them there is progress to see */
	KICK_MS = 5,
	SWITCHES = 16,
};

/* For a call that hangs to come back after it was told to, which on a pipe takes no time. */
static const uint64_t kick_ns = 300 * NS_PER_MSEC;

struct file_entry {
	size_t at, size;
	struct transport_load load;
	bool written;
};

/* From entry at on messages are for that file. */
struct file_switch {
	uint32_t at;
	struct file_piece next;
};

/* The look for another file. */
enum file_look { LOOK_NONE, LOOK_ASKED, LOOK_ANSWERED };

struct file_writer {
	struct file_place place;
	struct file_piece piece; /* that is being written; the writer's */
	int wake_fd;
	bool regular, is_pipe;
	struct compress *compress; /* NULL: as it is; the writer's */
	uint8_t *memory;
	size_t size;
	/* whoever commits */
	uint32_t head, tail, published;
	size_t next;	  /* where the next message goes */
	unsigned segment; /* which is in this one */
	unsigned n_segments, used;
	uint16_t *waiting; /* messages in each */
	uint64_t records;  /* in [tail, head) */
	uint64_t unpublished;
	bool started;
	pthread_t thread;
	_Atomic uint64_t taken;
	_Atomic bool given_up;
	pthread_mutex_t mutex; /* guards what follows, and entries */
	pthread_cond_t work, ended_changed;
	uint32_t shown, done;
	bool lacks;	     /* templates were lost in this file, and whoever commits was not told yet */
	uint32_t understood; /* entries before that need templates which were lost: they are lost, too */
	bool ending, ended;
	int close_result;
	struct file_writer_news news;
	struct file_switch switches[SWITCHES];
	unsigned n_switches;
	enum file_look look;
	uint64_t look_seconds;
	int found_result;
	struct file_piece found;
	struct diag found_diag;
	struct file_entry entries[ENTRIES];
};

/* ---- writing */

/* How much can be written so that progress is seen while it is. */
static size_t writer_piece(const struct file_writer *w, size_t left)
{
	int waiting = 0, room = w->is_pipe ? fcntl(w->piece.fd, F_GETPIPE_SZ) : 0;

	if (w->regular)
		return left;
	if (room > 0 && ioctl(w->piece.fd, FIONREAD, &waiting) == 0)
		room -= waiting;
	if (!w->is_pipe)
		room = PIECE;
	if (waiting && room > PIECE)
		room = PIECE;
	if (room < PIPE_BUF)
		room = PIPE_BUF;
	return left < (size_t)room ? left : (size_t)room;
}

/* Octets as they are.  0, or the negative errno that ended it; *done says how far it came. */
static int writer_put(struct file_writer *w, const uint8_t *data, size_t size, size_t *done)
{
	*done = 0;
	while (*done < size) {
		ssize_t n;

		if (atomic_load(&w->given_up))
			return -ETIMEDOUT;
		n = write(w->piece.fd, data + *done, writer_piece(w, size - *done));
		if (n > 0) {
			*done += (size_t)n;
			atomic_fetch_add(&w->taken, (uint64_t)n);
		} else if (n < 0 && errno == EAGAIN) { /* somebody made the pipe non-blocking */
			struct pollfd p = {.fd = w->piece.fd, .events = POLLOUT};

			if (poll(&p, 1, KICK_MS) < 0 && errno != EINTR)
				return -errno;
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Of a regular file; -1: it is none.  -ENOENT: it was removed, and what is written is gone with it. */
static int writer_size(const struct file_writer *w, off_t *size)
{
	struct stat st;

	*size = -1;
	if (!w->regular || fstat(w->piece.fd, &st) < 0)
		return 0;
	*size = st.st_size;
	return st.st_nlink == 0 ? -ENOENT : 0;
}

/* A regular file ends with a whole message.  size: before. */
static size_t writer_cut(struct file_writer *w, off_t size, size_t done)
{
	if (size >= 0 && ftruncate(w->piece.fd, size) == 0 && lseek(w->piece.fd, size, SEEK_SET) >= 0)
		return 0;
	return done;
}

/* Messages that lie behind each other, from done on: their number. */
static uint32_t writer_run(const struct file_writer *w, size_t *size)
{
	const struct file_entry *first = &w->entries[w->done % ENTRIES];
	uint32_t n = 0, until = w->n_switches ? w->switches[0].at : w->shown;

	*size = 0;
	while (w->done + n != until && *size < RUN_MOST) {
		const struct file_entry *e = &w->entries[(w->done + n) % ENTRIES];

		if (e->at != first->at + *size)
			break;
		*size += e->size;
		n++;
	}
	return n;
}

/* Under the mutex. */
static void writer_note(struct file_writer *w, int r, const char *reason)
{
	w->news.errors++;
	w->news.error = -r;
	snprintf(w->news.reason, sizeof(w->news.reason), "%.191s", reason);
}

/* A run, compressed or not; *done: of its octets, none of those that are compressed and not whole. */
static int writer_put_run(struct file_writer *w, const uint8_t *data, size_t size, size_t *done)
{
	const uint8_t *member = data;
	size_t length = size;
	off_t before;
	int r = writer_size(w, &before);

	*done = 0;
	if (r < 0)
		return r;
	if (w->compress)
		member = compress_member(w->compress, data, size, &length);
	r = member ? writer_put(w, member, length, done) : -ENOMEM;
	if (r < 0)
		*done = writer_cut(w, before, *done);
	else if (w->place.mark)
		atomic_store(&w->place.mark->octets, (uint64_t)before + length);
	if (w->compress)
		*done = r < 0 ? 0 : size;
	return r;
}

/* Whether the next message was committed when nobody knew that its templates were lost. */
static bool writer_is_senseless(const struct file_writer *w)
{
	return w->lacks || (int32_t)(w->understood - w->done) > 0;
}

static void writer_write_run(struct file_writer *w)
{
	size_t size, done = 0, end = 0;
	uint32_t n = writer_run(w, &size);
	const uint8_t *data = w->memory + w->entries[w->done % ENTRIES].at;
	int r;

	if (writer_is_senseless(w)) {
		w->done++; /* it is not written */
		return;
	}
	w->understood = w->done; /* so that numbers which begin again are no matter */
	pthread_mutex_unlock(&w->mutex);
	r = writer_put_run(w, data, size, &done);
	pthread_mutex_lock(&w->mutex);
	for (uint32_t i = 0; i < n; i++) {
		struct file_entry *e = &w->entries[(w->done + i) % ENTRIES];

		end += e->size;
		e->written = end <= done;
		w->lacks |= !e->written && e->load.templates > 0;
	}
	w->done += n;
	w->news.well = r == 0;
	w->news.damaged |= r < 0;
	w->news.removed = r == -ENOENT;
	if (r < 0)
		writer_note(w, r, r == -ENOENT ? "somebody removed the file; it is made anew" : "");
}

/* 0 or negative errno: some say ENOSPC only here. */
static int writer_close(int fd)
{
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static void writer_wake(const struct file_writer *w)
{
	if (write(w->wake_fd, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		return; /* it is full: whoever polls is awake */
}

/* ---- one file after the other */

static void writer_start(struct file_writer *w);

static void writer_look(struct file_writer *w)
{
	/* one that was found before may still wait for its turn, and will be the one that is written */
	int now_fd = w->n_switches ? w->switches[w->n_switches - 1].next.fd : w->piece.fd;
	struct file_piece found;
	struct diag diag;
	int r;

	pthread_mutex_unlock(&w->mutex);
	r = file_place_next(&w->place, now_fd, w->look_seconds, &found, &diag);
	pthread_mutex_lock(&w->mutex);
	w->found_result = r;
	w->found = found;
	w->found_diag = diag;
	w->look = LOOK_ANSWERED;
}

/* All that was for it is written. */
static void writer_change(struct file_writer *w)
{
	struct file_piece old = w->piece, next = w->switches[0].next;
	bool damaged = w->news.damaged;
	struct diag diag = {""};
	int closed, r = 0;

	pthread_mutex_unlock(&w->mutex);
	file_place_mark(&w->place, &next);
	closed = writer_close(old.fd);
	if (!damaged && closed == 0)
		r = file_place_complete(&w->place, &old, &diag);
	pthread_mutex_lock(&w->mutex);
	w->piece = next;
	memmove(w->switches, w->switches + 1, --w->n_switches * sizeof(*w->switches));
	w->news.damaged = w->news.removed = w->lacks = false; /* it has its own templates */
	w->understood = w->done;
	if (closed < 0)
		writer_note(w, closed, "");
	if (r < 0)
		writer_note(w, r, diag.text);
	w->news.unnamed |= w->place.kind == FILE_SERIES && (damaged || closed < 0 || r < 0);
}

void file_writer_look(struct file_writer *w, uint64_t seconds)
{
	if (!w->started)
		writer_start(w);
	pthread_mutex_lock(&w->mutex);
	if (w->started && w->look == LOOK_NONE) {
		w->look = LOOK_ASKED;
		w->look_seconds = seconds;
		pthread_cond_signal(&w->work);
	}
	pthread_mutex_unlock(&w->mutex);
}

int file_writer_found(struct file_writer *w, struct file_piece *piece, struct diag *diag)
{
	int r = FILE_WRITER_E_WAIT;

	pthread_mutex_lock(&w->mutex);
	if (w->look == LOOK_ANSWERED) {
		r = w->found_result;
		*piece = w->found;
		*diag = w->found_diag;
		w->look = LOOK_NONE;
	}
	pthread_mutex_unlock(&w->mutex);
	return r;
}

int file_writer_switch(struct file_writer *w, const struct file_piece *next)
{
	int r = -EAGAIN;

	if (!w->started)
		writer_start(w);
	file_writer_flush(w);
	pthread_mutex_lock(&w->mutex);
	if (w->started && w->n_switches < SWITCHES) {
		w->switches[w->n_switches++] = (struct file_switch){w->head, *next};
		pthread_cond_signal(&w->work);
		r = 0;
	}
	pthread_mutex_unlock(&w->mutex);
	return r;
}

/* The thread has ended: what it had been given and has not come to. */
static void writer_drop_pieces(struct file_writer *w)
{
	struct diag ignored;

	for (unsigned i = 0; i < w->n_switches; i++)
		close(w->switches[i].next.fd);
	if (w->look != LOOK_ANSWERED || w->found_result != 0)
		return;
	close(w->found.fd);
	(void)file_place_complete(&w->place, &w->found, &ignored); /* an empty one */
}

static void *writer_main(void *arg)
{
	struct file_writer *w = arg;

	pthread_mutex_lock(&w->mutex);
	while (!atomic_load(&w->given_up)) {
		if (w->look == LOOK_ASKED && !w->ending) {
			writer_look(w);
		} else if (w->n_switches && w->done == w->switches[0].at) {
			writer_change(w);
		} else if (w->done != w->shown) {
			writer_write_run(w);
			writer_wake(w);
		} else if (w->ending) {
			break;
		} else {
			pthread_cond_wait(&w->work, &w->mutex);
		}
	}
	pthread_mutex_unlock(&w->mutex);
	w->close_result = writer_close(w->piece.fd);
	pthread_mutex_lock(&w->mutex);
	w->ended = true;
	pthread_cond_broadcast(&w->ended_changed);
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

/* ---- its life */

/* Does nothing but end a call that waits. */
static void writer_on_kick(int number)
{
	(void)number;
}

static void writer_free(struct file_writer *w)
{
	if (w->memory)
		munmap(w->memory, w->size);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w->waiting);
	compress_free(w->compress);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->ended_changed);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

int file_writer_new(struct file_writer **wp, const struct file_place *place, const struct file_piece *piece,
		    bool regular, uint64_t octets)
{
	struct file_writer *w = calloc(1, sizeof(*w));
	struct sigaction kick = {.sa_handler = writer_on_kick}; /* without SA_RESTART */
	struct stat st;
	int r = 0;

	if (!w)
		return -ENOMEM;
	w->place = *place;
	w->piece = *piece;
	w->regular = regular;
	w->is_pipe = fstat(piece->fd, &st) == 0 && S_ISFIFO(st.st_mode);
	w->n_segments = octets / SEGMENT > SEGMENTS_LEAST ? (unsigned)(octets / SEGMENT) : SEGMENTS_LEAST;
	w->waiting = calloc(w->n_segments, sizeof(*w->waiting));
	w->size = (size_t)w->n_segments * SEGMENT;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->work, NULL);
	pthread_cond_init(&w->ended_changed, NULL);
	w->memory = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->memory == MAP_FAILED)
		w->memory = NULL;
	if (place->compression != COMPRESSION_NONE)
		r = compress_new(&w->compress, place->compression, RUN_MOST + FILE_MESSAGE_MOST);
	if (r < 0 || !w->memory || !w->waiting || w->wake_fd < 0) {
		writer_free(w);
		return -ENOMEM;
	}
	sigaction(SIGURG, &kick, NULL);
	file_place_mark(place, piece);
	*wp = w;
	return 0;
}

/* At the first message, and so after the sandbox, which it inherits. */
static void writer_start(struct file_writer *w)
{
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGURG);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	w->started = pthread_create(&w->thread, NULL, writer_main, w) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

int file_writer_fd(const struct file_writer *w)
{
	return w->wake_fd;
}

/* ---- the queue */

/* The first segment that nothing waits in: so the same few are used, and stay in the cache, while little
 * waits. */
static bool writer_turn(struct file_writer *w)
{
	for (unsigned i = 0; i < w->n_segments; i++) {
		if (w->waiting[i])
			continue;
		w->segment = i;
		w->next = (size_t)i * SEGMENT;
		return true;
	}
	return false;
}

static bool writer_has_room(struct file_writer *w)
{
	if (w->head - w->tail == ENTRIES || w->records >= RECORDS_MOST)
		return false;
	if (w->waiting[w->segment] == 0)
		return writer_turn(w);
	return (size_t)(w->segment + 1) * SEGMENT - w->next >= FILE_MESSAGE_MOST || writer_turn(w);
}

uint8_t *file_writer_reserve(struct file_writer *w)
{
	return writer_has_room(w) ? w->memory + w->next : NULL;
}

void file_writer_commit(struct file_writer *w, size_t size, const struct transport_load *load)
{
	struct file_entry *e = &w->entries[w->head % ENTRIES];

	e->at = w->next;
	e->size = size;
	e->load = *load;
	e->written = false;
	w->head++;
	w->used += w->waiting[w->segment]++ == 0;
	w->next += size;
	w->records += load->flows.records;
	w->unpublished += size;
	if (w->unpublished >= PUBLISH_AT)
		file_writer_flush(w);
}

void file_writer_flush(struct file_writer *w)
{
	if (w->published == w->head)
		return;
	if (!w->started)
		writer_start(w);
	if (!w->started)
		return; /* once more, later */
	pthread_mutex_lock(&w->mutex);
	w->shown = w->published = w->head;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->mutex);
	w->unpublished = 0;
}

bool file_writer_is_crowded(const struct file_writer *w)
{
	return w->used > w->n_segments / 2 || w->records > RECORDS_MOST / 2 ||
	       w->head - w->tail > ENTRIES / 2;
}

bool file_writer_is_empty(const struct file_writer *w)
{
	return w->head == w->tail;
}

static void writer_tell(struct file_writer *w, uint32_t until,
			void (*tell)(void *ctx, const struct transport_load *load, size_t size, bool written),
			void *ctx)
{
	for (; w->tail != until; w->tail++) {
		const struct file_entry *e = &w->entries[w->tail % ENTRIES];

		w->used -= --w->waiting[e->at / SEGMENT] == 0;
		w->records -= e->load.flows.records;
		tell(ctx, &e->load, e->size, e->written);
	}
}

void file_writer_collect(struct file_writer *w, struct file_writer_news *news,
			 void (*tell)(void *ctx, const struct transport_load *load, size_t size,
				      bool written),
			 void *ctx)
{
	uint64_t drained;
	uint32_t done;

	if (w->head != w->tail && read(w->wake_fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
		drained = 0; /* then whoever polls wakes once more */
	pthread_mutex_lock(&w->mutex);
	done = w->done;
	if (w->lacks) /* they are told of now, and what follows begins with them */
		w->understood = w->head;
	w->lacks = false;
	*news = w->news;
	w->news.errors = 0;
	w->news.unnamed = false;
	pthread_mutex_unlock(&w->mutex);
	news->taken = atomic_load(&w->taken);
	writer_tell(w, done, tell, ctx);
}

/* ---- its end */

/* Under the mutex: whether it has ended by then. */
static bool writer_wait(struct file_writer *w, uint64_t deadline_ns)
{
	struct timespec until = {.tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
				 .tv_nsec = (long)(deadline_ns % NS_PER_SEC)};

	while (!w->ended)
		if (pthread_cond_clockwait(&w->ended_changed, &w->mutex, CLOCK_MONOTONIC, &until) ==
		    ETIMEDOUT)
			break;
	return w->ended;
}

/* It is told to leave what it writes; again, for the signal may come just before the call. */
static bool writer_kick(struct file_writer *w)
{
	uint64_t end_ns = clock_monotonic_ns() + kick_ns;
	bool ended = false;

	atomic_store(&w->given_up, true);
	pthread_cond_signal(&w->work);
	while (!ended && clock_monotonic_ns() < end_ns) {
		pthread_kill(w->thread, SIGURG);
		ended = writer_wait(w, clock_monotonic_ns() + KICK_MS * NS_PER_MSEC);
	}
	return ended;
}

int file_writer_end(struct file_writer *w, uint64_t deadline_ns, struct file_writer_news *news,
		    void (*tell)(void *ctx, const struct transport_load *load, size_t size, bool written),
		    void *ctx)
{
	bool ended = true;
	int r = 0;

	file_writer_flush(w);
	if (w->started) {
		pthread_mutex_lock(&w->mutex);
		w->ending = true;
		pthread_cond_signal(&w->work);
		ended = writer_wait(w, deadline_ns) || writer_kick(w);
		pthread_mutex_unlock(&w->mutex);
	}
	if (w->started && ended) {
		pthread_join(w->thread, NULL);
		r = w->close_result;
		writer_drop_pieces(w);
	} else if (w->started) {
		pthread_detach(w->thread); /* it hangs in the system, and keeps what it has: w stays */
	} else {
		r = writer_close(w->piece.fd);
	}
	file_writer_collect(w, news, tell, ctx);
	writer_tell(w, w->head, tell, ctx); /* what nobody has written is not */
	if (!ended)
		return -ETIMEDOUT;
	writer_free(w);
	return r;
}
