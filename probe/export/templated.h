/*
 * templated: what NetFlow v9 and IPFIX have in common: templates announced before data, refreshed by time and
 * by count, options, and data in sets.  netflow9.c and ipfix.c own their headers and template records.
 */
#ifndef PITOT_EXPORT_TEMPLATED_H
#define PITOT_EXPORT_TEMPLATED_H

#include "format.h"

/* What differs between the two. */
struct dialect {
	unsigned header_size;
	unsigned reserve; /* at the end: padding of the last set to whole words; 0: none is wanted */
	uint16_t template_set;
	uint16_t options_template_set;
	bool scope_in_octets; /* options templates give lengths; else counts of fields */
	bool scope_is_system; /* what is told of the exporter is told of the whole of it, not of a domain */
	unsigned
		stamp_octets; /* from the 5th of a header on: what is given when a message enters a session */
};

int templated_setup(struct collector *c, struct diag *diag);
void templated_record(struct collector *c, const struct flow_record *r, const struct clock_time *now);
void templated_tick(struct collector *c, const struct clock_time *now);
uint64_t templated_due_ns(const struct collector *c);
void templated_refresh(struct collector *c);
void templated_finish(struct collector *c, const struct clock_time *now);
int templated_announce(struct collector *c);
const struct template *templated_template(const struct collector *c, unsigned number);
void templated_close(struct collector *c);
void templated_statistics(struct collector *c);
void templated_hand_over(const struct collector *c, struct sections_writer *w);
const char *templated_take_over(struct collector *c, struct section *from);
/* For the header of each message. */
void templated_count_message(struct collector *c);

#endif
