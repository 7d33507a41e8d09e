/*
 * exact: frames in heap blocks that end where the captured octets end, so that AddressSanitizer sees the
 * first octet that is read past them.
 */
#ifndef TEST_EXACT_H
#define TEST_EXACT_H

#include "pitot/packet.h"

struct exact {
	void *block;
	struct frame frame;
};

/* The first cap octets at data, of a frame of wire octets. */
void exact_init(struct exact *x, const void *data, size_t cap, size_t wire);
void exact_deinit(struct exact *x);

#endif
