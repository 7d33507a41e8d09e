/* lines: see lines.h. */
#include "lines.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define DIGITS_MOST 20

int line_walk_init(struct line_walk *walk, struct collector *c, const struct template *t,
		   const struct flow_record *r)
{
	walk->template = t;
	walk->record = r;
	walk->at = walk->octets;
	if (t->max_size > sizeof(walk->octets))
		return -E2BIG;
	(void)template_encode(t, r, &c->context, walk->octets);
	return 0;
}

static uint64_t line_load(const uint8_t *p, unsigned length)
{
	uint64_t v = 0;

	while (length--)
		v = v << 8 | *p++;
	return v;
}

struct line_value line_walk_next(struct line_walk *walk, unsigned i)
{
	const struct template_field *f = &walk->template->fields[i];
	struct line_value v = {.ie = f->ie, .length = f->length};

	if (f->length == IE_VARIABLE) {
		v.length = *walk->at++;
		if (v.length == 255) {
			v.length = (unsigned)line_load(walk->at, 2);
			walk->at += 2;
		}
	}
	v.octets = walk->at;
	walk->at += v.length;
	switch ((enum ie_encode)f->ie->encode) {
	case IE_ENCODE_BYTES:
		v.kind = LINE_ADDRESS;
		break;
	case IE_ENCODE_STRING:
	case IE_ENCODE_INTERFACE:
		v.kind = LINE_STRING;
		v.length = (unsigned)strnlen((const char *)v.octets, v.length);
		break;
	case IE_ENCODE_SEC:
	case IE_ENCODE_MSEC:
	case IE_ENCODE_USEC:
	case IE_ENCODE_NSEC:
		v.kind = LINE_TIME;
		v.number = ie_load_uint((const uint8_t *)walk->record + f->offset, 8);
		break;
	default:
		v.kind = LINE_NUMBER;
		v.number = line_load(v.octets, v.length);
	}
	return v;
}

/* By hand: printf() was most of the cost of a record. */
void line_put_number(struct wire *w, uint64_t v, unsigned digits)
{
	char text[DIGITS_MOST];
	unsigned n = 0;

	do {
		text[DIGITS_MOST - ++n] = (char)('0' + v % 10);
		v /= 10;
	} while (v || n < digits);
	wire_put_bytes(w, text + DIGITS_MOST - n, n);
}

struct tm line_time(uint64_t ns, bool local)
{
	time_t s = (time_t)(ns / NS_PER_SEC);
	struct tm tm = {0};

	if (local)
		localtime_r(&s, &tm);
	else
		gmtime_r(&s, &tm);
	return tm;
}

void line_put_address(struct wire *w, const uint8_t *p, unsigned length)
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
			line_put_number(w, p[i], 1);
			continue;
		}
		wire_put_u8(w, (uint8_t)hex[p[i] >> 4]);
		wire_put_u8(w, (uint8_t)hex[p[i] & 15]);
	}
}

void lines_open(struct collector *c)
{
	const char *heading = c->format->heading(c);

	if (c->message.open)
		return;
	if (c->session != c->transport->session) {
		c->session = c->transport->session;
		c->started = false;
	}
	message_begin(c, 0, 0);
	if (!c->started && !c->transport->continues)
		wire_put_bytes(&c->message.wire, heading, strlen(heading));
	c->started = true;
}

void lines_record(struct collector *c, const struct flow_record *r, const struct clock_time *now,
		  void (*put)(struct collector *c, const struct flow_record *r))
{
	struct message *m = &c->message;

	for (int tries = 0; tries < 2; tries++) {
		uint8_t *mark;

		lines_open(c);
		mark = wire_mark(&m->wire);
		put(c, r);
		if (!wire_overflowed(&m->wire)) {
			message_count(c, r->packets, r->octets, now->monotonic_ns);
			return;
		}
		wire_rewind(&m->wire, mark);
		message_finish(c);
	}
	collector_unfit(c, r); /* longer than a message, or out of memory */
}

void lines_finish(struct collector *c, const struct clock_time *now)
{
	(void)now;
	if (!c->started)
		lines_open(c);
	message_flush(c);
}
