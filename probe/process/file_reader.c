/* file_reader: see file_reader.h. */
#include "file_reader.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "intake.h"
#include "pitot/clock.h"
#include "pitot/flow_table.h"
#include "pitot/gate.h"

enum {
	WAIT_MS = 50,
	/* of several readers: pieces large enough that handing them over costs little, and so small that one
	 * stays in the first level cache between decoding and dealing, all of them in the last; a place in
	 * one is an octet */
	PIECE_PACKETS = 192,
	AHEAD = 8,
	SLOTS_A_READER = 16,
	EMPTY_MOST =
		8,  /* batches, or chunks of the file, without a packet to meter: then others get a turn */
	SPIN = 400, /* looks before a reader sleeps: about as long as a piece takes */
};

static const uint64_t nap_ns = 10 * NS_PER_MSEC;

static_assert(PIECE_PACKETS <= UINT8_MAX + 1, "places are octets");

/* What a reader has of a piece: the packets' places, in order. */
struct file_reader_part {
	unsigned n;
	uint8_t places[PIECE_PACKETS];
};

/*
 * A piece of the input.  Slot i holds the pieces i, i + n_slots, ...; it is filled again when all readers
 * have left it.
 */
struct file_reader_slot {
	_Alignas(64) _Atomic uint64_t ready; /* 1 + the number of the piece that can be read */
	_Atomic uint32_t readers_left;
	unsigned n;
	struct packet *packets;
	struct file_reader_part *parts; /* of each reader; NULL: one has all */
};

struct file_lane {
	_Alignas(64) uint64_t piece; /* that it reads, or waits for */
	unsigned at;		     /* in its part of the piece */
	struct gate gate;	     /* where it waits */
	struct packet *batch;	     /* gathered from its part; NULL: one reader has all */
};

struct file_reader {
	struct selection selection; /* under the lock */
	struct ring_writer samples;
	struct file_reader_config config;
	struct capture **captures;
	const int *link_types; /* that can be decoded */
	unsigned n_link_types;
	struct decoder **decoders; /* of each, where a file has it; one more: of all others */
	unsigned n_captures;
	size_t packet_size; /* of the layout */
	unsigned piece_packets;
	unsigned n_slots;
	struct file_reader_slot *slots;
	struct file_lane *readers;
	_Atomic unsigned current; /* file */
	_Atomic uint64_t filled;  /* pieces that were begun */
	_Atomic int ended;	  /* FILE_READER_E_END or negative errno, once there is no more */
	_Atomic uint64_t news;	  /* grows with all that a waiting reader may wait for */

	pthread_mutex_t lock; /* guards what follows, and the captures */
	struct diag why;
	struct decoder *decoder; /* for frames of link_type */
	int link_type;
	struct metering_stats stats;
	struct capture_stats filtered; /* of the files that have ended */
	struct intake intake;
};

/* ---- opening */

/* Makes the decoder for frames of a link type the one that is used; later link types may be unknown. */
static int file_reader_turn_to(struct file_reader *f, int link_type, bool later, struct diag *diag)
{
	unsigned i = 0;
	int r = 0;

	while (i < f->n_link_types && f->link_types[i] != link_type)
		i++;
	if (!f->decoders[i])
		r = later && i == f->n_link_types
			    ? decoder_new_unknown(&f->decoders[i], &f->config.decode, diag)
			    : decoder_new(&f->decoders[i], link_type, &f->config.decode, diag);
	if (r < 0)
		return r;
	f->decoder = f->decoders[i];
	f->link_type = link_type;
	return 0;
}

static int file_reader_open_files(struct file_reader *f, struct diag *diag)
{
	for (unsigned i = 0; i < f->config.n_files; i++) {
		struct capture_config config = f->config.files[i];
		int r;

		config.link_types = f->link_types;
		config.n_link_types = f->n_link_types;
		r = capture_open(&f->captures[i], &config, diag);
		if (r < 0)
			return r;
		f->n_captures = i + 1;
		if (f->captures[i]->link_type >= 0)
			r = file_reader_turn_to(f, f->captures[i]->link_type, false, diag);
		if (r < 0) {
			struct diag why = *diag;

			return diag_set(diag, r, "--read %s: %.400s", f->captures[i]->name, why.text);
		}
	}
	return 0;
}

static bool file_reader_allocate_slot(struct file_reader_slot *s, size_t piece_size, unsigned n_readers)
{
	*s = (struct file_reader_slot){.packets = aligned_alloc(64, piece_size),
				       .parts = n_readers > 1 ? calloc(n_readers, sizeof(*s->parts)) : NULL};
	return s->packets && (s->parts || n_readers == 1);
}

static bool file_reader_allocate_reader(struct file_lane *r, size_t packet_size, unsigned n_readers)
{
	*r = (struct file_lane){.batch = n_readers > 1 ? aligned_alloc(64, BATCH_MAX * packet_size) : NULL};
	return r->batch || n_readers == 1;
}

static bool file_reader_allocate(struct file_reader *f)
{
	unsigned n = f->config.n_readers;
	bool ok;

	f->captures = calloc(f->config.n_files, sizeof(struct capture *));
	f->link_types = decode_link_types(&f->n_link_types);
	f->decoders = calloc(f->n_link_types + 1, sizeof(struct decoder *));
	f->slots = aligned_alloc(64, f->n_slots * sizeof(*f->slots));
	f->readers = aligned_alloc(64, n * sizeof(*f->readers));
	ok = f->captures && f->decoders && f->slots && f->readers;
	/* also when something is missing: file_reader_free() looks at all of them */
	for (unsigned i = 0; f->readers && i < n; i++)
		ok &= file_reader_allocate_reader(&f->readers[i], f->packet_size, n);
	for (unsigned i = 0; f->slots && i < f->n_slots; i++)
		ok &= file_reader_allocate_slot(&f->slots[i], f->piece_packets * f->packet_size, n);
	return ok;
}

int file_reader_new(struct file_reader **fp, const struct file_reader_config *config, struct diag *diag)
{
	struct file_reader *f = aligned_alloc(64, (sizeof(*f) + 63) & ~(size_t)63);
	int r = 0;

	if (!f)
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	*f = (struct file_reader){.config = *config};
	f->config.fragments = NULL; /* the caller's until all is well */
	f->link_type = -1;
	shared_write_samples(config->region, config->region->config.n_metering, &f->samples);
	selection_init(&f->selection, &config->selection, &f->samples,
		       &(struct selection_room){&config->shared->room, &config->region->exporting->gate,
						&config->region->exporting->ended});
	record_layout_complete(&f->config.decode.layout);
	f->packet_size = f->config.decode.layout.packet_size;
	f->intake = (struct intake){
		.packet_size = f->packet_size, .stats = &f->stats, .selection = &f->selection};
	f->piece_packets = config->n_readers > 1 ? PIECE_PACKETS : BATCH_MAX;
	f->n_slots = config->n_readers > 1 ? SLOTS_A_READER * config->n_readers : 1;
	pthread_mutex_init(&f->lock, NULL);
	if (!file_reader_allocate(f))
		r = diag_set(diag, -ENOMEM, "--read: out of memory");
	if (r == 0)
		r = file_reader_open_files(f, diag);
	if (r < 0) {
		file_reader_free(f);
		return r;
	}
	f->config.fragments = f->intake.fragments = config->fragments;
	*fp = f;
	return 0;
}

void file_reader_free(struct file_reader *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n_captures; i++)
		capture_close(f->captures[i]);
	for (unsigned i = 0; f->decoders && i <= f->n_link_types; i++)
		decoder_free(f->decoders[i]);
	for (unsigned i = 0; f->slots && i < f->n_slots; i++) {
		free(f->slots[i].packets);
		free(f->slots[i].parts);
	}
	for (unsigned r = 0; f->readers && r < f->config.n_readers; r++)
		free(f->readers[r].batch);
	fragment_table_free(f->config.fragments);
	free(f->captures);
	free(f->decoders);
	free(f->slots);
	free(f->readers);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

const struct capture *file_reader_file(const struct file_reader *f, unsigned i)
{
	return f->captures[i];
}

bool file_reader_is_file(const struct file_reader *f)
{
	return f->captures[atomic_load_explicit(&f->current, memory_order_relaxed)]->is_file;
}

bool file_reader_is_dealt(const struct file_reader *f)
{
	return f->config.n_readers > 1;
}

/* ---- filling, under the lock */

/* One batch; *n of its packets are metered.  0, FILE_READER_E_END or negative errno. */
static int file_reader_read_batch(struct file_reader *f, struct packet *packets, unsigned *n)
{
	unsigned current = atomic_load_explicit(&f->current, memory_order_relaxed);
	uint64_t last_ns;
	struct capture *c = f->captures[current];
	int r = capture_recv(c, &f->intake.batch, WAIT_MS, &f->why);

	*n = 0;
	if (r == CAPTURE_E_END && current + 1 < f->n_captures) {
		struct capture_stats last = {0};

		capture_get_stats(c, &last);
		f->filtered.filtered += last.filtered;
		f->filtered.filtered_octets += last.filtered_octets;
		atomic_store_explicit(&f->current, current + 1, memory_order_relaxed);
		return 0;
	}
	if (r)
		return r > 0 ? FILE_READER_E_END : r;
	if (c->link_type != f->link_type && f->intake.batch.n)
		r = file_reader_turn_to(f, c->link_type, true, &f->why);
	if (r)
		return r;
	*n = intake_take(&f->intake, c, f->decoder, packets, &last_ns);
	selection_publish(&f->selection);
	return 0;
}

/* Once a piece.  Of the files those before the current one have told their last. */
static void file_reader_publish(struct file_reader *f)
{
	struct meter_stats *s = &f->stats.meter;
	struct capture_stats c = {0};

	capture_get_stats(f->captures[atomic_load_explicit(&f->current, memory_order_relaxed)], &c);
	s->filtered_packets = f->filtered.filtered + c.filtered;
	s->filtered_octets = f->filtered.filtered_octets + c.filtered_octets;
	published_put(&f->config.shared->numbers, &f->stats);
}

/* A piece of packets; 0, or why they are the last.  What was read before an end or an error is good. */
static int file_reader_fill(struct file_reader *f, struct packet *packets, unsigned *total)
{
	unsigned empty = 0;
	int r = 0;

	*total = 0;
	while (r == 0 && empty < EMPTY_MOST && *total + BATCH_MAX <= f->piece_packets) {
		unsigned n;

		r = file_reader_read_batch(f, packet_of(packets, f->packet_size, *total), &n);
		*total += n;
		empty += n == 0;
		if (r == 0 && n == 0 && !file_reader_is_file(f))
			break; /* a pipe that has nothing now: what there is should not wait */
	}
	return r;
}

/* ---- dealing, without the lock */

static unsigned file_reader_reader_of(const struct file_reader *f, uint64_t hash)
{
	/* bits that neither choose a bucket nor make a tag */
	return (unsigned)(((hash >> 24) & 0xffffff) * f->config.n_readers >> 24);
}

/* Each packet behind what its reader has of the piece. */
static void file_reader_deal(struct file_reader *f, struct file_reader_slot *s)
{
	for (unsigned i = 0; i < f->config.n_readers; i++)
		s->parts[i].n = 0;
	for (unsigned i = 0; i < s->n; i++) {
		struct packet *p = packet_of(s->packets, f->packet_size, i);
		struct file_reader_part *part;

		p->hash = flow_packet_hash(&f->config.seed, &f->config.decode.layout, p);
		part = &s->parts[file_reader_reader_of(f, p->hash)];
		part->places[part->n++] = (uint8_t)i;
	}
}

static void file_reader_wake(struct file_reader *f)
{
	atomic_fetch_add(&f->news, 1); /* whoever waits armed its gate before it looked at this */
	for (unsigned i = 0; i < f->config.n_readers; i++)
		gate_wake(&f->readers[i].gate);
}

/* Fills the next slot, if it is free and nobody else is at it; *barren: there was nothing to be had for it.
 */
static bool file_reader_produce(struct file_reader *f, bool *barren)
{
	struct file_reader_slot *s;
	uint64_t piece;
	int end;

	if (pthread_mutex_trylock(&f->lock) != 0)
		return false;
	piece = atomic_load_explicit(&f->filled, memory_order_relaxed);
	s = &f->slots[piece % f->n_slots];
	if (atomic_load(&f->ended) || atomic_load_explicit(&s->readers_left, memory_order_acquire)) {
		pthread_mutex_unlock(&f->lock);
		return false;
	}
	end = file_reader_fill(f, s->packets, &s->n);
	*barren = s->n == 0;
	file_reader_publish(f);
	atomic_store(&s->readers_left, f->config.n_readers);
	atomic_store(&f->filled, piece + 1);
	if (end) /* last: whoever sees it must see that this piece is yet to come */
		atomic_store(&f->ended, end);
	pthread_mutex_unlock(&f->lock);
	if (s->parts)
		file_reader_deal(f, s);
	atomic_store_explicit(&s->ready, piece + 1, memory_order_release);
	file_reader_wake(f);
	return true;
}

/* ---- reading */

static bool file_reader_is_ready(const struct file_reader *f, const struct file_lane *r)
{
	return atomic_load_explicit(&f->slots[r->piece % f->n_slots].ready, memory_order_acquire) ==
	       r->piece + 1;
}

/*
 * Whether the reader should read ahead rather than meter.  If each read only when it has nothing to meter,
 * all would wait for the same piece at the same time; so there are always some pieces ahead while the lock is
 * free.
 */
static bool file_reader_is_short(const struct file_reader *f, const struct file_lane *r)
{
	return atomic_load_explicit(&f->filled, memory_order_relaxed) - r->piece < (f->n_slots + 1) / 2;
}

static void file_reader_leave(struct file_reader *f, struct file_lane *r)
{
	struct file_reader_slot *s = &f->slots[r->piece % f->n_slots];

	r->piece++;
	r->at = 0;
	if (atomic_fetch_sub_explicit(&s->readers_left, 1, memory_order_acq_rel) == 1)
		file_reader_wake(f);
}

/* A part's packets lie among others', most of them in another processor's cache. */
static void file_reader_gather(const struct file_reader *f, struct packet *batch, struct packet *packets,
			       const uint8_t *places, unsigned n)
{
	size_t size = f->packet_size;

	for (unsigned i = 0; i < n; i++) {
		if (i + AHEAD < n) {
			const uint8_t *ahead = (const uint8_t *)packet_of(packets, size, places[i + AHEAD]);

			__builtin_prefetch(ahead);
			__builtin_prefetch(ahead + 64);
		}
		packet_copy(packet_of(batch, size, i), packet_of(packets, size, places[i]), size);
	}
}

/* The next packets of the reader's part, in equal shares: a small rest would be slow for its size. */
static unsigned file_reader_take(const struct file_reader *f, struct file_lane *r,
				 const struct file_reader_slot *s, unsigned reader, struct packet **packets)
{
	const struct file_reader_part *part = s->parts ? &s->parts[reader] : NULL;
	unsigned left = (part ? part->n : s->n) - r->at, shares = (left + BATCH_MAX - 1) / BATCH_MAX;
	unsigned n = shares ? (left + shares - 1) / shares : 0;

	if (part)
		file_reader_gather(f, r->batch, s->packets, part->places + r->at, n);
	*packets = part ? r->batch : packet_of(s->packets, f->packet_size, r->at);
	r->at += n;
	return n;
}

/* Until there is news: at first awake, for it will not take long. */
static void file_reader_wait(struct file_reader *f, struct file_lane *r, uint64_t news)
{
	for (unsigned i = 0; i < SPIN; i++) {
		if (atomic_load_explicit(&f->news, memory_order_relaxed) != news)
			return;
		GATE_PAUSE();
	}
	gate_arm(&r->gate);
	if (atomic_load(&f->news) != news)
		gate_disarm(&r->gate);
	else
		gate_sleep(&r->gate, nap_ns);
}

int file_reader_next(struct file_reader *f, unsigned reader, struct packet **packets, unsigned *n,
		     struct diag *diag)
{
	struct file_lane *r = &f->readers[reader];
	bool waited = false, barren = false;

	*n = 0;
	for (;;) {
		uint64_t news = atomic_load(&f->news);
		int ended;

		if (!barren && file_reader_is_short(f, r) && file_reader_produce(f, &barren))
			continue;
		if (file_reader_is_ready(f, r)) {
			*n = file_reader_take(f, r, &f->slots[r->piece % f->n_slots], reader, packets);
			if (*n)
				return 0;
			waited = r->at ==
				 0; /* there was nothing in it: its caller has other things to do, too */
			file_reader_leave(f, r);
			if (waited)
				return 0;
			continue;
		}
		ended = atomic_load(&f->ended);
		if (ended && atomic_load(&f->filled) == r->piece) {
			*diag = f->why;
			return ended;
		}
		if (waited)
			return 0;
		file_reader_wait(f, r, news);
		waited = true;
	}
}
