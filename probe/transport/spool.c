/*
 * spool: the queue, see include/pitot/spool.h.
 *
 * Numbers tell the order.  [head, next) is the window: sent and not forgotten, described by struct spool_sent, acked
 * ones first.  [next, tail) is unsent.  The newest messages are in the ring, whose numbers have no gap; those of
 * the segments lie before them or are the same; [persisted, tail) is in the ring only.  What was dropped between
 * the segments and the ring, while the disk took nothing, is a gap that next jumps over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "transport/spool_internal.h"

#define RETRY_NS NS_PER_SEC
#define SYNC_NS  NS_PER_SEC
#define READ_FAILURES 5u /* tries of a segment, one a second, before it is given up */

struct spool_sent {
	uint64_t number;
	uint64_t end; /* offset in the session's stream */
	uint64_t sent_ns;
	uint64_t sum; /* octets of messages sent up to this one, itself included */
	uint64_t packets, octets;
	uint32_t records;
	bool gone; /* the message is no longer held: it cannot be sent again */
};

struct spool {
	struct spool_ring ring;
	struct spool_disk disk;
	struct spool_crc crc;
	struct spool_sent *window;      /* SPOOL_WINDOW_MOST, by number of entry modulo that */
	uint64_t w_first, w_acked, w_end;
	struct spool_totals in_window;
	uint64_t replay_octets, replay_ns;
	uint64_t next, tail, persisted;
	uint64_t may_be_sent;           /* numbers below were handed out, here or in an earlier run */
	uint64_t sum;
	uint64_t ring_next, ring_next_number;       /* where a number is in the ring */
	uint64_t ring_persist, ring_persist_number;
	uint64_t cursor_segment, cursor_offset;     /* at or before next */
	bool degraded;
	bool full;   /* degraded, because the file system is full */
	bool futile; /* and dropping a segment made no room on it */
	unsigned read_failures;
	uint64_t now_ns, retry_ns, sync_ns, read_retry_ns;
	struct spool_position position; /* as written */
	uint32_t handed_size, handed_crc; /* the preamble that this session had last; size 0: none */
	bool is_lent, orphan;           /* orphan: the message lent was dropped meanwhile */
	struct spool_message lent;
	uint64_t lent_segment, lent_after;
	struct spool_stats stats;
	void (*lost)(void *context, uint64_t first, uint64_t last);
	void *context;
	uint8_t lent_data[SPOOL_MESSAGE_MOST];
	uint8_t preamble[SPOOL_MESSAGE_MOST];
};

static struct spool_sent *sent_at(const struct spool *s, uint64_t i)
{
	return &s->window[i % SPOOL_WINDOW_MOST];
}

static struct spool_totals sent_totals(const struct spool_sent *e)
{
	return (struct spool_totals){ .messages = 1, .records = e->records, .packets = e->packets,
				      .octets = e->octets };
}

static struct spool_totals lent_totals(const struct spool *s)
{
	return (struct spool_totals){ .messages = 1, .records = s->lent.records, .packets = s->lent.packets,
				      .octets = s->lent.octets };
}

static uint64_t head_number(const struct spool *s)
{
	return s->w_first < s->w_end ? sent_at(s, s->w_first)->number : s->next;
}

/* The segment that holds a number, or NULL. */
static struct spool_segment *segment_of(struct spool *s, uint64_t number)
{
	unsigned i = spool_disk_find(&s->disk, number);

	return i < s->disk.n_segments && s->disk.segments[i].first <= number ? &s->disk.segments[i] : NULL;
}

/* ---- dropping */

static void tell_lost(struct spool *s, uint64_t first, uint64_t last)
{
	if (s->lost && first <= last)
		s->lost(s->context, first, last);
}

/* Unsent messages with numbers in [first, last] are lost; one that is lent may still make it. */
static void lose_unsent(struct spool *s, uint64_t first, uint64_t last, struct spool_totals lost)
{
	if (first < s->next)
		first = s->next; /* what is not readable before it was told of */
	spool_totals_sub(&s->stats.unsent, &lost);
	if (s->is_lent && !s->orphan && !s->lent.preamble && s->lent.number >= first && s->lent.number <= last) {
		struct spool_totals lent = lent_totals(s);

		s->orphan = true;
		spool_totals_sub(&lost, &lent);
	}
	spool_totals_add(&s->stats.dropped, &lost);
	tell_lost(s, s->orphan && s->lent.number == first ? first + 1 : first, last);
	if (s->next >= first && s->next <= last)
		s->next = last + 1;
}

/* Messages of the window with numbers in [first, last] cannot be sent again. */
static void mark_gone(struct spool *s, uint64_t first, uint64_t last)
{
	uint64_t low = s->w_first, high = s->w_end;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (sent_at(s, middle)->number < first)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < s->w_end && sent_at(s, low)->number <= last; low++)
		sent_at(s, low)->gone = true;
}

/* The oldest message leaves the memory, and is lost if it is nowhere else. */
static void evict(struct spool *s)
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
		lose_unsent(s, number, number, spool_block_totals(&b->block));
	} else {
		mark_gone(s, number, number);
	}
	spool_ring_drop(&s->ring);
}

/* The oldest segment leaves the disk, and what is in it the memory too. */
static void drop_segment(struct spool *s)
{
	struct spool_segment segment = s->disk.segments[0];

	s->read_failures = 0;
	while (!spool_ring_empty(&s->ring) && s->ring.first <= segment.last)
		spool_ring_drop(&s->ring);
	mark_gone(s, segment.first, segment.last);
	lose_unsent(s, segment.first, segment.last, segment.unsent);
	if (s->next < segment.first) /* the gap before it had nothing */
		s->next = segment.last + 1;
	spool_disk_remove(&s->disk, 0);
}

/* ---- to the disk */

static void make_disk_room(struct spool *s, size_t size)
{
	struct spool_disk *d = &s->disk;

	while (d->n_segments) {
		bool new_segment;
		uint64_t need = spool_disk_need(d, size, &new_segment);

		if (d->octets + need <= d->max_octets && (!new_segment || d->n_segments < d->segments_most))
			break;
		drop_segment(s);
	}
}

static int persist_block(struct spool *s, struct spool_ring_block *b)
{
	struct spool_totals totals = spool_block_totals(&b->block);
	int r;

	make_disk_room(s, b->block.size);
	r = spool_disk_append(&s->disk, b);
	if (r == 0 && b->block.number >= s->next)
		spool_totals_add(&s->disk.segments[s->disk.n_segments - 1].unsent, &totals);
	return r;
}

/* Writes what is in memory only. */
static void persist(struct spool *s)
{
	uint64_t number = s->persisted > s->ring.first ? s->persisted : s->ring.first;
	uint64_t at = s->ring_persist;

	if (s->disk.read_only)
		return;
	s->degraded = false;
	if (number < head_number(s))
		number = head_number(s);
	if (number != s->ring_persist_number)
		at = spool_ring_find(&s->ring, number);
	for (; number < s->ring.end; number++) {
		struct spool_ring_block *b = spool_ring_at(&s->ring, &at);

		int r = persist_block(s, b);

		if (r) {
			s->degraded = true;
			s->full = r == -ENOSPC || r == -EDQUOT;
			s->retry_ns = s->now_ns + RETRY_NS;
			break;
		}
		s->futile = false;
		at = spool_ring_after(at, b);
	}
	s->persisted = s->ring_persist_number = number;
	s->ring_persist = at;
}

/* Lets go of what is forgotten. */
static void trim(struct spool *s)
{
	struct spool_disk *d = &s->disk;
	uint64_t head = head_number(s);

	while (!spool_ring_empty(&s->ring) && s->ring.first < head)
		spool_ring_drop(&s->ring);
	while (d->n_segments && d->segments[0].last < head && (d->n_segments > 1 || d->writing < 0))
		spool_disk_remove(d, 0);
	if (d->dir >= 0 && (s->position.head != head || s->position.sent != s->may_be_sent)) {
		s->position = (struct spool_position){ .head = head, .sent = s->may_be_sent };
		spool_disk_put_position(d, &s->position);
	}
}

/* ---- opening and closing */

static int open_disk(struct spool *s, const struct spool_config *c, struct diag *diag)
{
	struct spool_disk *d = &s->disk;
	uint64_t last;
	bool known;
	int r;

	if (!c->name || !*c->name || *c->name == '.' || strchr(c->name, '/') || strlen(c->name) > 255)
		return diag_set(diag, -EINVAL, "spool %s: \"%s\" cannot be the name of a directory in it", c->dir,
				c->name ? c->name : "");
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
	if (!known)
		s->position.head = 0; /* differs from any: it will be written */
	while (d->octets > d->max_octets && d->n_segments)
		drop_segment(s);
	s->degraded = d->read_only;
	if (d->errors)
		diag_set(diag, 0, "spool %s/%s: %s: new messages are kept in memory only until that is mended",
			 c->dir, c->name, strerror(d->last_error));
	else if (s->stats.recovered.messages || d->torn_octets)
		diag_set(diag, 0, "spool %s/%s: %" PRIu64 " messages (%" PRIu64 " records) of an earlier run are "
			 "sent first; %" PRIu64 " octets were torn and are left out", c->dir, c->name,
			 s->stats.recovered.messages, s->stats.recovered.records, d->torn_octets);
	return 0;
}

static void free_spool(struct spool *s)
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
	s->disk = (struct spool_disk){ .dir = -1, .writing = -1, .reading = -1, .position = -1, .crc = &s->crc };
	s->replay_octets = c->replay_octets;
	s->replay_ns = c->replay_ns;
	s->lost = c->lost;
	s->context = c->context;
	s->next = s->tail = s->may_be_sent = 1;
	s->window = calloc(SPOOL_WINDOW_MOST, sizeof(*s->window)); /* untouched pages are not there yet */
	if (!s->window)
		r = diag_set(diag, -ENOMEM, "spool: out of memory");
	if (r == 0 && c->dir) {
		r = open_disk(s, c, diag);
		if (memory > s->disk.max_octets / 2)
			memory = s->disk.max_octets / 2;
	}
	if (r == 0 && spool_ring_init(&s->ring, memory) != 0)
		r = diag_set(diag, -ENOMEM, "spool: no memory for %" PRIu64 " octets of messages", memory);
	if (r) {
		free_spool(s);
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
static void lose_memory(struct spool *s)
{
	uint64_t first = s->next > s->ring.first ? s->next : s->ring.first;

	if (s->disk.dir >= 0 && first < s->persisted)
		first = s->persisted;
	if (first < s->ring.end)
		tell_lost(s, first, s->ring.end - 1);
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	if (s->disk.dir >= 0) {
		struct spool_disk *d = &s->disk;

		persist(s);
		trim(s);
		if (d->writing >= 0 && d->n_segments == 1 && d->segments[0].last < head_number(s))
			spool_disk_remove(d, 0);
		if (d->writing >= 0)
			(void)!fdatasync(d->writing); /* nobody is left to tell */
	}
	lose_memory(s);
	free_spool(s);
}

/* ---- in */

/* Memory is full.  Where the file system is too, its oldest messages go before the newer ones in memory. */
static void make_room(struct spool *s)
{
	uint64_t at = s->ring.head;

	if (s->degraded && s->full && !s->futile && s->disk.n_segments &&
	    spool_ring_at(&s->ring, &at)->segment == 0) {
		drop_segment(s);
		s->futile = true; /* unless something is written now */
		persist(s);
	}
	if (!spool_ring_empty(&s->ring))
		evict(s);
}

int spool_append(struct spool *s, const void *message, size_t size, uint32_t records, uint64_t packets,
		 uint64_t octets)
{
	struct spool_block block = { .number = s->tail, .size = (uint32_t)size, .records = records,
				     .packets = packets, .octets = octets };
	struct spool_totals totals = spool_block_totals(&block);
	uint64_t dropped = s->stats.dropped.messages;
	struct spool_ring_block *b;

	if (size == 0 || size > SPOOL_MESSAGE_MOST)
		return -EMSGSIZE;
	while (!(b = spool_ring_put(&s->ring, &block)))
		make_room(s);
	memcpy(b->message, message, size);
	s->tail++;
	spool_totals_add(&s->stats.appended, &totals);
	spool_totals_add(&s->stats.unsent, &totals);
	if (s->disk.dir >= 0 && !s->degraded)
		persist(s);
	return s->stats.dropped.messages == dropped ? 0 : -ENOSPC;
}

/* ---- out */

static const struct spool_message *lend(struct spool *s, const uint8_t *data, const struct spool_block *b)
{
	memcpy(s->lent_data, data, b->size);
	s->is_lent = true;
	s->orphan = false;
	s->lent_segment = 0;
	s->lent = (struct spool_message){ .data = s->lent_data, .size = b->size, .records = b->records,
					  .packets = b->packets, .octets = b->octets, .number = b->number,
					  .replayed = b->number && b->number < s->may_be_sent,
					  .preamble = b->number == 0 };
	return &s->lent;
}

static const struct spool_message *lend_preamble(struct spool *s, const uint8_t *data, uint32_t size, uint32_t crc)
{
	struct spool_block b = { .size = size, .crc = crc };

	s->handed_size = size; /* forgotten again by a rewind */
	s->handed_crc = crc;
	return lend(s, data, &b);
}

static bool wants_preamble(const struct spool *s, uint32_t size, uint32_t crc)
{
	return size && (size != s->handed_size || crc != s->handed_crc);
}

static const struct spool_message *lend_memory(struct spool *s)
{
	const struct spool_disk *d = &s->disk;
	const struct spool_ring_block *b;

	if (wants_preamble(s, d->preamble_size, d->preamble_crc))
		return lend_preamble(s, s->preamble, d->preamble_size, d->preamble_crc);
	if (s->ring_next_number != s->next) {
		s->ring_next = spool_ring_find(&s->ring, s->next);
		s->ring_next_number = s->next;
	}
	b = spool_ring_at(&s->ring, &s->ring_next);
	return lend(s, b->message, &b->block);
}

/*
 * The first message at or after next that the segment has.  NULL: what is left of it cannot be read, and is lost; or
 * the system failed, and it is tried again later.
 */
static const struct spool_message *lend_disk(struct spool *s, struct spool_segment *segment)
{
	uint64_t offset = s->cursor_segment == segment->name ? s->cursor_offset : segment->start;
	const struct spool_message *m;
	const uint8_t *data = NULL;
	struct spool_block b;
	uint64_t skipped = 0, errors = s->disk.errors;

	if (wants_preamble(s, segment->preamble_size, segment->preamble_crc)) {
		data = spool_disk_read_preamble(&s->disk, segment);
		if (data)
			return lend_preamble(s, data, segment->preamble_size, segment->preamble_crc);
	} else {
		data = spool_disk_read(&s->disk, segment, &offset, &b, s->next > segment->first ? s->next :
				       segment->first, segment->last, &skipped);
	}
	if (!data) {
		struct spool_totals lost = segment->unsent;

		if (s->disk.errors != errors && s->read_failures++ < READ_FAILURES) {
			s->read_retry_ns = s->now_ns + RETRY_NS;
			return NULL;
		}
		s->read_failures = 0;
		segment->unsent = (struct spool_totals){ 0 };
		spool_disk_error(&s->disk, -EIO);
		if (s->next < segment->first)
			s->next = segment->first;
		lose_unsent(s, s->next, segment->last, lost);
		return NULL;
	}
	s->read_failures = 0;
	tell_lost(s, s->next > segment->first ? s->next : segment->first, b.number - 1); /* those cannot be read */
	s->next = b.number;
	s->cursor_segment = segment->name;
	s->cursor_offset = offset;
	m = lend(s, data, &b);
	s->lent_segment = segment->name;
	s->lent_after = offset + BLOCK_HEAD + b.size;
	return m;
}

/* The oldest of the window, which is acked. */
static void forget(struct spool *s)
{
	struct spool_totals t = sent_totals(sent_at(s, s->w_first));

	spool_totals_add(&s->stats.done, &t);
	spool_totals_sub(&s->in_window, &t);
	s->w_first++;
}

const struct spool_message *spool_next(struct spool *s)
{
	if (s->is_lent)
		return &s->lent;
	if (s->w_end - s->w_first == SPOOL_WINDOW_MOST) {
		if (s->w_first == s->w_acked)
			return NULL;
		forget(s); /* the window is shorter than was asked for */
	}
	while (s->stats.unsent.messages) {
		const struct spool_message *m;
		unsigned i;

		if (!spool_ring_empty(&s->ring) && s->next >= s->ring.first)
			return s->next < s->ring.end ? lend_memory(s) : NULL;
		i = spool_disk_find(&s->disk, s->next);
		if (i == s->disk.n_segments) {
			if (spool_ring_empty(&s->ring))
				break;
			s->next = s->ring.first; /* over the gap */
			continue;
		}
		if (s->read_failures && s->read_failures <= READ_FAILURES && s->now_ns < s->read_retry_ns)
			break;
		m = lend_disk(s, &s->disk.segments[i]);
		if (m)
			return m;
	}
	return NULL;
}

/* The lent message leaves the unsent ones. */
static void take_unsent(struct spool *s, const struct spool_totals *t)
{
	uint64_t number = s->lent.number;
	struct spool_segment *segment = segment_of(s, number);

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
		lose_unsent(s, number, number, segment->unsent);
		segment->unsent = (struct spool_totals){ 0 };
	}
}

void spool_mark_sent(struct spool *s, uint64_t session_offset_end, uint64_t now_ns)
{
	struct spool_totals t = lent_totals(s);

	if (!s->is_lent)
		return;
	s->now_ns = now_ns;
	s->is_lent = false;
	if (s->lent.preamble)
		return;
	s->sum += s->lent.size;
	*sent_at(s, s->w_end++) = (struct spool_sent){
		.number = s->lent.number, .end = session_offset_end, .sent_ns = now_ns, .sum = s->sum,
		.packets = s->lent.packets, .octets = s->lent.octets, .records = s->lent.records,
		.gone = s->orphan };
	spool_totals_add(&s->in_window, &t);
	spool_totals_add(&s->stats.sent, &t);
	if (s->lent.replayed)
		spool_totals_add(&s->stats.replayed, &t);
	if (s->may_be_sent <= s->lent.number)
		s->may_be_sent = s->lent.number + 1;
	if (!s->orphan)
		take_unsent(s, &t);
	s->orphan = false;
}

void spool_acked(struct spool *s, uint64_t session_offset)
{
	while (s->w_acked < s->w_end && sent_at(s, s->w_acked)->end <= session_offset) {
		struct spool_totals t = sent_totals(sent_at(s, s->w_acked++));

		spool_totals_add(&s->stats.acked, &t);
	}
}

/* One of the window becomes unsent, or is lost if it is no longer held. */
static void unsend(struct spool *s, uint64_t i)
{
	const struct spool_sent *e = sent_at(s, i);
	struct spool_totals t = sent_totals(e);
	struct spool_segment *segment = segment_of(s, e->number);

	spool_totals_sub(&s->in_window, &t);
	if (e->gone) {
		spool_totals_add(i < s->w_acked ? &s->stats.done : &s->stats.dropped, &t);
		if (i >= s->w_acked)
			tell_lost(s, e->number, e->number);
		return;
	}
	spool_totals_add(&s->stats.unsent, &t);
	if (segment)
		spool_totals_add(&segment->unsent, &t);
	s->next = e->number; /* the caller goes from the newest to the oldest */
}

void spool_rewind(struct spool *s, bool clean)
{
	if (s->is_lent && s->orphan) {
		struct spool_totals t = lent_totals(s);

		spool_totals_add(&s->stats.dropped, &t);
		tell_lost(s, s->lent.number, s->lent.number);
	}
	s->is_lent = s->orphan = false;
	s->handed_size = 0;
	while (clean && s->w_first < s->w_acked)
		forget(s);
	for (uint64_t i = s->w_end; i > s->w_first; i--)
		unsend(s, i - 1);
	s->w_first = s->w_acked = s->w_end = 0;
	s->cursor_segment = 0;
	trim(s);
}

/* ---- time */

void spool_tick(struct spool *s, uint64_t now_ns)
{
	s->now_ns = now_ns;
	while (s->w_first < s->w_acked) {
		const struct spool_sent *e = sent_at(s, s->w_first);

		if (s->sum - e->sum < s->replay_octets || now_ns - e->sent_ns < s->replay_ns)
			break;
		forget(s);
	}
	trim(s);
	if (s->disk.dir < 0)
		return;
	if (s->degraded && now_ns >= s->retry_ns)
		persist(s);
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
		struct spool_totals t = lent_totals(s);

		spool_totals_add(&stats->held, &t);
	}
	stats->memory_octets = s->ring.tail - s->ring.head;
	stats->disk_octets = s->disk.octets;
	stats->disk_errors = s->disk.errors;
	stats->last_error = s->disk.last_error;
	stats->degraded = s->degraded;
	stats->torn_octets = s->disk.torn_octets;
	stats->head = head_number(s);
	stats->tail = s->tail;
}
