/* ring: the ends of the SPSC ring; its two sides are inline in include/pitot/ring.h. */
#include "pitot/ring.h"

uint64_t ring_round_up(uint64_t slots)
{
	uint64_t n = 1;

	while (n < slots)
		n *= 2;
	return n;
}

void ring_write_at(struct ring_writer *w, struct ring *ring, void *memory, uint64_t slots, size_t slot_size)
{
	*w = (struct ring_writer){
		.at = {.ring = ring, .slots = memory, .mask = slots - 1, .slot_size = slot_size},
		.filled = atomic_load(&ring->head),
		.tail_seen = atomic_load(&ring->tail)};
}

void ring_read_at(struct ring_reader *r, struct ring *ring, void *memory, uint64_t slots, size_t slot_size)
{
	*r = (struct ring_reader){
		.at = {.ring = ring, .slots = memory, .mask = slots - 1, .slot_size = slot_size},
		.head_seen = atomic_load(&ring->tail)};
}
