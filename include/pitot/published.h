/*
 * published: numbers of one writer that anybody may read whole at any time, and asks nobody.
 *
 * There are two copies: the writer fills one while the other is read, and then says which is the newer.  A
 * writer that dies in the middle leaves what it published before.  Reader and writer may be two processes.
 *
 *     PUBLISHED(struct totals) sums;         in memory that both share; all zero to begin with
 *     published_put(&sums, &mine);           the one writer
 *     published_get(&sums, &theirs);         whoever
 */
#ifndef PITOT_PUBLISHED_H
#define PITOT_PUBLISHED_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct published {
	_Alignas(64) _Atomic uint64_t begun; /* the number of the copy that is, or was last, being made */
	_Atomic uint64_t done;		     /* of the newest whole one; it is copies[done % 2] */
};

#define PUBLISHED(type)                                                                                      \
	struct {                                                                                             \
		struct published head;                                                                       \
		_Alignas(64) type copies[2];                                                                 \
		static_assert(sizeof(type) % sizeof(uint64_t) == 0, "copied by words");                      \
	}

/* The first size octets of a copy; copies are stride octets apart. */
void published_write(struct published *p, void *copies, size_t stride, const void *from, size_t size);
void published_read(const struct published *p, const void *copies, size_t stride, void *to, size_t size);

#define published_put(p, from) published_put_part(p, from, sizeof(*(p)->copies))
#define published_get(p, to)   published_get_part(p, to, sizeof(*(p)->copies))
#define published_put_part(p, from, size)                                                                    \
	published_write(&(p)->head, (p)->copies, sizeof(*(p)->copies), from, size)
#define published_get_part(p, to, size)                                                                      \
	published_read(&(p)->head, (p)->copies, sizeof(*(p)->copies), to, size)

#endif
