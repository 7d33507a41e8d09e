/* control_streams: see control_streams.h. */
#include "control_streams.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_internal.h"
#include "pitot/control_protocol.h"

static const uint64_t room_ns = 10 * NS_PER_SEC; /* how long the way to the exporting process may be full */

enum { SORTED_DEFAULT = 1000 };

/* What streams have in common; the first member. */
struct stream {
	struct control_stream stream;
	struct control *control;
	json_t *id;
	struct flow_filter filter;
	unsigned worker; /* that is asked */
	uint32_t cursor; /* its next entry */
};

static char *stream_fail(const struct stream *s, bool *ended, const char *why)
{
	*ended = true;
	return control_requests_print(s->id, NULL, false, why);
}

/* NULL: the answer is good. */
static const char *stream_outcome(int r, const char *late)
{
	if (r == MAILBOX_E_GONE)
		return "pitot is ending: there are no flows any more";
	if (r == MAILBOX_E_LATE)
		return late;
	return r < 0 ? "the process refused" : NULL;
}

static void stream_free(struct control_stream *p)
{
	struct stream *s = (struct stream *)p;

	json_decref(s->id);
	free(s);
}

/* size octets that begin with a struct stream. */
static void *stream_new(size_t size, struct control *r, const json_t *request,
			char *(*next)(struct control_stream *s, bool *ended))
{
	struct stream *s = calloc(1, size);

	if (!s)
		return NULL;
	s->stream = (struct control_stream){.next = next, .free = stream_free};
	s->control = r;
	s->id = json_incref(json_object_get(request, "id"));
	return s;
}

static bool stream_filter(struct flow_filter *f, const json_t *request, struct diag *diag)
{
	const json_t *text = json_object_get(request, "filter");

	if (!text || json_is_string(text))
		return flow_filter_parse(f, json_string_value(text), diag) == 0;
	diag_set(diag, -1, "filter: a string is wanted");
	return false;
}

/* ---- flows */

enum flows_sort { FLOWS_UNSORTED, FLOWS_OCTETS, FLOWS_PACKETS, FLOWS_AGE, FLOWS_RATE };
static const char *const flows_sorts[] = {NULL, "octets", "packets", "age", "rate"};

struct flows_entry {
	double key;
	uint64_t now_ns;
	unsigned worker;
	struct command_flow flow;
};

struct flows {
	struct stream s;
	enum flows_sort sort;
	size_t top;		  /* most to list; unsorted: 0 is all */
	struct flows_entry *best; /* sorted: a heap whose root is the least; then in order */
	size_t n_best, told;
	bool ordered;
	uint64_t looked, selected, listed;
};

static double stream_flows_seconds(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

/* Bits a second over its life, of which a second is the least. */
static double stream_flows_rate(const struct command_flow *f)
{
	double s = stream_flows_seconds(f->first_ns, f->last_ns);

	return 8 * (double)f->octets / (s < 1 ? 1 : s);
}

/* Packets of a file may be younger than the clock that ages flows. */
static double stream_flows_age(const struct flows_entry *e)
{
	const struct command_flow *f = &e->flow;

	return stream_flows_seconds(f->first_ns, e->now_ns > f->last_ns ? e->now_ns : f->last_ns);
}

static double stream_flows_key(enum flows_sort sort, const struct flows_entry *e)
{
	switch (sort) {
	case FLOWS_PACKETS:
		return (double)e->flow.packets;
	case FLOWS_AGE:
		return stream_flows_age(e);
	case FLOWS_RATE:
		return stream_flows_rate(&e->flow);
	default:
		return (double)e->flow.octets;
	}
}

static void stream_flows_sift(struct flows_entry *heap, size_t n, size_t i)
{
	struct flows_entry entry = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < n && heap[child + 1].key < heap[child].key)
			child++;
		if (child >= n || heap[child].key >= entry.key)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = entry;
}

static void stream_flows_keep(struct flows *l, const struct flows_entry *e)
{
	if (l->n_best < l->top) {
		l->best[l->n_best++] = *e;
		for (size_t i = l->n_best / 2; l->n_best == l->top && i-- > 0;)
			stream_flows_sift(l->best, l->n_best, i);
	} else if (e->key > l->best[0].key) {
		l->best[0] = *e;
		stream_flows_sift(l->best, l->n_best, 0);
	}
}

static int stream_flows_compare(const void *a, const void *b)
{
	double x = ((const struct flows_entry *)a)->key, y = ((const struct flows_entry *)b)->key;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* By hand: a million of them are asked for at times. */
static void stream_flows_print(FILE *out, const struct flows_entry *e)
{
	const struct command_flow *f = &e->flow;
	int family = f->key.ip_version == 6 ? AF_INET6 : AF_INET;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	inet_ntop(family, f->key.src, src, sizeof(src));
	inet_ntop(family, f->key.dst, dst, sizeof(dst));
	fprintf(out,
		"{\"protocol\":%u,\"src\":\"%s\",\"src_port\":%u,\"dst\":\"%s\",\"dst_port\":%u,"
		"\"packets\":%llu,\"octets\":%llu,\"first\":%llu.%03u,\"last\":%llu.%03u,\"age\":%.3f,"
		"\"idle\":%.3f,\"rate\":%.0f,\"tcp_flags\":%u,\"tos\":%u,\"vlan\":%u,\"in\":%u,\"out\":%u,"
		"\"thread\":%u}",
		f->key.protocol, src, f->key.src_port, dst, f->key.dst_port, (unsigned long long)f->packets,
		(unsigned long long)f->octets, (unsigned long long)(f->first_ns / NS_PER_SEC),
		(unsigned)(f->first_ns % NS_PER_SEC / NS_PER_MSEC),
		(unsigned long long)(f->last_ns / NS_PER_SEC),
		(unsigned)(f->last_ns % NS_PER_SEC / NS_PER_MSEC), stream_flows_age(e),
		stream_flows_seconds(f->last_ns, e->now_ns), stream_flows_rate(f), f->tcp_flags, f->tos,
		f->vlan, f->ingress, f->egress, e->worker);
}

static char *stream_flows_line(struct flows *l, const struct flows_entry *entries, size_t n)
{
	char *text = NULL, *head = json_dumps(l->s.id, JSON_COMPACT | JSON_ENCODE_ANY | CONTROL_REALS);
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool has_id = json_is_string(l->s.id) || json_is_number(l->s.id);

	if (!out) {
		free(head);
		return NULL;
	}
	fprintf(out, "{%s%s%s\"ok\":true,\"more\":true,\"result\":[", has_id ? "\"id\":" : "",
		has_id && head ? head : "", has_id ? "," : "");
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc(',', out);
		stream_flows_print(out, &entries[i]);
	}
	fputs("]}", out);
	free(head);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	l->listed += n;
	return text;
}

/* What one look has brought: kept, or the next line. */
static char *stream_flows_take(struct flows *l, const struct command_flows_seen *seen, bool *ended)
{
	struct flows_entry entries[COMMAND_FLOWS_MAX];
	size_t n = 0;

	l->looked += seen->looked;
	for (uint32_t i = 0; i < seen->n && i < COMMAND_FLOWS_MAX; i++) {
		struct flows_entry e = {
			.now_ns = seen->now_ns, .worker = l->s.worker, .flow = seen->flows[i]};

		l->selected++;
		e.key = stream_flows_key(l->sort, &e);
		if (l->sort)
			stream_flows_keep(l, &e);
		else
			entries[n++] = e;
	}
	if (n) {
		char *line = stream_flows_line(l, entries, n);

		*ended = !line;
		return line;
	}
	return NULL;
}

static char *stream_flows_next(struct control_stream *p, bool *ended)
{
	struct flows *l = (struct flows *)p;
	struct control *r = l->s.control;
	const char *why;
	json_t *sum;

	if (l->s.worker < r->n_workers) {
		struct command_flows ask = {.filter = l->s.filter, .cursor = l->s.cursor};
		struct command_flows_seen seen;
		char *line;

		why = stream_outcome(command_ask_flows(&r->shared.to_metering[l->s.worker], &ask, &seen),
				     "the metering process does not answer");
		if (why)
			return stream_fail(&l->s, ended, why);
		line = stream_flows_take(l, &seen, ended);
		l->s.cursor = seen.more ? seen.cursor : 0;
		l->s.worker += !seen.more;
		return line;
	}
	if (!l->ordered && l->n_best)
		qsort(l->best, l->n_best, sizeof(*l->best), stream_flows_compare);
	l->ordered = true;
	if (l->told < l->n_best) {
		size_t n = l->n_best - l->told < COMMAND_FLOWS_MAX ? l->n_best - l->told : COMMAND_FLOWS_MAX;
		char *line = stream_flows_line(l, l->best + l->told, n);

		l->told += n;
		*ended = !line;
		return line;
	}
	*ended = true;
	sum = json_pack("{s:I, s:I, s:I}", "looked", (json_int_t)l->looked, "selected",
			(json_int_t)l->selected, "listed", (json_int_t)l->listed);
	return control_requests_print(l->s.id, sum, false, "out of memory");
}

static void stream_flows_free(struct control_stream *p)
{
	struct flows *l = (struct flows *)p;

	free(l->best);
	stream_free(p);
}

static bool stream_flows_order(struct flows *l, const json_t *request, struct diag *diag)
{
	const json_t *sort = json_object_get(request, "sort"), *top = json_object_get(request, "top");
	json_int_t n = json_integer_value(top);

	for (enum flows_sort i = FLOWS_OCTETS; sort && i <= FLOWS_RATE; i++)
		if (json_is_string(sort) && !strcmp(json_string_value(sort), flows_sorts[i]))
			l->sort = i;
	if (sort && !l->sort) {
		diag_set(diag, -1, "sort: there are octets, packets, age and rate");
		return false;
	}
	if (top && (!json_is_integer(top) || n < 1 || n > CONTROL_FLOWS_TOP)) {
		diag_set(diag, -1, "top: a number from 1 to %d is wanted", CONTROL_FLOWS_TOP);
		return false;
	}
	if (top && !l->sort)
		l->sort = FLOWS_OCTETS;
	l->top = !l->sort ? 0 : top ? (size_t)n : SORTED_DEFAULT;
	l->best = l->top ? calloc(l->top, sizeof(*l->best)) : NULL;
	if (l->top && !l->best)
		diag_set(diag, -1, "out of memory");
	return !l->top || l->best;
}

json_t *control_open_flows(struct control *r, const json_t *request, struct control_stream **stream,
			   struct diag *diag)
{
	struct flows *l = stream_new(sizeof(*l), r, request, stream_flows_next);

	if (!l)
		return NULL;
	l->s.stream.free = stream_flows_free;
	if (stream_filter(&l->s.filter, request, diag) && stream_flows_order(l, request, diag))
		*stream = &l->s.stream;
	else
		stream_flows_free(&l->s.stream);
	return NULL;
}

/* ---- flows that end */

struct ending {
	struct stream s;
	bool drop;
	uint64_t ended;
	uint64_t full_ns; /* since when there is no room for their records; 0: there was */
};

static char *stream_ending_next(struct control_stream *p, bool *ended)
{
	struct ending *e = (struct ending *)p;
	struct control *r = e->s.control;
	struct command_flows ask = {.filter = e->s.filter, .cursor = e->s.cursor, .drop = e->drop};
	struct command_flows_ended got;
	uint64_t now_ns = clock_monotonic_ns();
	const char *why;

	if (e->s.worker == r->n_workers) {
		*ended = true;
		return control_requests_print(
			e->s.id, json_pack("{s:I}", e->drop ? "dropped" : "ended", (json_int_t)e->ended),
			false, "out of memory");
	}
	why = stream_outcome(command_ask_expire(&r->shared.to_metering[e->s.worker], &ask, &got),
			     "the metering process does not answer");
	if (!why && !got.no_room)
		e->full_ns = 0;
	else if (!why && !e->full_ns)
		e->full_ns = now_ns;
	else if (!why && now_ns - e->full_ns > room_ns)
		why = "the exporting process has no room for more records";
	if (why)
		return stream_fail(&e->s, ended, why);
	e->ended += got.ended;
	e->s.cursor = got.more ? got.cursor : 0;
	e->s.worker += !got.more;
	return NULL;
}

static json_t *stream_ending_open(struct control *r, const json_t *request, struct control_stream **stream,
				  struct diag *diag, bool drop)
{
	struct ending *e = stream_new(sizeof(*e), r, request, stream_ending_next);

	if (!e)
		return NULL;
	e->drop = drop;
	if (stream_filter(&e->s.filter, request, diag))
		*stream = &e->s.stream;
	else
		stream_free(&e->s.stream);
	return NULL;
}

json_t *control_open_expire(struct control *r, const json_t *request, struct control_stream **stream,
			    struct diag *diag)
{
	return stream_ending_open(r, request, stream, diag, false);
}

json_t *control_open_delete(struct control *r, const json_t *request, struct control_stream **stream,
			    struct diag *diag)
{
	return stream_ending_open(r, request, stream, diag, true);
}

/* ---- templates */

struct templates {
	struct stream s;
	uint32_t collector, number;
	json_t *list;
};

static json_t *stream_templates_pack(const struct export_template *t, const char *url)
{
	json_t *fields = json_array();

	for (unsigned i = 0; i < t->n_fields && i < EXPORT_TEMPLATE_FIELDS; i++) {
		const struct export_template_field *f = &t->fields[i];
		json_t *field =
			json_pack("{s:s%, s:i, s:i}", "name", f->name, strnlen(f->name, sizeof(f->name)),
				  "id", f->id, "length", f->length);

		if (f->pen)
			json_object_set_new(field, "pen", json_integer(f->pen));
		json_array_append_new(fields, field);
	}
	return json_pack("{s:s, s:i, s:b, s:i, s:o}", "collector", url, "id", t->id, "options",
			 t->n_scope > 0, "scope_fields", t->n_scope, "fields", fields);
}

static char *stream_templates_next(struct control_stream *p, bool *ended)
{
	struct templates *t = (struct templates *)p;
	struct control *r = t->s.control;
	struct command_template ask = {.collector = t->collector, .number = t->number};
	struct export_template got;
	const char *why;

	if (t->collector == r->config->n_collectors) {
		*ended = true;
		return control_requests_print(t->s.id, json_incref(t->list), false, "out of memory");
	}
	why = stream_outcome(command_ask_template(&r->shared.to_exporting, &ask, &got),
			     "the exporting process does not answer");
	if (why)
		return stream_fail(&t->s, ended, why);
	if (got.there)
		json_array_append_new(t->list,
				      stream_templates_pack(&got, r->config->collectors[t->collector].url));
	t->number = got.there ? t->number + 1 : 0;
	t->collector += !got.there;
	return NULL;
}

static void stream_templates_free(struct control_stream *p)
{
	json_decref(((struct templates *)p)->list);
	stream_free(p);
}

json_t *control_open_templates(struct control *r, const json_t *request, struct control_stream **stream,
			       struct diag *diag)
{
	struct templates *t = stream_new(sizeof(*t), r, request, stream_templates_next);

	(void)diag;
	if (!t)
		return NULL;
	t->s.stream.free = stream_templates_free;
	t->list = json_array();
	*stream = &t->s.stream;
	return NULL;
}
