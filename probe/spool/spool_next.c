/*
 * spool_next: the message that comes next, from memory or from a segment file: it is lent, and becomes one of
 * those that were sent, or does not.
 */
#include <errno.h>
#include <string.h>

#include "spool/spool_internal.h"

#define READ_FAILURES 5u /* tries of a segment, one a second, before it is given up */

static const struct spool_message *next_lend(struct spool *s, const uint8_t *data,
					     const struct spool_block *b)
{
	memcpy(s->lent_data, data, b->size);
	s->is_lent = true;
	s->orphan = false;
	s->lent_segment = 0;
	s->lent = (struct spool_message){.data = s->lent_data,
					 .size = b->size,
					 .records = b->records,
					 .packets = b->packets,
					 .octets = b->octets,
					 .number = b->number,
					 .replayed = b->number && b->number < s->may_be_sent,
					 .preamble = b->number == 0};
	return &s->lent;
}

static const struct spool_message *next_lend_preamble(struct spool *s, const uint8_t *data, uint32_t size,
						      uint32_t crc)
{
	struct spool_block b = {.size = size, .crc = crc};

	s->handed_size = size; /* forgotten again by a rewind */
	s->handed_crc = crc;
	return next_lend(s, data, &b);
}

static bool next_wants_preamble(const struct spool *s, uint32_t size, uint32_t crc)
{
	return size && (size != s->handed_size || crc != s->handed_crc);
}

static const struct spool_message *next_lend_memory(struct spool *s)
{
	const struct spool_disk *d = &s->disk;
	const struct spool_ring_block *b;

	if (next_wants_preamble(s, d->preamble_size, d->preamble_crc))
		return next_lend_preamble(s, s->preamble, d->preamble_size, d->preamble_crc);
	if (s->ring_next_number != s->next) {
		s->ring_next = spool_ring_find(&s->ring, s->next);
		s->ring_next_number = s->next;
	}
	b = spool_ring_at(&s->ring, &s->ring_next);
	return next_lend(s, b->message, &b->block);
}

/*
 * The first message at or after next that the segment has.  NULL: what is left of it cannot be read, and is
 * lost; or the system failed, and it is tried again later.
 */
static const struct spool_message *next_lend_disk(struct spool *s, struct spool_segment *segment)
{
	uint64_t offset = s->cursor_segment == segment->name ? s->cursor_offset : segment->start;
	const struct spool_message *m;
	const uint8_t *data = NULL;
	struct spool_block b;
	uint64_t skipped = 0, errors = s->disk.errors;

	if (next_wants_preamble(s, segment->preamble_size, segment->preamble_crc)) {
		data = spool_disk_read_preamble(&s->disk, segment);
		if (data)
			return next_lend_preamble(s, data, segment->preamble_size, segment->preamble_crc);
	} else {
		data = spool_disk_read(&s->disk, segment, &offset, &b,
				       s->next > segment->first ? s->next : segment->first, segment->last,
				       &skipped);
	}
	if (!data) {
		struct spool_totals lost = segment->unsent;

		if (s->disk.errors != errors && s->read_failures++ < READ_FAILURES) {
			s->read_retry_ns = s->now_ns + SPOOL_RETRY_NS;
			return NULL;
		}
		s->read_failures = 0;
		segment->unsent = (struct spool_totals){0};
		spool_disk_error(&s->disk, -EIO);
		if (s->next < segment->first)
			s->next = segment->first;
		spool_lose_unsent(s, s->next, segment->last, lost);
		return NULL;
	}
	s->read_failures = 0;
	spool_tell_lost(s, s->next > segment->first ? s->next : segment->first,
			b.number - 1); /* those cannot be read */
	s->next = b.number;
	s->cursor_segment = segment->name;
	s->cursor_offset = offset;
	m = next_lend(s, data, &b);
	s->lent_segment = segment->name;
	s->lent_after = offset + BLOCK_HEAD + b.size;
	return m;
}

const struct spool_message *spool_next(struct spool *s)
{
	if (s->is_lent)
		return &s->lent;
	if (s->w_end - s->w_first == SPOOL_WINDOW_MOST) {
		if (s->w_first == s->w_acked)
			return NULL;
		spool_window_forget(s); /* the window is shorter than was asked for */
	}
	while (s->stats.unsent.messages) {
		const struct spool_message *m;
		unsigned i;

		if (!spool_ring_empty(&s->ring) && s->next >= s->ring.first)
			return s->next < s->ring.end ? next_lend_memory(s) : NULL;
		i = spool_disk_find(&s->disk, s->next);
		if (i == s->disk.n_segments) {
			if (spool_ring_empty(&s->ring))
				break;
			s->next = s->ring.first; /* over the gap */
			continue;
		}
		if (s->read_failures && s->read_failures <= READ_FAILURES && s->now_ns < s->read_retry_ns)
			break;
		m = next_lend_disk(s, &s->disk.segments[i]);
		if (m)
			return m;
	}
	return NULL;
}

/* The lent message leaves the unsent ones. */
static void next_take_unsent(struct spool *s, const struct spool_totals *t)
{
	uint64_t number = s->lent.number;
	struct spool_segment *segment = spool_segment_of(s, number);

	spool_totals_sub(&s->stats.unsent, t);
	s->next = number + 1;
	if (s->ring_next_number == number && !spool_ring_empty(&s->ring) && number >= s->ring.first) {
		s->ring_next = spool_ring_after(s->ring_next, spool_ring_at(&s->ring, &s->ring_next));
		s->ring_next_number = s->next;
	}
	if (s->lent_segment && s->lent_segment == s->cursor_segment)
		s->cursor_offset = s->lent_after;
	if (!segment)
		return;
	spool_totals_sub(&segment->unsent, t);
	if (segment->last == number && segment->unsent.messages) { /* those were not readable any more */
		spool_lose_unsent(s, number, number, segment->unsent);
		segment->unsent = (struct spool_totals){0};
	}
}

void spool_mark_sent(struct spool *s, uint64_t session_offset_end, uint64_t now_ns)
{
	struct spool_totals t = spool_lent_totals(s);

	if (!s->is_lent)
		return;
	s->now_ns = now_ns;
	s->is_lent = false;
	if (s->lent.preamble)
		return;
	spool_window_push(s, session_offset_end);
	spool_totals_add(&s->stats.sent, &t);
	if (s->lent.replayed)
		spool_totals_add(&s->stats.replayed, &t);
	if (s->may_be_sent <= s->lent.number)
		s->may_be_sent = s->lent.number + 1;
	if (!s->orphan)
		next_take_unsent(s, &t);
	s->orphan = false;
}

void spool_rewind(struct spool *s, bool clean)
{
	if (s->is_lent && s->orphan) {
		struct spool_totals t = spool_lent_totals(s);

		spool_count_dropped(s, s->lent.number, &t);
		spool_tell_lost(s, s->lent.number, s->lent.number);
	}
	s->is_lent = s->orphan = false;
	s->handed_size = 0;
	spool_window_end(s, clean);
	s->cursor_segment = 0;
	spool_trim(s);
}
