/*
 * exporting: the exporting process (RFC 5470 §5.3).  It drains a ring of flow records from each metering
 * thread, hands them to the exporter and drives its timers.  What is asked of it comes by its mailbox
 * (commands.def); what it has counted is published in the shared region.
 *
 * A metering thread never waits for a collector: live a full ring is a counted loss, offline it waits for
 * room.
 */
#ifndef EXPORTING_H
#define EXPORTING_H

#include <stdbool.h>

#include "mailbox.h"
#include "pitot/enrich.h"
#include "pitot/exporter.h"
#include "shared.h"

struct exporting;

/* Polite mode puts records off until a queue is that full, in eighths. */
enum { EXPORTING_FULL_EIGHTHS = 6 };

struct exporting_config {
	const struct shared *shared;
	struct enrich *enrich; /* what completes records before they are encoded; NULL: nothing */
	const struct mailbox *mailbox;
	/*
	 * live: what the rings have no room for is dropped, and counted, and records may change their order;
	 * else the metering threads wait.
	 */
	bool live;
	int top_fd;	   /* where --top is printed */
	uint32_t max_rate; /* records a second, bursts aside; what is over it waits in the rings; 0: no limit
			    */
	const struct exporting_stats *base; /* what a process before it has counted; NULL: there was none */
	bool polite;			    /* it follows shared_control.polite */
	uint64_t first_facts_ns; /* monotonic: when collectors are first told what the metering processes
				    count */
};

int exporting_new(struct exporting **ep, struct exporter *exporter, const struct exporting_config *config,
		  struct diag *diag);
/* The process's life, until COMMAND_FINISH and what is left then. */
void exporting_run(struct exporting *e);
void exporting_free(struct exporting *e);

#endif
