/* flow_blocks: where blocks stand, and what a packet does to them.  See include/pitot/blocks.h. */
#include "flow/flow_blocks.h"

#define NONE NULL
#define COPY NULL

#define BLOCK(name, record, facts, key, start, count)                                                        \
	static_assert(_Alignof(record) <= 8 && _Alignof(facts) <= 8, "blocks are aligned to 8 octets");
#define BLOCK_OF_HOST(name, record) BLOCK(name, record, struct block_nothing, 0, NONE, NONE)
#include "pitot/blocks.def"

static void block_frames_start(void *block, const struct packet *p, const void *facts)
{
	(void)facts;
	*(struct block_frames *)block = (struct block_frames){p->link_octets, p->link_octets, p->link_octets};
}

static void block_frames_count(void *block, const struct packet *p, const void *facts)
{
	struct block_frames *f = block;

	(void)facts;
	f->octets += p->link_octets;
	if (p->link_octets < f->min_octets)
		f->min_octets = p->link_octets;
	if (p->link_octets > f->max_octets)
		f->max_octets = p->link_octets;
}

static void block_tcp_count(void *block, const struct packet *p, const void *facts)
{
	struct block_tcp *t = block;

	(void)facts;
	t->fin += p->tcp_flags & 1;
	t->syn += p->tcp_flags >> 1 & 1;
	t->rst += p->tcp_flags >> 2 & 1;
	t->psh += p->tcp_flags >> 3 & 1;
}

static void block_tcp_start(void *block, const struct packet *p, const void *facts)
{
	*(struct block_tcp *)block = (struct block_tcp){0};
	block_tcp_count(block, p, facts);
}

/* Of a flow that was in the table before, or that came in for sure: the table says so when it did not. */
static void block_slice_start(void *block, const struct packet *p, const void *facts)
{
	(void)facts;
	*(struct block_slice *)block = (struct block_slice){.octets = flow_saturate32(p->octets),
							    .link_octets = flow_saturate32(p->link_octets)};
}

#define FACTS_SIZE(facts) _Generic((facts *)0, struct block_nothing * : 0, default : sizeof(facts))

const struct block_row block_rows[BLOCKS] = {
#define BLOCK(name, record, facts, key, start_, count_)                                                      \
	[BLOCK_##name] = {sizeof(record),  _Alignof(record), FACTS_SIZE(facts),                              \
			  _Alignof(facts), start_,	     count_},
#define BLOCK_OF_HOST(name, record) BLOCK(name, record, struct block_nothing, 0, NONE, NONE)
#include "pitot/blocks.def"
};

const uint8_t block_key_sizes[BLOCKS] = {
#define BLOCK(name, record, facts, key, start, count) [BLOCK_##name] = key,
#define BLOCK_OF_HOST(name, record)
#include "pitot/blocks.def"
};

struct placing {
	size_t gap, gap_end; /* what is left in the core */
	size_t end;	     /* behind the core */
};

static uint16_t block_place(struct placing *p, size_t size, size_t align)
{
	size_t at = (p->gap + align - 1) & ~(align - 1);

	if (at + size <= p->gap_end) {
		p->gap = at + size;
		return (uint16_t)at;
	}
	at = (p->end + align - 1) & ~(align - 1);
	p->end = at + size;
	return (uint16_t)at;
}

void record_layout_init(struct record_layout *l, uint32_t blocks, uint32_t key_blocks)
{
	struct placing r = {offsetof(struct flow_record, blocks), sizeof(struct flow_record),
			    sizeof(struct flow_record)};
	struct placing p = {offsetof(struct packet, blocks), sizeof(struct packet), sizeof(struct packet)};

	*l = (struct record_layout){.blocks = blocks | key_blocks, .key_blocks = key_blocks};
	for (unsigned i = 0; i < BLOCKS; i++) {
		const struct block_row *row = &block_rows[i];

		if (!(l->blocks >> i & 1))
			continue;
		l->record_at[i] = block_place(&r, row->record_size, row->record_align);
		l->packet_at[i] = block_place(&p, row->facts_size, row->facts_align);
	}
	l->record_size = (uint16_t)((r.end + 63) & ~(size_t)63);
	l->packet_size = (uint16_t)((p.end + 63) & ~(size_t)63);
}
