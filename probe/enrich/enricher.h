/* enricher: what each row of enrichers.def has. */
#ifndef PITOT_ENRICH_ENRICHER_H
#define PITOT_ENRICH_ENRICHER_H

#include "pitot/enrich.h"

/* The interfaces by the numbers that are exported and by the system's: the same ones, unless a user says so.
 */
struct enrich_interfaces {
	struct export_interface *list;
	unsigned n;
};

uint32_t enrich_system_index(const struct enrich_interfaces *i, uint32_t exported);
uint32_t enrich_exported_index(const struct enrich_interfaces *i, uint32_t system);

struct enricher_ops {
	/* before the process is confined: what it needs of the system is opened here */
	int (*open)(void **state, struct diag *diag);
	/* block is all zero.  A question to the system is bounded in time, and its answer is remembered. */
	void (*look)(void *state, const struct enrich_interfaces *interfaces, struct flow_record *r,
		     void *block);
	/* links, addresses, routes or the names of interfaces are not what they were */
	void (*changed)(void *state);
	void (*close)(void *state); /* of one that was opened */
};

#endif
