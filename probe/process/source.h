/*
 * source: where packets come from, for the loop in metering.c.  metering_live.c and metering_files.c make
 * them.
 *
 * A source receives, decodes and accounts for what is not metered; what it hands over is.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/flow_table.h"
#include "pitot/packet.h"
#include "pitot/stats.h"

/* Positive outcome of next: nothing comes any more. */
enum { SOURCE_E_END = 1 };

struct source;

struct source_ops {
	/*
	 * The next packets: n of them, 1 to BATCH_MAX, or 0 when none came within a moment.  They may be
	 * written to until the next call.  0, SOURCE_E_END, or negative errno and a sentence.
	 */
	int (*next)(struct source *s, struct packet **packets, unsigned *n, struct diag *why);
	/* How many records of silent keys may be ended now, where the ring has so many free slots. */
	uint64_t (*room)(const struct source *s, const struct flow_table *t, uint64_t slots);
	/* No new packets come in: what is here already is handed over, then comes the end. */
	void (*stop)(struct source *s);
	/* What the captures themselves have counted, into m.  NULL: it is counted elsewhere. */
	void (*get_totals)(struct source *s, struct meter_stats *m);
	/*
	 * Polite mode: what was only counted becomes a record, once a second, or whatever there is of it:
	 * all. r is zero; link is its packets' octets on the wire.  false: there is none.  NULL: never.
	 */
	bool (*take_count)(struct source *s, bool all, struct flow_record *r, uint64_t *link);
	void (*free)(struct source *s);
};

/* Each source's struct begins with this. */
struct source {
	const struct source_ops *ops;
	bool may_wait;	   /* for room in the ring, so that no record is lost */
	uint16_t selector; /* of the packets that next handed over */
	unsigned slicing;  /* of their flows: flow_table_set_slicing() */
	bool at_hand;	   /* there is more where the last packets came from: nobody waits for it */
	/* the metering clock (pitot(8), AGEING), after each next */
	uint64_t now_ns;     /* in packet time; it may step back */
	uint64_t elapsed_ns; /* only grows */
	uint64_t due_ns;     /* of that: live, until when next may sleep if nothing comes; 0: for a moment */
};

#endif
