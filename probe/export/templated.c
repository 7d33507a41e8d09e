/*
 * templated: see templated.h.
 *
 * A session begins with the templates, over UDP twice in messages of their own (RFC 7011 §8.4), then what
 * they describe about the exporter itself, then data.  Templates and options never share a message with flow
 * records: what a collector does not understand, and gives up on, takes no flows with it.  Over UDP templates
 * and options are sent again every template_ns, also on an idle link, and every template_messages messages of
 * flow records; reliable transports keep templates for the session (§8.1) and get options data by time only.
 */
#include "templated.h"

#include "flow_templates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static struct templated *templated_of(const struct collector *c)
{
	return c->state;
}

int templated_setup(struct collector *c, struct diag *diag)
{
	struct templated *s = calloc(1, sizeof(*s));

	c->state = s;
	if (!s)
		return diag_set(diag, -ENOMEM, "%s: no memory for templates", c->config.url);
	options_init(s->options, c->format->protocol, &c->exporter->config);
	return flow_templates_init(&s->flow, c->format->protocol, &c->exporter->config,
				   transport_replays(c->config.transport), diag);
}

void templated_close(struct collector *c)
{
	struct templated *s = templated_of(c);

	if (s)
		flow_templates_deinit(&s->flow);
	free(s);
}

const struct template *templated_template(const struct collector *c, unsigned number)
{
	const struct templated *s = templated_of(c);

	for (unsigned i = 0; i < FLOW_MASKS; i++)
		if (s->flow.made[i] && number-- == 0)
			return s->flow.made[i];
	for (unsigned i = 0; i < OPTION_SETS; i++)
		if (s->options[i].used && number-- == 0)
			return &s->options[i].template;
	return NULL;
}

static bool templated_is_spooled(const struct collector *c)
{
	return c->transport->limits.spooled;
}

/* Spooled, and no session to send anything in but flow records, which wait for one. */
static bool templated_is_apart(const struct collector *c)
{
	return templated_is_spooled(c) && c->transport->state != TRANSPORT_STATE_UP;
}

/* Opens a message for what is announced, whose clock is on its line. */
static void templated_open_for_announcement(struct collector *c)
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
static void templated_put_template(struct collector *c, const struct template *t)
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

static void templated_put_templates(struct collector *c)
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

static void templated_put_option(struct collector *c, enum option_index i, const struct export_facts *facts)
{
	const struct option_set *set = &templated_of(c)->options[i];
	struct message *m = &c->message;
	struct template_context ctx = {0}; /* facts that saturate are no lost values of flows */

	if (!set->used || !templated_room_for_announcement(c, set->template.id, set->template.max_size))
		return;
	m->wire.at = template_encode(&set->template, facts, &ctx, m->wire.at);
	m->load.options++;
}

static void templated_put_flow_key(struct collector *c, unsigned mask, struct export_facts *facts)
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

static void templated_put_interfaces(struct collector *c, struct export_facts *facts)
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
static void templated_put_selectors(struct collector *c, struct export_facts *facts)
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

/* Templates, and what stands with them.  all: also the tables, which may be long, and are due by time only.
 */
static void templated_tell(struct collector *c, unsigned copies, bool all)
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

static bool templated_due_by_time(const struct collector *c)
{
	return c->started && (templated_of(c)->templates_due ||
			      c->exporter->now.monotonic_ns >= templated_of(c)->next_template_ns);
}

static bool templated_due_by_count(const struct collector *c)
{
	uint32_t most = c->exporter->config.template_messages;

	return c->started && most && templated_of(c)->since_templates >= most &&
	       !c->transport->limits.reliable;
}

/* Whoever refuses a datagram may be somebody else by the next one, who knows no templates. */
static bool templated_due_by_refusal(const struct collector *c)
{
	return c->refused && !c->transport->limits.reliable && !c->transport->limits.spooled;
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
static void templated_put_statistics(struct collector *c)
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

/* A new session has its own sequence and knows no template (RFC 7011 §3.1, §8). */
static void templated_enter_session(struct collector *c)
{
	if (c->session == c->transport->session)
		return;
	if (!templated_is_spooled(c) || c->message.load.flows.records == 0)
		message_abandon(c);
	c->session = c->transport->session;
	if (!templated_is_spooled(c)) /* restamp does it */
		c->sequence = collector_first_sequence(c);
	c->started = false;
}

static void templated_start(struct collector *c)
{
	bool reliable = c->transport->limits.reliable;

	c->started = true;
	/* a reliable transport that is spooled begins its sessions with the templates by itself */
	templated_tell(c, reliable && templated_is_spooled(c) ? 0 : reliable ? 1 : COPIES, true);
	templated_put_statistics(c);
}

/* Refresh over UDP: everything.  Reliable transports know the templates: options data only. */
static void templated_repeat(struct collector *c)
{
	struct export_facts facts;

	if (!c->transport->limits.reliable) {
		templated_tell(c, 1, templated_due_by_time(c));
		return;
	}
	options_facts(&facts, &c->exporter->config, c->exporter->selector,
		      c->format->dialect->scope_is_system);
	message_finish(c);
	templated_of(c)->templates_due = false;
	templated_of(c)->next_template_ns = c->exporter->now.monotonic_ns + c->exporter->config.template_ns;
	if (c->exporter->config.offline)
		return; /* a file: at its beginning and its end */
	if (c->exporter->config.sampling.n_selectors)
		templated_put_selectors(c, &facts);
	else
		templated_put_option(c, OPTION_SAMPLING, &facts);
	templated_put_interfaces(c, &facts);
}

/* What must stand before more data; afterwards a message may be open. */
static void templated_prepare(struct collector *c)
{
	templated_enter_session(c);
	if (!c->session || templated_is_apart(c))
		return;
	if (!c->started)
		templated_start(c);
	else if (templated_due_by_time(c) || templated_due_by_count(c) || templated_due_by_refusal(c))
		templated_repeat(c);
}

/* Ends the message if r (NULL: whatever comes) does not fit the line that its clock is on. */
static void templated_follow_clock(struct collector *c, const struct flow_record *r,
				   const struct clock_time *now)
{
	if (!c->message.open || export_clock_fits(&c->clock, r, now))
		return;
	message_finish(c);
	if (!c->exporter->config.offline)
		templated_of(c)->templates_due = true; /* the wall clock stepped: RFC 3954 §7 */
}

/* A message for the record, behind what must precede it. */
static void templated_open_for_data(struct collector *c, const struct flow_record *r)
{
	const struct clock_time *now = &c->exporter->now;
	const struct dialect *d = c->format->dialect;

	if (c->exporter->config.offline) {
		/* what is announced is dated by the record that it is announced for */
		export_clock_begin(&c->clock, r, now);
		export_clock_add(&c->clock, r, now);
	}
	templated_prepare(c);
	message_finish(c); /* flow records are in messages of their own */
	message_begin(c, d->header_size, d->reserve);
	export_clock_begin(&c->clock, r, now);
}

/* Room for the record in this message or the next one; false: not even an empty one has it. */
static bool templated_room_for_data(struct collector *c, const struct template *t,
				    const struct flow_record *r)
{
	if (message_room(c, t->id, t->max_size))
		return true;
	if (c->message.open && message_is_empty(&c->message))
		return false;
	message_finish(c);
	templated_open_for_data(c, r);
	return message_room(c, t->id, t->max_size);
}

/*
 * The first record of its kind in a session that has begun: its template goes before it (RFC 7011 §8), in
 * messages of its own like all others.  Where sessions begin by themselves all templates are there from the
 * start.
 */
static void templated_introduce(struct collector *c, unsigned mask, const struct flow_record *r)
{
	struct export_facts facts;

	options_facts(&facts, &c->exporter->config, c->exporter->selector,
		      c->format->dialect->scope_is_system);
	if (c->exporter->config.offline) {
		message_finish(c);
		export_clock_begin(&c->clock, r, &c->exporter->now);
		export_clock_add(&c->clock, r, &c->exporter->now);
	}
	for (unsigned i = 0; i < (c->transport->limits.reliable ? 1 : COPIES); i++) {
		message_finish(c);
		templated_put_template(c, templated_of(c)->flow.made[mask]);
	}
	templated_put_flow_key(c, mask, &facts);
	message_finish(c);
}

static const struct template *template_for(struct collector *c, const struct flow_record *r)
{
	struct templated *s = templated_of(c);
	unsigned mask = flow_templates_mask(&s->flow, r);
	const struct template *t = s->flow.made[mask];

	if (__builtin_expect(s->announced >> mask & 1, 1))
		return t;
	if (!t)
		t = flow_templates_make(&s->flow, mask);
	if (t && c->started && !templated_is_spooled(c)) {
		s->announced |= 1u << mask;
		templated_introduce(c, mask, r);
	}
	return t;
}

void templated_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	const struct template *t = template_for(c, r);
	struct message *m = &c->message;

	if (!t) { /* out of memory */
		collector_unfit(c, r);
		return;
	}
	if (m->open && m->set && m->set_id == t->id && wire_room(&m->wire) >= t->max_size &&
	    export_clock_take(&c->clock, r, now)) {
		m->set_records++;
	} else {
		templated_follow_clock(c, r, now);
		if (!templated_room_for_data(c, t, r)) {
			collector_unfit(c, r);
			return;
		}
		export_clock_add(&c->clock, r, now);
	}
	c->context.boot_ms = c->clock.boot_ms;
	c->context.latest_ms = c->clock.header_ms;
	c->context.earliest_ms = export_clock_earliest(&c->clock);
	m->wire.at = template_encode(t, r, &c->context, m->wire.at);
	message_count(c, r->packets, r->octets, now->monotonic_ns);
}

void templated_tick(struct collector *c, const struct clock_time *now)
{
	const struct exporter_config *config = &c->exporter->config;

	templated_enter_session(c); /* first: what is open belongs to the session before */
	if (config->offline && !c->started && !(templated_is_spooled(c) && c->exporter->latest_ns))
		return; /* times are not known before the first record */
	templated_follow_clock(c, NULL, now);
	if (!c->session || templated_is_apart(c))
		return;
	if (!c->started || templated_due_by_time(c) || templated_due_by_count(c)) {
		message_finish(c);
		templated_prepare(c);
		message_flush(c);
	}
	if (now->monotonic_ns >= templated_of(c)->next_stats_ns &&
	    !(config->offline && c->transport->limits.reliable)) {
		templated_put_statistics(c);
		message_flush(c);
	}
}

/* They tell of the periods, and of the selector. */
void templated_statistics(struct collector *c)
{
	templated_of(c)->next_stats_ns = 0;
}

void templated_count_message(struct collector *c)
{
	templated_of(c)->since_templates += c->message.load.flows.records > 0;
}

void templated_refresh(struct collector *c)
{
	templated_of(c)->templates_due = true;
}

void templated_finish(struct collector *c, const struct clock_time *now)
{
	(void)now;
	templated_enter_session(c);
	if (c->session && !c->started && !templated_is_apart(c))
		templated_start(c);
	message_flush(c);
	if (c->session && !templated_is_apart(c))
		templated_put_statistics(c);
	message_flush(c);
}

/* The same octets whenever the templates are the same: number and time are given when it enters a session. */
int templated_announce(struct collector *c)
{
	struct message *m = &c->message;
	unsigned templates;
	int r;

	if (flow_templates_make_all(&templated_of(c)->flow))
		return -ENOMEM;
	if (!c->transport->limits.reliable)
		return 0; /* templates are repeated: templated_tell() */
	templated_open_for_announcement(c);
	templated_put_templates(c);
	message_close_set(c);
	templates = m->load.templates;
	c->format->header(c);
	for (unsigned i = 0; i < c->format->dialect->stamp_octets; i++)
		m->wire.start[4 + i] = 0;
	m->open = false;
	r = c->format->restamp
		    ? c->transport->ops->announce(c->transport, m->wire.start, wire_size(&m->wire), templates)
		    : -EINVAL;
	*m = (struct message){0};
	c->clock.has_line = false;
	return r;
}

/* ---- handing over */

struct handed_templates {
	uint32_t announced, since_templates;
	uint64_t next_template_ns, next_stats_ns;
	uint32_t n; /* templates that follow, each with its fields */
	uint32_t started;
};
/* Of a flow template: its mask; of options data: HANDED_OPTION and its number. */
enum { HANDED_OPTION = 0x100 };
struct handed_template {
	uint32_t which;
	uint16_t id, n_fields, n_scope, spare;
};
struct handed_field {
	uint32_t pen;
	uint16_t id, length;
};

/* Those that the collector knows. */
static const struct template *templated_handed_of(const struct templated *s, bool all, uint32_t which)
{
	if (which < FLOW_MASKS)
		return all || s->announced >> which & 1 ? s->flow.made[which] : NULL;
	if (which < HANDED_OPTION || which - HANDED_OPTION >= OPTION_SETS ||
	    !s->options[which - HANDED_OPTION].used)
		return NULL;
	return &s->options[which - HANDED_OPTION].template;
}

static void templated_hand_over_template(const struct template *t, uint32_t which, struct sections_writer *w)
{
	struct handed_template head = {
		.which = which, .id = t->id, .n_fields = t->n_fields, .n_scope = t->n_scope};

	sections_put(w, &head, sizeof(head));
	for (unsigned i = 0; i < t->n_fields; i++) {
		struct handed_field f = {t->fields[i].pen, t->fields[i].id, t->fields[i].length};

		sections_put(w, &f, sizeof(f));
	}
}

void templated_hand_over(const struct collector *c, struct sections_writer *w)
{
	const struct templated *s = templated_of(c);
	bool all = templated_is_spooled(c);
	struct handed_templates head = {.announced = s->announced,
					.since_templates = s->since_templates,
					.next_template_ns = s->next_template_ns,
					.next_stats_ns = s->next_stats_ns,
					.started = c->started};

	for (uint32_t which = 0; which < HANDED_OPTION + OPTION_SETS; which++)
		head.n += templated_handed_of(s, all, which) != NULL;
	sections_put(w, &head, sizeof(head));
	for (uint32_t which = 0; which < HANDED_OPTION + OPTION_SETS; which++)
		if (templated_handed_of(s, all, which))
			templated_hand_over_template(templated_handed_of(s, all, which), which, w);
}

/* The same template here?  NULL: it is none, or another one. */
static const struct template *templated_take_template(struct templated *s, struct section *from,
						      uint32_t *which)
{
	struct handed_template head;
	const struct template *t = NULL;
	bool same;

	if (!section_get(from, &head, sizeof(head)))
		return NULL;
	*which = head.which;
	if (head.which < FLOW_MASKS)
		t = flow_templates_make(&s->flow, head.which);
	else
		t = templated_handed_of(s, true, head.which);
	same = t && t->id == head.id && t->n_fields == head.n_fields && t->n_scope == head.n_scope;
	for (unsigned i = 0; same && i < t->n_fields; i++) {
		struct handed_field f;

		same = section_get(from, &f, sizeof(f)) && f.pen == t->fields[i].pen &&
		       f.id == t->fields[i].id && f.length == t->fields[i].length;
	}
	return same ? t : NULL;
}

const char *templated_take_over(struct collector *c, struct section *from)
{
	struct templated *s = templated_of(c);
	struct handed_templates head;
	uint32_t options = 0, which;

	if (!section_get(from, &head, sizeof(head)) || head.n > FLOW_MASKS + OPTION_SETS)
		return "its templates cannot be read";
	for (uint32_t i = 0; i < head.n; i++) {
		if (!templated_take_template(s, from, &which))
			return "its templates are others now";
		options |= which >= HANDED_OPTION ? 1u << (which - HANDED_OPTION) : 0;
	}
	s->announced = 0;
	for (unsigned i = 0; i < FLOW_MASKS; i++)
		s->announced |= s->flow.made[i] ? head.announced & 1u << i : 0;
	s->since_templates = head.since_templates;
	s->next_template_ns = head.next_template_ns;
	s->next_stats_ns = head.next_stats_ns;
	c->started = head.started;
	for (unsigned i = 0; i < OPTION_SETS; i++)
		s->templates_due |=
			s->options[i].used && !(options >> i & 1); /* one that it does not know yet */
	return NULL;
}
