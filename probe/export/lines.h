/*
 * lines: what formats share that write a line for each flow: json.c, csv.c, text.c.
 *
 * The values of fields are those that a template encodes (template.c), so that a line and a message say the
 * same of a record; only times are taken from the record, whose nanoseconds no wire format has as a number.
 */
#ifndef PITOT_EXPORT_LINES_H
#define PITOT_EXPORT_LINES_H

#include <time.h>

#include "format.h"

struct line_value {
	enum { LINE_NUMBER, LINE_ADDRESS, LINE_STRING, LINE_TIME } kind;
	const struct ie *ie;
	uint64_t number;       /* LINE_TIME: ns since 1970 */
	const uint8_t *octets; /* an address, or a string */
	unsigned length;
};

enum { LINE_OCTETS = 8192 };

/* The fields of a record one after the other.  -E2BIG: larger than any record is. */
struct line_walk {
	const struct template *template;
	const struct flow_record *record;
	const uint8_t *at;
	uint8_t octets[LINE_OCTETS];
};
int line_walk_init(struct line_walk *walk, struct collector *c, const struct template *t,
		   const struct flow_record *r);
/* Of field i, which is the next one. */
struct line_value line_walk_next(struct line_walk *walk, unsigned i);

/* In decimal, with leading zeros up to digits. */
void line_put_number(struct wire *w, uint64_t v, unsigned digits);
/* An instant by the clock on the wall: local, or UTC. */
struct tm line_time(uint64_t ns, bool local);
/* 4: with points; 16: IPv6; otherwise as a MAC address. */
void line_put_address(struct wire *w, const uint8_t *p, unsigned length);

/* A message, with the format's heading where a file begins. */
void lines_open(struct collector *c);
/* put writes the line of r to the message; it is called again in a new one if there was no room. */
void lines_record(struct collector *c, const struct flow_record *r, const struct clock_time *now,
		  void (*put)(struct collector *c, const struct flow_record *r));
/* No flow: a heading says so. */
void lines_finish(struct collector *c, const struct clock_time *now);

#endif
