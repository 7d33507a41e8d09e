/*
 * spool, inside: blocks (spool_block.c), the ring of memory (spool_ring.c), the directory of segment files
 * (spool_file.c, spool_scan.c), and the queue that is made of them: those that were sent (spool_window.c),
 * what leaves it (spool_drop.c), what comes next (spool_next.c); and spool.c, which is what comes in, and
 * time. Calls go down: each uses those before it, and spool.c all.
 */
#ifndef PITOT_SPOOL_INTERNAL_H
#define PITOT_SPOOL_INTERNAL_H

#include <time.h>

#include "pitot/clock.h"
#include "pitot/spool.h"

static inline void spool_totals_add(struct spool_totals *a, const struct spool_totals *b)
{
	a->messages += b->messages;
	totals_add(&a->flows, &b->flows);
}

static inline void spool_totals_sub(struct spool_totals *a, const struct spool_totals *b)
{
	a->messages -= b->messages;
	totals_subtract(&a->flows, &b->flows);
}

/* ---- a block: what is said about the message that follows it */

#define BLOCK_HEAD	  68u
#define BLOCK_TEMPLATE	  32u /* the message that a segment begins with */
#define BLOCK_NUMBER_MOST (UINT64_C(1) << 62)
#define FOUND_NUMBER_MOST (UINT64_C(1) << 61) /* of an earlier run: what follows has numbers, too */

struct spool_crc {
	uint32_t table[8][256];
};

struct spool_block {
	uint64_t number; /* 0: a preamble */
	uint32_t size;	 /* of the message */
	uint32_t crc;	 /* of the message */
	uint32_t records;
	uint64_t packets, octets;
};

static inline struct spool_totals spool_block_totals(const struct spool_block *b)
{
	return (struct spool_totals){.messages = 1, .flows = {b->records, b->packets, b->octets}};
}

void spool_crc_init(struct spool_crc *crc);
uint32_t spool_crc(const struct spool_crc *crc, const uint8_t *data, size_t size);
/* Writes BLOCK_TEMPLATE octets. */
void spool_block_put_template(uint8_t *p);
/* Writes BLOCK_HEAD octets before the message, which gives its export time to it. */
void spool_block_put(uint8_t *p, const struct spool_crc *crc, const struct spool_block *b, uint32_t sequence,
		     const uint8_t *message);
/* Whether BLOCK_HEAD octets are a whole head. */
bool spool_block_get(const uint8_t *p, const struct spool_crc *crc, struct spool_block *b);

/* ---- memory: the newest messages, without a gap in their numbers */

struct spool_ring {
	uint8_t *memory;
	uint64_t size;	     /* a multiple of 8 */
	uint64_t head, tail; /* positions only grow */
	uint64_t first, end; /* numbers: [first, end) */
};

struct spool_ring_block {
	struct spool_block block;
	uint64_t segment, offset; /* where it is on the disk; segment 0: it is not */
	uint8_t space[4];	  /* so that head and message touch, and the message is aligned */
	uint8_t head[BLOCK_HEAD]; /* filled when it is written to the disk */
	uint8_t message[];
};

int spool_ring_init(struct spool_ring *r, uint64_t octets);
void spool_ring_deinit(struct spool_ring *r);
static inline bool spool_ring_empty(const struct spool_ring *r)
{
	return r->first == r->end;
}
/* Room for a message, or NULL: drop the first and ask again.  An empty ring has room for any. */
struct spool_ring_block *spool_ring_put(struct spool_ring *r, const struct spool_block *b);
/* The block at or after a position; *position is where it begins. */
struct spool_ring_block *spool_ring_at(const struct spool_ring *r, uint64_t *position);
uint64_t spool_ring_after(uint64_t position, const struct spool_ring_block *b);
uint64_t spool_ring_find(const struct spool_ring *r, uint64_t number);
void spool_ring_drop(struct spool_ring *r);

/* ---- the directory */

struct spool_segment {
	uint64_t name;	      /* the number that its file name says; never 0 */
	uint64_t first, last; /* numbers in it; [first, last] has no gap, but for what cannot be read */
	uint64_t size;	      /* octets of the file */
	uint64_t start;	      /* where the blocks of messages begin */
	uint32_t blocks;
	uint32_t preamble_size, preamble_crc; /* size 0: none */
	uint64_t preamble_at;		      /* its message */
	struct spool_totals unsent;
};

#define DISK_BUFFER (4u * 65536u)

struct spool_disk {
	int dir;      /* -1: memory only */
	int writing;  /* the last segment; -1 */
	int reading;  /* segment reading_name; -1 */
	int position; /* the file of that name; -1 */
	bool dirty;   /* something is to be written back */
	bool read_only;
	uint64_t reading_name;
	uint64_t max_octets, segment_octets;
	uint64_t octets;		/* of all segments */
	struct spool_segment *segments; /* in order of their numbers */
	unsigned n_segments, segments_most;
	uint8_t *buffer; /* octets [buffer_at, + buffer_size) of segment buffer_name */
	uint64_t buffer_name, buffer_at;
	size_t buffer_size;
	uint64_t looked_ns;
	struct timespec changed; /* the directory's, at the last look */
	const struct spool_crc *crc;
	const uint8_t *preamble;
	uint32_t preamble_size, preamble_crc;
	uint64_t errors;
	int last_error;
	uint64_t torn_octets;
};

/* What the position file says. */
struct spool_position {
	uint64_t head; /* the first number that is not forgotten */
	uint64_t sent; /* numbers below may have been sent */
};

int spool_disk_error(struct spool_disk *d, int error);
void spool_disk_name(char *text, size_t size, uint64_t name);
int spool_disk_open(struct spool_disk *d, const struct spool_config *config, struct diag *diag);
/* Fills the segment table; found: what has numbers from head on; *last: no file has a number behind it. */
int spool_disk_scan(struct spool_disk *d, uint64_t head, struct spool_totals *found, uint64_t *last);
void spool_disk_close(struct spool_disk *d);
bool spool_disk_get_position(struct spool_disk *d, struct spool_position *position);
void spool_disk_put_position(struct spool_disk *d, const struct spool_position *position);
/* The octets that a message will take, and whether a new segment has to be begun for it. */
uint64_t spool_disk_need(const struct spool_disk *d, size_t size, bool *new_segment);
/* Writes head and message of a ring's block; negative errno: the segment is ended where it was good. */
int spool_disk_append(struct spool_disk *d, struct spool_ring_block *b);
void spool_disk_end_segment(struct spool_disk *d);
void spool_disk_remove(struct spool_disk *d, unsigned index);
/* Index of the first segment that holds number or later ones; n_segments: none. */
unsigned spool_disk_find(const struct spool_disk *d, uint64_t number);
/*
 * The first whole block with a number of at least *least and at most most, at or after *offset of a segment;
 * NULL: none.  *offset is where the block begins, *skipped counts the octets that are no blocks (or are not
 * whole).
 */
const uint8_t *spool_disk_read(struct spool_disk *d, const struct spool_segment *s, uint64_t *offset,
			       struct spool_block *b, uint64_t least, uint64_t most, uint64_t *skipped);
/* The octets [offset, offset + size) of a segment until the next call, or NULL; size: at most DISK_BUFFER. */
const uint8_t *spool_disk_peek(struct spool_disk *d, const struct spool_segment *s, uint64_t offset,
			       size_t size);
const uint8_t *spool_disk_read_preamble(struct spool_disk *d, const struct spool_segment *s);
void spool_disk_sync(struct spool_disk *d);
/* Has the directory changed since the last look?  Looks once a second. */
bool spool_disk_has_changed(struct spool_disk *d, uint64_t now_ns);
/* Is the segment's file there, and not shorter than it was? */
bool spool_disk_is_whole(struct spool_disk *d, const struct spool_segment *s);
/* Makes the file of the position again when somebody removed it: true. */
bool spool_disk_renew_position(struct spool_disk *d);

/* ---- the queue: see spool.c */

#define SPOOL_RETRY_NS NS_PER_SEC /* what the system refused is tried again after this long */

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
	struct spool_sent *window; /* SPOOL_WINDOW_MOST, by number of entry modulo that */
	uint64_t w_first, w_acked, w_end;
	struct spool_totals in_window;
	uint64_t replay_octets, replay_ns;
	uint64_t next, tail, persisted;
	uint64_t first_own;   /* numbers below are of an earlier run */
	uint64_t may_be_sent; /* numbers below were handed out, here or in an earlier run */
	uint64_t sum;
	uint64_t ring_next, ring_next_number; /* where a number is in the ring */
	uint64_t ring_persist, ring_persist_number;
	uint64_t cursor_segment, cursor_offset; /* at or before next */
	bool degraded;
	bool full;   /* degraded, because the file system is full */
	bool futile; /* and dropping a segment made no room on it */
	unsigned read_failures;
	uint64_t now_ns, retry_ns, sync_ns, read_retry_ns;
	struct spool_position position;	  /* as written */
	uint32_t handed_size, handed_crc; /* the preamble that this session had last; size 0: none */
	bool is_lent, orphan;		  /* orphan: the message lent was dropped meanwhile */
	struct spool_message lent;
	uint64_t lent_segment, lent_after;
	struct spool_stats stats;
	void (*lost)(void *context, uint64_t first, uint64_t last);
	void *context;
	uint8_t lent_data[SPOOL_MESSAGE_MOST];
	uint8_t preamble[SPOOL_MESSAGE_MOST];
};

static inline struct spool_sent *spool_sent_at(const struct spool *s, uint64_t i)
{
	return &s->window[i % SPOOL_WINDOW_MOST];
}

static inline struct spool_totals spool_sent_totals(const struct spool_sent *e)
{
	return (struct spool_totals){.messages = 1, .flows = {e->records, e->packets, e->octets}};
}

static inline struct spool_totals spool_lent_totals(const struct spool *s)
{
	return (struct spool_totals){.messages = 1,
				     .flows = {s->lent.records, s->lent.packets, s->lent.octets}};
}

static inline uint64_t spool_head_number(const struct spool *s)
{
	return s->w_first < s->w_end ? spool_sent_at(s, s->w_first)->number : s->next;
}

/* The segment that holds a number, or NULL. */
static inline struct spool_segment *spool_segment_of(struct spool *s, uint64_t number)
{
	unsigned i = spool_disk_find(&s->disk, number);

	return i < s->disk.n_segments && s->disk.segments[i].first <= number ? &s->disk.segments[i] : NULL;
}

/* Messages that are in no segment and no memory any more: number is one of them, and all are of one run. */
static inline void spool_count_dropped(struct spool *s, uint64_t number, const struct spool_totals *t)
{
	spool_totals_add(&s->stats.dropped, t);
	if (number < s->first_own)
		spool_totals_add(&s->stats.dropped_recovered, t);
}

/* Says that messages with numbers in [first, last] are lost. */
static inline void spool_tell_lost(struct spool *s, uint64_t first, uint64_t last)
{
	if (s->lost && first <= last)
		s->lost(s->context, first, last);
}

/* spool_window.c */
/* The message that is lent has been sent; end: where it ends in the session's stream. */
void spool_window_push(struct spool *s, uint64_t end);
/* The oldest one, which is acked. */
void spool_window_forget(struct spool *s);
/* Of the acked ones, those that the replay window has passed over. */
void spool_window_forget_passed(struct spool *s);
/* Those with numbers in [first, last] cannot be sent again. */
void spool_window_mark_gone(struct spool *s, uint64_t first, uint64_t last);
/* The session is over: what is not forgotten becomes unsent, and nothing that is acked does if it ended well.
 */
void spool_window_end(struct spool *s, bool clean);

/* spool_drop.c */
/* Unsent messages with numbers in [first, last] are lost; one that is lent may still make it. */
void spool_lose_unsent(struct spool *s, uint64_t first, uint64_t last, struct spool_totals lost);
/* The oldest message leaves the memory, and is lost if it is nowhere else. */
void spool_evict(struct spool *s);
/* The oldest segment leaves the disk, and what is in it the memory too. */
void spool_drop_segment(struct spool *s);
/* Lets go of what is forgotten. */
void spool_trim(struct spool *s);
/*
 * Files that somebody else removed or cut: what memory still has is to be written again, the rest is lost.
 * Whether there were any.
 */
bool spool_find_missing(struct spool *s);

#endif
