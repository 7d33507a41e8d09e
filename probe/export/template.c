/*
 * template: see template.h.
 *
 * template_encode() runs once per record and collector.  Where a field stands is known up to the first one of
 * variable length: these are put code by code, each a loop of one load and one store of constant size,
 * without a decision for every field.  What follows a variable field is put in order.
 */
#include "template.h"

#include <assert.h>
#include <string.h>

#include "pitot/flow_record.h"
#include "pitot/protocol.h"
#include "pitot/wire.h"

#define NTP_OFFSET UINT64_C(2208988800) /* 1900 to 1970, s */

enum template_code {
	OP_U8,
	OP_U16,
	OP_U32,
	OP_U64,
	OP_COPY4,
	OP_COPY6,
	OP_COPY16,
	OP_MSEC,
	OP_UPTIME,
	OP_TCP1,
	OP_TCP2,
	OP_ICMP,
	OP_DIRECTION,
	OP_SEC,
	OP_USEC,
	OP_NSEC,
	OP_DURATION,
	OP_RATE,
	OP_CONST,
	OP_UINT,   /* any size into any length */
	OP_COPY,   /* any length */
	OP_STRING, /* fixed or variable */
	OP_INTERFACE,
	OP_CODES
};

static_assert(OP_CODES == TEMPLATE_CODES, "the plan has an end for each");

void template_init(struct template *t, uint16_t id, enum ie_protocol protocol,
		   const struct record_layout *layout)
{
	*t = (struct template){.id = id, .protocol = (uint8_t)protocol, .layout = layout};
}

static enum template_code template_uint_code(unsigned size, unsigned length)
{
	if (size != length)
		return OP_UINT;
	return size == 1 ? OP_U8 : size == 2 ? OP_U16 : size == 4 ? OP_U32 : OP_U64;
}

static enum template_code template_code_of(const struct ie *ie, unsigned length)
{
	switch ((enum ie_encode)ie->encode) {
	case IE_ENCODE_UINT:
	case IE_ENCODE_INDEX:
	case IE_ENCODE_FLOAT: /* its bits, as a number of 64 bits */
		return template_uint_code(ie->size, length);
	case IE_ENCODE_BYTES:
		return length == 4 ? OP_COPY4 : length == 6 ? OP_COPY6 : length == 16 ? OP_COPY16 : OP_COPY;
	case IE_ENCODE_UPTIME:
		return OP_UPTIME;
	case IE_ENCODE_SEC:
		return OP_SEC;
	case IE_ENCODE_MSEC:
		return OP_MSEC;
	case IE_ENCODE_USEC:
		return OP_USEC;
	case IE_ENCODE_NSEC:
		return OP_NSEC;
	case IE_ENCODE_DURATION:
		return OP_DURATION;
	case IE_ENCODE_TCP_BITS:
		return length == 1 ? OP_TCP1 : OP_TCP2;
	case IE_ENCODE_ICMP:
	case IE_ENCODE_ICMP6:
		return OP_ICMP;
	case IE_ENCODE_DIRECTION:
		return OP_DIRECTION;
	case IE_ENCODE_STRING:
		return OP_STRING;
	case IE_ENCODE_INTERFACE:
		return OP_INTERFACE;
	case IE_ENCODE_RATE:
		return OP_RATE;
	case IE_ENCODE_CONST:
		break;
	}
	return OP_CONST;
}

/* Octets of the longest value of a variable field, its length included (RFC 7011 §7). */
static unsigned template_variable_size(const struct ie *ie)
{
	unsigned longest =
		ie->encode == IE_ENCODE_INTERFACE ? sizeof(((struct export_interface *)0)->name) : ie->size;

	return longest < 255 ? 1 + longest : 3 + longest;
}

/* Behind the others of its code; or, from the first variable field on, behind everything. */
static void template_plan_add(struct template *t, const struct template_op *op)
{
	unsigned to = t->n_fields;

	if (op->length != IE_VARIABLE && t->n_fields == t->ends[OP_CODES - 1]) {
		to = t->ends[op->op];
		for (unsigned code = op->op; code < OP_CODES; code++)
			t->ends[code]++;
		t->fixed_size = (uint16_t)(t->fixed_size + op->length);
	}
	memmove(&t->ops[to + 1], &t->ops[to], (t->n_fields - to) * sizeof(*op));
	t->ops[to] = *op;
}

int template_add(struct template *t, const struct ie *ie, uint16_t length)
{
	unsigned i = t->n_fields;
	struct template_op op;

	uint16_t base = 0;

	if (i == TEMPLATE_FIELDS)
		return TEMPLATE_E_FULL;
	if (ie->block != IE_CORE) {
		base = t->layout ? t->layout->record_at[ie->block] : 0;
		if (!base)
			return TEMPLATE_E_ABSENT;
	}
	if (length == 0)
		length = t->protocol == PX ? ie->length : ie->length9;
	t->fields[i] = (struct template_field){.ie = ie,
					       .pen = ie->pen,
					       .id = t->protocol == P9 ? ie->id9 : ie->id,
					       .length = length,
					       .offset = (uint16_t)(base + ie->offset)};
	op = (struct template_op){.op = (uint8_t)template_code_of(ie, length),
				  .size = (uint8_t)ie->size,
				  .offset = t->fields[i].offset,
				  .length = length,
				  .at = t->fixed_size,
				  .constant = ie->constant};
	/* these two ask the protocol number, and an index that does not fit is 0 rather than the largest */
	if (ie->encode == IE_ENCODE_ICMP || ie->encode == IE_ENCODE_ICMP6)
		op.constant = ie->encode == IE_ENCODE_ICMP ? 1 : 58;
	if (ie->encode == IE_ENCODE_INDEX)
		op.constant = 1;
	template_plan_add(t, &op);
	t->n_fields++;
	t->min_size = (uint16_t)(t->min_size + (length == IE_VARIABLE ? 1 : length));
	t->max_size = (uint16_t)(t->max_size + (length == IE_VARIABLE ? template_variable_size(ie) : length));
	return 0;
}

int template_add_scope(struct template *t, const struct ie *ie, uint16_t scope9)
{
	int r = template_add(t, ie, 0);

	if (r == 0) {
		t->n_scope++;
		if (t->protocol == P9)
			t->fields[t->n_fields - 1].id = scope9;
	}
	return r;
}

bool template_has(const struct template *t, const struct ie *ie)
{
	for (unsigned i = 0; i < t->n_fields; i++)
		if (t->fields[i].ie == ie)
			return true;
	return false;
}

unsigned template_utf8_fit(const char *src, unsigned size)
{
	unsigned n = (unsigned)strnlen(src, size + 1);

	if (n <= size)
		return n;
	for (n = size; n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80; n--)
		;
	return n;
}

/* Rounded up, so that collectors that cut the fraction off find the value they were given. */
static uint64_t template_ntp_time(uint64_t ns, bool micro)
{
	uint64_t s = ns / NS_PER_SEC + NTP_OFFSET, rest = ns % NS_PER_SEC, fraction;

	if (micro) {
		fraction = (((rest / 1000) << 32) + 999999) / 1000000;
		fraction = (fraction + 0x7ff) & ~UINT64_C(0x7ff); /* RFC 7011 §6.1.9 */
	} else {
		fraction = ((rest << 32) + NS_PER_SEC - 1) / NS_PER_SEC;
	}
	return s << 32 | (fraction & UINT32_MAX);
}

static uint32_t template_uptime(struct template_context *ctx, uint64_t ns)
{
	int64_t ms = (int64_t)(ns / NS_PER_MSEC), said = ms;

	if (said > ctx->latest_ms)
		said = ctx->latest_ms;
	if (said < ctx->earliest_ms)
		said = ctx->earliest_ms;
	ctx->saturated += said != ms;
	return (uint32_t)(uint64_t)(said - ctx->boot_ms);
}

static uint8_t *template_put_reduced(const struct template_op *op, const uint8_t *p,
				     struct template_context *ctx, uint8_t *at)
{
	uint64_t v = ie_load_uint(p, op->size);
	uint64_t most = op->length >= 8 ? UINT64_MAX : (UINT64_C(1) << 8 * op->length) - 1;

	if (v > most) {
		ctx->saturated++;
		v = op->constant ? 0 : most;
	}
	wire_store(at, v, op->length);
	return at + op->length;
}

static uint8_t *template_put_string(const struct template_op *op, const char *s, unsigned size, uint8_t *at)
{
	unsigned n;

	if (op->length != IE_VARIABLE) {
		n = template_utf8_fit(s, op->length);
		memcpy(at, s, n);
		memset(at + n, 0, op->length - n);
		return at + op->length;
	}
	n = (unsigned)strnlen(s, size);
	if (n < 255) {
		*at++ = (uint8_t)n;
	} else {
		*at++ = 255;
		wire_store(at, n, 2);
		at += 2;
	}
	memcpy(at, s, n);
	return at + n;
}

const char *template_interface_name(const struct template_context *ctx, const struct flow_record *r)
{
	uint32_t ifindex = r->ingress ? r->ingress : r->egress;

	for (unsigned i = 0; ifindex && i < ctx->n_interfaces; i++)
		if (ctx->interfaces[i].ifindex == ifindex)
			return ctx->interfaces[i].name;
	return "";
}

/* The cases that are rare or slow, out of the hot switch. */
static uint8_t *template_put_other(const struct template_op *op, const uint8_t *base,
				   struct template_context *ctx, uint8_t *at)
{
	const struct flow_record *r = (const struct flow_record *)base;
	const uint8_t *p = base + op->offset;
	uint64_t v;

	switch (op->op) {
	case OP_SEC:
		wire_store(at, ie_load_uint(p, 8) / NS_PER_SEC, 4);
		return at + 4;
	case OP_USEC:
	case OP_NSEC:
		wire_store(at, template_ntp_time(ie_load_uint(p, 8), op->op == OP_USEC), 8);
		return at + 8;
	case OP_DURATION: /* of the milliseconds that are exported: start + duration is the end */
		v = r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC;
		if (v > UINT32_MAX) {
			v = UINT32_MAX;
			ctx->saturated++;
		}
		wire_store(at, v, 4);
		return at + 4;
	case OP_RATE: /* selector k takes one of 2^k */
		v = (uint64_t)(ctx->interval ? ctx->interval : 1) << (ie_load_uint(p, 2) & 31);
		wire_store(at, v, 4);
		return at + 4;
	case OP_CONST:
		memset(at, 0, op->length);
		v = op->constant;
		for (unsigned n = op->length; n-- > 0 && v; v >>= 8)
			at[n] = (uint8_t)v;
		return at + op->length;
	case OP_COPY:
		memcpy(at, p, op->length);
		return at + op->length;
	case OP_STRING:
		return template_put_string(op, (const char *)p, op->size, at);
	case OP_INTERFACE:
		return template_put_string(op, template_interface_name(ctx, r), 64, at);
	default:
		return template_put_reduced(op, p, ctx, at);
	}
}

/* One field; code is a constant where it is known. */
static inline __attribute__((always_inline)) uint8_t *
template_put_field(unsigned code, const struct template_op *op, const uint8_t *base,
		   struct template_context *ctx, uint8_t *at)
{
	const struct flow_record *r = (const struct flow_record *)base;
	const uint8_t *p = base + op->offset;

	switch (code) {
	case OP_U8:
		*at = *p;
		return at + 1;
	case OP_U16:
		wire_store(at, ie_load_uint(p, 2), 2);
		return at + 2;
	case OP_U32:
		wire_store(at, ie_load_uint(p, 4), 4);
		return at + 4;
	case OP_U64:
		wire_store(at, ie_load_uint(p, 8), 8);
		return at + 8;
	case OP_COPY4:
		memcpy(at, p, 4);
		return at + 4;
	case OP_COPY6:
		memcpy(at, p, 6);
		return at + 6;
	case OP_COPY16:
		memcpy(at, p, 16);
		return at + 16;
	case OP_MSEC:
		wire_store(at, ie_load_uint(p, 8) / NS_PER_MSEC, 8);
		return at + 8;
	case OP_UPTIME:
		wire_store(at, template_uptime(ctx, ie_load_uint(p, 8)), 4);
		return at + 4;
	case OP_TCP1:
		*at = r->key.protocol == PROTO_TCP ? (uint8_t)r->tcp_flags : 0;
		return at + 1;
	case OP_TCP2: /* bits of the data offset are zero (RFC 9565 §3) */
		wire_store(at, r->key.protocol == PROTO_TCP ? r->tcp_flags & 0x0fff : 0, 2);
		return at + 2;
	case OP_ICMP:
		wire_store(at, r->key.protocol == op->constant ? r->key.dst_port : 0, 2);
		return at + 2;
	case OP_DIRECTION:
		*at = *p == FLOW_DIRECTION_EGRESS;
		return at + 1;
	default:
		return template_put_other(op, base, ctx, at);
	}
}

#define PUT_ALL(CODE)                                                                                        \
	for (const struct template_op *end = t->ops + t->ends[CODE]; op < end; op++)                         \
	template_put_field(CODE, op, base, ctx, at + op->at)

uint8_t *template_encode(const struct template *t, const void *record, struct template_context *ctx,
			 uint8_t *at)
{
	const uint8_t *base = record;
	const struct template_op *op = t->ops;

	PUT_ALL(OP_U8);
	PUT_ALL(OP_U16);
	PUT_ALL(OP_U32);
	PUT_ALL(OP_U64);
	PUT_ALL(OP_COPY4);
	PUT_ALL(OP_COPY6);
	PUT_ALL(OP_COPY16);
	PUT_ALL(OP_MSEC);
	PUT_ALL(OP_UPTIME);
	PUT_ALL(OP_TCP1);
	PUT_ALL(OP_TCP2);
	PUT_ALL(OP_ICMP);
	PUT_ALL(OP_DIRECTION);
	for (const struct template_op *end = t->ops + t->ends[OP_CODES - 1]; op < end; op++)
		template_put_other(op, base, ctx, at + op->at);
	at += t->fixed_size;
	for (const struct template_op *end = t->ops + t->n_fields; op < end; op++)
		at = template_put_field(op->op, op, base, ctx, at);
	return at;
}
