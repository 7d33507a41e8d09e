/*
 * ring: bounded single-producer single-consumer ring of fixed slots, one cache line or more each.
 *
 * The producer fills slots that ring_reserve() lends and makes them visible with ring_publish(); the consumer
 * reads what ring_peek() lends and gives it back with ring_consume().  Neither side waits: a full or empty
 * ring lends nothing.
 *
 * The two may be processes: what both must see, struct ring and the slots, lies in memory that they share and
 * holds no address; where it lies each knows from its own struct ring_writer or ring_reader.  A side that
 * writes nonsense into the shared part makes the other read nonsense records, and nothing else.
 */
#ifndef PITOT_RING_H
#define PITOT_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Shared; all zero is an empty ring. */
struct ring {
	_Alignas(64) _Atomic uint64_t head; /* slots published; the producer writes */
	_Alignas(64) _Atomic uint64_t tail; /* slots consumed; the consumer writes */
};

/* Where one is, and how large: each side has a copy. */
struct ring_place {
	struct ring *ring;
	uint8_t *slots; /* of cache lines */
	uint64_t mask;
	size_t slot_size;
};

struct ring_writer {
	_Alignas(64) struct ring_place at;
	uint64_t filled;    /* reserved, not yet published: head + pending */
	uint64_t tail_seen; /* the producer's copy of tail */
};

struct ring_reader {
	_Alignas(64) struct ring_place at;
	uint64_t head_seen; /* the consumer's copy of head */
};

/* The power of two that holds that many. */
uint64_t ring_round_up(uint64_t slots);

/* slots: as rounded.  Either side goes on where the one before it stopped. */
void ring_write_at(struct ring_writer *w, struct ring *ring, void *memory, uint64_t slots, size_t slot_size);
void ring_read_at(struct ring_reader *r, struct ring *ring, void *memory, uint64_t slots, size_t slot_size);

static inline uint64_t ring_capacity(const struct ring_place *at)
{
	return at->mask + 1;
}

/* Next free slot, or NULL when the ring is full. */
static inline void *ring_reserve(struct ring_writer *w)
{
	if (w->filled - w->tail_seen > w->at.mask) {
		w->tail_seen = atomic_load_explicit(&w->at.ring->tail, memory_order_acquire);
		if (w->filled - w->tail_seen > w->at.mask)
			return NULL;
	}
	return w->at.slots + (w->filled++ & w->at.mask) * w->at.slot_size;
}

/* Whether slots were reserved that the consumer does not see yet. */
static inline int ring_has_news(const struct ring_writer *w)
{
	return atomic_load_explicit(&w->at.ring->head, memory_order_relaxed) != w->filled;
}

static inline uint64_t ring_unpublished(const struct ring_writer *w)
{
	return w->filled - atomic_load_explicit(&w->at.ring->head, memory_order_relaxed);
}

/* Makes all reserved slots visible to the consumer.  Before any load that follows: the consumer may be about
 * to sleep, see gate.h. */
static inline void ring_publish(struct ring_writer *w)
{
	atomic_store(&w->at.ring->head, w->filled);
}

/* Producer: whether at least n slots wait; reads the consumer's line only when they may. */
static inline int ring_pending(struct ring_writer *w, uint64_t n)
{
	if (w->filled - w->tail_seen < n)
		return 0;
	w->tail_seen = atomic_load_explicit(&w->at.ring->tail, memory_order_acquire);
	return w->filled - w->tail_seen >= n;
}

/* Slots published and not yet consumed, as either side may ask. */
static inline uint64_t ring_used(const struct ring_place *at)
{
	uint64_t tail = atomic_load_explicit(&at->ring->tail, memory_order_acquire);

	return atomic_load_explicit(&at->ring->head, memory_order_acquire) - tail;
}

/* How many slots can be read: ring_slot() lends the n-th oldest of them. */
static inline uint64_t ring_peek(struct ring_reader *r)
{
	uint64_t tail = atomic_load_explicit(&r->at.ring->tail, memory_order_relaxed), n;

	if (r->head_seen == tail)
		r->head_seen = atomic_load(&r->at.ring->head);
	n = r->head_seen - tail;
	return n <= r->at.mask + 1 ? n : r->at.mask + 1;
}

static inline void *ring_slot(const struct ring_reader *r, uint64_t n)
{
	uint64_t tail = atomic_load_explicit(&r->at.ring->tail, memory_order_relaxed);

	return r->at.slots + ((tail + n) & r->at.mask) * r->at.slot_size;
}

static inline void ring_consume(struct ring_reader *r, uint64_t n)
{
	uint64_t tail = atomic_load_explicit(&r->at.ring->tail, memory_order_relaxed);

	atomic_store_explicit(&r->at.ring->tail, tail + n, memory_order_release);
}

#endif
