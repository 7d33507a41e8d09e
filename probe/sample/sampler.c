/* sampler: see include/pitot/sampler.h. */
#include "pitot/protocol.h"
#include "pitot/sampler.h"

#include <string.h>

/* IANA psamp-parameters */
static const uint16_t selectors[SAMPLER_KINDS] = {
	/* every packet: one of one, drawn by chance */
	[SAMPLER_NONE] = 3,
	[SAMPLER_RANDOM] = 4,
	[SAMPLER_SYSTEMATIC] = 1,
	[SAMPLER_HASH] = 6,
};

uint16_t sampler_algorithm(enum sampler_kind kind)
{
	return selectors[kind];
}

void sampler_init(struct sampler *s, const struct sampler_config *config)
{
	*s = (struct sampler){.config = *config, .state = config->seed};
	if (s->config.interval == 0)
		s->config.interval = 1;
	s->left = s->config.interval;
}

/* ---- Bob Jenkins' hash of 1996 ("BOB", RFC 5475 appendix A.2), public domain */

struct bob {
	uint32_t a, b, c;
};

static void sampler_bob_mix(struct bob *m)
{
	m->a -= m->b, m->a -= m->c, m->a ^= m->c >> 13;
	m->b -= m->c, m->b -= m->a, m->b ^= m->a << 8;
	m->c -= m->a, m->c -= m->b, m->c ^= m->b >> 13;
	m->a -= m->b, m->a -= m->c, m->a ^= m->c >> 12;
	m->b -= m->c, m->b -= m->a, m->b ^= m->a << 16;
	m->c -= m->a, m->c -= m->b, m->c ^= m->b >> 5;
	m->a -= m->b, m->a -= m->c, m->a ^= m->c >> 3;
	m->b -= m->c, m->b -= m->a, m->b ^= m->a << 10;
	m->c -= m->a, m->c -= m->b, m->c ^= m->b >> 15;
}

static uint32_t sampler_bob_word(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* 36 octets and an octet: what is hashed is this long. */
#define BOB_SIZE 37

static uint32_t sampler_bob_hash(const uint8_t p[BOB_SIZE], uint32_t initial)
{
	struct bob m = {UINT32_C(0x9e3779b9), UINT32_C(0x9e3779b9), initial};

	for (unsigned i = 0; i < 36; i += 12) {
		m.a += sampler_bob_word(p + i);
		m.b += sampler_bob_word(p + i + 4);
		m.c += sampler_bob_word(p + i + 8);
		sampler_bob_mix(&m);
	}
	m.c += BOB_SIZE;
	m.a += p[36];
	sampler_bob_mix(&m);
	return m.c;
}

uint32_t sampler_hash(const struct flow_key *key, uint32_t initial)
{
	bool turned = memcmp(key->src, key->dst, sizeof(key->src)) > 0 ||
		      (memcmp(key->src, key->dst, sizeof(key->src)) == 0 && key->src_port > key->dst_port);
	uint16_t low = turned ? key->dst_port : key->src_port, high = turned ? key->src_port : key->dst_port;
	uint8_t p[BOB_SIZE];

	/* an ICMP type is no end of a conversation: request and reply belong together */
	if (protocol_has_type(key->protocol))
		low = high = 0;
	memcpy(p, turned ? key->dst : key->src, 16);
	memcpy(p + 16, turned ? key->src : key->dst, 16);
	p[32] = (uint8_t)(low >> 8);
	p[33] = (uint8_t)low;
	p[34] = (uint8_t)(high >> 8);
	p[35] = (uint8_t)high;
	p[36] = key->protocol;
	return sampler_bob_hash(p, initial);
}
