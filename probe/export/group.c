/*
 * group: which collectors get a record (--collector-group).
 *
 * The group is the collectors that are hosts; files get every record.  Each keeps its own templates, sequence
 * and queue, whatever the others do: what one has taken is never given to another.
 *
 * failover: the first that is up, in the order of the options; when none is, the first that may still come
 * up.  A datagram collector is up unless its host refuses datagrams; it is asked every second whether it is
 * back (collector_watch_errors()).  hash: both directions of a connection, and all its records, go to one
 * collector.  It stays the same one when that is down: what waits for it is in its queue.
 */
#include <string.h>

#include "format.h"

#include "pitot/protocol.h"

#define WAIT_NS (10 * NS_PER_SEC) /* offline: for the first of a failover group */

void group_init(struct exporter *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++) {
		if (!e->collectors[i].format->record)
			continue;
		e->all |= UINT64_C(1) << i;
		if (e->collectors[i].config.transport != TRANSPORT_FILE)
			e->group |= UINT64_C(1) << i;
	}
}

bool group_takes(const struct exporter *e, unsigned i)
{
	return e->all >> i & 1;
}

bool group_shares(const struct exporter *e, unsigned i)
{
	return e->config.group != COLLECTOR_GROUP_REPLICATE && e->group >> i & 1;
}

static uint64_t group_mix(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}

static uint64_t group_end_hash(const uint8_t address[16], uint64_t port)
{
	uint64_t a, b;

	memcpy(&a, address, 8);
	memcpy(&b, address + 8, 8);
	return group_mix(group_mix(a ^ UINT64_C(0x9e3779b97f4a7c15)) ^ group_mix(b + port));
}

/* The same for both directions: ends are added, and ICMP's type and code, which are no port, left out. */
static uint64_t group_flow_hash(const struct flow_key *k)
{
	bool ports = !protocol_has_type(k->protocol);
	uint64_t ends = group_end_hash(k->src, ports ? k->src_port : 0) +
			group_end_hash(k->dst, ports ? k->dst_port : 0);

	return group_mix(ends ^ k->protocol);
}

static uint64_t group_choose_by_hash(const struct exporter *e, const struct flow_record *r)
{
	unsigned n = (unsigned)__builtin_popcountll(e->group), nth = (unsigned)(group_flow_hash(&r->key) % n);
	uint64_t left = e->group;

	while (nth-- > 0)
		left &= left - 1;
	return left & -left;
}

static bool group_is_up(const struct collector *c)
{
	return c->transport->state == TRANSPORT_STATE_UP && !(c->error_ns && !c->transport->limits.spooled);
}

static uint64_t group_first_up(const struct exporter *e)
{
	uint64_t maybe = 0;

	for (unsigned i = 0; i < e->n_collectors; i++) {
		const struct collector *c = &e->collectors[i];

		if (!(e->group >> i & 1))
			continue;
		if (group_is_up(c))
			return UINT64_C(1) << i;
		if (!maybe && c->transport->state == TRANSPORT_STATE_CONNECTING)
			maybe = UINT64_C(1) << i;
	}
	return maybe ? maybe : e->group & -e->group;
}

static bool group_is_undecided(const struct exporter *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++) {
		const struct collector *c = &e->collectors[i];

		if (!(e->group >> i & 1))
			continue;
		if (group_is_up(c))
			return false;
		if (c->transport->state == TRANSPORT_STATE_CONNECTING)
			return true;
	}
	return false;
}

/* Offline all records may be there before the first collector has answered. */
static void group_wait_for_first(struct exporter *e)
{
	uint64_t begun_ns = waiting_now_ns(e->config.waiting), passed_ns = 0;
	uint64_t most_ns = e->config.stop_ns < WAIT_NS ? e->config.stop_ns : WAIT_NS;

	e->group_waited = true;
	for (; passed_ns < most_ns; passed_ns = waiting_now_ns(e->config.waiting) - begun_ns) {
		struct clock_time now = {e->now.realtime_ns + passed_ns, e->now.monotonic_ns + passed_ns};

		for (unsigned i = 0; i < e->n_collectors; i++)
			e->collectors[i].transport->ops->tick(e->collectors[i].transport, &now);
		if (!group_is_undecided(e))
			return;
		waiting_poll(e->config.waiting, NULL, 0, 5);
	}
}

uint64_t group_choose(struct exporter *e, const struct flow_record *r)
{
	if (e->config.group == COLLECTOR_GROUP_REPLICATE || !(e->group & (e->group - 1)))
		return e->all;
	if (e->config.group == COLLECTOR_GROUP_HASH)
		return (e->all & ~e->group) | group_choose_by_hash(e, r);
	if (e->config.offline && !e->group_waited)
		group_wait_for_first(e);
	return (e->all & ~e->group) | group_first_up(e);
}

/* ---- what nobody was sent */

struct group_losses {
	struct totals least, shared;
	bool shares, any;
};

static void group_count(struct group_losses *g, const struct collector_stats *s, bool takes, bool shares)
{
	struct totals own = s->lost;

	totals_add(&own, &s->unfit);
	if (shares) /* no record went to two of them */
		totals_add(&g->shared, &own);
	else if (takes && g->any)
		totals_least(&g->least, &own);
	else if (takes)
		g->least = own;
	g->shares |= shares;
	g->any |= takes && !shares;
}

static struct totals group_sum(struct group_losses *g)
{
	if (g->shares && g->any)
		totals_least(&g->least, &g->shared);
	return g->any ? g->least : g->shared;
}

struct totals group_not_sent(const struct exporter *e)
{
	struct group_losses g = {0};

	for (unsigned i = 0; i < e->n_collectors; i++)
		group_count(&g, &e->collectors[i].stats, group_takes(e, i), group_shares(e, i));
	return group_sum(&g);
}

struct totals collectors_not_sent(const struct collector_stats *c, unsigned n)
{
	struct group_losses g = {0};

	for (unsigned i = 0; i < n; i++)
		group_count(&g, &c[i], c[i].takes, c[i].shares);
	return group_sum(&g);
}

/* ---- what was estimated of what they were sent */

struct group_estimates {
	struct totals most, shared;
};

static void group_count_estimate(struct group_estimates *g, const struct totals *own, bool shares)
{
	if (shares)
		totals_add(&g->shared, own);
	else if (own->packets > g->most.packets)
		g->most = *own;
}

static struct totals group_sum_estimates(const struct group_estimates *g)
{
	return g->shared.packets > g->most.packets ? g->shared : g->most;
}

struct totals group_estimated(const struct exporter *e)
{
	struct group_estimates g = {0};

	for (unsigned i = 0; i < e->n_collectors; i++)
		group_count_estimate(&g, &e->collectors[i].stats.estimated, group_shares(e, i));
	return group_sum_estimates(&g);
}

struct totals collectors_estimated(const struct collector_stats *c, unsigned n)
{
	struct group_estimates g = {0};

	for (unsigned i = 0; i < n; i++)
		group_count_estimate(&g, &c[i].estimated, c[i].shares);
	return group_sum_estimates(&g);
}
