/* capture_walk: see capture_walk.h. */
#include "capture/capture_walk.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"

enum { WALK_CHUNK_LEAST = 16 << 10 };

int capture_walk_init(struct capture_walk *w, const struct capture_ops *ops,
		      const struct capture_walk_format *format, const struct capture_source *s,
		      const struct capture_config *config, struct diag *diag)
{
	*w = (struct capture_walk){
		.base = {.ops = ops, .is_file = s->is_file, .fd = s->fd, .offset_fd = s->fd, .name = s->path},
		.config = *config,
		.format = format,
		.own = malloc(WALK_BUFFER),
		.chunk = WALK_CHUNK,
	};
	w->buffer = w->own;
	if (w->buffer)
		return 0;
	close(s->fd);
	return diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
}

void capture_walk_deinit(struct capture_walk *w)
{
	close(w->base.fd);
	free(w->own);
}

int capture_walk_fill(struct capture_walk *w, size_t most, int wait_ms, struct diag *diag)
{
	struct pollfd p = {.fd = w->base.fd, .events = POLLIN};
	int ready = w->base.is_file ? 1 : poll(&p, 1, wait_ms);
	ssize_t n = ready;

	if (ready > 0) {
		memmove(w->buffer, w->buffer + w->at, w->have - w->at);
		w->have -= w->at;
		w->at = 0;
		n = read(w->base.fd, w->buffer + w->have, most);
		w->end = n == 0;
	}
	if (n < 0)
		return errno == EINTR || errno == EAGAIN
			       ? 0
			       : diag_set(diag, -errno, "--read %s: %s", w->base.name, strerror(errno));
	w->have += (size_t)n;
	return 0;
}

int capture_walk_cut(struct capture_walk *w, const char *what, uint64_t number, struct diag *diag)
{
	w->at = w->have;
	return diag_set(diag, -EBADMSG, "--read %s: the file is cut short: it ends inside %s %llu",
			w->base.name, what, (unsigned long long)number);
}

/* Octets may drip in: what was waited for them is part of the wait. */
static int walk_wait_left(uint64_t until_ns)
{
	uint64_t now = clock_monotonic_ns();

	return now < until_ns ? (int)((until_ns - now) / NS_PER_MSEC) : 0;
}

int capture_walk_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct capture_walk *w = (struct capture_walk *)c;
	uint64_t until_ns = 0;
	int r;

	b->n = 0;
	/* a piece that is for somebody else should be a large one; that it cannot be read is said when it is
	 * needed */
	if (!w->own && w->base.is_file && w->have - w->at < w->chunk / 2)
		(void)capture_walk_fill(w, w->chunk, wait_ms, diag);
	r = w->format->walk(w, b, diag);
	if (b->n == 0 && !w->base.is_file && wait_ms > 0)
		until_ns = clock_monotonic_ns() + (uint64_t)wait_ms * NS_PER_MSEC;
	while (r == 0 && b->n == 0) { /* a fill moves the buffer: only when nothing is lent */
		if (w->end)
			return w->format->ended(w, diag);
		r = capture_walk_fill(w, w->chunk, wait_ms, diag);
		if (r == 0)
			r = w->format->walk(w, b, diag);
		if (w->end || wait_ms < 0)
			continue;
		if (w->base.is_file) /* a chunk in which no packet was wanted: its caller has other things to
					do, too */
			break;
		if (until_ns)
			wait_ms = walk_wait_left(until_ns);
		if (wait_ms == 0)
			break;
	}
	return r;
}

/* As much as so many packets take, going by those since the last time, so that little is left over. */
static void capture_walk_choose_chunk(struct capture_walk *w, unsigned packets)
{
	uint64_t walked = w->packet - w->moved_after;
	size_t chunk = walked ? w->at / walked * packets & ~(size_t)4095 : 0;

	w->chunk = chunk < WALK_CHUNK_LEAST ? WALK_CHUNK_LEAST : chunk < WALK_CHUNK ? chunk : WALK_CHUNK;
	w->moved_after = w->packet;
}

void capture_walk_move_to(struct capture *c, uint8_t *memory, unsigned packets)
{
	struct capture_walk *w = (struct capture_walk *)c;

	capture_walk_choose_chunk(w, packets);
	w->have -= w->at;
	memmove(memory, w->buffer + w->at, w->have);
	w->at = 0;
	w->buffer = memory;
	free(w->own);
	w->own = NULL;
}

int capture_walk_more(struct capture *c, struct frame_batch *b, struct diag *diag)
{
	struct capture_walk *w = (struct capture_walk *)c;

	b->n = 0;
	return w->format->walk(w, b, diag);
}

void capture_walk_release(struct capture *c, struct frame_batch *b)
{
	(void)c;
	b->n = 0;
}

int capture_walk_get_stats(struct capture *c, struct capture_stats *stats)
{
	*stats = ((struct capture_walk *)c)->stats;
	return 0;
}
