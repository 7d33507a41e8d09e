/* timeouts: when the record of a flow ends, as users say it: --timeout, and pitotctl's timeouts. */
#ifndef PITOT_TIMEOUTS_H
#define PITOT_TIMEOUTS_H

#include <stdint.h>

#include "pitot/clock.h"
#include "pitot/diag.h"

#define TIMEOUT_LEAST_NS NS_PER_MSEC
#define TIMEOUT_MOST_NS	 (31536000 * NS_PER_SEC)
#define TIMEOUT_OFF	 UINT64_MAX

struct timeouts {
	uint64_t active_ns, inactive_ns;
	uint64_t tcp_end_ns; /* TIMEOUT_OFF: FIN and RST end no record */
};

/*
 * NAME=SECONDS[,...], such as active=5m,tcp-end=off: changes what it names.  0; positive, with one sentence
 * that begins with the label; or negative errno.
 */
int timeouts_parse(struct timeouts *t, const char *text, const char *label, struct diag *diag);

#endif
