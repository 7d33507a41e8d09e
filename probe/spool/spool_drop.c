/*
 * spool_drop: what leaves the queue: for want of room, because nobody needs it any more, or because somebody
 * else has removed its files.
 */
#include "pitot/clock.h"
#include "spool/spool_internal.h"

void spool_lose_unsent(struct spool *s, uint64_t first, uint64_t last, struct spool_totals lost)
{
	if (first < s->next)
		first = s->next; /* what is not readable before it was told of */
	spool_totals_sub(&s->stats.unsent, &lost);
	if (s->is_lent && !s->orphan && !s->lent.preamble && s->lent.number >= first &&
	    s->lent.number <= last) {
		struct spool_totals lent = spool_lent_totals(s);

		s->orphan = true;
		spool_totals_sub(&lost, &lent);
	}
	spool_count_dropped(s, last, &lost);
	spool_tell_lost(s, s->orphan && s->lent.number == first ? first + 1 : first, last);
	if (s->next >= first && s->next <= last)
		s->next = last + 1;
}

void spool_evict(struct spool *s)
{
	uint64_t at = s->ring.head;
	const struct spool_ring_block *b = spool_ring_at(&s->ring, &at);
	uint64_t number = b->block.number;

	if (b->segment) {
		if (number == s->next) {
			s->cursor_segment = b->segment;
			s->cursor_offset = b->offset;
		}
	} else if (number >= s->next) {
		spool_lose_unsent(s, number, number, spool_block_totals(&b->block));
	} else {
		spool_window_mark_gone(s, number, number);
	}
	spool_ring_drop(&s->ring);
}

void spool_drop_segment(struct spool *s)
{
	struct spool_segment segment = s->disk.segments[0];

	s->read_failures = 0;
	while (!spool_ring_empty(&s->ring) && s->ring.first <= segment.last)
		spool_ring_drop(&s->ring);
	spool_window_mark_gone(s, segment.first, segment.last);
	spool_lose_unsent(s, segment.first, segment.last, segment.unsent);
	if (s->next < segment.first) /* the gap before it had nothing */
		s->next = segment.last + 1;
	spool_disk_remove(&s->disk, 0);
}

void spool_trim(struct spool *s)
{
	struct spool_disk *d = &s->disk;
	uint64_t head = spool_head_number(s);

	while (!spool_ring_empty(&s->ring) && s->ring.first < head)
		spool_ring_drop(&s->ring);
	while (d->n_segments && d->segments[0].last < head && (d->n_segments > 1 || d->writing < 0))
		spool_disk_remove(d, 0);
	if (d->dir >= 0 && (s->position.head != head || s->position.sent != s->may_be_sent)) {
		s->position = (struct spool_position){.head = head, .sent = s->may_be_sent};
		spool_disk_put_position(d, &s->position);
	}
}

/* ---- files that somebody else removed, or cut */

/*
 * A part of the segment, or all of it, is in memory: that is written again, and with it what is behind it,
 * since segments are in the order of their numbers.  Returns what of the segment is in memory and unsent.
 */
static struct spool_totals drop_take_back(struct spool *s, unsigned index)
{
	struct spool_segment *segment = &s->disk.segments[index];
	uint64_t last = segment->last,
		 number = segment->first > s->ring.first ? segment->first : s->ring.first;
	uint64_t at = spool_ring_find(&s->ring, number);
	struct spool_totals unsent = {0};

	s->persisted = number;
	for (; number < s->ring.end; number++) {
		struct spool_ring_block *b = spool_ring_at(&s->ring, &at);
		struct spool_totals t = spool_block_totals(&b->block);

		if (number <= last && number >= s->next)
			spool_totals_add(&unsent, &t);
		b->segment = b->offset = 0;
		at = spool_ring_after(at, b);
	}
	while (s->disk.n_segments > index + 1)
		spool_disk_remove(&s->disk, s->disk.n_segments - 1);
	return unsent;
}

static void drop_lose_file(struct spool *s, unsigned index)
{
	struct spool_segment segment = s->disk.segments[index];
	uint64_t last = segment.last;

	if (!spool_ring_empty(&s->ring) && segment.last >= s->ring.first) {
		struct spool_totals unsent = drop_take_back(s, index);

		spool_totals_sub(&segment.unsent, &unsent);
		last = s->ring.first - 1;
	}
	spool_disk_remove(&s->disk, index);
	s->read_failures = 0;
	s->cursor_segment = s->lent_segment = 0;
	s->stats.missing_files++;
	if (last < segment.first)
		return;
	spool_window_mark_gone(s, segment.first, last);
	spool_totals_add(&s->stats.missing, &segment.unsent);
	spool_lose_unsent(s, segment.first, last, segment.unsent);
}

bool spool_find_missing(struct spool *s)
{
	uint64_t before = s->stats.missing_files;

	for (unsigned i = 0; i < s->disk.n_segments;)
		if (spool_disk_is_whole(&s->disk, &s->disk.segments[i]))
			i++;
		else
			drop_lose_file(s, i);
	if (spool_disk_renew_position(&s->disk))
		s->position.head = 0; /* differs from any: it will be written */
	return s->stats.missing_files != before;
}
