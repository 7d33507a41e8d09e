/* flow_blocks: the rows of blocks.def. */
#ifndef FLOW_BLOCKS_H
#define FLOW_BLOCKS_H

#include "pitot/flow_record.h"
#include "pitot/packet.h"

typedef void block_fn(void *block, const struct packet *p, const void *facts);

struct block_row {
	uint8_t record_size, record_align, facts_size, facts_align;
	block_fn *start; /* NULL: a copy */
	block_fn *count; /* NULL: nothing changes */
};

extern const struct block_row block_rows[BLOCKS];

/* What does not fit is the largest number that does. */
static inline uint32_t flow_saturate32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

#endif
