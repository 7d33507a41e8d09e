/* top: see top.h. */
#include "top.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/hash.h"
#include "pitot/protocol.h"
#include "pitot/totals.h"

enum { SLOTS = 131072 /* a power of two, more than TOP_ROOM */ };

struct top_key {
	uint8_t src[16], dst[16]; /* a host, a port: dst is zero */
	uint16_t src_port, dst_port;
	uint8_t protocol, ip_version;
	uint8_t zero[2];
};
static_assert(sizeof(struct top_key) == 40, "hashed and compared: no implicit padding");

struct top_entry {
	struct top_key key;
	struct totals sum; /* records 0: free */
};

struct top_table {
	struct top_entry *entries;
	unsigned n;
	struct totals others; /* that there was no room for */
};

enum top_kind { TOP_FLOWS, TOP_HOSTS, TOP_PORTS, TOP_KINDS };

struct top {
	struct hash_seed seed;
	struct top_table tables[TOP_KINDS];
	uint64_t octets;
};

int top_new(struct top **tp)
{
	struct top *t = calloc(1, sizeof(*t));
	int r = t ? hash_seed_random(&t->seed) : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < TOP_KINDS; i++) {
		t->tables[i].entries = calloc(SLOTS, sizeof(*t->tables[i].entries));
		r = t->tables[i].entries ? 0 : -ENOMEM;
	}
	if (r < 0) {
		top_free(t);
		return r;
	}
	*tp = t;
	return 0;
}

void top_free(struct top *t)
{
	for (unsigned i = 0; t && i < TOP_KINDS; i++)
		free(t->tables[i].entries);
	free(t);
}

static void top_add(struct top *t, enum top_kind kind, const struct top_key *key, const struct flow_record *r)
{
	struct top_table *table = &t->tables[kind];
	uint64_t at = hash_memory(&t->seed, key, sizeof(*key));
	struct top_entry *e;

	for (;; at++) { /* there are free ones */
		e = &table->entries[at % SLOTS];
		if (e->sum.records == 0 || memcmp(&e->key, key, sizeof(*key)) == 0)
			break;
	}
	if (e->sum.records == 0 && table->n == TOP_ROOM) {
		totals_count(&table->others, r->packets, r->octets);
		return;
	}
	if (e->sum.records == 0) {
		e->key = *key;
		table->n++;
	}
	totals_count(&e->sum, r->packets, r->octets);
}

static void top_count_hosts(struct top *t, const struct flow_record *r)
{
	struct top_key key = {.ip_version = r->key.ip_version};

	memcpy(key.src, r->key.src, sizeof(key.src));
	top_add(t, TOP_HOSTS, &key, r);
	if (memcmp(r->key.src, r->key.dst, sizeof(key.src)) == 0)
		return;
	memcpy(key.src, r->key.dst, sizeof(key.src));
	top_add(t, TOP_HOSTS, &key, r);
}

static void top_count_ports(struct top *t, const struct flow_record *r)
{
	struct top_key key = {.protocol = r->key.protocol, .src_port = r->key.src_port};

	if (!protocol_has_ports(r->key.protocol))
		return;
	top_add(t, TOP_PORTS, &key, r);
	if (r->key.src_port == r->key.dst_port)
		return;
	key.src_port = r->key.dst_port;
	top_add(t, TOP_PORTS, &key, r);
}

void top_count(struct top *t, const struct flow_record *r)
{
	struct top_key key = {.src_port = r->key.src_port,
			      .dst_port = r->key.dst_port,
			      .protocol = r->key.protocol,
			      .ip_version = r->key.ip_version};

	memcpy(key.src, r->key.src, sizeof(key.src));
	memcpy(key.dst, r->key.dst, sizeof(key.dst));
	t->octets += r->octets;
	top_add(t, TOP_FLOWS, &key, r);
	top_count_hosts(t, r);
	top_count_ports(t, r);
}

/* ---- printing */

/* Most octets first; equal ones in the order of their keys, so that two runs print the same. */
static int top_compare(const void *a, const void *b)
{
	const struct top_entry *x = a, *y = b;

	if (x->sum.octets != y->sum.octets)
		return x->sum.octets < y->sum.octets ? 1 : -1;
	if ((x->sum.records == 0) != (y->sum.records == 0))
		return x->sum.records == 0 ? 1 : -1;
	return memcmp(&x->key, &y->key, sizeof(x->key));
}

static const char *top_address(const struct top_key *k, const uint8_t *address, char text[INET6_ADDRSTRLEN])
{
	return inet_ntop(k->ip_version == 6 ? AF_INET6 : AF_INET, address, text, INET6_ADDRSTRLEN);
}

static void top_name(enum top_kind kind, const struct top_key *k, char *out, size_t size)
{
	char a[INET6_ADDRSTRLEN] = "?", b[INET6_ADDRSTRLEN] = "?", text[PROTOCOL_TEXT];
	const char *open = k->ip_version == 6 ? "[" : "", *close = k->ip_version == 6 ? "]" : "";
	const char *protocol = protocol_word(text, k->protocol);

	if (kind == TOP_HOSTS)
		snprintf(out, size, "%s", top_address(k, k->src, a));
	else if (kind == TOP_PORTS)
		snprintf(out, size, "%s %u", protocol, k->src_port);
	else if (protocol_has_type(k->protocol))
		snprintf(out, size, "%s %s -> %s type %u code %u", protocol, top_address(k, k->src, a),
			 top_address(k, k->dst, b), k->dst_port >> 8, k->dst_port & 255u);
	else if (!protocol_has_ports(k->protocol))
		snprintf(out, size, "%s %s -> %s", protocol, top_address(k, k->src, a),
			 top_address(k, k->dst, b));
	else
		snprintf(out, size, "%s %s%s%s:%u -> %s%s%s:%u", protocol, open, top_address(k, k->src, a),
			 close, k->src_port, open, top_address(k, k->dst, b), close, k->dst_port);
}

static void top_print_table(struct top *t, enum top_kind kind, unsigned n,
			    void (*print)(void *ctx, const char *line), void *ctx)
{
	static const char *const names[TOP_KINDS] = {"flows", "hosts, sent or received",
						     "ports, of either end"};
	struct top_table *table = &t->tables[kind];
	char line[256], name[160];

	qsort(table->entries, SLOTS, sizeof(*table->entries), top_compare);
	print(ctx, "");
	if (table->others.records)
		snprintf(line, sizeof(line),
			 "top %u of the first %u %s, by octets; %llu records with %llu octets of others came "
			 "later",
			 n, table->n, names[kind], (unsigned long long)table->others.records,
			 (unsigned long long)table->others.octets);
	else
		snprintf(line, sizeof(line), "top %u of %u %s, by octets", n < table->n ? n : table->n,
			 table->n, names[kind]);
	print(ctx, line);
	for (unsigned i = 0; i < n && i < table->n; i++) {
		const struct top_entry *e = &table->entries[i];

		top_name(kind, &e->key, name, sizeof(name));
		snprintf(line, sizeof(line), "%14llu %5.1f %% %10llu packets  %s",
			 (unsigned long long)e->sum.octets,
			 t->octets ? 100.0 * (double)e->sum.octets / (double)t->octets : 0.0,
			 (unsigned long long)e->sum.packets, name);
		print(ctx, line);
	}
}

void top_print(struct top *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx)
{
	for (unsigned kind = 0; kind < TOP_KINDS; kind++)
		top_print_table(t, (enum top_kind)kind, n, print, ctx);
}
