/*
 * model: the flow table by the book, in as few lines as possible.
 *
 * pitot(8), AGEING, applied packet by packet to an unbounded list: what test_flow_table.c and the
 * conservation test hold the real table against.  It shares nothing with it but the structs.
 */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/flow_table.h"

struct record_list {
	struct flow_record *records;
	size_t n, size;
};

static inline void record_list_add(void *ctx, const struct flow_record *r)
{
	struct record_list *l = ctx;

	if (l->n == l->size) {
		l->size = l->size ? l->size * 2 : 64;
		l->records = realloc(l->records, l->size * sizeof(*r));
		if (!l->records)
			abort();
	}
	l->records[l->n++] = *r;
}

static inline void record_list_free(struct record_list *l)
{
	free(l->records);
	*l = (struct record_list){0};
}

struct model {
	uint64_t active_ns, inactive_ns, tcp_end_ns;
	struct record_list live, ended;
};

static inline void model_start(struct flow_record *e, const struct packet *p)
{
	*e = (struct flow_record){
		.key = p->key,
		.packets = 1,
		.octets = p->octets,
		.first_ns = p->time_ns,
		.last_ns = p->time_ns,
		.ingress = p->ingress,
		.egress = p->egress,
		.min_octets = (uint32_t)p->octets,
		.max_octets = (uint32_t)p->octets,
		.flow_label = p->flow_label,
		.tcp_flags = p->tcp_flags,
		.tos = p->tos,
		.min_ttl = p->ttl,
		.max_ttl = p->ttl,
		.direction = p->direction,
	};
}

static inline void model_packet(struct model *m, const struct packet *p)
{
	struct flow_record *e = NULL;
	bool ended;
	int64_t idle, age;

	for (size_t i = 0; i < m->live.n && !e; i++)
		if (!memcmp(&m->live.records[i].key, &p->key, sizeof(struct flow_key)))
			e = &m->live.records[i];
	if (!e) {
		struct flow_record fresh;

		model_start(&fresh, p);
		record_list_add(&m->live, &fresh);
		return;
	}
	ended = (e->tcp_flags & 5) && m->tcp_end_ns != UINT64_MAX; /* FIN or RST */
	idle = (int64_t)(p->time_ns - e->last_ns);
	age = (int64_t)(p->time_ns - e->first_ns);
	e->end_reason = 0;
	if (idle > 0 && (uint64_t)idle > (ended ? m->tcp_end_ns : m->inactive_ns))
		e->end_reason = ended ? FLOW_END_DETECTED : FLOW_END_IDLE;
	else if (age > 0 && (uint64_t)age > m->active_ns)
		e->end_reason = FLOW_END_ACTIVE;
	if (e->end_reason) {
		record_list_add(&m->ended, e);
		model_start(e, p);
		return;
	}
	e->packets++;
	e->octets += p->octets;
	e->tcp_flags |= p->tcp_flags;
	if (p->time_ns > e->last_ns)
		e->last_ns = p->time_ns;
	if (p->time_ns < e->first_ns)
		e->first_ns = p->time_ns;
	if (p->octets < e->min_octets)
		e->min_octets = (uint32_t)p->octets;
	if (p->octets > e->max_octets)
		e->max_octets = (uint32_t)p->octets;
	if (p->ttl < e->min_ttl)
		e->min_ttl = p->ttl;
	if (p->ttl > e->max_ttl)
		e->max_ttl = p->ttl;
}

static inline void model_flush(struct model *m)
{
	for (size_t i = 0; i < m->live.n; i++) {
		m->live.records[i].end_reason = FLOW_END_FORCED;
		record_list_add(&m->ended, &m->live.records[i]);
	}
	m->live.n = 0;
}

static inline void model_free(struct model *m)
{
	record_list_free(&m->live);
	record_list_free(&m->ended);
}

/* Order for comparing two lists: key, first, packets. */
static inline int record_compare(const void *a, const void *b)
{
	const struct flow_record *x = a, *y = b;
	int d = memcmp(&x->key, &y->key, sizeof(struct flow_key));

	if (d)
		return d;
	if (x->first_ns != y->first_ns)
		return x->first_ns < y->first_ns ? -1 : 1;
	if (x->last_ns != y->last_ns)
		return x->last_ns < y->last_ns ? -1 : 1;
	return x->packets < y->packets ? -1 : x->packets > y->packets;
}

#endif
