/*
 * flow_wheel: a lazy timer wheel over entry numbers.
 *
 * An entry sits in the slot of its earliest possible end.  When the slot is due the caller looks at the
 * entry: if it has lived on, it is put into its new slot, else it is ended.  So a packet never touches the
 * wheel, and an entry costs one touch per time-out.  Slots are stacks of fixed chunks from one pool:
 * inserting writes to a warm line, and taking hands out many numbers at once whose entries can be fetched
 * ahead.
 *
 * Times are "elapsed" ns: a clock that only grows.
 */
#ifndef FLOW_WHEEL_H
#define FLOW_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_SLOTS 1024
#define WHEEL_NONE  UINT32_MAX

struct wheel_chunk {
	uint32_t next;
	uint32_t n;
	uint32_t entries[62];
};

struct wheel {
	struct wheel_chunk *chunks;
	uint32_t n_chunks, used_chunks, free_chunk;
	uint32_t slots[WHEEL_SLOTS]; /* top chunk, or WHEEL_NONE */
	uint64_t occupied[WHEEL_SLOTS / 64];
	uint32_t due;	/* chunks of slots whose time has come */
	uint32_t early; /* those of the earliest other slot, once somebody wanted an entry before its time */
	uint64_t early_slot; /* its number: when it comes due, they do */
	uint64_t slot_ns;
	uint64_t cursor; /* number of the last slot that came due */
	size_t mapped;
};

/* Room for capacity entries, each in the wheel at most once; horizon_ns is the longest time-out. */
int wheel_init(struct wheel *w, uint32_t capacity, uint64_t horizon_ns);
void wheel_deinit(struct wheel *w);
/* For another horizon: everything that is in the wheel comes due at once and is put into its place again. */
void wheel_set_horizon(struct wheel *w, uint64_t horizon_ns, uint64_t elapsed_ns);

/* due_ns: the first moment at which a look is worthwhile; beyond the horizon it is clamped. */
void wheel_insert(struct wheel *w, uint32_t entry, uint64_t due_ns);
/* Moves the slots that have come due by elapsed_ns to where wheel_take() finds them. */
void wheel_advance(struct wheel *w, uint64_t elapsed_ns);
/* When the next slot comes due: 0 at once, UINT64_MAX never, for it is empty. */
uint64_t wheel_due_ns(const struct wheel *w);
/* Up to max entries that are due; their number. */
unsigned wheel_take(struct wheel *w, uint32_t *entries, unsigned max);
/* The entry of the earliest slot, due or not; WHEEL_NONE when the wheel is empty. */
uint32_t wheel_take_earliest(struct wheel *w);
/* Up to max entries that wheel_take_earliest() will take next, as far as it knows them; their number. */
unsigned wheel_peek_earliest(const struct wheel *w, uint32_t *entries, unsigned max);

#endif
