/* templated_tell: what is announced to a collector: templates, and options data about the exporter itself. */
#include "templated_internal.h"

#include <string.h>

void templated_open_for_announcement(struct collector *c)
{
	const struct dialect *d = c->format->dialect;

	message_begin(c, d->header_size, d->reserve);
	export_clock_begin(&c->clock, NULL, &c->exporter->now);
	export_clock_add(&c->clock, NULL, &c->exporter->now);
}

/* Room for something that is announced, in this message or the next one; false: not even an empty one has it.
 */
static bool templated_room_for_announcement(struct collector *c, uint16_t set_id, unsigned size)
{
	if (message_room(c, set_id, size))
		return true;
	message_finish(c);
	templated_open_for_announcement(c);
	return message_room(c, set_id, size);
}

/*
 * Options templates have a set each: collectors (nfacctd 1.7.7) lose their place behind the first of a set,
 * and give the rest of the message up.
 */
void templated_put_template(struct collector *c, const struct template *t)
{
	const struct dialect *d = c->format->dialect;
	struct wire *w = &c->message.wire;
	unsigned head = t->n_scope ? 6 : 4, size = head + 4u * t->n_fields;

	if (t->n_scope)
		message_close_set(c);
	for (unsigned i = 0; i < t->n_fields; i++)
		size += t->fields[i].pen ? 4 : 0;
	if (!templated_room_for_announcement(c, t->n_scope ? d->options_template_set : d->template_set,
					     size)) {
		c->stats.errors++; /* larger than the path takes: nothing of this template can be exported */
		return;
	}
	wire_put_u16(w, t->id);
	if (t->n_scope && d->scope_in_octets) { /* RFC 3954 §6.1 */
		wire_put_u16(w, (uint16_t)(4 * t->n_scope));
		wire_put_u16(w, (uint16_t)(4 * (t->n_fields - t->n_scope)));
	} else {
		wire_put_u16(w, t->n_fields);
		if (t->n_scope) /* RFC 7011 §3.4.2.2: a count */
			wire_put_u16(w, t->n_scope);
	}
	for (unsigned i = 0; i < t->n_fields; i++) {
		const struct template_field *f = &t->fields[i];

		wire_put_u16(w, (uint16_t)(f->id | (f->pen ? 0x8000 : 0))); /* RFC 7011 §3.2 */
		wire_put_u16(w, f->length);
		if (f->pen)
			wire_put_u32(w, f->pen);
	}
	c->message.load.templates++;
}

void templated_put_templates(struct collector *c)
{
	struct templated *s = templated_of(c);

	s->announced = 0;
	for (unsigned i = 0; i < FLOW_MASKS; i++) {
		if (!s->flow.made[i])
			continue;
		templated_put_template(c, s->flow.made[i]);
		s->announced |= 1u << i;
	}
	for (unsigned i = OPTION_SETS; i-- > 0;) /* flow keys next to what they describe: RFC 7011 §8 */
		if (s->options[i].used)
			templated_put_template(c, &s->options[i].template);
}

void templated_put_option(struct collector *c, enum option_index i, const struct export_facts *facts)
{
	const struct option_set *set = &templated_of(c)->options[i];
	struct message *m = &c->message;
	struct template_context ctx = {0}; /* facts that saturate are no lost values of flows */

	if (!set->used || !templated_room_for_announcement(c, set->template.id, set->template.max_size))
		return;
	m->wire.at = template_encode(&set->template, facts, &ctx, m->wire.at);
	m->load.options++;
}

void templated_put_flow_key(struct collector *c, unsigned mask, struct export_facts *facts)
{
	struct templated *s = templated_of(c);
	const struct template *t = s->flow.made[mask];

	if (!s->flow_keys[mask])
		s->flow_keys[mask] = options_flow_keys(t, &c->exporter->config);
	facts->template_id = t->id;
	facts->flow_key_indicator = s->flow_keys[mask];
	templated_put_option(c, OPTION_FLOW_KEYS, facts);
}

static void templated_put_flow_keys(struct collector *c, struct export_facts *facts)
{
	const struct flow_templates *flow = &templated_of(c)->flow;

	for (unsigned mask = 0; mask < FLOW_MASKS; mask++)
		if (flow->made[mask])
			templated_put_flow_key(c, mask, facts);
}

void templated_put_interfaces(struct collector *c, struct export_facts *facts)
{
	const struct exporter_config *config = &c->exporter->config;

	for (unsigned i = 0; i < config->n_interfaces; i++) {
		const struct export_interface *n = &config->interfaces[i];

		if (!n->ifindex || !n->name[0] || n->gone)
			continue;
		facts->ifindex = n->ifindex;
		memcpy(facts->ifname, n->name, sizeof(facts->ifname));
		memcpy(facts->ifdescription, n->description, sizeof(facts->ifdescription));
		templated_put_option(c, OPTION_INTERFACES, facts);
	}
}

/* How packets are selected; of several selectors, that in force last: older collectors keep one rate. */
void templated_put_selectors(struct collector *c, struct export_facts *facts)
{
	static const enum option_index selectors[] = {OPTION_SELECTOR, OPTION_SYSTEMATIC, OPTION_UNIFORM,
						      OPTION_HASH, OPTION_SELECTION};
	unsigned n = c->exporter->config.sampling.n_selectors;

	if (n == 0)
		templated_put_option(c, OPTION_SAMPLING, facts);
	for (unsigned i = 0; n == 0 && i < sizeof(selectors) / sizeof(selectors[0]); i++)
		templated_put_option(c, selectors[i], facts); /* the one that is used */
	for (unsigned i = 0; i < n; i++) {
		unsigned selector = (c->exporter->selector + 1 + i) % n;

		options_selector(facts, selector);
		templated_put_option(c, selector ? OPTION_UNIFORM : OPTION_SELECTOR, facts);
		templated_put_option(c, OPTION_SELECTION, facts);
		templated_put_option(c, OPTION_SAMPLER, facts);
	}
	if (n)
		templated_put_option(c, OPTION_SAMPLING, facts);
}

void templated_tell(struct collector *c, unsigned copies, bool all)
{
	const struct exporter_config *config = &c->exporter->config;
	struct export_facts facts;

	options_facts(&facts, config, c->exporter->selector, c->format->dialect->scope_is_system);
	message_finish(c);
	templated_of(c)->since_templates = 0;
	c->refused = false;
	for (unsigned i = 0; i < copies; i++) {
		message_finish(c);
		templated_put_templates(c);
	}
	templated_put_flow_keys(c, &facts);
	templated_put_selectors(c, &facts);
	if (!all)
		return;
	templated_of(c)->templates_due = false;
	templated_of(c)->next_template_ns = c->exporter->now.monotonic_ns + config->template_ns;
	templated_put_option(c, OPTION_EXPORTER, &facts);
	templated_put_interfaces(c, &facts);
}

/* Of each selector what it was shown and what it took (RFC 5476 §6.5.3). */
static void templated_put_selections(struct collector *c, struct export_facts *facts)
{
	const struct export_process_facts *of = &c->exporter->facts, *earlier = &c->exporter->earlier;
	unsigned n = c->exporter->config.sampling.n_selectors;

	for (unsigned i = 0; i < (n ? n : 1); i++) {
		if (n)
			options_selector(facts, i);
		facts->observed_packets = earlier->observed_packets[i] + of->observed_packets[i];
		facts->selected_packets = earlier->selected_packets[i] + of->selected_packets[i];
		templated_put_option(c, OPTION_SELECTION_STATISTICS, facts);
	}
}

/*
 * RFC 7011 §4: totals of what was sent before the message that says so; hence everything before it is out.
 * Losses are those that an earlier message's sequence number has shown (§10.3.2).
 */
void templated_put_statistics(struct collector *c)
{
	const struct exporter *e = c->exporter;
	struct export_facts facts;

	templated_of(c)->next_stats_ns =
		e->now.monotonic_ns + (e->config.stats_ns ? e->config.stats_ns : e->config.template_ns);
	if (e->config.sampling.n_selectors) { /* the rate that is in force, for those that know one alone */
		message_flush(c);
		options_facts(&facts, &e->config, e->selector, c->format->dialect->scope_is_system);
		templated_put_option(c, OPTION_SAMPLING, &facts);
	}
	if (!templated_of(c)->options[OPTION_METERING_STATISTICS].used)
		return;
	message_flush(c);
	if (c->lost.records != c->shown.records && !c->transport->limits.reliable) {
		templated_tell(c, 1, false); /* a message that shows them */
		message_flush(c);
	}
	options_facts(&facts, &e->config, e->selector, c->format->dialect->scope_is_system);
	if (templated_is_spooled(c))
		c->shown = c->lost;
	facts.messages = c->earlier.messages + c->stats.messages + c->transport->stats.resent_messages;
	facts.octets = c->earlier.octets + c->stats.octets + c->transport->stats.resent_octets;
	facts.records = c->earlier.records + c->stats.sent.records + c->transport->stats.resent_records;
	if (c->transport->limits.reliable &&
	    !templated_is_spooled(c)) { /* a file, where it will stand before */
		facts.messages += c->waiting.messages;
		facts.octets += c->waiting.octets;
		facts.records += c->waiting.records;
	}
	facts.ignored_packets = e->earlier.ignored_packets + e->facts.ignored_packets;
	facts.ignored_octets = e->earlier.ignored_octets + e->facts.ignored_octets;
	facts.first_ignored_ns =
		e->earlier.first_ignored_ns ? e->earlier.first_ignored_ns : e->facts.first_ignored_ns;
	facts.last_ignored_ns =
		e->facts.last_ignored_ns ? e->facts.last_ignored_ns : e->earlier.last_ignored_ns;
	facts.dropped_packets = e->earlier.dropped_packets + e->facts.dropped_packets;
	facts.not_sent_records = c->earlier.shown.records + c->shown.records;
	facts.not_sent_packets = c->earlier.shown.packets + c->shown.packets;
	facts.not_sent_octets = c->earlier.shown.octets + c->shown.octets;
	facts.first_not_sent_ns = c->first_lost_ns;
	facts.last_not_sent_ns = c->last_lost_ns;
	templated_put_option(c, OPTION_METERING_STATISTICS, &facts);
	templated_put_option(c, OPTION_METERING_RELIABILITY, &facts);
	templated_put_option(c, OPTION_EXPORTING_RELIABILITY, &facts);
	templated_put_selections(c, &facts);
}
