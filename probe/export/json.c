/*
 * json: a JSON object a line for each flow, its members the elements of the field list by IANA name.
 *
 * Addresses are text, instants are ms since 1970 as numbers (seconds for *Seconds, and a fraction in ms for
 * *Microseconds and *Nanoseconds), everything else is a number.  Times relative to sysUptime are not used.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"

#define MEMBER_MOST 512 /* octets of one member: a name escaped is the longest */

static int json_setup(struct collector *c, struct diag *diag)
{
	c->plain = calloc(2, sizeof(*c->plain));
	if (!c->plain)
		return diag_set(diag, -ENOMEM, "%s: no memory for a field list", c->config.url);
	return fields_templates(&c->plain[0], &c->plain[1], PX, &c->exporter->config, diag);
}

static uint64_t member_uint(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size); /* little-endian below; see the assert */
	return v;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "member_uint() and wire_store() take little-endian hosts");

static int print_string(char *out, size_t size, const char *s)
{
	size_t n = 0;

	out[n++] = '"';
	for (; *s && n + 8 < size; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == '"' || ch == '\\')
			n += (size_t)snprintf(out + n, size - n, "\\%c", ch);
		else if (ch < 0x20 || ch == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\u%04x", ch);
		else
			out[n++] = (char)ch;
	}
	out[n++] = '"';
	out[n] = '\0';
	return (int)n;
}

static int print_bytes(char *out, size_t size, const uint8_t *p, unsigned length)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (length == 6)
		return snprintf(out, size, "\"%02x:%02x:%02x:%02x:%02x:%02x\"", p[0], p[1], p[2], p[3], p[4], p[5]);
	inet_ntop(length == 4 ? AF_INET : AF_INET6, p, text, sizeof(text));
	return snprintf(out, size, "\"%s\"", text);
}

static int print_time(char *out, size_t size, const struct ie *ie, uint64_t ns)
{
	unsigned long long ms = ns / NS_PER_MSEC;

	if (ie->encode == IE_ENCODE_SEC)
		return snprintf(out, size, "%llu", (unsigned long long)(ns / NS_PER_SEC));
	if (ie->encode == IE_ENCODE_USEC)
		return snprintf(out, size, "%llu.%03u", ms, (unsigned)(ns / 1000 % 1000));
	if (ie->encode == IE_ENCODE_NSEC)
		return snprintf(out, size, "%llu.%06u", ms, (unsigned)(ns % NS_PER_MSEC));
	return snprintf(out, size, "%llu", ms);
}

static const char *name_of(const struct collector *c, uint32_t ifindex)
{
	for (unsigned i = 0; ifindex && i < c->context.n_interfaces; i++)
		if (c->context.interfaces[i].ifindex == ifindex)
			return c->context.interfaces[i].name;
	return "";
}

static int print_value(const struct collector *c, const struct template_field *f, const struct flow_record *r,
		       char *out, size_t size)
{
	const struct ie *ie = f->ie;
	const uint8_t *p = (const uint8_t *)r + ie->offset;
	unsigned long long v = 0;

	switch ((enum ie_encode)ie->encode) {
	case IE_ENCODE_BYTES:
		return print_bytes(out, size, p, f->length);
	case IE_ENCODE_SEC:
	case IE_ENCODE_MSEC:
	case IE_ENCODE_USEC:
	case IE_ENCODE_NSEC:
		return print_time(out, size, ie, member_uint(p, 8));
	case IE_ENCODE_INTERFACE:
		return print_string(out, size, name_of(c, r->ingress));
	case IE_ENCODE_DURATION:
		v = r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC;
		break;
	case IE_ENCODE_TCP_BITS:
		v = r->key.protocol == 6 ? r->tcp_flags & 0x0fff : 0;
		break;
	case IE_ENCODE_ICMP:
		v = r->key.protocol == 1 ? r->key.dst_port : 0;
		break;
	case IE_ENCODE_ICMP6:
		v = r->key.protocol == 58 ? r->key.dst_port : 0;
		break;
	case IE_ENCODE_CONST:
		v = ie->constant;
		break;
	default:
		v = member_uint(p, ie->size);
	}
	return snprintf(out, size, "%llu", v);
}

static void json_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	const struct template *t = &c->plain[r->key.ip_version == 6];
	struct message *m = &c->message;
	char text[MEMBER_MOST];
	uint8_t *mark;

	if (!m->open) {
		c->session = c->transport->session;
		message_begin(c, 0, 0);
	}
	mark = wire_mark(&m->wire);
	for (int tries = 0; tries < 2; tries++) {
		for (unsigned i = 0; i < t->n_fields; i++) {
			int n = snprintf(text, sizeof(text), "%c\"%s\":", i ? ',' : '{', t->fields[i].ie->name);

			n += print_value(c, &t->fields[i], r, text + n, sizeof(text) - (size_t)n);
			wire_put_bytes(&m->wire, text, (size_t)n);
		}
		wire_put_bytes(&m->wire, "}\n", 2);
		if (!wire_overflowed(&m->wire))
			break;
		wire_rewind(&m->wire, mark);
		message_finish(c);
		message_begin(c, 0, 0);
		mark = wire_mark(&m->wire);
	}
	if (wire_overflowed(&m->wire)) {
		wire_rewind(&m->wire, mark);
		collector_unfit(c, r);
		return;
	}
	message_count(m, exporter_number(c->exporter), r->packets, r->octets, now->monotonic_ns);
}

const struct format_ops json_ops = {
	.name = "json",
	.clock = EXPORT_CLOCK_SECONDS,
	.setup = json_setup,
	.record = json_record,
};
