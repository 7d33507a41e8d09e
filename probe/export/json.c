/*
 * json: a JSON object a line for each flow, its members the elements of the field list by IANA name.
 *
 * Addresses are text, instants are ms since 1970 as numbers (seconds for *Seconds, and a fraction in ms for
 * *Microseconds and *Nanoseconds), everything else is a number.  Times relative to sysUptime are not used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flow_templates.h"
#include "lines.h"

static int json_setup(struct collector *c, struct diag *diag)
{
	struct flow_templates *f = calloc(1, sizeof(*f));

	c->state = f;
	if (!f)
		return diag_set(diag, -ENOMEM, "%s: no memory for a field list", c->config.url);
	return flow_templates_init(f, PX, &c->exporter->config, false, diag);
}

static void json_close(struct collector *c)
{
	if (c->state)
		flow_templates_deinit(c->state);
	free(c->state);
}

static void json_put_string(struct wire *w, const uint8_t *p, unsigned length)
{
	static const char hex[] = "0123456789abcdef";

	wire_put_u8(w, '"');
	for (unsigned i = 0; i < length; i++) {
		unsigned char ch = p[i];

		if (ch < 0x20 || ch == 0x7f) {
			wire_put_bytes(w, "\\u00", 4);
			wire_put_u8(w, (uint8_t)hex[ch >> 4]);
			wire_put_u8(w, (uint8_t)hex[ch & 15]);
			continue;
		}
		if (ch == '"' || ch == '\\')
			wire_put_u8(w, '\\');
		wire_put_u8(w, ch);
	}
	wire_put_u8(w, '"');
}

/* ms, with a fraction where the element is finer; seconds where it is coarser */
static void json_put_time(struct wire *w, const struct ie *ie, uint64_t ns)
{
	line_put_number(w, ns / (ie->encode == IE_ENCODE_SEC ? NS_PER_SEC : NS_PER_MSEC), 1);
	if (ie->encode == IE_ENCODE_USEC || ie->encode == IE_ENCODE_NSEC) {
		wire_put_u8(w, '.');
		if (ie->encode == IE_ENCODE_USEC)
			line_put_number(w, ns / NS_PER_USEC % 1000, 3);
		else
			line_put_number(w, ns % NS_PER_MSEC, 6);
	}
}

static void json_put_value(struct wire *w, const struct line_value *v)
{
	switch (v->kind) {
	case LINE_NUMBER:
		line_put_number(w, v->number, 1);
		return;
	case LINE_ADDRESS:
		wire_put_u8(w, '"');
		line_put_address(w, v->octets, v->length);
		wire_put_u8(w, '"');
		return;
	case LINE_STRING:
		json_put_string(w, v->octets, v->length);
		return;
	case LINE_TIME:
		json_put_time(w, v->ie, v->number);
	}
}

static void json_put_object(struct collector *c, const struct flow_record *r)
{
	struct flow_templates *f = c->state;
	const struct template *t = flow_templates_make(f, flow_templates_mask(f, r));
	struct wire *w = &c->message.wire;
	struct line_walk walk;

	if (!t || line_walk_init(&walk, c, t, r) < 0) {
		w->overflow = true;
		return;
	}
	for (unsigned i = 0; i < t->n_fields; i++) {
		const char *name = t->fields[i].ie->name;
		struct line_value v = line_walk_next(&walk, i);

		wire_put_bytes(w, i ? ",\"" : "{\"", 2);
		wire_put_bytes(w, name, strlen(name));
		wire_put_bytes(w, "\":", 2);
		json_put_value(w, &v);
	}
	wire_put_bytes(w, "}\n", 2);
}

static void json_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	lines_record(c, r, now, json_put_object);
}

static const char *json_heading(struct collector *c)
{
	(void)c;
	return "";
}

const struct format_ops json_ops = {
	.name = "json",
	.clock = EXPORT_CLOCK_SECONDS,
	.has_fields = true,
	.setup = json_setup,
	.close = json_close,
	.heading = json_heading,
	.record = json_record,
};
