/*
 * flow_templates: the templates of a collector's flow records, one for each way in which records differ, made
 * when the first such record comes.  So a flow that is in no tunnel carries no fields of one.
 */
#ifndef PITOT_FLOW_TEMPLATES_H
#define PITOT_FLOW_TEMPLATES_H

#include "template.h"

/* A template's mask: bits of what its records are.  Its number is FLOW_TEMPLATE_ID + mask. */
enum flow_mask {
	FLOW_MASK_IP6 = 1,    /* else IPv4 */
	FLOW_MASK_OUTER4 = 2, /* in a tunnel over IPv4 */
	FLOW_MASK_OUTER6 = 4, /* in a tunnel over IPv6 */
	FLOW_MASKS = 6
};
#define FLOW_TEMPLATE_ID 256

struct flow_templates {
	const struct exporter_config *config;
	enum ie_protocol protocol;
	bool with_id; /* flowId, where the fields have it not: by it a collector finds what came twice */
	uint16_t tunnel_at; /* of that block in records; 0: no field tells of tunnels */
	struct template *made[FLOW_MASKS];
};

/* Those of records in no tunnel are made at once.  -EINVAL with a sentence when the fields are wrong. */
int flow_templates_init(struct flow_templates *f, enum ie_protocol protocol,
			const struct exporter_config *config, bool with_id, struct diag *diag);
void flow_templates_deinit(struct flow_templates *f);
/* The template of a mask that records can have; NULL: out of memory. */
const struct template *flow_templates_make(struct flow_templates *f, unsigned mask);
/* All of them: for sessions that begin with what there may be. */
int flow_templates_make_all(struct flow_templates *f);

static inline unsigned flow_templates_mask(const struct flow_templates *f, const struct flow_record *r)
{
	unsigned mask = r->key.ip_version == 6 ? FLOW_MASK_IP6 : 0;

	if (f->tunnel_at) {
		const uint8_t *block = (const uint8_t *)r + f->tunnel_at;
		uint8_t outer = ((const struct block_tunnel *)(const void *)block)->ip_version;

		mask |= outer == 4 ? FLOW_MASK_OUTER4 : outer == 6 ? FLOW_MASK_OUTER6 : 0;
	}
	return mask;
}

/* One template, by --fields or the standard list: fields.c. */
int fields_template(struct template *t, unsigned mask, enum ie_protocol protocol, bool with_id,
		    const struct exporter_config *config, struct diag *diag);
/* The blocks that the fields are in. */
uint32_t fields_blocks(const char *list);

#endif
