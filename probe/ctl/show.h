/*
 * show: answers for people.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

void show_statistics(FILE *out, const json_t *result);
void show_collectors(FILE *out, const json_t *result);
void show_interfaces(FILE *out, const json_t *result);
void show_values(FILE *out, const json_t *result); /* NAME=VALUE lines; nothing of null; a string as it is */

#endif
