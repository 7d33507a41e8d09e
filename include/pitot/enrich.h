/*
 * enrich: what the host knows of a finished record, filled in between the ring and the encoders.
 *
 * It is driven by the exporting process, once for each record, and only by what a field asks for: an enricher
 * is a file enrich_NAME.c and a row of enrichers.def, which names the block of blocks.def that it fills.  It
 * may also complete what the core of the record does not know, never change what it does.
 */
#ifndef PITOT_ENRICH_H
#define PITOT_ENRICH_H

#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/flow_record.h"
#include "pitot/interface.h"

struct enrich_config {
	const struct record_layout *from; /* of the records that come: without BLOCKS_OF_HOST */
	const struct record_layout *to;	  /* the same, and those of BLOCKS_OF_HOST that are asked for */
	const struct export_interface *interfaces; /* copied */
	unsigned n_interfaces;
};

struct enrich;

/* Opens what the blocks of config->to need.  *ep is NULL when they need nothing: records go on as they are.
 */
int enrich_new(struct enrich **ep, const struct enrich_config *config, struct diag *diag);
void enrich_free(struct enrich *e);
/* A copy of r in the layout to; it stays what it is until the next call. */
const struct flow_record *enrich_record(struct enrich *e, const struct flow_record *r);
/* Links, addresses, routes or rules have changed: what was remembered of them is forgotten.  NULL is fine. */
void enrich_network_changed(struct enrich *e);
/* Interfaces are called so from now on.  0, or -ENOMEM: as before. */
int enrich_set_interfaces(struct enrich *e, const struct export_interface *interfaces, unsigned n);

#endif
