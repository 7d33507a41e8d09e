/* exact: see exact.h. */
#include "exact.h"

#include <stdlib.h>
#include <string.h>

void exact_init(struct exact *x, const void *data, size_t cap, size_t wire)
{
	size_t size = cap ? cap : 1;
	uint8_t *block = malloc(size);

	if (!block)
		abort();
	*x = (struct exact){.block = block,
			    .frame = {.data = block + size - cap,
				      .cap_len = (uint32_t)cap,
				      .wire_len = (uint32_t)wire,
				      .time_ns = UINT64_C(1700000000000000000)}};
	memcpy(block + size - cap, data, cap);
}

void exact_deinit(struct exact *x)
{
	free(x->block);
	x->block = NULL;
}
