/* account: see account.h. */
#include "account.h"

#include <assert.h>
#include <string.h>

enum { FEW_FLOWS = 4 };

static bool account_is_own(const struct own_flows *own, const struct flow_key *k)
{
	for (unsigned i = 0; i < own->n; i++) {
		const struct flow_key *o = &own->flows[i];

		if (k->dst_port == o->dst_port && k->src_port == o->src_port && k->protocol == o->protocol &&
		    !memcmp(k->dst, o->dst, sizeof(k->dst)) && !memcmp(k->src, o->src, sizeof(k->src)))
			return true;
	}
	return false;
}

static void account_ignore(struct meter_stats *s, const struct packet *p)
{
	s->received_packets++;
	s->received_octets += p->link_octets;
	s->ignored[p->verdict]++;
	s->ignored_octets += p->link_octets;
	if (s->first_ignored_ns == 0 || p->time_ns < s->first_ignored_ns)
		s->first_ignored_ns = p->time_ns;
	if (p->time_ns > s->last_ignored_ns)
		s->last_ignored_ns = p->time_ns;
}

/* Whether all are metered and nothing is odd about them, as in most batches. */
static bool account_is_plain(const struct packet *packets, size_t size, unsigned n, uint64_t limit)
{
	unsigned odd = 0;

	static_assert(PACKET_METERED == 0 && PACKET_FRAGMENT_NONE == 0, "odd is what is not 0");
	for (unsigned i = 0; i < n; i++) {
		const struct packet *p = packet_of_const(packets, size, i);

		odd |= (unsigned)p->verdict | p->fragment | p->notes | (p->octets > limit);
	}
	return odd == 0;
}

/* Whether some may be of our own exports, by their ports alone: of few exports that is seen at once. */
static bool account_may_be_own(const struct own_flows *own, const struct packet *packets, size_t size,
			       unsigned n)
{
	unsigned found = own->n > FEW_FLOWS;

	for (unsigned k = 0; !found && k < own->n; k++)
		for (unsigned i = 0; i < n; i++)
			found |= packet_of_const(packets, size, i)->key.dst_port == own->flows[k].dst_port;
	return found;
}

unsigned account_sort(struct meter_stats *s, struct flow_stats *flows, struct fragment_table *fragments,
		      const struct own_flows *own, struct packet *packets, size_t size, unsigned n,
		      uint32_t mtu)
{
	unsigned kept = 0;

	if (account_is_plain(packets, size, n, mtu ? mtu : UINT64_MAX) &&
	    !(own && account_may_be_own(own, packets, size, n)))
		return n;
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = packet_of(packets, size, i);

		if (own && own->n && p->verdict == PACKET_METERED && account_is_own(own, &p->key))
			p->verdict = PACKET_OWN_EXPORT;
		if (p->verdict != PACKET_METERED) {
			account_ignore(s, p);
			continue;
		}
		if (p->fragment != PACKET_FRAGMENT_NONE && fragments)
			fragment_track(fragments, p, flows);
		for (unsigned notes = p->notes; notes; notes &= notes - 1)
			s->notes[__builtin_ctz(notes)]++;
		if (mtu && p->octets > mtu)
			s->oversized++;
		if (kept != i)
			packet_copy(packet_of(packets, size, kept), p, size);
		kept++;
	}
	return kept;
}

void account_count(struct meter_stats *s, const struct packet *packets, size_t size, unsigned n)
{
	uint64_t octets = 0, link_octets = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct packet *p = packet_of_const(packets, size, i);

		octets += p->octets;
		link_octets += p->link_octets;
	}
	s->received_packets += n;
	s->received_octets += link_octets;
	s->metered_packets += n;
	s->metered_octets += octets;
	s->metered_link_octets += link_octets;
}
