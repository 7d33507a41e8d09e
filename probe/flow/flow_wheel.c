/* flow_wheel: see flow_wheel.h. */
#include "flow/flow_wheel.h"

#include <errno.h>
#include <sys/mman.h>

static uint64_t wheel_slot_width(uint64_t horizon_ns)
{
	/* the horizon spans all slots but a few, so that a clamped entry never laps the cursor */
	return horizon_ns / (WHEEL_SLOTS - 4) + 1;
}

int wheel_init(struct wheel *w, uint32_t capacity, uint64_t horizon_ns)
{
	/* each slot may have one chunk that is partly filled, and what was one when it came due */
	uint64_t n = (uint64_t)capacity / 62 + 2 * WHEEL_SLOTS + 16;
	size_t size = (size_t)n * sizeof(struct wheel_chunk);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	*w = (struct wheel){.chunks = p,
			    .n_chunks = (uint32_t)n,
			    .free_chunk = WHEEL_NONE,
			    .due = WHEEL_NONE,
			    .early = WHEEL_NONE,
			    .slot_ns = wheel_slot_width(horizon_ns),
			    .mapped = size};
	for (unsigned i = 0; i < WHEEL_SLOTS; i++)
		w->slots[i] = WHEEL_NONE;
	return 0;
}

void wheel_deinit(struct wheel *w)
{
	if (w->chunks)
		munmap(w->chunks, w->mapped);
	w->chunks = NULL;
}

static uint32_t wheel_chunk_get(struct wheel *w)
{
	uint32_t i = w->free_chunk;

	if (i != WHEEL_NONE) {
		w->free_chunk = w->chunks[i].next;
		return i;
	}
	/* never more than n_chunks: at most one partly filled chunk a slot, the rest are full */
	return w->used_chunks < w->n_chunks ? w->used_chunks++ : WHEEL_NONE;
}

static void wheel_chunk_put(struct wheel *w, uint32_t i)
{
	w->chunks[i].next = w->free_chunk;
	w->free_chunk = i;
}

void wheel_insert(struct wheel *w, uint32_t entry, uint64_t due_ns)
{
	uint64_t slot = due_ns / w->slot_ns + 1;
	struct wheel_chunk *c;
	uint32_t top;
	unsigned at;

	if (slot <= w->cursor)
		slot = w->cursor + 1;
	if (slot > w->cursor + WHEEL_SLOTS - 1)
		slot = w->cursor + WHEEL_SLOTS - 1;
	at = slot % WHEEL_SLOTS;
	top = w->slots[at];
	c = top == WHEEL_NONE ? NULL : &w->chunks[top];
	if (!c || c->n == 62) {
		uint32_t fresh = wheel_chunk_get(w);

		if (fresh == WHEEL_NONE)
			return; /* cannot happen; the entry would still be found by arrival and by the flush
				 */
		c = &w->chunks[fresh];
		c->next = top;
		c->n = 0;
		w->slots[at] = fresh;
		w->occupied[at / 64] |= UINT64_C(1) << (at % 64);
	}
	c->entries[c->n++] = entry;
}

/* All chunks of one list in front of another, the last one first. */
static void wheel_move(struct wheel *w, uint32_t *from, uint32_t *to)
{
	while (*from != WHEEL_NONE) {
		struct wheel_chunk *c = &w->chunks[*from];
		uint32_t next = c->next;

		c->next = *to;
		*to = *from;
		*from = next;
	}
}

static void wheel_empty_slot(struct wheel *w, unsigned at, uint32_t *to)
{
	wheel_move(w, &w->slots[at], to);
	w->occupied[at / 64] &= ~(UINT64_C(1) << (at % 64));
}

void wheel_advance(struct wheel *w, uint64_t elapsed_ns)
{
	uint64_t target = elapsed_ns / w->slot_ns;
	uint64_t steps = target > w->cursor ? target - w->cursor : 0;

	if (steps > WHEEL_SLOTS)
		steps = WHEEL_SLOTS;
	if (target >= w->early_slot)
		wheel_move(w, &w->early, &w->due);
	for (uint64_t i = 1; i <= steps; i++)
		wheel_empty_slot(w, (w->cursor + i) % WHEEL_SLOTS, &w->due);
	if (target > w->cursor)
		w->cursor = target;
}

void wheel_set_horizon(struct wheel *w, uint64_t horizon_ns, uint64_t elapsed_ns)
{
	wheel_move(w, &w->early, &w->due);
	for (unsigned at = 0; at < WHEEL_SLOTS; at++)
		wheel_empty_slot(w, at, &w->due);
	w->slot_ns = wheel_slot_width(horizon_ns);
	w->cursor = elapsed_ns / w->slot_ns;
}

static unsigned wheel_take_from(struct wheel *w, uint32_t *list, uint32_t *entries, unsigned max)
{
	unsigned n = 0;

	while (n < max && *list != WHEEL_NONE) {
		uint32_t i = *list;
		struct wheel_chunk *c = &w->chunks[i];

		while (n < max && c->n > 0)
			entries[n++] = c->entries[--c->n];
		if (c->n == 0) {
			*list = c->next;
			wheel_chunk_put(w, i);
		}
	}
	return n;
}

unsigned wheel_take(struct wheel *w, uint32_t *entries, unsigned max)
{
	return wheel_take_from(w, &w->due, entries, max);
}

/* The number of the first slot behind the cursor that has entries; UINT64_MAX: none has. */
static uint64_t wheel_first_slot(const struct wheel *w)
{
	unsigned from = (w->cursor + 1) % WHEEL_SLOTS;

	for (unsigned i = 0; i <= WHEEL_SLOTS / 64; i++) { /* the first word twice: its two ends */
		unsigned word = (from / 64 + i) % (WHEEL_SLOTS / 64), at;
		uint64_t bits = w->occupied[word];

		if (i == 0)
			bits &= ~UINT64_C(0) << (from % 64);
		if (!bits)
			continue;
		at = word * 64 + (unsigned)__builtin_ctzll(bits);
		return w->cursor + 1 + (at - from) % WHEEL_SLOTS;
	}
	return UINT64_MAX;
}

/* It goes to the early ones. */
static void wheel_begin_early(struct wheel *w)
{
	uint64_t slot = wheel_first_slot(w);

	if (slot == UINT64_MAX)
		return;
	w->early_slot = slot;
	wheel_empty_slot(w, slot % WHEEL_SLOTS, &w->early);
}

uint64_t wheel_due_ns(const struct wheel *w)
{
	uint64_t slot = wheel_first_slot(w);

	if (w->due != WHEEL_NONE)
		return 0;
	if (w->early != WHEEL_NONE && w->early_slot < slot)
		slot = w->early_slot;
	return slot == UINT64_MAX ? UINT64_MAX : slot * w->slot_ns;
}

uint32_t wheel_take_earliest(struct wheel *w)
{
	uint32_t entry;

	if (wheel_take_from(w, &w->due, &entry, 1))
		return entry;
	if (w->early == WHEEL_NONE)
		wheel_begin_early(w);
	return wheel_take_from(w, &w->early, &entry, 1) ? entry : WHEEL_NONE;
}

static unsigned wheel_peek(const struct wheel *w, uint32_t list, uint32_t *entries, unsigned max)
{
	unsigned n = 0;

	for (uint32_t i = list; i != WHEEL_NONE && n < max; i = w->chunks[i].next)
		for (uint32_t k = w->chunks[i].n; k > 0 && n < max; k--)
			entries[n++] = w->chunks[i].entries[k - 1];
	return n;
}

unsigned wheel_peek_earliest(const struct wheel *w, uint32_t *entries, unsigned max)
{
	unsigned n = wheel_peek(w, w->due, entries, max);

	return n + wheel_peek(w, w->early, entries + n, max - n);
}
