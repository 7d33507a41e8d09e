/*
 * csv: a line for each flow, its values separated by commas and quoted where they have to be (RFC 4180);
 * lines end with LF.  The first line has the names of the elements.
 *
 * There is one column for each element that any flow can have: sourceIPv4Address and sourceIPv6Address stand
 * next to each other, and what a flow has not is empty.  Instants are ISO 8601, as fine as the element is:
 * UTC, or with the zone's difference.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flow_templates.h"
#include "lines.h"

enum { COLUMNS_MOST = 3 * TEMPLATE_FIELDS, NO_FIELD = 0xff };

struct csv {
	struct flow_templates flow;
	const struct ie *columns[COLUMNS_MOST];
	unsigned n;
	uint8_t field[FLOW_MASKS][COLUMNS_MOST]; /* of the mask's template that stands there */
	char *heading;
};

static unsigned csv_find(const struct csv *s, const struct ie *ie)
{
	unsigned i = 0;

	while (i < s->n && s->columns[i] != ie)
		i++;
	return i;
}

/* Next to what says the same of the other family, or at the end. */
static int csv_add_column(struct csv *s, const struct ie *ie)
{
	const struct ie *other = ie_counterpart(ie);
	unsigned at = other ? csv_find(s, other) + 1 : s->n;

	if (csv_find(s, ie) < s->n)
		return 0;
	if (s->n == COLUMNS_MOST)
		return -E2BIG;
	if (at > s->n)
		at = s->n;
	memmove(&s->columns[at + 1], &s->columns[at], (s->n - at) * sizeof(s->columns[0]));
	s->columns[at] = ie;
	s->n++;
	return 0;
}

static void csv_map(struct csv *s)
{
	for (unsigned mask = 0; mask < FLOW_MASKS; mask++) {
		const struct template *t = s->flow.made[mask];

		for (unsigned i = 0; i < s->n; i++)
			s->field[mask][i] = NO_FIELD;
		for (unsigned i = 0; t && i < t->n_fields; i++)
			s->field[mask][csv_find(s, t->fields[i].ie)] = (uint8_t)i;
	}
}

static int csv_make_heading(struct csv *s)
{
	size_t size = 2;

	for (unsigned i = 0; i < s->n; i++)
		size += strlen(s->columns[i]->name) + 1;
	s->heading = calloc(1, size);
	if (!s->heading)
		return -ENOMEM;
	for (unsigned i = 0, n = 0; i < s->n; i++)
		n += (unsigned)snprintf(s->heading + n, size - n, "%s%s", s->columns[i]->name,
					i + 1 < s->n ? "," : "\n");
	return 0;
}

static int csv_setup(struct collector *c, struct diag *diag)
{
	struct csv *s = calloc(1, sizeof(*s));
	int r;

	c->state = s;
	if (!s)
		return diag_set(diag, -ENOMEM, "%s: no memory for a field list", c->config.url);
	r = flow_templates_init(&s->flow, PX, &c->exporter->config, false, diag);
	if (r)
		return r;
	r = flow_templates_make_all(&s->flow);
	for (unsigned mask = 0; r == 0 && mask < FLOW_MASKS; mask++)
		for (unsigned i = 0; r == 0 && s->flow.made[mask] && i < s->flow.made[mask]->n_fields; i++)
			r = csv_add_column(s, s->flow.made[mask]->fields[i].ie);
	csv_map(s);
	if (r == 0)
		r = csv_make_heading(s);
	return r ? diag_set(diag, r, "%s: %s", c->config.url, strerror(-r)) : 0;
}

static void csv_close(struct collector *c)
{
	struct csv *s = c->state;

	if (!s)
		return;
	flow_templates_deinit(&s->flow);
	free(s->heading);
	free(s);
}

static const char *csv_heading(struct collector *c)
{
	return ((struct csv *)c->state)->heading;
}

static void csv_put_string(struct wire *w, const uint8_t *p, unsigned length)
{
	bool quoted = false;

	for (unsigned i = 0; i < length; i++)
		quoted |= p[i] == ',' || p[i] == '"' || p[i] == '\n' || p[i] == '\r';
	if (!quoted) {
		wire_put_bytes(w, p, length);
		return;
	}
	wire_put_u8(w, '"');
	for (unsigned i = 0; i < length; i++) {
		if (p[i] == '"')
			wire_put_u8(w, '"');
		wire_put_u8(w, p[i]);
	}
	wire_put_u8(w, '"');
}

static void csv_put_time(struct wire *w, const struct line_value *v, bool local)
{
	unsigned digits = v->ie->encode == IE_ENCODE_SEC    ? 0
			  : v->ie->encode == IE_ENCODE_MSEC ? 3
			  : v->ie->encode == IE_ENCODE_USEC ? 6
							    : 9;
	uint64_t fraction = v->number % NS_PER_SEC;
	struct tm tm = line_time(v->number, local);
	char text[64];
	size_t n;

	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	wire_put_bytes(w, text, n);
	for (unsigned i = digits; i < 9; i++)
		fraction /= 10;
	if (digits) {
		wire_put_u8(w, '.');
		line_put_number(w, fraction, digits);
	}
	if (!local) {
		wire_put_u8(w, 'Z');
		return;
	}
	n = (size_t)snprintf(text, sizeof(text), "%c%02d:%02d", tm.tm_gmtoff < 0 ? '-' : '+',
			     abs((int)tm.tm_gmtoff) / 3600, abs((int)tm.tm_gmtoff) / 60 % 60);
	wire_put_bytes(w, text, n);
}

static void csv_put_value(struct wire *w, const struct line_value *v, bool local)
{
	switch (v->kind) {
	case LINE_NUMBER:
		line_put_number(w, v->number, 1);
		return;
	case LINE_ADDRESS:
		line_put_address(w, v->octets, v->length);
		return;
	case LINE_STRING:
		csv_put_string(w, v->octets, v->length);
		return;
	case LINE_TIME:
		csv_put_time(w, v, local);
	}
}

static void csv_put_row(struct collector *c, const struct flow_record *r)
{
	struct csv *s = c->state;
	unsigned mask = flow_templates_mask(&s->flow, r);
	const struct template *t = s->flow.made[mask];
	struct line_value values[TEMPLATE_FIELDS];
	struct wire *w = &c->message.wire;
	struct line_walk walk;

	if (!t || line_walk_init(&walk, c, t, r) < 0) {
		w->overflow = true;
		return;
	}
	for (unsigned i = 0; i < t->n_fields; i++)
		values[i] = line_walk_next(&walk, i);
	for (unsigned i = 0; i < s->n; i++) {
		unsigned field = s->field[mask][i];

		if (i)
			wire_put_u8(w, ',');
		if (field != NO_FIELD)
			csv_put_value(w, &values[field], c->config.local_time);
	}
	wire_put_u8(w, '\n');
}

static void csv_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	lines_record(c, r, now, csv_put_row);
}

const struct format_ops csv_ops = {
	.name = "csv",
	.clock = EXPORT_CLOCK_SECONDS,
	.has_fields = true,
	.setup = csv_setup,
	.close = csv_close,
	.heading = csv_heading,
	.record = csv_record,
	.finish = lines_finish,
};
