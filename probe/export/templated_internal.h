/*
 * templated, inside: what is announced (templated_tell.c), data (templated.c), and what another process takes
 * over of it (templated_hand_over.c).
 */
#ifndef PITOT_EXPORT_TEMPLATED_INTERNAL_H
#define PITOT_EXPORT_TEMPLATED_INTERNAL_H

#include "flow_templates.h"
#include "templated.h"

#define COPIES 2 /* of templates before the first data, in different messages */

struct templated {
	struct flow_templates flow;
	uint64_t flow_keys[FLOW_MASKS]; /* options_flow_keys() of each; 0: not asked for yet */
	unsigned announced;		/* 1 << mask: in this session */
	struct option_set options[OPTION_SETS];
	bool templates_due;
	uint64_t next_template_ns; /* monotonic */
	uint64_t next_stats_ns;
	uint32_t since_templates; /* messages of flow records since the last one with templates */
};

static inline struct templated *templated_of(const struct collector *c)
{
	return c->state;
}

static inline bool templated_is_spooled(const struct collector *c)
{
	return c->transport->limits.spooled;
}

/* Opens a message for what is announced, whose clock is on its line. */
void templated_open_for_announcement(struct collector *c);
/* Templates, and what stands with them.  all: also the tables, which may be long, and are due by time only.
 */
void templated_tell(struct collector *c, unsigned copies, bool all);
/* Parts of that. */
void templated_put_template(struct collector *c, const struct template *t);
void templated_put_templates(struct collector *c);
void templated_put_option(struct collector *c, enum option_index i, const struct export_facts *facts);
void templated_put_flow_key(struct collector *c, unsigned mask, struct export_facts *facts);
void templated_put_interfaces(struct collector *c, struct export_facts *facts);
void templated_put_selectors(struct collector *c, struct export_facts *facts);
/* What was counted until here (RFC 7011 §4). */
void templated_put_statistics(struct collector *c);

#endif
