/* options: see options.h. */
#include "options.h"

#include <unistd.h>

#include "pitot/clock.h"

/* Scope types of NetFlow v9 (RFC 3954 §6.1) */
enum { SCOPE9_SYSTEM = 1, SCOPE9_INTERFACE = 2, SCOPE9_TEMPLATE = 5 };

#define FIELDS 8

struct option_row {
	uint8_t protocols;
	uint8_t scope9;
	enum option_when when;
	enum ie_fact scope;
	unsigned n;
	enum ie_fact fields[FIELDS];
};

static const struct option_row option_rows[OPTION_SETS] = {
	/* 34 and 35 are deprecated by RFC 7270, yet they are what collectors read; the selector stands beside
	   them */
	[OPTION_SAMPLING] = {P9 | PX,
			     SCOPE9_SYSTEM,
			     OPTION_REFRESH,
			     FACT_domain,
			     4,
			     {FACT_sampling_interval, FACT_sampling_algorithm, FACT_active_s,
			      FACT_inactive_s}},
	[OPTION_SELECTOR] = {PX,
			     0,
			     OPTION_REFRESH,
			     FACT_selector_id,
			     3,
			     {FACT_selector_algorithm, FACT_selector_size, FACT_selector_population}},
	[OPTION_INTERFACES] = {P9 | PX,
			       SCOPE9_INTERFACE,
			       OPTION_REFRESH,
			       FACT_ifindex,
			       2,
			       {FACT_ifname, FACT_ifdescription}},
	[OPTION_EXPORTER] = {P9 | PX, SCOPE9_SYSTEM, OPTION_REFRESH, FACT_domain, 1, {FACT_start_ns}},
	[OPTION_METERING_STATISTICS] =
		{PX, 0, OPTION_STATISTICS, FACT_domain, 3, {FACT_messages, FACT_records, FACT_octets}},
	[OPTION_METERING_RELIABILITY] = {PX,
					 0,
					 OPTION_STATISTICS,
					 FACT_domain,
					 5,
					 {FACT_ignored_packets, FACT_ignored_octets, FACT_first_ignored_ns,
					  FACT_last_ignored_ns, FACT_dropped_packets}},
	[OPTION_EXPORTING_RELIABILITY] = {PX,
					  0,
					  OPTION_STATISTICS,
					  FACT_process_id,
					  5,
					  {FACT_not_sent_records, FACT_not_sent_packets, FACT_not_sent_octets,
					   FACT_first_not_sent_ns, FACT_last_not_sent_ns}},
	[OPTION_FLOW_KEYS] =
		{PX, SCOPE9_TEMPLATE, OPTION_WITH_TEMPLATES, FACT_template_id, 1, {FACT_flow_key_indicator}},
	[OPTION_SYSTEMATIC] = {PX,
			       0,
			       OPTION_REFRESH,
			       FACT_selector_id,
			       3,
			       {FACT_selector_algorithm, FACT_selector_take, FACT_selector_skip}},
	[OPTION_UNIFORM] = {PX,
			    0,
			    OPTION_REFRESH,
			    FACT_selector_id,
			    2,
			    {FACT_selector_algorithm, FACT_selector_probability}},
	[OPTION_HASH] = {PX,
			 0,
			 OPTION_REFRESH,
			 FACT_selector_id,
			 8,
			 {FACT_selector_algorithm, FACT_hash_offset, FACT_hash_size, FACT_hash_output_min,
			  FACT_hash_output_max, FACT_hash_selected_min, FACT_hash_selected_max,
			  FACT_hash_initial}},
	[OPTION_SELECTION] = {PX, 0, OPTION_REFRESH, FACT_sequence_id, 2, {FACT_point_id, FACT_selector_id}},
	[OPTION_SELECTION_STATISTICS] = {PX,
					 0,
					 OPTION_STATISTICS,
					 FACT_sequence_id,
					 2,
					 {FACT_observed_packets, FACT_selected_packets}},
	[OPTION_SAMPLER] = {P9 | PX,
			    SCOPE9_SYSTEM,
			    OPTION_REFRESH,
			    FACT_domain,
			    3,
			    {FACT_sampler_id, FACT_sampler_mode, FACT_sampler_interval}},
};

/* The set that announces a selector of this kind (IANA psamp-parameters). */
static enum option_index option_of_selector(const struct export_sampling *s)
{
	switch (s->interval > 1 ? s->algorithm : 0) {
	case 1:
		return OPTION_SYSTEMATIC;
	case 4:
		return OPTION_UNIFORM;
	case 6:
		return OPTION_HASH;
	default:
		return OPTION_SELECTOR;
	}
}

static bool options_wanted(enum option_index i, const struct exporter_config *config)
{
	if (i == OPTION_INTERFACES) /* live there may be some later */
		return config->n_interfaces > 0 || !config->offline;
	if (i == OPTION_EXPORTER) /* a savefile's time has no system that was started */
		return !config->offline;
	if (config->sampling.n_selectors && (i == OPTION_SELECTOR || i == OPTION_UNIFORM))
		return true;
	if (i == OPTION_SAMPLER)
		return config->sampling.n_selectors > 0;
	if (i == OPTION_SELECTOR || i == OPTION_SYSTEMATIC || i == OPTION_UNIFORM || i == OPTION_HASH)
		return i == option_of_selector(&config->sampling);
	if (i == OPTION_SELECTION || i == OPTION_SELECTION_STATISTICS)
		return config->sampling.interval > 1 || config->sampling.n_selectors;
	return true;
}

void options_init(struct option_set sets[OPTION_SETS], enum ie_protocol protocol,
		  const struct exporter_config *config)
{
	for (unsigned i = 0; i < OPTION_SETS; i++) {
		const struct option_row *row = &option_rows[i];
		struct template *t = &sets[i].template;

		sets[i].used = (row->protocols & protocol) && options_wanted((enum option_index)i, config);
		sets[i].when = row->when;
		template_init(t, (uint16_t)(OPTION_FIRST_ID + i), protocol, NULL);
		template_add_scope(t, &ie_facts[row->scope], row->scope9);
		for (unsigned f = 0; f < row->n; f++)
			template_add(t, &ie_facts[row->fields[f]], 0);
	}
}

static uint32_t options_whole_seconds(uint64_t ns)
{
	uint64_t s = ns / NS_PER_SEC + (ns % NS_PER_SEC != 0);

	return s < 65535 ? (uint32_t)s : 65535;
}

void options_facts(struct export_facts *facts, const struct exporter_config *config, unsigned selector,
		   bool scope_is_system)
{
	const struct export_sampling *s = &config->sampling;
	uint32_t interval = s->n_selectors ? UINT32_C(1) << selector : s->interval ? s->interval : 1;

	*facts = (struct export_facts){
		/* the scope System of v9 is the whole exporter */
		.domain = scope_is_system ? 0 : config->domain,
		.process_id = config->offline ? 1 : (uint32_t)getpid(),
		.sampling_interval = interval,
		.sampling_algorithm = interval > 1 && s->algorithm != 1 ? 2 : 1, /* random, deterministic */
		.active_s = options_whole_seconds(config->active_ns),
		.inactive_s = options_whole_seconds(config->inactive_ns),
		.selector_id = 1,
		.selector_algorithm =
			interval > 1 ? s->algorithm : 3, /* random n-out-of-N (RFC 5477 §8.2.1): 1 of 1 */
		.selector_size = 1,
		.selector_population = 1,
		.selector_take = 1,
		.selector_skip = interval - 1,
		.selector_probability = 1.0 / interval,
		.hash_size = 20, /* of the header: addresses and protocol, and the ports behind it */
		.hash_output_max = UINT32_MAX,
		.hash_selected_max = s->hash_limit ? s->hash_limit - 1 : 0,
		.hash_initial = s->hash_initial,
		.sequence_id = 1,
		.point_id = config->domain,
		.start_ns = config->start_ns,
	};
}

void options_selector(struct export_facts *facts, unsigned selector)
{
	facts->selector_id = selector;
	facts->selector_algorithm = selector ? 4 : 3; /* uniform probabilistic; one of one */
	facts->selector_probability = 1.0 / (double)(1u << selector);
	facts->sampler_id = (uint8_t)selector;
	facts->sampler_mode = 2; /* random */
	facts->sampler_interval = 1u << selector;
	facts->sequence_id = selector + 1;
}

uint64_t options_flow_keys(const struct template *t, const struct exporter_config *config)
{
	static const struct {
		enum ie_index ie;
		uint32_t when; /* enum flow_key_extra; 0 always */
	} keys[] = {
		{IE_sourceIPv4Address, 0},
		{IE_destinationIPv4Address, 0},
		{IE_sourceIPv6Address, 0},
		{IE_destinationIPv6Address, 0},
		{IE_protocolIdentifier, 0},
		{IE_sourceTransportPort, 0},
		{IE_destinationTransportPort, 0},
		{IE_ipClassOfService, FLOW_KEY_TOS},
		{IE_vlanId, FLOW_KEY_VLAN},
		{IE_dot1qVlanId, FLOW_KEY_VLAN},
		{IE_sourceMacAddress, FLOW_KEY_MAC},
		{IE_destinationMacAddress, FLOW_KEY_MAC},
		{IE_outerSourceIPv4Address, FLOW_KEY_TUNNEL},
		{IE_outerDestinationIPv4Address, FLOW_KEY_TUNNEL},
		{IE_outerSourceIPv6Address, FLOW_KEY_TUNNEL},
		{IE_outerDestinationIPv6Address, FLOW_KEY_TUNNEL},
		{IE_outerSourceTransportPort, FLOW_KEY_TUNNEL},
		{IE_outerDestinationTransportPort, FLOW_KEY_TUNNEL},
		{IE_outerProtocolIdentifier, FLOW_KEY_TUNNEL},
		{IE_layer2SegmentId, FLOW_KEY_TUNNEL},
		{IE_greKey, FLOW_KEY_TUNNEL},
	};
	uint64_t bits = 0;

	for (unsigned i = 0; i < t->n_fields; i++) {
		for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			if (t->fields[i].ie == &ie_table[keys[k].ie] &&
			    (keys[k].when == 0 || (config->flow_key & keys[k].when)))
				bits |= UINT64_C(1) << i;
		/* the interface, which one of the two names: received there, or sent */
		if (config->key_interface && (t->fields[i].ie == &ie_table[IE_ingressInterface] ||
					      t->fields[i].ie == &ie_table[IE_egressInterface]))
			bits |= UINT64_C(1) << i;
	}
	return bits;
}
