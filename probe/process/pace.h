/*
 * pace: a token bucket.  It holds what a tenth of a second brings, and two tokens at least.
 */
#ifndef PACE_H
#define PACE_H

#include <stdint.h>

struct pace {
	uint64_t seen_ns;
	uint64_t credit; /* tokens, in units of 1 / NS_PER_SEC */
};

/* Whole tokens at rate a second. */
uint64_t pace_tokens(struct pace *p, uint32_t rate, uint64_t now_ns);
/* Takes n of those. */
void pace_take(struct pace *p, uint64_t n);
/* How long until there is one. */
uint64_t pace_wait_ns(const struct pace *p, uint32_t rate);

#endif
