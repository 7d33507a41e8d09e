/*
 * json: a JSON object a line for each flow, its members the elements of the field list by IANA name.
 *
 * Addresses are text, instants are ms since 1970 as numbers (seconds for *Seconds, and a fraction in ms for
 * *Microseconds and *Nanoseconds), everything else is a number.  Times relative to sysUptime are not used.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flow_templates.h"
#include "format.h"

#define DIGITS_MOST 20

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

/* In decimal, with leading zeros up to digits.  By hand: printf() was most of the cost of a record. */
static void put_number(struct wire *w, uint64_t v, unsigned digits)
{
	char text[DIGITS_MOST];
	unsigned n = 0;

	do {
		text[DIGITS_MOST - ++n] = (char)('0' + v % 10);
		v /= 10;
	} while (v || n < digits);
	wire_put_bytes(w, text + DIGITS_MOST - n, n);
}

static void put_string(struct wire *w, const char *s)
{
	static const char hex[] = "0123456789abcdef";

	wire_put_u8(w, '"');
	for (; *s; s++) {
		unsigned char ch = (unsigned char)*s;

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

static void put_octets(struct wire *w, const uint8_t *p, unsigned length)
{
	static const char hex[] = "0123456789abcdef";
	char text[INET6_ADDRSTRLEN] = "";

	if (length == 16) {
		inet_ntop(AF_INET6, p, text, sizeof(text));
		wire_put_bytes(w, text, strlen(text));
		return;
	}
	for (unsigned i = 0; i < length; i++) {
		if (i)
			wire_put_u8(w, length == 4 ? '.' : ':');
		if (length == 4) {
			put_number(w, p[i], 1);
			continue;
		}
		wire_put_u8(w, (uint8_t)hex[p[i] >> 4]);
		wire_put_u8(w, (uint8_t)hex[p[i] & 15]);
	}
}

/* ms, with a fraction where the element is finer; seconds where it is coarser */
static void put_time(struct wire *w, const struct ie *ie, uint64_t ns)
{
	put_number(w, ns / (ie->encode == IE_ENCODE_SEC ? NS_PER_SEC : NS_PER_MSEC), 1);
	if (ie->encode == IE_ENCODE_USEC || ie->encode == IE_ENCODE_NSEC) {
		wire_put_u8(w, '.');
		if (ie->encode == IE_ENCODE_USEC)
			put_number(w, ns / NS_PER_USEC % 1000, 3);
		else
			put_number(w, ns % NS_PER_MSEC, 6);
	}
}

static void put_value(const struct collector *c, struct wire *w, const struct template_field *f,
		      const struct flow_record *r)
{
	const struct ie *ie = f->ie;
	const uint8_t *p = (const uint8_t *)r + f->offset;

	switch ((enum ie_encode)ie->encode) {
	case IE_ENCODE_BYTES:
		wire_put_u8(w, '"');
		put_octets(w, p, f->length);
		wire_put_u8(w, '"');
		return;
	case IE_ENCODE_SEC:
	case IE_ENCODE_MSEC:
	case IE_ENCODE_USEC:
	case IE_ENCODE_NSEC:
		put_time(w, ie, ie_load_uint(p, 8));
		return;
	case IE_ENCODE_INTERFACE:
		put_string(w, template_interface_name(&c->context, r));
		return;
	case IE_ENCODE_DURATION:
		put_number(w, r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC, 1);
		return;
	case IE_ENCODE_TCP_BITS:
		put_number(w, r->key.protocol == 6 ? r->tcp_flags & 0x0fff : 0, 1);
		return;
	case IE_ENCODE_ICMP:
		put_number(w, r->key.protocol == 1 ? r->key.dst_port : 0, 1);
		return;
	case IE_ENCODE_ICMP6:
		put_number(w, r->key.protocol == 58 ? r->key.dst_port : 0, 1);
		return;
	case IE_ENCODE_CONST:
		put_number(w, ie->constant, 1);
		return;
	default:
		put_number(w, ie_load_uint(p, ie->size), 1);
	}
}

static void put_object(const struct collector *c, struct wire *w, const struct template *t,
		       const struct flow_record *r)
{
	for (unsigned i = 0; i < t->n_fields; i++) {
		const char *name = t->fields[i].ie->name;

		wire_put_bytes(w, i ? ",\"" : "{\"", 2);
		wire_put_bytes(w, name, strlen(name));
		wire_put_bytes(w, "\":", 2);
		put_value(c, w, &t->fields[i], r);
	}
	wire_put_bytes(w, "}\n", 2);
}

static void json_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	struct flow_templates *f = c->state;
	const struct template *t = flow_templates_make(f, flow_templates_mask(f, r));
	struct message *m = &c->message;

	for (int tries = 0; t && tries < 2; tries++) {
		uint8_t *mark;

		if (!m->open) {
			c->session = c->transport->session;
			message_begin(c, 0, 0);
		}
		mark = wire_mark(&m->wire);
		put_object(c, &m->wire, t, r);
		if (!wire_overflowed(&m->wire)) {
			message_count(m, exporter_number(c->exporter), r->packets, r->octets,
				      now->monotonic_ns);
			return;
		}
		wire_rewind(&m->wire, mark);
		message_finish(c);
	}
	collector_unfit(c, r); /* longer than a message, or out of memory */
}

const struct format_ops json_ops = {
	.name = "json",
	.clock = EXPORT_CLOCK_SECONDS,
	.has_fields = true,
	.setup = json_setup,
	.close = json_close,
	.record = json_record,
};
