/*
 * export_clock: the clock that message headers show.
 *
 * IPFIX says seconds.  NetFlow v5 and v9 say one instant twice, as wall time and as sysUptime (ms since
 * boot), and First and Last of records only as sysUptime; a collector computes boot = wall - sysUptime and
 * from that the times of the flows.  So boot must be the same for a whole message and exact to the
 * millisecond, First <= Last <= sysUptime must hold in signed 32-bit arithmetic, and sysUptime never goes
 * back.  v9 has whole seconds only: its headers are dated at the end of the running second.
 *
 * Live, boot lies an hour before the start and moves only when the wall clock steps; sysUptime goes on.
 *
 * Offline the clock follows the records: a header says the latest end seen.  A record that does not fit the
 * line (it began before boot, or lies more than 24 days from the header) ends the message, and the next one
 * begins a new line: sysUptime goes on by an hour and the record's duration, and boot is what makes the times
 * right.  Thus captures of any span and order decode to the exact millisecond.
 *
 * Instants are ms since 1970, signed: boot may lie before 1970.
 */
#ifndef PITOT_EXPORT_CLOCK_H
#define PITOT_EXPORT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/clock.h"
#include "pitot/flow_record.h"

enum export_clock_kind {
	EXPORT_CLOCK_SECONDS,	     /* IPFIX */
	EXPORT_CLOCK_UPTIME,	     /* NetFlow v5: sysUptime and ns */
	EXPORT_CLOCK_UPTIME_SECONDS, /* NetFlow v9: sysUptime and whole seconds */
};

struct export_clock {
	enum export_clock_kind kind;
	bool offline;
	bool has_line;
	bool fresh;		/* no record in the message yet */
	bool may_wrap;		/* offline: a flow of many days leaves no way around the 32-bit wrap */
	int64_t boot_ms;	/* sysUptime 0 */
	int64_t header_ms;	/* what a header would say now */
	int64_t oldest_ms;	/* earliest First of the message */
	int64_t sent_uptime_ms; /* of the last header */
	int64_t sent_s;		/* IPFIX: the last Export Time */
	int64_t offset_ms;	/* live: wall - monotonic of this line */
	uint64_t start_monotonic_ns;
};

struct export_clock_header {
	uint32_t seconds;
	uint32_t nanoseconds;
	uint32_t uptime_ms;
};

/* More than this between header and First is not shown: signed 32-bit, less room for what may still come. */
#define EXPORT_CLOCK_SPAN_MS (INT64_C(0x7fffffff) - 2 * 3600 * 1000)

void export_clock_init(struct export_clock *c, enum export_clock_kind kind, bool offline,
		       uint64_t start_monotonic_ns);
/* May r (NULL: none) go into the message that is being filled?  Else it must be finished and another begun.
 */
bool export_clock_fits(const struct export_clock *c, const struct flow_record *r,
		       const struct clock_time *now);
/* A message begins; r is its first record, NULL if that is not known. */
void export_clock_begin(struct export_clock *c, const struct flow_record *r, const struct clock_time *now);
/* r, which fits, goes into the message; NULL: only time passed. */
void export_clock_add(struct export_clock *c, const struct flow_record *r, const struct clock_time *now);
/* Both in one: r goes into the message if it fits. */
bool export_clock_take(struct export_clock *c, const struct flow_record *r, const struct clock_time *now);
/* What First and Last may say in the message now. */
static inline int64_t export_clock_earliest(const struct export_clock *c)
{
	int64_t earliest = c->header_ms - EXPORT_CLOCK_SPAN_MS;

	if (c->offline && !c->fresh && c->oldest_ms < earliest)
		return c->oldest_ms;
	return earliest > c->boot_ms ? earliest : c->boot_ms;
}
/* The header of the message that is finished now. */
struct export_clock_header export_clock_finish(struct export_clock *c);

#endif
