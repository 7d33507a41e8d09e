/*
 * enrich_route: next hop, egress interface and the lengths of both prefixes, as the host's routes are now.
 *
 * A pair of addresses is asked for once, until something changes; where a route has several next hops, which
 * one is chosen may depend on the ports, and every record asks.  A record whose egress interface was seen
 * keeps it. The prefix of the source is that of the way back, whose rules are those of a packet that comes
 * from where this one goes.
 *
 * Of a flow that was in a tunnel these are the inner packet's addresses, which is what the host would do with
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "enricher.h"
#include "pitot/hash.h"
#include "pitot/netif.h"

enum { ROUTE_KEPT = 8192, ROUTE_TCP = 6, ROUTE_UDP = 17 };

struct route_key {
	uint8_t src[16], dst[16];
	uint32_t ingress, egress; /* the system's */
	uint8_t ip_version, tos;
	uint8_t zero[6];
};
static_assert(sizeof(struct route_key) == 48, "hashed and compared: no implicit padding");

struct route_answer {
	uint32_t egress; /* the system's; 0: not forwarded */
	struct block_route block;
	bool several;
};

struct enrich_route {
	struct netif_routes *routes;
	struct hash_seed seed;
	uint64_t now; /* answers of another one are old; from 1 */
	struct route_entry {
		uint64_t then;
		struct route_key key;
		struct route_answer answer;
	} entries[ROUTE_KEPT];
};

static void enrich_route_close(void *state)
{
	struct enrich_route *e = state;

	netif_routes_close(e->routes);
	free(e);
}

static int enrich_route_open(void **state, struct diag *diag)
{
	struct enrich_route *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return diag_set(diag, -ENOMEM, "routes: out of memory");
	e->now = 1;
	r = hash_seed_random(&e->seed);
	if (r < 0)
		diag_set(diag, r, "routes: no random numbers");
	if (r == 0)
		r = netif_routes_open(&e->routes, diag);
	if (r < 0)
		enrich_route_close(e);
	else
		*state = e;
	return r;
}

static void enrich_route_changed(void *state)
{
	((struct enrich_route *)state)->now++;
}

/* The packet that goes the other way. */
static struct netif_question enrich_route_back(const struct netif_question *q, uint32_t egress)
{
	struct netif_question back = *q;

	memcpy(back.src, q->dst, sizeof(back.src));
	memcpy(back.dst, q->src, sizeof(back.dst));
	back.src_port = q->dst_port;
	back.dst_port = q->src_port;
	back.ingress = egress;
	back.egress = 0;
	return back;
}

/* 0 or negative errno: it is not known, and may be the next time. */
static int enrich_route_ask(struct enrich_route *e, const struct netif_question *q, struct route_answer *a)
{
	struct netif_question back;
	struct netif_route match, way = {0};
	int r = netif_routes_ask(e->routes, q, true, &match);

	*a = (struct route_answer){0};
	if (r == 0) {
		a->block.dst_prefix = match.prefix;
		a->several = match.several;
		r = netif_routes_ask(e->routes, q, false, &way);
	}
	if (r < 0)
		return r;
	if (r == 0 && way.forwarded) {
		a->egress = way.egress;
		memcpy(a->block.next_hop, way.next_hop, sizeof(a->block.next_hop));
	}
	back = enrich_route_back(q, q->egress ? q->egress : a->egress);
	r = netif_routes_ask(e->routes, &back, true, &match);
	if (r == NETIF_E_NO_ROUTE && back.ingress) { /* it would not be let in that way */
		back.ingress = 0;
		r = netif_routes_ask(e->routes, &back, true, &match);
	}
	if (r == 0)
		a->block.src_prefix = match.prefix;
	return r < 0 ? r : 0;
}

static struct netif_question enrich_route_question(const struct route_key *k, const struct flow_record *r)
{
	bool ports = r->key.protocol == ROUTE_TCP || r->key.protocol == ROUTE_UDP;
	struct netif_question q = {.family = k->ip_version,
				   .ingress = k->ingress,
				   .egress = k->ingress ? 0 : k->egress,
				   .tos = k->tos,
				   .protocol = r->key.protocol,
				   .src_port = ports ? r->key.src_port : 0,
				   .dst_port = ports ? r->key.dst_port : 0};

	memcpy(q.src, k->src, sizeof(q.src));
	memcpy(q.dst, k->dst, sizeof(q.dst));
	return q;
}

static void enrich_route_look(void *state, const struct enrich_interfaces *interfaces, struct flow_record *r,
			      void *block)
{
	struct enrich_route *e = state;
	struct route_key key = {.ingress = r->ingress ? enrich_system_index(interfaces, r->ingress) : 0,
				.egress = r->egress ? enrich_system_index(interfaces, r->egress) : 0,
				.ip_version = r->key.ip_version,
				.tos = r->tos};
	struct route_entry *entry;

	memcpy(key.src, r->key.src, sizeof(key.src));
	memcpy(key.dst, r->key.dst, sizeof(key.dst));
	entry = &e->entries[hash_memory(&e->seed, &key, sizeof(key)) % ROUTE_KEPT];
	if (entry->then != e->now || memcmp(&entry->key, &key, sizeof(key)) != 0 || entry->answer.several) {
		struct netif_question q = enrich_route_question(&key, r);

		entry->key = key;
		entry->then = enrich_route_ask(e, &q, &entry->answer) == 0 ? e->now : 0;
	}
	*(struct block_route *)block = entry->answer.block;
	if (!r->egress && entry->answer.egress)
		r->egress = enrich_exported_index(interfaces, entry->answer.egress);
}

const struct enricher_ops enrich_route_ops = {
	.open = enrich_route_open,
	.look = enrich_route_look,
	.changed = enrich_route_changed,
	.close = enrich_route_close,
};
