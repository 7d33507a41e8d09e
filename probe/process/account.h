/*
 * account: every packet into exactly one counter of the ledger.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include "pitot/fragment.h"
#include "pitot/packet.h"
#include "pitot/stats.h"

/* Export traffic of this process, to be left out of the metering (--include-own). */
#define OWN_FLOWS_MAX 64
struct own_flows {
	unsigned n;
	struct flow_key flows[OWN_FLOWS_MAX]; /* addresses, ports, protocol, version */
};

/*
 * Counts what is ignored of n decoded packets, completes fragments, and moves the packets that remain
 * together; their number.  Those are counted by account_count() once they are metered.
 *
 * fragments: NULL when they are not tracked; own: NULL when nothing is left out; size: of a packet; mtu: of
 * the interface, 0 when unknown.
 */
unsigned account_sort(struct meter_stats *s, struct flow_stats *flows, struct fragment_table *fragments,
		      const struct own_flows *own, struct packet *packets, size_t size, unsigned n,
		      uint32_t mtu);

/* Received and metered: these n packets. */
void account_count(struct meter_stats *s, const struct packet *packets, size_t size, unsigned n);

#endif
