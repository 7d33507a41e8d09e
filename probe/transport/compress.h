/*
 * compress: a run of messages as a member of a compressed file.
 *
 * A gz or zst file may be members behind each other, each whole by itself.  So a file can be read while it
 * grows, up to its last run, and after a crash; and what could not be written whole is cut off as if it were
 * not compressed.
 */
#ifndef COMPRESS_H
#define COMPRESS_H

#include <stddef.h>
#include <stdint.h>

#include "pitot/collector.h"

struct compress_ops {
	void *(*begin)(void); /* NULL: out of memory, or the build has no such library */
	void (*end)(void *state);
	size_t (*bound)(size_t size); /* octets of a member that holds so many, at most */
	/* Its length; 0: out of memory. */
	size_t (*member)(void *state, const uint8_t *data, size_t size, uint8_t *out, size_t room);
};

#define COMPRESSION(NAME, name, library) extern const struct compress_ops compress_##name##_ops;
#include "pitot/compressions.def"

struct compress;

/* largest: octets of a run, at most.  0, -ENOMEM, or -EOPNOTSUPP: this build has no such library. */
int compress_new(struct compress **cp, enum compression kind, size_t largest);
void compress_free(struct compress *c); /* NULL is fine */
/* The member that holds size octets, until the next one is made; NULL: out of memory. */
const uint8_t *compress_member(struct compress *c, const uint8_t *data, size_t size, size_t *length);

#endif
