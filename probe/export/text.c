/*
 * text: flows as a table for people.  Times are UTC, or local; addresses and ports as in URLs, and instead of
 * a port ICMP has its type and code: 192.0.2.1:3.3.
 *
 * The two columns of addresses begin wide enough for IPv4 and grow when something longer comes.  On a
 * terminal the table is as wide as that: columns are left out until two IPv4 addresses fit, and what is
 * longer than its column is cut off before the port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "lines.h"

#include "pitot/protocol.h"

#define LINE_MOST   256
#define MIN_COLUMN  21 /* 255.255.255.255:65535 */
#define MOST_COLUMN 47 /* an IPv6 address in brackets and a port */
#define MIN_WIDTH   80

/* What the table may leave out, first things first. */
enum text_part {
	TEXT_DAY = 1,
	TEXT_END = 2,
	TEXT_FLAGS = 4,
	TEXT_DURATION = 8,
	TEXT_MS = 16,
	TEXT_WIDE = 32,
	TEXT_ALL = 63
};

struct text {
	unsigned parts;
	unsigned width[2]; /* of the columns of addresses */
	bool fixed;	   /* on a terminal: they do not grow */
	char heading[LINE_MOST];
};

static const char *text_reason_name(uint8_t reason)
{
	static const char *const names[FLOW_END_COUNT] = {"-",	 "idle",   "active",
							  "end", "forced", "resources"};

	return reason < FLOW_END_COUNT ? names[reason] : "-";
}

/* Bits 8 (AE) to 0 as letters, dots where they are not set; "-" where there are none to see. */
static void text_flag_letters(const struct flow_record *r, char out[10])
{
	static const char letters[9] = {'N', 'C', 'E', 'U', 'A', 'P', 'R', 'S', 'F'};
	unsigned n = 0;

	if (r->key.protocol == PROTO_TCP)
		for (; n < 9; n++)
			out[n] = r->tcp_flags >> (8 - n) & 1 ? letters[n] : '.';
	else
		out[n++] = '-';
	out[n] = '\0';
}

/* Into a column: what is too long loses the end of its address, and keeps its port. */
static void text_endpoint_fit(char *text, unsigned width, const char *port)
{
	size_t tail = strlen(port) + 1;

	if (strlen(text) <= width || width < tail)
		return;
	text[width - tail] = '~';
	memmove(text + width - tail + 1, port, tail);
}

/* which 0: the source, 1: the destination. */
static void text_endpoint(const struct text *t, const struct flow_record *r, unsigned which, char *out,
			  size_t size)
{
	bool v6 = r->key.ip_version == 6, icmp = protocol_has_type(r->key.protocol);
	uint16_t number = which ? r->key.dst_port : r->key.src_port;
	char text[INET6_ADDRSTRLEN] = "?", port[16];

	inet_ntop(v6 ? AF_INET6 : AF_INET, which ? r->key.dst : r->key.src, text, sizeof(text));
	if (!icmp)
		snprintf(port, sizeof(port), ":%u", number);
	else if (which)
		snprintf(port, sizeof(port), ":%u.%u", number >> 8, number & 255u);
	else
		port[0] = '\0';
	snprintf(out, size, v6 ? "[%s]%s" : "%s%s", text, port);
	if (t->fixed)
		text_endpoint_fit(out, t->width[which], port);
}

static void text_start_time(const struct text *t, uint64_t ns, bool local, char *out, size_t size)
{
	struct tm tm = line_time(ns, local);
	size_t n = strftime(out, size, t->parts & TEXT_DAY ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &tm);

	if (t->parts & TEXT_MS)
		snprintf(out + n, size - n, ".%03u", (unsigned)(ns / NS_PER_MSEC % 1000));
}

/* In thousands, millions and so on where the column is too narrow. */
static void text_count(char *out, size_t size, unsigned width, uint64_t n)
{
	static const char units[] = "kMGTPE";
	int wrote = snprintf(out, size, "%llu", (unsigned long long)n);

	for (unsigned i = 0; wrote > (int)width && units[i]; i++) {
		n /= 1000;
		wrote = snprintf(out, size, "%llu%c", (unsigned long long)n, units[i]);
	}
}

/* ---- columns */

static unsigned text_time_width(unsigned parts)
{
	return 8 + (parts & TEXT_DAY ? 11 : 0) + (parts & TEXT_MS ? 4 : 0);
}

static unsigned text_packets_width(unsigned parts)
{
	return parts & TEXT_WIDE ? 10 : 7;
}

static unsigned text_octets_width(unsigned parts)
{
	return parts & TEXT_WIDE ? 14 : 9;
}

/* All but the two addresses. */
static unsigned text_fixed_width(unsigned parts)
{
	return text_time_width(parts) + (parts & TEXT_DURATION ? 13 : 0) + (parts & TEXT_WIDE ? 8 : 7) + 1 +
	       4 + (parts & TEXT_FLAGS ? 10 : 0) + 1 + text_packets_width(parts) + 1 +
	       text_octets_width(parts) + (parts & TEXT_END ? 10 : 0);
}

/* 0: it does not matter. */
static unsigned text_terminal(const struct collector *c)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	unsigned long n = 0;

	if (strcmp(c->config.path, "-") != 0 || !isatty(STDOUT_FILENO))
		return 0;
	if (columns)
		n = strtoul(columns, NULL, 10);
	if ((n == 0 || n > 10000) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		n = size.ws_col;
	return n > MIN_WIDTH ? (unsigned)n : MIN_WIDTH;
}

static void text_fit(struct text *t, unsigned width)
{
	unsigned each;

	for (unsigned part = 1; part < TEXT_ALL && text_fixed_width(t->parts) + 2 * MIN_COLUMN > width;
	     part <<= 1)
		t->parts &= ~part;
	each = (width - text_fixed_width(t->parts)) / 2;
	t->fixed = true;
	t->width[0] = t->width[1] = each < MOST_COLUMN ? each : MOST_COLUMN;
}

struct text_line {
	const char *start, *duration, *protocol, *source, *arrow, *destination, *flags, *packets, *octets,
		*end;
};

static int text_format(const struct text *t, const struct text_line *l, char *out)
{
	unsigned parts = t->parts;
	int n = snprintf(out, LINE_MOST, "%-*s", (int)text_time_width(parts), l->start);

	if (parts & TEXT_DURATION)
		n += snprintf(out + n, LINE_MOST - (size_t)n, " %12s", l->duration);
	n += snprintf(out + n, LINE_MOST - (size_t)n, " %-*s %*s%s%-*s", parts & TEXT_WIDE ? 7 : 6,
		      l->protocol, (int)t->width[0], l->source, l->arrow, (int)t->width[1], l->destination);
	if (parts & TEXT_FLAGS)
		n += snprintf(out + n, LINE_MOST - (size_t)n, " %-9s", l->flags);
	n += snprintf(out + n, LINE_MOST - (size_t)n, " %*s %*s", (int)text_packets_width(parts), l->packets,
		      (int)text_octets_width(parts), l->octets);
	if (parts & TEXT_END)
		n += snprintf(out + n, LINE_MOST - (size_t)n, " %s", l->end);
	return n + snprintf(out + n, LINE_MOST - (size_t)n, "\n");
}

static int text_setup(struct collector *c, struct diag *diag)
{
	struct text *t = calloc(1, sizeof(*t));
	unsigned width = text_terminal(c);
	bool local = c->config.local_time;

	c->state = t;
	if (!t)
		return diag_set(diag, -ENOMEM, "%s: out of memory", c->config.url);
	t->parts = TEXT_ALL;
	t->width[0] = t->width[1] = MIN_COLUMN;
	if (width)
		text_fit(t, width);
	(void)text_format(t,
			  &(struct text_line){.start = text_time_width(t->parts) < 13
							       ? local ? "local" : "UTC"
						       : local ? "start (local)"
							       : "start (UTC)",
					      .duration = "duration",
					      .protocol = "proto",
					      .source = "source",
					      .arrow = "    ",
					      .destination = "destination",
					      .flags = "flags",
					      .packets = "packets",
					      .octets = "octets",
					      .end = "end"},
			  t->heading);
	return 0;
}

static void text_close(struct collector *c)
{
	free(c->state);
}

static const char *text_heading(struct collector *c)
{
	return ((struct text *)c->state)->heading;
}

static void text_put(struct collector *c, const struct flow_record *r)
{
	char line[LINE_MOST], ends[2][64], start[48], flags[10], number[8], duration[32], packets[24],
		octets[24];
	uint64_t ms = r->last_ns / NS_PER_MSEC - r->first_ns / NS_PER_MSEC;
	struct text *t = c->state;
	struct text_line l = {.start = start,
			      .duration = duration,
			      .protocol = protocol_title(number, r->key.protocol),
			      .source = ends[0],
			      .arrow = " -> ",
			      .destination = ends[1],
			      .flags = flags,
			      .packets = packets,
			      .octets = octets,
			      .end = text_reason_name(r->end_reason)};

	text_start_time(t, r->first_ns, c->config.local_time, start, sizeof(start));
	text_flag_letters(r, flags);
	snprintf(duration, sizeof(duration), "%llu.%03u", (unsigned long long)(ms / 1000),
		 (unsigned)(ms % 1000));
	text_count(packets, sizeof(packets), text_packets_width(t->parts), r->packets);
	text_count(octets, sizeof(octets), text_octets_width(t->parts), r->octets);
	for (unsigned i = 0; i < 2; i++)
		text_endpoint(t, r, i, ends[i], sizeof(ends[i]));
	wire_put_bytes(&c->message.wire, line, (size_t)text_format(t, &l, line));
	for (unsigned i = 0; i < 2 && !wire_overflowed(&c->message.wire); i++)
		if (strlen(ends[i]) > t->width[i])
			t->width[i] = (unsigned)strlen(ends[i]);
}

static void text_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	lines_record(c, r, now, text_put);
}

const struct format_ops text_ops = {
	.name = "text",
	.clock = EXPORT_CLOCK_SECONDS,
	.setup = text_setup,
	.close = text_close,
	.heading = text_heading,
	.record = text_record,
	.finish = lines_finish,
};
