/* compress_gz: members of RFC 1952, by zlib.  No time and no name is in them: the same octets each time. */
#include <stdlib.h>
#include <zlib.h>

#include "transport/compress.h"

enum { WINDOW_GZIP = 15 + 16, MEMORY = 8, LEVEL = 6, HEAD_AND_TAIL = 18 };

static void *compress_gz_begin(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z && deflateInit2(z, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK)
		return z;
	free(z);
	return NULL;
}

static void compress_gz_end(void *state)
{
	deflateEnd(state);
	free(state);
}

static size_t compress_gz_bound(size_t size)
{
	return compressBound(size) + HEAD_AND_TAIL;
}

static size_t compress_gz_member(void *state, const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
	z_stream *z = state;

	if (deflateReset(z) != Z_OK)
		return 0;
	z->next_in = (Bytef *)(uintptr_t)data; /* it is only read */
	z->avail_in = (uInt)size;
	z->next_out = out;
	z->avail_out = (uInt)room;
	return deflate(z, Z_FINISH) == Z_STREAM_END ? room - z->avail_out : 0;
}

const struct compress_ops compress_gz_ops = {
	.begin = compress_gz_begin,
	.end = compress_gz_end,
	.bound = compress_gz_bound,
	.member = compress_gz_member,
};
