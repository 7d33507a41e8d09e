/*
 * top: which flows, hosts and ports had most octets, of all records (--top).
 *
 * What is shown is exact: a flow, a host or a port is counted from its first record on.  There is room for so
 * many of each; records of others that come later are counted together, and the heading says so.
 */
#ifndef PITOT_EXPORT_TOP_H
#define PITOT_EXPORT_TOP_H

#include <stdbool.h>

#include "pitot/flow_record.h"

struct top;

enum { TOP_ROOM = 98304 };

int top_new(struct top **tp);
void top_free(struct top *t); /* NULL is fine */
void top_count(struct top *t, const struct flow_record *r);
/* The first n of each, line by line, without the line's end. */
void top_print(struct top *t, unsigned n, void (*print)(void *ctx, const char *line), void *ctx);

#endif
