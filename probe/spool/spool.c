/*
 * spool: the queue, see include/pitot/spool.h.
 *
 * Numbers tell the order.  [head, next) is the window: sent and not forgotten, described by struct
 * spool_sent, acked ones first.  [next, tail) is unsent.  The newest messages are in the ring, whose numbers
 * have no gap; those of the segments lie before them or are the same; [persisted, tail) is in the ring only.
 * What was dropped between the segments and the ring, while the disk took nothing, is a gap that next jumps
 * over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "spool/spool_internal.h"

#define SYNC_NS NS_PER_SEC

/* ---- to the disk */

static void spool_make_disk_room(struct spool *s, size_t size)
{
	struct spool_disk *d = &s->disk;

	while (d->n_segments) {
		bool new_segment;
		uint64_t need = spool_disk_need(d, size, &new_segment);

		if (d->octets + need <= d->max_octets && (!new_segment || d->n_segments < d->segments_most))
			break;
		spool_drop_segment(s);
	}
}

static int spool_persist_block(struct spool *s, struct spool_ring_block *b)
{
	struct spool_totals totals = spool_block_totals(&b->block);
	int r;

	spool_make_disk_room(s, b->block.size);
	r = spool_disk_append(&s->disk, b);
	if (r == 0 && b->block.number >= s->next)
		spool_totals_add(&s->disk.segments[s->disk.n_segments - 1].unsent, &totals);
	return r;
}

/* Writes what is in memory only. */
static void spool_persist(struct spool *s)
{
	uint64_t number = s->persisted > s->ring.first ? s->persisted : s->ring.first;
	uint64_t at = s->ring_persist;

	if (s->disk.read_only)
		return;
	s->degraded = false;
	if (number < spool_head_number(s))
		number = spool_head_number(s);
	if (number != s->ring_persist_number)
		at = spool_ring_find(&s->ring, number);
	for (; number < s->ring.end; number++) {
		struct spool_ring_block *b = spool_ring_at(&s->ring, &at);

		int r = spool_persist_block(s, b);

		if (r) {
			s->degraded = true;
			s->full = r == -ENOSPC || r == -EDQUOT;
			s->retry_ns = s->now_ns + SPOOL_RETRY_NS;
			break;
		}
		s->futile = false;
		at = spool_ring_after(at, b);
	}
	s->persisted = s->ring_persist_number = number;
	s->ring_persist = at;
}

/* ---- opening and closing */

static int spool_open_disk(struct spool *s, const struct spool_config *c, struct diag *diag)
{
	struct spool_disk *d = &s->disk;
	uint64_t last;
	bool known;
	int r;

	if (!c->name || !*c->name || *c->name == '.' || strchr(c->name, '/') || strlen(c->name) > 255)
		return diag_set(diag, -EINVAL, "spool %s: \"%s\" cannot be the name of a directory in it",
				c->dir, c->name ? c->name : "");
	r = spool_disk_open(d, c, diag);
	if (r)
		return r;
	known = spool_disk_get_position(d, &s->position);
	r = spool_disk_scan(d, s->position.head, &s->stats.recovered, &last);
	if (r)
		return diag_set(diag, r, "spool %s/%s: cannot be read: %s", c->dir, c->name, strerror(-r));
	s->stats.unsent = s->stats.recovered;
	s->next = s->position.head;
	s->tail = last + 1 > s->next ? last + 1 : s->next;
	if (s->position.sent == BLOCK_NUMBER_MOST) /* not known */
		s->position.sent = s->tail;
	if (s->tail < s->position.sent)
		s->tail = s->position.sent;
	s->may_be_sent = s->position.sent;
	s->first_own = s->tail;
	if (!known)
		s->position.head = 0; /* differs from any: it will be written */
	while (d->octets > d->max_octets && d->n_segments)
		spool_drop_segment(s);
	s->degraded = d->read_only;
	if (d->errors)
		diag_set(diag, 0,
			 "spool %s/%s: %s: new messages are kept in memory only until that is mended", c->dir,
			 c->name, strerror(d->last_error));
	else if (s->stats.recovered.messages || d->torn_octets)
		diag_set(diag, 0,
			 "spool %s/%s: %" PRIu64 " messages (%" PRIu64 " records) of an earlier run are "
			 "sent first; %" PRIu64 " octets were torn and are left out",
			 c->dir, c->name, s->stats.recovered.messages, s->stats.recovered.flows.records,
			 d->torn_octets);
	return 0;
}

static void spool_free(struct spool *s)
{
	spool_disk_close(&s->disk);
	spool_ring_deinit(&s->ring);
	free(s->window);
	free(s);
}

int spool_open(struct spool **sp, const struct spool_config *c, struct diag *diag)
{
	uint64_t memory = c->memory_octets < SPOOL_LEAST ? SPOOL_LEAST : c->memory_octets;
	struct spool *s = calloc(1, sizeof(*s));
	int r = 0;

	diag->text[0] = 0;
	if (!s)
		return diag_set(diag, -ENOMEM, "spool: out of memory");
	spool_crc_init(&s->crc);
	s->disk =
		(struct spool_disk){.dir = -1, .writing = -1, .reading = -1, .position = -1, .crc = &s->crc};
	s->replay_octets = c->replay_octets;
	s->replay_ns = c->replay_ns;
	s->lost = c->lost;
	s->context = c->context;
	s->next = s->tail = s->may_be_sent = 1;
	s->window = calloc(SPOOL_WINDOW_MOST, sizeof(*s->window)); /* untouched pages are not there yet */
	if (!s->window)
		r = diag_set(diag, -ENOMEM, "spool: out of memory");
	if (r == 0 && c->dir) {
		r = spool_open_disk(s, c, diag);
		if (memory > s->disk.max_octets / 2)
			memory = s->disk.max_octets / 2;
	}
	if (r == 0 && spool_ring_init(&s->ring, memory) != 0)
		r = diag_set(diag, -ENOMEM, "spool: no memory for %" PRIu64 " octets of messages", memory);
	if (r) {
		spool_free(s);
		return r;
	}
	s->ring.first = s->ring.end = s->persisted = s->tail;
	*sp = s;
	return 0;
}

int spool_set_preamble(struct spool *s, const void *message, size_t size)
{
	if (size == 0 || size > SPOOL_MESSAGE_MOST)
		return -EMSGSIZE;
	if (s->stats.appended.messages)
		return size == s->disk.preamble_size && memcmp(message, s->preamble, size) == 0 ? 0 : -EBUSY;
	memcpy(s->preamble, message, size);
	s->disk.preamble = s->preamble;
	s->disk.preamble_size = (uint32_t)size;
	s->disk.preamble_crc = spool_crc(&s->crc, s->preamble, size);
	return 0;
}

/* What is in memory only. */
static void spool_lose_memory(struct spool *s)
{
	uint64_t first = s->next > s->ring.first ? s->next : s->ring.first;

	if (s->disk.dir >= 0 && first < s->persisted)
		first = s->persisted;
	if (first < s->ring.end)
		spool_tell_lost(s, first, s->ring.end - 1);
}

void spool_check(struct spool *s)
{
	if (s->disk.dir >= 0 && !s->disk.read_only && spool_find_missing(s))
		spool_persist(s);
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	if (s->disk.dir >= 0) {
		struct spool_disk *d = &s->disk;

		spool_check(s);
		spool_persist(s);
		spool_trim(s);
		if (d->writing >= 0 && d->n_segments == 1 && d->segments[0].last < spool_head_number(s))
			spool_disk_remove(d, 0);
		if (d->writing >= 0)
			(void)!fdatasync(d->writing); /* nobody is left to tell */
	}
	spool_lose_memory(s);
	spool_free(s);
}

/* ---- in */

/* Memory is full.  Where the file system is too, its oldest messages go before the newer ones in memory. */
static void spool_make_room(struct spool *s)
{
	uint64_t at = s->ring.head;

	if (s->degraded && s->full && !s->futile && s->disk.n_segments &&
	    spool_ring_at(&s->ring, &at)->segment == 0) {
		spool_drop_segment(s);
		s->futile = true; /* unless something is written now */
		spool_persist(s);
	}
	if (!spool_ring_empty(&s->ring))
		spool_evict(s);
}

int spool_append(struct spool *s, const void *message, size_t size, uint32_t records, uint64_t packets,
		 uint64_t octets)
{
	struct spool_block block = {.number = s->tail,
				    .size = (uint32_t)size,
				    .records = records,
				    .packets = packets,
				    .octets = octets};
	struct spool_totals totals = spool_block_totals(&block);
	uint64_t dropped = s->stats.dropped.messages;
	struct spool_ring_block *b;

	if (size == 0 || size > SPOOL_MESSAGE_MOST)
		return -EMSGSIZE;
	while (!(b = spool_ring_put(&s->ring, &block)))
		spool_make_room(s);
	memcpy(b->message, message, size);
	s->tail++;
	spool_totals_add(&s->stats.appended, &totals);
	spool_totals_add(&s->stats.unsent, &totals);
	if (s->disk.dir >= 0 && !s->degraded)
		spool_persist(s);
	return s->stats.dropped.messages == dropped ? 0 : -ENOSPC;
}

/* ---- time */

void spool_tick(struct spool *s, uint64_t now_ns)
{
	s->now_ns = now_ns;
	spool_window_forget_passed(s);
	spool_trim(s);
	if (s->disk.dir < 0)
		return;
	if (spool_disk_has_changed(&s->disk, now_ns))
		spool_check(s);
	if (s->degraded && now_ns >= s->retry_ns)
		spool_persist(s);
	if (now_ns - s->sync_ns >= SYNC_NS) {
		s->sync_ns = now_ns;
		spool_disk_sync(&s->disk);
	}
}

void spool_get_stats(const struct spool *s, struct spool_stats *stats)
{
	*stats = s->stats;
	stats->held = s->stats.unsent;
	spool_totals_add(&stats->held, &s->in_window);
	if (s->is_lent && s->orphan) {
		struct spool_totals t = spool_lent_totals(s);

		spool_totals_add(&stats->held, &t);
	}
	stats->memory_octets = s->ring.tail - s->ring.head;
	stats->disk_octets = s->disk.octets;
	stats->disk_errors = s->disk.errors;
	stats->last_error = s->disk.last_error;
	stats->degraded = s->degraded;
	stats->torn_octets = s->disk.torn_octets;
	stats->head = spool_head_number(s);
	stats->tail = s->tail;
}
