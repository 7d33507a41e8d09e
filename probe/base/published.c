/*
 * published: see include/pitot/published.h.  Words, each of them atomic: a copy that changes while it is read
 * is seen to have changed and read again.  Release and acquire on each word keep them behind begun on the one
 * side and in front of it on the other; on x86 they cost nothing.
 */
#include "pitot/published.h"

typedef uint64_t published_word __attribute__((may_alias));

void published_write(struct published *p, void *copies, size_t stride, const void *from, size_t size)
{
	uint64_t number = atomic_load_explicit(&p->done, memory_order_relaxed) + 1;
	published_word *to = (published_word *)(void *)((uint8_t *)copies + number % 2 * stride);
	const published_word *words = from;

	atomic_store_explicit(&p->begun, number, memory_order_relaxed);
	for (size_t i = 0; i < size / sizeof(*to); i++)
		__atomic_store_n(&to[i], words[i], __ATOMIC_RELEASE);
	atomic_store_explicit(&p->done, number, memory_order_release);
}

void published_read(const struct published *p, const void *copies, size_t stride, void *to, size_t size)
{
	published_word *words = to;
	uint64_t number;

	do { /* again if the writer has begun the one after the next: that overwrites this one */
		const published_word *from;

		number = atomic_load_explicit(&p->done, memory_order_acquire);
		from = (const published_word *)(const void *)((const uint8_t *)copies + number % 2 * stride);
		for (size_t i = 0; i < size / sizeof(*words); i++)
			words[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
	} while (atomic_load_explicit(&p->begun, memory_order_relaxed) > number + 1);
}
