/* hash: drawing the key; the function itself is inline in include/pitot/hash.h. */
#include "pitot/hash.h"

#include <errno.h>
#include <sys/random.h>

int hash_seed_random(struct hash_seed *seed)
{
	uint8_t *p = (uint8_t *)seed;
	size_t have = 0;

	while (have < sizeof(*seed)) {
		ssize_t n = getrandom(p + have, sizeof(*seed) - have, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		have += (size_t)n;
	}
	return 0;
}

void hash_seed_fixed(struct hash_seed *seed, uint64_t n)
{
	for (size_t i = 0; i < sizeof(seed->k) / sizeof(seed->k[0]); i++) {
		/* splitmix64 */
		uint64_t x = n + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

		x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
		seed->k[i] = x ^ (x >> 31);
	}
}
