/*
 * control_requests: the commands of the control socket: a line of JSON in, a line of JSON out.
 */
#ifndef CONTROL_REQUESTS_H
#define CONTROL_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether this build understands requests. */
bool control_requests_exist(void);
struct control_stream;

/* ctx is the struct control.  The answer is allocated; NULL: out of memory, or it is the lines of *stream. */
char *control_requests_answer(void *ctx, const char *line, size_t size, struct control_stream **stream);
#endif
