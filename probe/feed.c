/* feed: see feed.h. */
#include "feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "meter.h"
#include "pitot/gate.h"

enum {
	WAIT_MS = 50,
	SLOT_PACKETS = 512, /* of several readers: large enough that handing over costs little */
	SLOTS_A_READER = 4,
};

static const uint64_t nap_ns = 50000;

/*
 * A piece of the input.  Slot i holds the pieces i, i + n_slots, ...; it is filled again when all readers have
 * left it.
 */
struct feed_slot {
	_Alignas(64) _Atomic uint64_t ready; /* 1 + the number of the piece that can be read */
	_Atomic uint32_t readers_left;
	unsigned n;
	struct packet *packets;
	uint16_t *dealt;       /* numbers of packets, reader by reader */
	uint32_t *first;       /* of each reader in dealt; one more at the end */
};

struct feed_reader {
	_Alignas(64) uint64_t piece; /* that it reads, or waits for */
	uint32_t at;                 /* in its part of the piece */
	bool holds;                  /* the slot of piece - 1 is still lent (one reader: no copy) */
	struct packet packets[BATCH_MAX];
};

struct feed {
	struct feed_config config;
	struct capture **captures;
	struct decoder **decoders;
	unsigned n_captures;
	unsigned slot_packets;
	unsigned n_slots;
	struct feed_slot *slots;
	struct feed_reader *readers;
	_Atomic unsigned current;   /* file */
	_Atomic uint64_t filled;    /* pieces that were begun */
	_Atomic int ended;          /* FEED_E_END or negative errno, once there is no more */

	pthread_mutex_t lock; /* guards what follows, and the captures */
	struct diag why;
	struct meter_stats meter;
	struct flow_stats fragments;
	struct frame_batch batch;
};

/* ---- opening */

static int feed_open_files(struct feed *f, struct diag *diag)
{
	for (unsigned i = 0; i < f->config.n_files; i++) {
		int r = capture_open(&f->captures[i], &f->config.files[i], diag);

		if (r < 0)
			return r;
		f->n_captures = i + 1;
		r = decoder_new(&f->decoders[i], f->captures[i]->link_type, &f->config.decode, diag);
		if (r < 0) {
			struct diag why = *diag;

			return diag_set(diag, r, "--read %s: %.400s", f->captures[i]->name, why.text);
		}
	}
	return 0;
}

static bool feed_allocate(struct feed *f)
{
	unsigned n = f->config.n_readers;

	f->captures = calloc(f->config.n_files, sizeof(struct capture *));
	f->decoders = calloc(f->config.n_files, sizeof(struct decoder *));
	f->slots = aligned_alloc(64, f->n_slots * sizeof(*f->slots));
	f->readers = aligned_alloc(64, n * sizeof(*f->readers));
	if (!f->captures || !f->decoders || !f->slots || !f->readers)
		return false;
	for (unsigned i = 0; i < n; i++)
		f->readers[i] = (struct feed_reader){ .piece = 0 };
	for (unsigned i = 0; i < f->n_slots; i++)
		f->slots[i] = (struct feed_slot){ .n = 0 };
	for (unsigned i = 0; i < f->n_slots; i++) {
		struct feed_slot *s = &f->slots[i];

		s->packets = aligned_alloc(64, f->slot_packets * sizeof(*s->packets));
		s->dealt = calloc(f->slot_packets, sizeof(*s->dealt));
		s->first = calloc(n + 1, sizeof(*s->first));
		if (!s->packets || !s->dealt || !s->first)
			return false;
	}
	return true;
}

int feed_new(struct feed **fp, const struct feed_config *config, struct diag *diag)
{
	struct feed *f = calloc(1, sizeof(*f));
	int r = 0;

	if (!f)
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	f->config = *config;
	f->config.fragments = NULL; /* the caller's until all is well */
	f->slot_packets = config->n_readers > 1 ? SLOT_PACKETS : BATCH_MAX;
	f->n_slots = config->n_readers > 1 ? SLOTS_A_READER * config->n_readers : 1;
	pthread_mutex_init(&f->lock, NULL);
	if (!feed_allocate(f))
		r = diag_set(diag, -ENOMEM, "--read: out of memory");
	if (r == 0)
		r = feed_open_files(f, diag);
	if (r < 0) {
		feed_free(f);
		return r;
	}
	f->config.fragments = config->fragments;
	*fp = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n_captures; i++) {
		capture_close(f->captures[i]);
		decoder_free(f->decoders[i]);
	}
	for (unsigned i = 0; f->slots && i < f->n_slots; i++) {
		free(f->slots[i].packets);
		free(f->slots[i].dealt);
		free(f->slots[i].first);
	}
	fragment_table_free(f->config.fragments);
	free(f->captures);
	free(f->decoders);
	free(f->slots);
	free(f->readers);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

unsigned feed_files(const struct feed *f)
{
	return f->n_captures;
}

const struct capture *feed_file(const struct feed *f, unsigned i)
{
	return f->captures[i];
}

bool feed_is_file(const struct feed *f)
{
	return f->captures[atomic_load_explicit(&f->current, memory_order_relaxed)]->is_file;
}

/* ---- filling, under the lock */

/* One batch behind what is in the slot.  0, FEED_E_END or negative errno. */
static int feed_read_batch(struct feed *f, struct feed_slot *s)
{
	unsigned current = atomic_load_explicit(&f->current, memory_order_relaxed), n;
	struct capture *c = f->captures[current];
	int r = capture_recv(c, &f->batch, WAIT_MS, &f->why);

	if (r == CAPTURE_E_END && current + 1 < f->n_captures) {
		atomic_store_explicit(&f->current, current + 1, memory_order_relaxed);
		return 0;
	}
	if (r)
		return r > 0 ? FEED_E_END : r;
	n = f->batch.n;
	decode_batch(f->decoders[current], &f->batch, s->packets + s->n);
	capture_release(c, &f->batch); /* after this nobody points into frames */
	s->n += meter_sort(&f->meter, &f->fragments, f->config.fragments, NULL, s->packets + s->n, n, 0);
	return 0;
}

/* A slot's worth of packets; 0, or why they are the last.  What was read before an end or an error is good. */
static int feed_fill(struct feed *f, struct feed_slot *s)
{
	int r = 0;

	s->n = 0;
	while (r == 0 && s->n + BATCH_MAX <= f->slot_packets) {
		unsigned had = s->n;

		r = feed_read_batch(f, s);
		if (r == 0 && s->n == had && !feed_is_file(f))
			break; /* a pipe that has nothing now: what there is should not wait */
	}
	return r;
}

/* ---- dealing */

static unsigned feed_reader_of(const struct feed *f, uint64_t hash)
{
	/* bits that neither choose a bucket nor make a tag */
	return (unsigned)(((hash >> 24) & 0xffffff) * f->config.n_readers >> 24);
}

/* Sorts the numbers of a slot's packets by reader, in order (a counting sort). */
static void feed_deal(struct feed *f, struct feed_slot *s)
{
	unsigned n_readers = f->config.n_readers;

	for (unsigned r = 0; r <= n_readers; r++)
		s->first[r] = 0;
	for (unsigned i = 0; i < s->n; i++) {
		s->packets[i].hash = hash_memory(&f->config.seed, &s->packets[i].key, f->config.key_size);
		s->packets[i].entry = feed_reader_of(f, s->packets[i].hash);
		s->first[s->packets[i].entry + 1]++;
	}
	for (unsigned r = 0; r < n_readers; r++)
		s->first[r + 1] += s->first[r];
	for (unsigned i = 0; i < s->n; i++)
		s->dealt[s->first[s->packets[i].entry]++] = (uint16_t)i;
	for (unsigned r = n_readers; r > 0; r--) /* the sort moved each to the next one's */
		s->first[r] = s->first[r - 1];
	s->first[0] = 0;
}

/* Fills the next slot, if it is free and nobody else is at it. */
static bool feed_produce(struct feed *f)
{
	struct feed_slot *s;
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
	end = feed_fill(f, s);
	atomic_store(&s->readers_left, f->config.n_readers);
	atomic_store(&f->filled, piece + 1);
	if (end) /* last: whoever sees it must see that this piece is yet to come */
		atomic_store(&f->ended, end);
	pthread_mutex_unlock(&f->lock);
	if (f->config.n_readers > 1)
		feed_deal(f, s);
	atomic_store_explicit(&s->ready, piece + 1, memory_order_release);
	return true;
}

/* ---- reading */

static void feed_leave(struct feed *f, struct feed_reader *r)
{
	atomic_fetch_sub_explicit(&f->slots[r->piece % f->n_slots].readers_left, 1, memory_order_release);
	r->piece++;
	r->at = 0;
	r->holds = false;
}

/* Copies the reader's next packets out of a slot: the slot's memory is another processor's. */
static unsigned feed_copy(struct feed_reader *r, const struct feed_slot *s, unsigned reader)
{
	uint32_t from = s->first[reader] + r->at, end = s->first[reader + 1];
	unsigned n = 0;

	for (uint32_t i = from; i < end && n < BATCH_MAX; i++) {
		if (i + 4 < end) {
			__builtin_prefetch(&s->packets[s->dealt[i + 4]]);
			__builtin_prefetch((const uint8_t *)&s->packets[s->dealt[i + 4]] + 64);
		}
		r->packets[n++] = s->packets[s->dealt[i]];
	}
	r->at += n;
	return n;
}

int feed_next(struct feed *f, unsigned reader, struct packet **packets, unsigned *n, struct diag *diag)
{
	struct feed_reader *r = &f->readers[reader];

	*n = 0;
	if (r->holds)
		feed_leave(f, r);
	for (;;) {
		struct feed_slot *s = &f->slots[r->piece % f->n_slots];

		if (atomic_load_explicit(&s->ready, memory_order_acquire) == r->piece + 1) {
			if (f->config.n_readers == 1) {
				*packets = s->packets;
				*n = s->n;
				r->holds = true;
				return 0;
			}
			*packets = r->packets;
			*n = feed_copy(r, s, reader);
			if (*n)
				return 0;
			feed_leave(f, r);
		} else if (!feed_produce(f)) {
			int ended = atomic_load(&f->ended);
			struct gate nap = { 1 };

			if (ended && atomic_load(&f->filled) == r->piece) {
				*diag = f->why;
				return ended;
			}
			gate_sleep(&nap, nap_ns);
		}
	}
}

void feed_get_stats(struct feed *f, struct meter_stats *meter, struct flow_stats *fragments)
{
	pthread_mutex_lock(&f->lock);
	*meter = f->meter;
	*fragments = f->fragments;
	for (unsigned i = 0; i < f->n_captures; i++) {
		struct capture_stats c = { 0 };

		capture_get_stats(f->captures[i], &c);
		meter->filtered_packets += c.filtered;
		meter->filtered_octets += c.filtered_octets;
	}
	pthread_mutex_unlock(&f->lock);
}
