/*
 * template: an ordered list of fields, and the small program that turns a record into octets by it.
 *
 * What is announced (fields) and what is encoded (ops) are added by one call, so they cannot disagree.
 */
#ifndef PITOT_EXPORT_TEMPLATE_H
#define PITOT_EXPORT_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/exporter.h"
#include "pitot/ie.h"

#define TEMPLATE_FIELDS 64 /* flowKeyIndicator has as many bits */
#define TEMPLATE_CODES	23 /* ways to put a field */

struct template_field {
	const struct ie *ie;
	uint32_t pen;
	uint16_t id;	 /* on the wire; a scope type in NetFlow v9 */
	uint16_t length; /* on the wire; IE_VARIABLE */
	uint16_t offset; /* of the member in the record, its block included */
};

struct template_op {
	uint8_t op;   /* enum template_code */
	uint8_t size; /* of the member */
	uint16_t offset;
	uint16_t length; /* on the wire */
	uint16_t at;	 /* from the beginning of the record; not behind a variable field */
	uint64_t constant;
};

struct template
{
	uint16_t id;
	uint8_t protocol; /* enum ie_protocol */
	const struct record_layout *layout;
	uint16_t n_fields;
	uint16_t n_scope;    /* the first fields are the scope; 0: flow records */
	uint16_t min_size;   /* octets of the shortest record */
	uint16_t max_size;   /* and of the longest: the same unless a field is variable */
	uint16_t fixed_size; /* up to the first variable field */
	struct template_field fields[TEMPLATE_FIELDS];
	uint8_t ends[TEMPLATE_CODES]; /* in ops, of the fields of each code before that one; what follows is
					 in order */
	struct template_op ops[TEMPLATE_FIELDS];
};

/* What encoding needs beside the record. */
struct template_context {
	int64_t boot_ms;     /* sysUptime 0, ms since 1970 */
	int64_t earliest_ms; /* instants outside these are moved to them */
	int64_t latest_ms;
	const struct export_interface *interfaces;
	unsigned n_interfaces;
	uint32_t interval;  /* of selector 0: one packet of so many; 0: all */
	uint64_t saturated; /* counts values that did not fit */
};

enum { TEMPLATE_E_FULL = 1, TEMPLATE_E_ABSENT };

/* layout: of the records, kept; NULL: there are no blocks, or it is export_facts that are encoded. */
void template_init(struct template *t, uint16_t id, enum ie_protocol protocol,
		   const struct record_layout *layout);
/*
 * length 0: the row's own in this protocol.  TEMPLATE_E_FULL, or TEMPLATE_E_ABSENT when records have not the
 * block.
 */
int template_add(struct template *t, const struct ie *ie, uint16_t length);
/* A scope field; scope9 is its scope type in NetFlow v9 (RFC 3954 §6.1). */
int template_add_scope(struct template *t, const struct ie *ie, uint16_t scope9);
bool template_has(const struct template *t, const struct ie *ie);

/*
 * Writes one record at at, where there is room for max_size octets; returns its end.  record is a struct
 * flow_record or a struct export_facts, as the rows that were added.
 */
uint8_t *template_encode(const struct template *t, const void *record, struct template_context *ctx,
			 uint8_t *at);

struct flow_record;
/* interfaceName: of the interface that received the packets, else of the one that sent them; "" unknown. */
const char *template_interface_name(const struct template_context *ctx, const struct flow_record *r);

/* Octets of src, at most size, that do not end inside a UTF-8 sequence. */
unsigned template_utf8_fit(const char *src, unsigned size);

#endif
