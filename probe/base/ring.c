/* ring: memory of the SPSC ring; its two sides are inline in include/pitot/ring.h. */
#include "pitot/ring.h"

#include <errno.h>
#include <sys/mman.h>

int ring_init(struct ring *r, size_t slots, size_t slot_size)
{
	size_t n = 1;
	void *p;

	while (n < slots)
		n *= 2;
	p = mmap(NULL, n * slot_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	*r = (struct ring){.slots = p, .mask = n - 1, .slot_size = slot_size, .mapped = n * slot_size};
	return 0;
}

void ring_deinit(struct ring *r)
{
	if (r->slots)
		munmap(r->slots, r->mapped);
	r->slots = NULL;
}
