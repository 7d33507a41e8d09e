/* spool_ring: messages one after the other in memory that is allocated once; none is split at the end. */
#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>

#include "spool/spool_internal.h"

#define ALIGN 8u

static_assert(offsetof(struct spool_ring_block, message) ==
		      offsetof(struct spool_ring_block, head) + BLOCK_HEAD,
	      "head and message are written at once");
static_assert(sizeof(struct spool_ring_block) % ALIGN == 0 && alignof(struct spool_ring_block) <= ALIGN,
	      "blocks begin at multiples of it");

int spool_ring_init(struct spool_ring *r, uint64_t octets)
{
	octets -= octets % ALIGN;
	*r = (struct spool_ring){.size = octets, .first = 1, .end = 1};
	r->memory =
		octets <= SIZE_MAX ? calloc(1, (size_t)octets) : NULL; /* untouched pages are not there yet */
	return r->memory ? 0 : -ENOMEM;
}

void spool_ring_deinit(struct spool_ring *r)
{
	free(r->memory);
	r->memory = NULL;
}

static uint64_t ring_block_octets(uint32_t size)
{
	return (sizeof(struct spool_ring_block) + size + ALIGN - 1) / ALIGN * ALIGN;
}

struct spool_ring_block *spool_ring_put(struct spool_ring *r, const struct spool_block *b)
{
	uint64_t need = ring_block_octets(b->size);
	uint64_t left = r->size - r->tail % r->size;
	uint64_t skip = left < need ? left : 0;
	struct spool_ring_block *at;

	if (spool_ring_empty(r))
		r->head = r->tail + skip;
	else if (r->tail + skip + need - r->head > r->size)
		return NULL;
	if (skip && left >= sizeof(*at)) /* size 0: what is left of the memory is not used */
		*(struct spool_ring_block *)(void *)(r->memory + r->tail % r->size) =
			(struct spool_ring_block){.block.size = 0};
	r->tail += skip;
	at = (struct spool_ring_block *)(void *)(r->memory + r->tail % r->size);
	at->block = *b;
	at->segment = at->offset = 0;
	r->tail += need;
	r->end = b->number + 1;
	return at;
}

struct spool_ring_block *spool_ring_at(const struct spool_ring *r, uint64_t *position)
{
	uint64_t left = r->size - *position % r->size;
	struct spool_ring_block *b = (struct spool_ring_block *)(void *)(r->memory + *position % r->size);

	if (left < sizeof(*b) || b->block.size == 0) {
		*position += left;
		b = (struct spool_ring_block *)(void *)r->memory;
	}
	return b;
}

uint64_t spool_ring_after(uint64_t position, const struct spool_ring_block *b)
{
	return position + ring_block_octets(b->block.size);
}

uint64_t spool_ring_find(const struct spool_ring *r, uint64_t number)
{
	uint64_t at = r->head;

	for (uint64_t n = r->first; n < number && n < r->end; n++) {
		const struct spool_ring_block *b = spool_ring_at(r, &at);

		at = spool_ring_after(at, b);
	}
	return at;
}

void spool_ring_drop(struct spool_ring *r)
{
	const struct spool_ring_block *b = spool_ring_at(r, &r->head);

	r->head = spool_ring_after(r->head, b);
	r->first++;
}
