/*
 * ring: bounded single-producer single-consumer ring of fixed slots, one cache line or more each.
 *
 * The producer fills slots that ring_reserve() lends and makes them visible with ring_publish(); the consumer
 * reads what ring_peek() lends and gives it back with ring_consume().  Neither side waits: a full or empty
 * ring lends nothing.
 */
#ifndef PITOT_RING_H
#define PITOT_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	/* producer's line */
	_Alignas(64) _Atomic uint64_t head; /* slots published */
	uint64_t tail_seen;		    /* producer's copy of tail */
	uint64_t filled;		    /* reserved, not yet published: head + pending */
	/* consumer's line */
	_Alignas(64) _Atomic uint64_t tail; /* slots consumed */
	uint64_t head_seen;
	/* shared, constant */
	_Alignas(64) uint8_t *slots;
	uint64_t mask;
	size_t slot_size;
	size_t mapped;
};

/* slots is rounded up to a power of two.  0 or negative errno. */
int ring_init(struct ring *r, size_t slots, size_t slot_size);
void ring_deinit(struct ring *r);

/* Next free slot, or NULL when the ring is full. */
static inline void *ring_reserve(struct ring *r)
{
	if (r->filled - r->tail_seen > r->mask) {
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (r->filled - r->tail_seen > r->mask)
			return NULL;
	}
	return r->slots + (r->filled++ & r->mask) * r->slot_size;
}

/* Makes all reserved slots visible to the consumer. */
static inline void ring_publish(struct ring *r)
{
	atomic_store_explicit(&r->head, r->filled, memory_order_release);
}

/* Producer: whether at least n slots wait; reads the consumer's line only when they may. */
static inline int ring_pending(struct ring *r, uint64_t n)
{
	if (r->filled - r->tail_seen < n)
		return 0;
	r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	return r->filled - r->tail_seen >= n;
}

/* Slots published and not yet consumed, as either side may ask. */
static inline uint64_t ring_used(struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	return atomic_load_explicit(&r->head, memory_order_acquire) - tail;
}

/* How many slots can be read: ring_slot() lends the n-th oldest of them. */
static inline uint64_t ring_peek(struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (r->head_seen == tail)
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
	return r->head_seen - tail;
}

static inline void *ring_slot(struct ring *r, uint64_t n)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	return r->slots + ((tail + n) & r->mask) * r->slot_size;
}

static inline void ring_consume(struct ring *r, uint64_t n)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	atomic_store_explicit(&r->tail, tail + n, memory_order_release);
}

#endif
