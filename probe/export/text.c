/*
 * text: flows as a table for people.  Times are UTC; addresses and ports as in URLs.
 *
 * The two address columns begin wide enough for IPv4 and grow when something longer comes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "format.h"

#define LINE_MOST  256
#define MIN_COLUMN 21 /* 255.255.255.255:65535 */

static const char *protocol_name(uint8_t protocol, char *buffer, size_t size)
{
	static const struct {
		uint8_t number;
		const char *name;
	} names[] = {{1, "ICMP"},  {2, "IGMP"},	 {6, "TCP"},	{17, "UDP"},   {33, "DCCP"},
		     {41, "IPv6"}, {47, "GRE"},	 {50, "ESP"},	{51, "AH"},    {58, "ICMPv6"},
		     {89, "OSPF"}, {103, "PIM"}, {112, "VRRP"}, {132, "SCTP"}, {136, "UDPLite"}};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].number == protocol)
			return names[i].name;
	snprintf(buffer, size, "%u", protocol);
	return buffer;
}

static const char *reason_name(uint8_t reason)
{
	static const char *const names[FLOW_END_COUNT] = {"-",	 "idle",   "active",
							  "end", "forced", "resources"};

	return reason < FLOW_END_COUNT ? names[reason] : "-";
}

/* Bits 8 (AE) to 0 as letters, dots where they are not set; "-" where there are none to see. */
static void flag_letters(const struct flow_record *r, char out[10])
{
	static const char letters[9] = {'N', 'C', 'E', 'U', 'A', 'P', 'R', 'S', 'F'};
	unsigned n = 0;

	if (r->key.protocol == 6)
		for (; n < 9; n++)
			out[n] = r->tcp_flags >> (8 - n) & 1 ? letters[n] : '.';
	else
		out[n++] = '-';
	out[n] = '\0';
}

static void endpoint(const struct flow_record *r, const uint8_t *address, uint16_t port, char *out,
		     size_t size)
{
	char text[INET6_ADDRSTRLEN] = "?";
	bool v6 = r->key.ip_version == 6;

	inet_ntop(v6 ? AF_INET6 : AF_INET, address, text, sizeof(text));
	snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", text, port);
}

static void start_time(uint64_t ns, char *out, size_t size)
{
	time_t s = (time_t)(ns / NS_PER_SEC);
	struct tm tm = {0};
	char day[40];

	gmtime_r(&s, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(out, size, "%s.%03u", day, (unsigned)(ns / NS_PER_MSEC % 1000));
}

static void put_line(struct collector *c, const char *line, int n)
{
	if (n > 0)
		wire_put_bytes(&c->message.wire, line, (size_t)n < LINE_MOST ? (size_t)n : LINE_MOST - 1);
}

/* Widths of the two columns of addresses. */
struct text_columns {
	unsigned width[2];
};

static int text_setup(struct collector *c, struct diag *diag)
{
	c->state = calloc(1, sizeof(struct text_columns));
	return c->state ? 0 : diag_set(diag, -ENOMEM, "%s: out of memory", c->config.url);
}

static void text_close(struct collector *c)
{
	free(c->state);
}

static void put_heading(struct collector *c)
{
	struct text_columns *columns = c->state;
	char line[LINE_MOST];

	columns->width[0] = columns->width[1] = MIN_COLUMN;
	put_line(c, line,
		 snprintf(line, sizeof(line), "%-23s %12s %-7s %*s    %-*s %-9s %10s %14s %s\n",
			  "start (UTC)", "duration", "proto", MIN_COLUMN, "source", MIN_COLUMN, "destination",
			  "flags", "packets", "octets", "end"));
}

static void text_begin(struct collector *c)
{
	if (c->message.open && wire_room(&c->message.wire) < 2 * LINE_MOST)
		message_finish(c);
	if (c->message.open)
		return;
	if (c->session != c->transport->session) {
		c->session = c->transport->session;
		c->started = false;
	}
	message_begin(c, 0, 0);
	if (!c->started)
		put_heading(c);
	c->started = true;
}

static void text_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	char line[LINE_MOST], source[64], destination[64], start[64], flags[10], number[8];
	struct text_columns *columns = c->state;
	uint64_t ms = r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC;
	int n;

	text_begin(c);
	start_time(r->first_ns, start, sizeof(start));
	flag_letters(r, flags);
	endpoint(r, r->key.src, r->key.src_port, source, sizeof(source));
	endpoint(r, r->key.dst, r->key.dst_port, destination, sizeof(destination));
	n = snprintf(line, sizeof(line), "%-23s %8llu.%03u %-7s %*s -> ", start,
		     (unsigned long long)(ms / 1000), (unsigned)(ms % 1000),
		     protocol_name(r->key.protocol, number, sizeof(number)), (int)columns->width[0], source);
	put_line(c, line, n);
	n = snprintf(line, sizeof(line), "%-*s %-9s %10llu %14llu %s\n", (int)columns->width[1], destination,
		     flags, (unsigned long long)r->packets, (unsigned long long)r->octets,
		     reason_name(r->end_reason));
	put_line(c, line, n);
	for (unsigned i = 0; i < 2; i++) {
		unsigned width = 0;

		for (const char *s = i ? destination : source; s[width]; width++)
			;
		if (width > columns->width[i])
			columns->width[i] = width;
	}
	message_count(&c->message, exporter_number(c->exporter), r->packets, r->octets, now->monotonic_ns);
}

static void text_finish(struct collector *c, const struct clock_time *now)
{
	(void)now;
	if (!c->started)
		text_begin(c); /* no flow: a heading says so */
	message_flush(c);
}

const struct format_ops text_ops = {
	.name = "text",
	.clock = EXPORT_CLOCK_SECONDS,
	.setup = text_setup,
	.close = text_close,
	.record = text_record,
	.finish = text_finish,
};
