/*
 * options: what an exporter says about itself (RFC 7011 §3.4.2.2, §4; RFC 5476 §6.5.2; RFC 3954 §6.1).
 *
 * A set is a template whose first field is the scope, and data that are encoded by it like flow records, from
 * a struct export_facts.
 */
#ifndef PITOT_EXPORT_OPTIONS_H
#define PITOT_EXPORT_OPTIONS_H

#include "template.h"

#define OPTION_FIRST_ID 512 /* template id of the first set; each has its own, for good */

enum option_index {
	OPTION_SAMPLING,
	OPTION_SELECTOR,
	OPTION_INTERFACES,
	OPTION_EXPORTER,
	OPTION_METERING_STATISTICS,   /* RFC 7011 §4.1 */
	OPTION_METERING_RELIABILITY,  /* §4.2 */
	OPTION_EXPORTING_RELIABILITY, /* §4.3 */
	OPTION_FLOW_KEYS,	      /* §4.4 */
	OPTION_SYSTEMATIC, /* RFC 5476 §6.5.2.1: in the place of OPTION_SELECTOR, as are the next */
	OPTION_UNIFORM,	   /* §6.5.2.3 */
	OPTION_HASH,	   /* §6.5.2.6 */
	OPTION_SELECTION,  /* §6.5.1: selection sequence */
	OPTION_SELECTION_STATISTICS, /* §6.5.3 */
	OPTION_SAMPLER,		     /* of several, as older collectors know them */
	OPTION_SETS
};

/* When its data are sent. */
enum option_when {
	OPTION_WITH_TEMPLATES, /* the same message if there is room */
	OPTION_REFRESH,	       /* after them */
	OPTION_STATISTICS,     /* every stats_ns */
};

struct option_set {
	bool used;
	enum option_when when;
	struct template template;
};

/* The sets that this protocol and configuration have. */
void options_init(struct option_set sets[OPTION_SETS], enum ie_protocol protocol,
		  const struct exporter_config *config);
/* What does not change: configuration. */
/* scope_is_system: it is the whole exporter that is told of, not a domain (NetFlow v9). */
/* selector: in force, of several */
void options_facts(struct export_facts *facts, const struct exporter_config *config, unsigned selector,
		   bool scope_is_system);
/* Of several selectors one. */
void options_selector(struct export_facts *facts, unsigned selector);
/* flowKeyIndicator: a bit for each field of t that is a key (RFC 7011 §4.4). */
uint64_t options_flow_keys(const struct template *t, const struct exporter_config *config);

#endif
