/* flow_filter: see pitot/flow_filter.h.  A parser by recursive descent that writes the tests one behind the
 * other. */
#include "pitot/flow_filter.h"
#include "pitot/protocol.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORD_MAX = 64, DEPTH_MAX = 16 };

enum flow_filter_kind {
	FILTER_NOT,
	FILTER_AND,
	FILTER_OR,
	FILTER_FAMILY,	 /* low: 4 or 6 */
	FILTER_PROTOCOL, /* low */
	FILTER_ADDRESS,
	FILTER_PORT, /* low to high */
	FILTER_VLAN, /* low */
};
enum flow_filter_side { SIDE_EITHER, SIDE_SRC, SIDE_DST, SIDE_BOTH };
enum flow_filter_type { TYPE_NONE, TYPE_HOST, TYPE_NET, TYPE_PORT, TYPE_PORTRANGE, TYPE_PROTO, TYPE_VLAN };

/* ---- words */

static const struct filter_service {
	const char *name;
	uint16_t port;
} services[] = {{"ssh", 22},	{"smtp", 25},	 {"domain", 53}, {"dns", 53},  {"bootps", 67},
		{"http", 80},	{"ntp", 123},	 {"snmp", 161},	 {"bgp", 179}, {"ldap", 389},
		{"https", 443}, {"syslog", 514}, {"imaps", 993}};

static const struct {
	const char *name;
	enum flow_filter_type type;
} types[] = {{"host", TYPE_HOST},	    {"net", TYPE_NET},	   {"port", TYPE_PORT},
	     {"portrange", TYPE_PORTRANGE}, {"proto", TYPE_PROTO}, {"vlan", TYPE_VLAN}};

struct filter_parser {
	struct flow_filter *filter;
	const char *at;	     /* behind the word */
	char word[WORD_MAX]; /* "" at the end */
	unsigned number;     /* of the word, from 1 */
	unsigned depth;
	/* what a value without qualifiers takes over from the one before it: "port 53 or 80" */
	enum flow_filter_type type;
	enum flow_filter_side side;
	struct diag *diag;
};

static int filter_fail(struct filter_parser *p, const char *why)
{
	if (!p->word[0])
		return diag_set(p->diag, -EINVAL, "flow filter: it ends where %s", why);
	return diag_set(p->diag, -EINVAL, "flow filter: word %u, '%.60s': %s", p->number, p->word, why);
}

static bool filter_is_single(char c)
{
	return c == '(' || c == ')' || c == '!';
}

static int filter_next(struct filter_parser *p)
{
	size_t n = 0;

	while (isspace((unsigned char)*p->at))
		p->at++;
	p->number++;
	if (filter_is_single(*p->at)) {
		p->word[n++] = *p->at++;
	} else {
		while (*p->at && !isspace((unsigned char)*p->at) && !filter_is_single(*p->at)) {
			if (n == sizeof(p->word) - 1)
				return diag_set(p->diag, -EINVAL,
						"flow filter: word %u is longer than %zu octets", p->number,
						sizeof(p->word) - 1);
			p->word[n++] = *p->at++;
		}
	}
	p->word[n] = '\0';
	return 0;
}

static bool filter_is(const struct filter_parser *p, const char *word, const char *sign)
{
	return !strcmp(p->word, word) || (sign && !strcmp(p->word, sign));
}

static int filter_put(struct filter_parser *p, const struct flow_filter_op *op)
{
	if (p->filter->n == FLOW_FILTER_OPS)
		return diag_set(p->diag, -EINVAL, "flow filter: more than %d tests and operators",
				FLOW_FILTER_OPS);
	p->filter->ops[p->filter->n++] = *op;
	return 0;
}

static int filter_put_simple(struct filter_parser *p, enum flow_filter_kind kind, uint16_t low)
{
	return filter_put(p, &(struct flow_filter_op){.kind = (uint8_t)kind, .low = low, .high = low});
}

/* ---- values */

static bool filter_number(const char *text, unsigned long most, uint16_t *value)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end || n > most)
		return false;
	*value = (uint16_t)n;
	return true;
}

/* 10.1.2.3, 2001:db8::1; of networks with /BITS behind it. */
static int filter_address(struct filter_parser *p, struct flow_filter_op *op, bool is_net)
{
	char text[WORD_MAX], *slash;
	uint16_t bits;

	snprintf(text, sizeof(text), "%s", p->word);
	slash = strchr(text, '/');
	if (slash)
		*slash++ = '\0';
	op->kind = FILTER_ADDRESS;
	op->family = inet_pton(AF_INET, text, op->address) == 1	   ? 4
		     : inet_pton(AF_INET6, text, op->address) == 1 ? 6
								   : 0;
	if (!op->family)
		return filter_fail(p, "an address is wanted; names are not looked up");
	op->bits = op->family == 4 ? 32 : 128;
	if (is_net != (slash != NULL))
		return filter_fail(p, is_net ? "a network is wanted as ADDRESS/BITS"
					     : "a host has no /BITS; 'net' says a network");
	if (!slash)
		return 0;
	if (!filter_number(slash, op->bits, &bits))
		return filter_fail(p, "the number behind '/' is none, or larger than addresses are");
	op->bits = (uint8_t)bits;
	return 0;
}

static const struct filter_service *filter_service(const char *word)
{
	for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (!strcmp(services[i].name, word))
			return &services[i];
	return NULL;
}

static int filter_port(struct filter_parser *p, struct flow_filter_op *op)
{
	const struct filter_service *service = filter_service(p->word);

	op->kind = FILTER_PORT;
	if (service)
		op->low = service->port;
	else if (!filter_number(p->word, UINT16_MAX, &op->low))
		return filter_fail(p, "a port is a number from 0 to 65535, or a name such as http");
	op->high = op->low;
	return 0;
}

static int filter_portrange(struct filter_parser *p, struct flow_filter_op *op)
{
	char text[WORD_MAX], *dash;

	op->kind = FILTER_PORT;
	snprintf(text, sizeof(text), "%s", p->word);
	dash = strchr(text, '-');
	if (dash)
		*dash++ = '\0';
	if (!dash || !filter_number(text, UINT16_MAX, &op->low) ||
	    !filter_number(dash, UINT16_MAX, &op->high) || op->low > op->high)
		return filter_fail(p, "a range of ports is wanted as FIRST-LAST");
	return 0;
}

static int filter_proto(struct filter_parser *p, struct flow_filter_op *op)
{
	const struct protocol *protocol = protocol_by_word(p->word);

	op->kind = FILTER_PROTOCOL;
	if (protocol)
		op->low = protocol->number;
	else if (!filter_number(p->word, UINT8_MAX, &op->low))
		return filter_fail(p, "a protocol is a number from 0 to 255, or a name such as tcp");
	return 0;
}

/* The word is the value of a test. */
static int filter_value(struct filter_parser *p, enum flow_filter_type type, enum flow_filter_side side)
{
	struct flow_filter_op op = {.side = (uint8_t)side};
	int r = 0;

	if (!p->word[0])
		return filter_fail(p, "an address, a port or a number is wanted");
	if (type == TYPE_HOST || type == TYPE_NET)
		r = filter_address(p, &op, type == TYPE_NET);
	else if (type == TYPE_PORT)
		r = filter_port(p, &op);
	else if (type == TYPE_PORTRANGE)
		r = filter_portrange(p, &op);
	else if (type == TYPE_PROTO)
		r = filter_proto(p, &op);
	else if (!filter_number(p->word, 4095, &op.low))
		r = filter_fail(p, "a VLAN is a number from 0 to 4095");
	else
		op.kind = FILTER_VLAN;
	if (r == 0)
		r = filter_put(p, &op);
	if (r == 0)
		r = filter_next(p);
	p->type = type;
	p->side = side;
	return r;
}

/* ---- one test: [ip|ip6] [PROTOCOL] [src|dst] [host|net|port|...] VALUE */

/* Families and protocols: tests of their own, and what follows is beside them.  How many were put, or
 * negative. */
static int filter_kinds(struct filter_parser *p)
{
	int n = 0, r = 0;

	for (; r == 0; n++) {
		const struct protocol *protocol = protocol_by_word(p->word);

		if (protocol) {
			r = filter_put_simple(p, FILTER_PROTOCOL, protocol->number);
			if (r == 0 && protocol->family)
				r = filter_put_simple(p, FILTER_FAMILY, protocol->family);
			if (r == 0 && protocol->family)
				r = filter_put_simple(p, FILTER_AND, 0);
		} else if (filter_is(p, "ip", "ip4") || filter_is(p, "ip6", NULL)) {
			r = filter_put_simple(p, FILTER_FAMILY, p->word[2] == '6' ? 6 : 4);
		} else {
			break;
		}
		if (r == 0 && n)
			r = filter_put_simple(p, FILTER_AND, 0);
		if (r == 0)
			r = filter_next(p);
	}
	return r < 0 ? r : n;
}

/* src, dst, src or dst, src and dst; false: none of them. */
static int filter_side(struct filter_parser *p, enum flow_filter_side *side, bool *said)
{
	bool src = filter_is(p, "src", NULL);
	struct filter_parser before;
	int r;

	*said = src || filter_is(p, "dst", NULL);
	*side = src ? SIDE_SRC : *said ? SIDE_DST : SIDE_EITHER;
	if (!*said)
		return 0;
	r = filter_next(p);
	before = *p;
	if (r < 0 || !(filter_is(p, "or", "||") || filter_is(p, "and", "&&")))
		return r;
	*side = filter_is(p, "or", "||") ? SIDE_EITHER : SIDE_BOTH;
	r = filter_next(p);
	if (r == 0 && filter_is(p, src ? "dst" : "src", NULL))
		return filter_next(p);
	*p = before; /* another test begins there */
	*side = src ? SIDE_SRC : SIDE_DST;
	return r;
}

static bool filter_type(const struct filter_parser *p, enum flow_filter_type *type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, p->word) != 0)
			continue;
		*type = types[i].type;
		return true;
	}
	return false;
}

static bool filter_ends_test(const struct filter_parser *p)
{
	return !p->word[0] || filter_is(p, "and", "&&") || filter_is(p, "or", "||") ||
	       filter_is(p, ")", NULL);
}

/* A value alone: of what the one before it was. */
static bool filter_goes_on(const struct filter_parser *p)
{
	return p->type != TYPE_NONE && (isxdigit((unsigned char)p->word[0]) || p->word[0] == ':' ||
					(p->type == TYPE_PORT && filter_service(p->word)));
}

static int filter_test(struct filter_parser *p)
{
	enum flow_filter_type type = TYPE_HOST;
	enum flow_filter_side side;
	int kinds = filter_kinds(p), r;
	bool has_side, has_type;

	if (kinds < 0 || (kinds && filter_ends_test(p)))
		return kinds < 0 ? kinds : 0;
	r = filter_side(p, &side, &has_side);
	if (r < 0)
		return r;
	has_type = filter_type(p, &type);
	if (has_type)
		r = filter_next(p);
	else if (strchr(p->word, '/'))
		type = TYPE_NET;
	if (!has_type && !has_side && !kinds && filter_goes_on(p)) {
		type = p->type;
		side = p->side;
	} else if (!has_type && !has_side && !(p->word[0] && strpbrk(p->word, ".:"))) {
		return filter_fail(p, p->word[0] ? "is no word of a filter: there are host, net, port, "
						   "portrange, proto, vlan, src, dst, ip, ip6, tcp, udp, icmp"
						 : "a test is wanted");
	}
	if (r == 0)
		r = filter_value(p, type, side);
	return r == 0 && kinds ? filter_put_simple(p, FILTER_AND, 0) : r;
}

/* ---- and, or, not, parentheses */

static int filter_either(struct filter_parser *p);

static int filter_factor(struct filter_parser *p)
{
	int r = 0;

	if (++p->depth > DEPTH_MAX)
		return filter_fail(p, "parentheses and 'not' are nested too deeply");
	if (filter_is(p, "not", "!")) {
		r = filter_next(p);
		if (r == 0)
			r = filter_factor(p);
		if (r == 0)
			r = filter_put_simple(p, FILTER_NOT, 0);
	} else if (filter_is(p, "(", NULL)) {
		r = filter_next(p);
		if (r == 0)
			r = filter_either(p);
		if (r == 0 && !filter_is(p, ")", NULL))
			r = filter_fail(p, "')' is wanted");
		if (r == 0)
			r = filter_next(p);
	} else {
		r = filter_test(p);
	}
	p->depth--;
	return r;
}

/* As in tcpdump, and and or bind alike, from left to right. */
static int filter_either(struct filter_parser *p)
{
	int r = filter_factor(p);

	while (r == 0 && p->word[0] && !filter_is(p, ")", NULL)) {
		bool or = filter_is(p, "or", "||");

		if (! or &&!filter_is(p, "and", "&&"))
			return filter_fail(p, "'and' or 'or' is wanted here");
		r = filter_next(p);
		if (r == 0)
			r = filter_factor(p);
		if (r == 0)
			r = filter_put_simple(p, or ? FILTER_OR : FILTER_AND, 0);
	}
	return r;
}

int flow_filter_parse(struct flow_filter *f, const char *text, struct diag *diag)
{
	struct filter_parser p = {.filter = f, .at = text, .diag = diag};
	int r;

	*f = (struct flow_filter){0};
	if (!text)
		return 0;
	if (strlen(text) > FLOW_FILTER_TEXT)
		return diag_set(diag, -EINVAL, "flow filter: longer than %d octets", FLOW_FILTER_TEXT);
	r = filter_next(&p);
	if (r < 0 || !p.word[0])
		return r;
	r = filter_either(&p);
	if (r == 0 && p.word[0])
		r = filter_fail(&p, "there is no '(' for it");
	return r;
}

/* ---- a flow */

static bool filter_has_address(const struct flow_filter_op *op, const uint8_t address[16])
{
	unsigned bits = op->bits > 128 ? 128 : op->bits, whole = bits / 8, rest = bits % 8;

	if (memcmp(op->address, address, whole) != 0)
		return false;
	return !rest || ((op->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

static bool filter_sides(const struct flow_filter_op *op, bool src, bool dst)
{
	switch (op->side) {
	case SIDE_SRC:
		return src;
	case SIDE_DST:
		return dst;
	case SIDE_BOTH:
		return src && dst;
	default:
		return src || dst;
	}
}

static bool filter_holds(const struct flow_filter_op *op, const struct flow_key *k, uint16_t vlan)
{
	switch (op->kind) {
	case FILTER_FAMILY:
		return k->ip_version == op->low;
	case FILTER_PROTOCOL:
		return k->protocol == op->low;
	case FILTER_ADDRESS:
		return k->ip_version == op->family &&
		       filter_sides(op, filter_has_address(op, k->src), filter_has_address(op, k->dst));
	case FILTER_PORT:
		return protocol_has_ports(k->protocol) &&
		       filter_sides(op, k->src_port >= op->low && k->src_port <= op->high,
				    k->dst_port >= op->low && k->dst_port <= op->high);
	case FILTER_VLAN:
		return vlan == op->low;
	default:
		return false;
	}
}

/* The stack is the bits of a word: what is not there is false. */
bool flow_filter_match(const struct flow_filter *f, const struct flow_key *k, uint16_t vlan)
{
	uint64_t stack = 0;

	for (uint32_t i = 0; i < f->n && i < FLOW_FILTER_OPS; i++) {
		const struct flow_filter_op *op = &f->ops[i];

		if (op->kind == FILTER_NOT)
			stack ^= 1;
		else if (op->kind == FILTER_AND)
			stack = (stack >> 1 & ~UINT64_C(1)) | (stack >> 1 & stack & 1);
		else if (op->kind == FILTER_OR)
			stack = stack >> 1 | (stack & 1);
		else
			stack = stack << 1 | (filter_holds(op, k, vlan) ? 1 : 0);
	}
	return f->n == 0 || (stack & 1);
}
