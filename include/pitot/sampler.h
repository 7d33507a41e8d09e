/*
 * sampler: which packets are metered, when not all are (RFC 5475 §5, §6: packet selectors).
 *
 * Random and systematic selectors look at no packet, so they can run before decoding; a hash selector looks
 * at the flow key, so that flows are kept whole or not at all, both directions of a connection together.
 */
#ifndef PITOT_SAMPLER_H
#define PITOT_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/flow_key.h"
#include "pitot/hash.h"

enum sampler_kind { SAMPLER_NONE, SAMPLER_RANDOM, SAMPLER_SYSTEMATIC, SAMPLER_HASH, SAMPLER_KINDS };

struct sampler_config {
	enum sampler_kind kind;
	uint32_t interval; /* one packet (or flow) of so many; 1: all */
	uint64_t seed;	   /* of the random draws; the hash selector's initial value */
};

struct sampler {
	struct sampler_config config;
	uint64_t state;
	uint32_t left;	   /* systematic: packets until the next one */
	uint64_t selected; /* selectorIdTotalPktsSelected (IE 319) */
};

void sampler_init(struct sampler *s, const struct sampler_config *config);

/* IANA psamp-parameters, selectorAlgorithm (IE 304) */
uint16_t sampler_algorithm(enum sampler_kind kind);

/* Jenkins' one-word hash of the ends and protocol of a flow, whatever its direction (RFC 5475 §A.2: BOB). */
uint32_t sampler_hash(const struct flow_key *key, uint32_t initial);
/* Hash values below this are selected. */
static inline uint32_t sampler_hash_limit(uint32_t interval)
{
	return (uint32_t)((UINT64_C(1) << 32) / interval);
}

/*
 * The next packet, for selectors that look at none: is it selected?  Random: each packet by itself with
 * probability 1 / interval, exact to 2^-40 (uniform probabilistic sampling); systematic: every interval-th.
 */
static inline bool sampler_take(struct sampler *s)
{
	bool take;

	if (s->config.kind == SAMPLER_SYSTEMATIC) {
		take = --s->left == 0;
		if (take)
			s->left = s->config.interval;
	} else {
		__extension__ unsigned __int128 scaled =
			(unsigned __int128)hash_draw(&s->state) * s->config.interval;
		take = (uint64_t)(scaled >> 64) == 0;
	}
	s->selected += take;
	return take;
}

/* The next packet, for the hash selector. */
static inline bool sampler_take_key(struct sampler *s, const struct flow_key *key)
{
	bool take = sampler_hash(key, (uint32_t)s->config.seed) < sampler_hash_limit(s->config.interval) ||
		    s->config.interval == 1;

	s->selected += take;
	return take;
}

#endif
