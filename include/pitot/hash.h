/*
 * hash: keyed multiply-fold hash of a short piece of memory (8 to 64 octets).
 *
 * The key is drawn at start (getrandom); without it neither buckets nor tags can be predicted, so crafted
 * flow keys cost what random ones cost.  A full key compare always follows: the hash is never an identity.
 */
#ifndef PITOT_HASH_H
#define PITOT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_MAX_SIZE 64

struct hash_seed {
	uint64_t k[HASH_MAX_SIZE / 8 + 2];
};

/* 0, or negative errno when the kernel has no randomness to give. */
int hash_seed_random(struct hash_seed *seed);
/* A seed that is the same in every run: unit tests and benches. */
void hash_seed_fixed(struct hash_seed *seed, uint64_t n);

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* The next of 2^64 numbers in an order that looks like chance (splitmix64); state is the seed at first. */
static inline uint64_t hash_draw(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t hash_word(const uint8_t *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof(w));
	return w;
}

/* size is 8 to HASH_MAX_SIZE; a tail of less than 16 octets is read together with octets before it. */
static inline uint64_t hash_memory(const struct hash_seed *s, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t h = s->k[HASH_MAX_SIZE / 8] ^ size;
	size_t i = 0;

	for (; i + 16 <= size; i += 16)
		h ^= hash_fold(hash_word(p + i) ^ s->k[i / 8], hash_word(p + i + 8) ^ s->k[i / 8 + 1]);
	if (i < size) {
		uint64_t a = hash_word(p + (size - i > 8 ? i : size - 8));
		h ^= hash_fold(a ^ s->k[i / 8], hash_word(p + size - 8) ^ s->k[i / 8 + 1]);
	}
	return hash_fold(h ^ s->k[HASH_MAX_SIZE / 8 + 1], s->k[0] | 1);
}

#endif
