/*
 * control_protocol: what pitot and those who talk to it over its control socket agree on (pitotctl(8),
 * PROTOCOL).
 *
 * A stream socket; lines of JSON in both directions, UTF-8, each an object and at most CONTROL_LINE_MAX
 * octets. A request has a "command", its arguments, and an "id" if the client wants one; the answer has the
 * id, "ok", and "result" or, when it was refused, "error": one sentence. Answers come in the order of the
 * requests.
 * Some are several lines: all but the last have "more": true.
 */
#ifndef PITOT_CONTROL_PROTOCOL_H
#define PITOT_CONTROL_PROTOCOL_H

/* DIRECTORY/NAME.ctl, NAME that of the first interface; a service has $RUNTIME_DIRECTORY, which may be
 * DIRECTORY-... */
#define CONTROL_DIRECTORY "/run/pitot"
#define CONTROL_SUFFIX	  ".ctl"
#define CONTROL_LINE_MAX  65536 /* octets of a request */
#define CONTROL_FLOWS_TOP 10000 /* most flows of a sorted list */
/* a real number as it was meant: 2.046, and not 2.0459999999999998 */
#define CONTROL_REALS JSON_REAL_PRECISION(15)

#endif
