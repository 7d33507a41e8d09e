/*
 * poller: reads the counters of the interfaces that are measured from time to time, for sFlow
 * (--sflow-polling).
 *
 * Each has its own instant within the interval, so that what is sent does not come in bursts.
 */
#ifndef POLLER_H
#define POLLER_H

#include <stdint.h>

#include "names.h"
#include "pitot/counters.h"
#include "pitot/diag.h"
#include "pitot/netif.h"

#define POLLER_MOST 4096

struct poller {
	struct netif_counters *counters; /* NULL: nothing is polled */
	uint64_t interval_ns;
	unsigned n;
	struct poller_interface {
		uint32_t index; /* the system's, when it was read last; 0: it was not there */
		uint64_t due_ns, in_octets, out_octets;
	} * interfaces;
};

/* Before privileges are given up.  interval_ns 0: nothing is polled. */
int poller_init(struct poller *p, uint64_t interval_ns, struct diag *diag);
void poller_deinit(struct poller *p);

/* When that is; UINT64_MAX: never. */
uint64_t poller_due_ns(const struct poller *p);
/* Reads what is due, and hands it on. */
void poller_step(struct poller *p, const struct names *names, uint64_t now_ns,
		 void (*tell)(void *ctx, const struct interface_counters *c), void *ctx);

#endif
