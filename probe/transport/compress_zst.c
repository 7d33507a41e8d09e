/* compress_zst: frames of RFC 8878 with a checksum, by libzstd. */
#include <zstd.h>

#include "transport/compress.h"

enum { LEVEL = 3 };

static void compress_zst_end(void *state)
{
	ZSTD_freeCCtx(state);
}

static void *compress_zst_begin(void)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();

	if (z && !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL)) &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)))
		return z;
	ZSTD_freeCCtx(z);
	return NULL;
}

static size_t compress_zst_member(void *state, const uint8_t *data, size_t size, uint8_t *out, size_t room)
{
	size_t n = ZSTD_compress2(state, out, room, data, size);

	return ZSTD_isError(n) ? 0 : n;
}

const struct compress_ops compress_zst_ops = {
	.begin = compress_zst_begin,
	.end = compress_zst_end,
	.bound = ZSTD_compressBound,
	.member = compress_zst_member,
};
