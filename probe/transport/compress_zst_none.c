/* compress_zst_none: this build has no libzstd. */
#include "transport/compress.h"

const struct compress_ops compress_zst_ops = {.begin = NULL};
