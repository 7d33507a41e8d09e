/*
 * fragment: see include/pitot/fragment.h.
 *
 * Sets of eight; a datagram has one set, by a keyed hash.  The key is compared in full.
 */
#include "pitot/fragment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { FRAGMENT_WAYS = 8 };

/* The identity of a datagram: RFC 791 §3.2 (with protocol), RFC 8200 §4.5 (without) */
struct datagram {
	uint8_t src[16];
	uint8_t dst[16];
	uint32_t id;
	uint32_t point;
	uint8_t ip_version;
	uint8_t protocol; /* IPv4 only */
	uint16_t zero;
};
static_assert(sizeof(struct datagram) == 44, "hashed and compared as memory: no implicit padding");

struct fragment_entry {
	struct datagram datagram;
	uint64_t time_ns; /* of the first fragment; 0 free */
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t protocol;
};

struct fragment_table {
	struct fragment_entry *entries;
	uint64_t set_mask;
	uint64_t timeout_ns;
	struct hash_seed seed;
	size_t mapped;
};

int fragment_table_new(struct fragment_table **tp, uint32_t max_datagrams, uint64_t timeout_ns,
		       const struct hash_seed *seed, struct diag *diag)
{
	struct fragment_table *t = calloc(1, sizeof(*t));
	uint64_t sets = 1;
	void *p;

	if (!t)
		return diag_set(diag, -ENOMEM, "fragment table: out of memory");
	while (sets * FRAGMENT_WAYS < max_datagrams)
		sets *= 2;
	t->mapped = (size_t)sets * FRAGMENT_WAYS * sizeof(struct fragment_entry);
	p = mmap(NULL, t->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		free(t);
		return diag_set(diag, -ENOMEM, "--max-fragments %u: cannot reserve the memory; use fewer",
				max_datagrams);
	}
	t->entries = p;
	t->set_mask = sets - 1;
	t->timeout_ns = timeout_ns;
	t->seed = *seed;
	*tp = t;
	return 0;
}

void fragment_table_free(struct fragment_table *t)
{
	if (!t)
		return;
	munmap(t->entries, t->mapped);
	free(t);
}

static bool fragment_timed_out(const struct fragment_table *t, const struct fragment_entry *e,
			       uint64_t now_ns)
{
	uint64_t age = now_ns > e->time_ns ? now_ns - e->time_ns : e->time_ns - now_ns;

	return e->time_ns == 0 || age > t->timeout_ns;
}

static void fragment_remember(struct fragment_table *t, struct fragment_entry *set, const struct datagram *d,
			      const struct packet *p, struct flow_stats *stats)
{
	struct fragment_entry *at = NULL;

	for (unsigned i = 0; i < FRAGMENT_WAYS; i++)
		if (set[i].time_ns && !memcmp(&set[i].datagram, d, sizeof(*d)))
			at = &set[i];
	for (unsigned i = 0; i < FRAGMENT_WAYS && !at; i++)
		if (fragment_timed_out(t, &set[i], p->time_ns))
			at = &set[i];
	if (!at) {
		at = &set[0];
		for (unsigned i = 1; i < FRAGMENT_WAYS; i++)
			if (set[i].time_ns < at->time_ns)
				at = &set[i];
		stats->fragments.evicted++;
	}
	*at = (struct fragment_entry){.datagram = *d,
				      .time_ns = p->time_ns ? p->time_ns : 1,
				      .src_port = p->key.src_port,
				      .dst_port = p->key.dst_port,
				      .protocol = p->key.protocol};
	stats->fragments.tracked++;
}

void fragment_track(struct fragment_table *t, struct packet *p, struct flow_stats *stats)
{
	struct datagram d = {.id = p->fragment_id,
			     .ip_version = p->key.ip_version,
			     .protocol = p->key.ip_version == 4 ? p->key.protocol : 0,
			     .point = (uint32_t)p->key.point_high << 16 | p->key.point};
	struct fragment_entry *set;

	memcpy(d.src, p->key.src, sizeof(d.src));
	memcpy(d.dst, p->key.dst, sizeof(d.dst));
	set = &t->entries[(hash_memory(&t->seed, &d, sizeof(d)) & t->set_mask) * FRAGMENT_WAYS];
	if (p->fragment == PACKET_FRAGMENT_FIRST) {
		fragment_remember(t, set, &d, p, stats);
		return;
	}
	for (unsigned i = 0; i < FRAGMENT_WAYS; i++) {
		if (memcmp(&set[i].datagram, &d, sizeof(d)) != 0 ||
		    fragment_timed_out(t, &set[i], p->time_ns))
			continue;
		p->key.src_port = set[i].src_port;
		p->key.dst_port = set[i].dst_port;
		p->key.protocol = set[i].protocol;
		stats->fragments.joined++;
		return;
	}
	stats->fragments.orphaned++;
}

/* ---- handing over */

size_t fragment_table_hand_over_octets(const struct fragment_table *t)
{
	return t->mapped + 64;
}

void fragment_table_hand_over(const struct fragment_table *t, struct sections_writer *w)
{
	uint32_t size = sizeof(struct fragment_entry);

	sections_begin(w, FRAGMENT_SECTION, FRAGMENT_SECTION_VERSION);
	sections_put(w, &size, sizeof(size));
	for (uint64_t i = 0; i < (t->set_mask + 1) * FRAGMENT_WAYS; i++)
		if (t->entries[i].time_ns)
			sections_put(w, &t->entries[i], sizeof(t->entries[i]));
	sections_end(w);
}

/* Of a full set the oldest gives way. */
static void fragment_put(struct fragment_table *t, const struct fragment_entry *e)
{
	uint64_t hash = hash_memory(&t->seed, &e->datagram, sizeof(e->datagram));
	struct fragment_entry *set = &t->entries[(hash & t->set_mask) * FRAGMENT_WAYS], *at = &set[0];

	for (unsigned i = 1; i < FRAGMENT_WAYS; i++)
		if (set[i].time_ns < at->time_ns)
			at = &set[i];
	if (at->time_ns < e->time_ns)
		*at = *e;
}

int fragment_table_take_over(struct fragment_table *t, struct section *s, const struct flow_points *points)
{
	struct fragment_entry e;
	uint32_t size;

	if (!section_get(s, &size, sizeof(size)) || size != sizeof(e))
		return -EBADMSG;
	while (section_get(s, &e, sizeof(e))) {
		if (e.datagram.point < points->n)
			e.datagram.point = points->to[e.datagram.point];
		fragment_put(t, &e);
	}
	return s->left ? -EBADMSG : 0;
}
