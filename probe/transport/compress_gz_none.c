/* compress_gz_none: this build has no zlib. */
#include "transport/compress.h"

const struct compress_ops compress_gz_ops = {.begin = NULL};
