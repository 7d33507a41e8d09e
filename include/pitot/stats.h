/*
 * stats: the ledger (pitot(8), LEDGER).  Each block has one writer; others read with relaxed loads.
 *
 *   received  = metered + ignored(by reason) + unselected
 *   metered + taken over = in exported records + in the table + in records not sent + handed over + sliced
 *                                                                                     packets and octets
 *   created + taken over = in the table + ended + handed over                         flows
 */
#ifndef PITOT_STATS_H
#define PITOT_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/flow_record.h"
#include "pitot/packet.h"
#include "pitot/totals.h"

/* Of polite mode: every packet, one in 2, 4 ... 1024; a number is the id of the selector. */
enum { STATS_SELECTORS = 11 };

/* What one metering process did. */
struct meter_stats {
	uint64_t received_packets;
	uint64_t received_octets; /* on the wire, link layer included */
	uint64_t metered_packets;
	uint64_t metered_octets;      /* IP total lengths */
	uint64_t metered_link_octets; /* of the same packets, as received_octets counts */
	uint64_t ignored[PACKET_VERDICTS];
	uint64_t ignored_octets;
	uint64_t filtered_packets; /* rejected by the filter before they were received */
	uint64_t filtered_octets;
	uint64_t uncounted_filters; /* captures whose filter is run by the kernel, which does not count */
	uint64_t unselected_packets;
	uint64_t unselected_octets;
	uint64_t selected_by[STATS_SELECTORS], unselected_by[STATS_SELECTORS]; /* packets; polite mode only */
	uint64_t kernel_dropped;
	uint64_t notes[PACKET_NOTES]; /* by enum packet_note_bit */
	uint64_t oversized; /* frames longer than the interface's MTU: receive offload merged packets */
	uint64_t first_ignored_ns;
	uint64_t last_ignored_ns;
};

struct fragment_stats {
	uint64_t tracked;
	uint64_t joined;   /* later fragments that found their first one */
	uint64_t orphaned; /* and that did not: their flow has no ports */
	uint64_t evicted;
};

/* What one flow table did. */
struct flow_stats {
	uint64_t created;
	uint64_t ended[FLOW_END_COUNT];
	struct totals in_table;
	struct totals handed_on; /* ended */
	struct totals sliced;	 /* packets and octets of flows that were not let in */
	struct totals
		taken_over; /* of another process, with the packets that they had: they were created there */
	struct totals handed_over; /* to another process: they live on there */
	struct fragment_stats fragments;
};

/* Packet samples (sFlow). */
struct sample_stats {
	uint64_t pool;	  /* frames that they were drawn of */
	uint64_t taken;	  /* drawn, and handed on */
	uint64_t dropped; /* drawn, and there was no room for them, or the link type has no name in sFlow */
};

/* One metering process at one instant: these agree with each other. */
struct metering_stats {
	struct meter_stats meter;
	struct flow_stats flows;
	struct sample_stats samples;
	/* records that found the way to the exporting process full (live): gone, and counted here */
	struct totals lost;
	struct totals deleted; /* records that a command dropped */
};

#endif
