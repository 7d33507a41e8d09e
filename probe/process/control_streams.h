/*
 * control_streams: answers of the control socket that take several steps: flows in the table, flows that end,
 * templates.  Each step asks one process one question (commands.def), which it answers between two batches.
 */
#ifndef CONTROL_STREAMS_H
#define CONTROL_STREAMS_H

#include <jansson.h>

#include "control_socket.h"
#include "pitot/diag.h"

struct control;

/* NULL: *stream is the answer, or, when there is none, the sentence in diag says why. */
typedef json_t *control_open(struct control *r, const json_t *request, struct control_stream **stream,
			     struct diag *diag);

control_open control_open_flows, control_open_templates, control_open_expire, control_open_delete;

/* One line, allocated: of result, which is taken over, or else of error. */
char *control_requests_print(const json_t *id, json_t *result, bool more, const char *error);

#endif
