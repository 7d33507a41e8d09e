/*
 * flow_bucket: one cache line of the flow table's index: eight 16-bit tags and the entries behind them.
 *
 * A key has two buckets; the second is used only when the first is full, and `overflow` of the first says how
 * many of its keys are there, so that a look-up reads one line unless it must read two.
 */
#ifndef FLOW_BUCKET_H
#define FLOW_BUCKET_H

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <assert.h>
#include <stdint.h>

#define BUCKET_SLOTS 8

struct bucket {
	_Alignas(64) uint16_t tags[BUCKET_SLOTS]; /* 0: free */
	uint32_t entries[BUCKET_SLOTS];
	uint32_t overflow;
	uint8_t away; /* a bit for each slot whose key has its first bucket elsewhere */
};

static_assert(sizeof(struct bucket) == 64, "one cache line");

/* Two bits for every slot whose tag is tag, from the lowest slot on. */
#if defined(__SSE2__)
static inline unsigned bucket_match(const struct bucket *b, uint16_t tag)
{
	__m128i tags = _mm_load_si128((const __m128i *)(const void *)b->tags);

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag)));
}
#else
static inline unsigned bucket_match(const struct bucket *b, uint16_t tag)
{
	unsigned match = 0;

	for (unsigned i = 0; i < BUCKET_SLOTS; i++)
		match |= b->tags[i] == tag ? 3u << (2 * i) : 0;
	return match;
}
#endif

/* Takes the lowest slot out of a match. */
static inline unsigned bucket_next(unsigned *match)
{
	unsigned slot = (unsigned)__builtin_ctz(*match) / 2;

	*match &= ~(3u << (2 * slot));
	return slot;
}

#endif
