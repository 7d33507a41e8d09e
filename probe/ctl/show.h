/*
 * show: answers for people.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct show {
	FILE *out;
	bool begun; /* of answers in parts: the head of the table is out */
};

/* One of what the table of verbs names; in answers of several parts it is called for each. */
typedef void show_fn(struct show *s, const json_t *result);

show_fn show_statistics, show_collectors, show_interfaces, show_flows, show_templates;
show_fn show_values;  /* NAME=VALUE lines, a null is off; a string as it is */
show_fn show_nothing; /* what was to be done was done */

/* A counter of a group, such as "packets", "received"; 0 when it is not there. */
uint64_t show_count(const json_t *from, const char *group, const char *name);

/* The two ends of a flow: 192.0.2.1:80, [2001:db8::1]:80; of ICMP the second one has type.code. */
enum { SHOW_END = 64 };
void show_ends(const json_t *flow, char src[SHOW_END], char dst[SHOW_END]);

/* 1234567 as 1.23M. */
const char *show_short(char text[16], double n);

#endif
