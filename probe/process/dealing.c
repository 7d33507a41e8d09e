/* dealing: see dealing.h. */
#include "dealing.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "pitot/clock.h"
#include "pitot/gate.h"

enum {
	/* large enough that handing a piece over costs little, and so small that one stays in the first
	 * level cache between decoding and dealing, all of them in the last; a place in one is an octet */
	PIECE_BATCHES = 3,
	PIECE_PACKETS = PIECE_BATCHES * BATCH_MAX,
	AHEAD = 8,
	SLOTS_A_LANE = 16,
	EMPTY_MOST = 8, /* parts of a file without a packet: then others get a turn */
	SPIN = 400,	/* looks before a lane sleeps: about as long as a piece takes */
	PIPE_MS = 50,	/* that whoever reads waits for a pipe */
};

static const uint64_t nap_ns = 10 * NS_PER_MSEC;

static_assert(PIECE_PACKETS <= UINT8_MAX + 1, "places are octets");

/* Places of a piece's packets, in order. */
struct dealing_part {
	unsigned n;
	uint8_t places[PIECE_PACKETS];
};

/* A piece of the input.  Slot i holds the pieces i, i + n_slots, ...; it is used again when all have left it.
 */
struct dealing_slot {
	_Alignas(64) _Atomic uint64_t ready; /* 1 + the number of the piece that can be had */
	_Atomic uint32_t lanes_left;
	uint64_t dealt; /* likewise: of which fragments are next; under the order */
	unsigned n;
	struct packet *packets;
	struct dealing_part *parts; /* of each lane */
	struct dealing_part fragments;
};

struct dealing_lane {
	_Alignas(64) uint64_t piece; /* that it takes packets from, or waits for */
	unsigned at;		     /* in its part of the piece */
	struct gate gate;	     /* where it waits */
	struct packet *batch;	     /* gathered from its part */

	/* what it has read itself */
	uint8_t *memory;
	unsigned n_batches;
	struct frame_batch batches[PIECE_BATCHES];
	const struct decoder *decoders[PIECE_BATCHES];
};

struct dealing {
	struct dealing_config config;
	size_t packet_size;
	unsigned n_slots;
	struct dealing_slot *slots;
	struct dealing_lane *lanes;
	_Atomic uint64_t begun; /* pieces that are read, or were */
	_Atomic int ended;	/* SAVEFILES_E_END or negative errno, once there is no more */
	_Atomic uint64_t news;	/* grows with all that a waiting lane may wait for */

	pthread_mutex_t reading; /* guards the files, and why they have ended */
	struct diag why;

	pthread_mutex_t order; /* guards the fragments: pieces come to them one by one */
	uint64_t completed;    /* pieces whose fragments are */
	struct metering_stats stats;
};

/* ---- set-up */

static bool dealing_allocate_slot(struct dealing_slot *s, size_t packet_size, unsigned n_lanes)
{
	*s = (struct dealing_slot){.packets = aligned_alloc(64, PIECE_PACKETS * packet_size),
				   .parts = calloc(n_lanes, sizeof(*s->parts))};
	return s->packets && s->parts;
}

static bool dealing_allocate_lane(struct dealing_lane *l, size_t packet_size)
{
	*l = (struct dealing_lane){.batch = aligned_alloc(64, BATCH_MAX * packet_size),
				   .memory = malloc(CAPTURE_MEMORY)};
	return l->batch && l->memory;
}

static bool dealing_allocate(struct dealing *d)
{
	unsigned n = d->config.n_lanes;
	bool ok;

	d->slots = aligned_alloc(64, d->n_slots * sizeof(*d->slots));
	d->lanes = aligned_alloc(64, n * sizeof(*d->lanes));
	ok = d->slots && d->lanes;
	/* also when something is missing: dealing_free() looks at all of them */
	for (unsigned i = 0; d->lanes && i < n; i++)
		ok &= dealing_allocate_lane(&d->lanes[i], d->packet_size);
	for (unsigned i = 0; d->slots && i < d->n_slots; i++)
		ok &= dealing_allocate_slot(&d->slots[i], d->packet_size, n);
	return ok;
}

int dealing_new(struct dealing **dp, const struct dealing_config *config, struct diag *diag)
{
	struct dealing *d = aligned_alloc(64, (sizeof(*d) + 63) & ~(size_t)63);

	if (!d)
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	*d = (struct dealing){.config = *config, .n_slots = SLOTS_A_LANE * config->n_lanes};
	record_layout_complete(&d->config.layout);
	d->packet_size = d->config.layout.packet_size;
	pthread_mutex_init(&d->reading, NULL);
	pthread_mutex_init(&d->order, NULL);
	if (!dealing_allocate(d)) {
		d->config.fragments = NULL; /* the caller's until all is well */
		dealing_free(d);
		return diag_set(diag, -ENOMEM, "--read: out of memory");
	}
	*dp = d;
	return 0;
}

void dealing_free(struct dealing *d)
{
	if (!d)
		return;
	for (unsigned i = 0; d->slots && i < d->n_slots; i++) {
		free(d->slots[i].packets);
		free(d->slots[i].parts);
	}
	for (unsigned i = 0; d->lanes && i < d->config.n_lanes; i++) {
		free(d->lanes[i].batch);
		free(d->lanes[i].memory);
	}
	fragment_table_free(d->config.fragments);
	free(d->slots);
	free(d->lanes);
	pthread_mutex_destroy(&d->reading);
	pthread_mutex_destroy(&d->order);
	free(d);
}

/* ---- reading, under the lock */

/* Behind what the slot has. */
static unsigned dealing_decode_batch(const struct dealing *d, struct dealing_slot *s, struct dealing_lane *l,
				     unsigned i)
{
	unsigned n = l->batches[i].n;

	decode_batch(l->decoders[i], &l->batches[i], packet_of(s->packets, d->packet_size, s->n));
	return n;
}

/* The first frames of a piece; *kept: they stay in the lane's memory, and are not only lent for a moment. */
static int dealing_read_first(struct dealing *d, struct dealing_lane *l, bool *kept)
{
	struct savefiles *files = d->config.files;
	int r = 0;

	l->batches[0].n = 0;
	for (unsigned empty = 0; r == 0 && l->batches[0].n == 0 && empty < EMPTY_MOST; empty++) {
		bool is_file = savefiles_is_file(files);

		*kept = savefiles_move_to(files, l->memory, PIECE_PACKETS);
		r = savefiles_recv(files, &l->batches[0], &l->decoders[0], PIPE_MS, &d->why);
		if (!is_file)
			break; /* a pipe that has nothing now: its lane has other things to do, too */
	}
	return r;
}

/* What was read along with them: it is decoded when others read on. */
static int dealing_read_more(struct dealing *d, struct dealing_lane *l)
{
	int r = 0;

	for (l->n_batches = 1; l->n_batches < PIECE_BATCHES; l->n_batches++) {
		unsigned i = l->n_batches;

		r = savefiles_more(d->config.files, &l->batches[i], &l->decoders[i], &d->why);
		if (r || l->batches[i].n == 0)
			break;
	}
	return r;
}

/* Lent ones are decoded here. */
static int dealing_read_lent(struct dealing *d, struct dealing_slot *s, struct dealing_lane *l)
{
	struct savefiles *files = d->config.files;
	int r = 0;

	while (r == 0 && l->batches[0].n) {
		s->n += dealing_decode_batch(d, s, l, 0);
		savefiles_release(files, &l->batches[0]);
		if (s->n + BATCH_MAX > PIECE_PACKETS || !savefiles_is_file(files))
			break;
		r = savefiles_recv(files, &l->batches[0], &l->decoders[0], PIPE_MS, &d->why);
	}
	return r;
}

static int dealing_read(struct dealing *d, struct dealing_slot *s, struct dealing_lane *l)
{
	bool kept = false;
	int r = dealing_read_first(d, l, &kept);

	if (r || l->batches[0].n == 0)
		return r;
	return kept ? dealing_read_more(d, l) : dealing_read_lent(d, s, l);
}

/* ---- decoding and dealing, without it */

/* The same for both directions. */
static unsigned dealing_lane_of(const struct dealing *d, const struct flow_key *k)
{
	const struct hash_seed *seed = &d->config.seed;
	uint64_t sum = seed->k[0], other = seed->k[1];

	for (unsigned i = 0; i < sizeof(k->src); i += 8) {
		uint64_t a = hash_word(k->src + i), b = hash_word(k->dst + i);

		sum = hash_fold(sum ^ (a + b), seed->k[2] | 1);
		other = hash_fold(other ^ a ^ b, seed->k[3] | 1);
	}
	return (unsigned)((hash_fold(sum, other | 1) >> 32) * d->config.n_lanes >> 32);
}

static void dealing_put(struct dealing_part *part, unsigned place)
{
	part->places[part->n++] = (uint8_t)place;
}

/* What is ignored has no flow: whose piece it is matters to nobody. */
static void dealing_deal(const struct dealing *d, struct dealing_slot *s, uint64_t piece)
{
	for (unsigned i = 0; i < d->config.n_lanes; i++)
		s->parts[i].n = 0;
	s->fragments.n = 0;
	for (unsigned i = 0; i < s->n; i++) {
		const struct packet *p = packet_of(s->packets, d->packet_size, i);
		bool metered = p->verdict == PACKET_METERED;

		dealing_put(&s->parts[metered ? dealing_lane_of(d, &p->key) : piece % d->config.n_lanes], i);
		if (metered && p->fragment != PACKET_FRAGMENT_NONE)
			dealing_put(&s->fragments, i);
	}
}

static void dealing_wake(struct dealing *d)
{
	atomic_fetch_add(&d->news, 1); /* whoever waits armed its gate before it looked at this */
	for (unsigned i = 0; i < d->config.n_lanes; i++)
		gate_wake(&d->lanes[i].gate);
}

static void dealing_complete_fragments(struct dealing *d, const struct dealing_slot *s)
{
	if (!d->config.fragments || s->fragments.n == 0)
		return;
	for (unsigned i = 0; i < s->fragments.n; i++)
		fragment_track(d->config.fragments,
			       packet_of(s->packets, d->packet_size, s->fragments.places[i]),
			       &d->stats.flows);
	published_put(&d->config.shared->fragments, &d->stats);
}

/* The piece is dealt: it can be had, and those behind it that waited for it, when those before it can. */
static void dealing_hand_out(struct dealing *d, struct dealing_slot *s, uint64_t piece)
{
	pthread_mutex_lock(&d->order);
	s->dealt = piece + 1;
	for (;;) {
		struct dealing_slot *next = &d->slots[d->completed % d->n_slots];

		if (next->dealt != d->completed + 1)
			break;
		dealing_complete_fragments(d, next);
		atomic_store_explicit(&next->ready, ++d->completed, memory_order_release);
	}
	pthread_mutex_unlock(&d->order);
	dealing_wake(d);
}

/* Fills the next slot, if it is free and nobody else reads; *barren: there was nothing to be had for it. */
static bool dealing_produce(struct dealing *d, struct dealing_lane *l, bool *barren)
{
	struct dealing_slot *s;
	uint64_t piece;
	int end;

	if (pthread_mutex_trylock(&d->reading) != 0)
		return false;
	piece = atomic_load_explicit(&d->begun, memory_order_relaxed);
	s = &d->slots[piece % d->n_slots];
	if (atomic_load(&d->ended) || atomic_load_explicit(&s->lanes_left, memory_order_acquire)) {
		pthread_mutex_unlock(&d->reading);
		return false;
	}
	s->n = l->n_batches = 0;
	end = dealing_read(d, s, l);
	savefiles_publish(d->config.files);
	atomic_store(&s->lanes_left, d->config.n_lanes);
	atomic_store(&d->begun, piece + 1);
	if (end) /* last: whoever sees it must see that this piece is yet to come */
		atomic_store(&d->ended, end);
	pthread_mutex_unlock(&d->reading);
	for (unsigned i = 0; i < l->n_batches; i++)
		s->n += dealing_decode_batch(d, s, l, i);
	*barren = s->n == 0;
	dealing_deal(d, s, piece);
	dealing_hand_out(d, s, piece);
	return true;
}

/* ---- taking */

static bool dealing_is_ready(const struct dealing *d, const struct dealing_lane *l)
{
	return atomic_load_explicit(&d->slots[l->piece % d->n_slots].ready, memory_order_acquire) ==
	       l->piece + 1;
}

/*
 * Whether the lane should read ahead rather than meter.  If each read only when it has nothing to meter, all
 * would wait for the same piece at the same time; so there are always some pieces ahead while the lock is
 * free.
 */
static bool dealing_is_short(const struct dealing *d, const struct dealing_lane *l)
{
	return atomic_load_explicit(&d->begun, memory_order_relaxed) - l->piece < (d->n_slots + 1) / 2;
}

static void dealing_leave(struct dealing *d, struct dealing_lane *l)
{
	struct dealing_slot *s = &d->slots[l->piece % d->n_slots];

	l->piece++;
	l->at = 0;
	if (atomic_fetch_sub_explicit(&s->lanes_left, 1, memory_order_acq_rel) == 1)
		dealing_wake(d);
}

/*
 * The next packets of the lane's part, in equal shares: a small rest would be slow for its size.  They lie
 * among others', many of them in another processor's cache.
 */
static unsigned dealing_gather(const struct dealing *d, struct dealing_lane *l, const struct dealing_slot *s,
			       unsigned lane)
{
	const struct dealing_part *part = &s->parts[lane];
	unsigned left = part->n - l->at, shares = (left + BATCH_MAX - 1) / BATCH_MAX;
	unsigned n = shares ? (left + shares - 1) / shares : 0;
	const uint8_t *places = part->places + l->at;
	size_t size = d->packet_size;

	for (unsigned i = 0; i < n; i++) {
		if (i + AHEAD < n) {
			const uint8_t *ahead =
				(const uint8_t *)packet_of(s->packets, size, places[i + AHEAD]);

			__builtin_prefetch(ahead);
			__builtin_prefetch(ahead + 64);
		}
		packet_copy(packet_of(l->batch, size, i), packet_of(s->packets, size, places[i]), size);
	}
	l->at += n;
	return n;
}

/* Until there is news: at first awake, for it will not take long. */
static void dealing_wait(struct dealing *d, struct dealing_lane *l, uint64_t news)
{
	for (unsigned i = 0; i < SPIN; i++) {
		if (atomic_load_explicit(&d->news, memory_order_relaxed) != news)
			return;
		GATE_PAUSE();
	}
	gate_arm(&l->gate);
	if (atomic_load(&d->news) != news)
		gate_disarm(&l->gate);
	else
		gate_sleep(&l->gate, nap_ns);
}

int dealing_next(struct dealing *d, unsigned lane, struct packet **packets, unsigned *n, struct diag *diag)
{
	struct dealing_lane *l = &d->lanes[lane];
	bool waited = false, barren = false, empty;

	*n = 0;
	*packets = l->batch;
	for (;;) {
		uint64_t news = atomic_load(&d->news);
		int ended;

		if (!barren && dealing_is_short(d, l) && dealing_produce(d, l, &barren))
			continue;
		if (dealing_is_ready(d, l)) {
			*n = dealing_gather(d, l, &d->slots[l->piece % d->n_slots], lane);
			empty = l->at == 0;
			if (*n)
				return 0;
			dealing_leave(d, l);
			if (empty) /* others' packets: its caller has other things to do, too */
				return 0;
			continue;
		}
		ended = atomic_load(&d->ended);
		if (ended && atomic_load(&d->begun) == l->piece) {
			*diag = d->why;
			return ended;
		}
		if (waited || barren)
			return 0;
		dealing_wait(d, l, news);
		waited = true;
	}
}
