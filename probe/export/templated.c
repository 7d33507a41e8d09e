/*
 * templated: see templated.h.
 *
 * A session begins with the templates, over UDP twice in messages of their own (RFC 7011 §8.4), then what
 * they describe about the exporter itself, then data.  Templates and options never share a message with flow
 * records: what a collector does not understand, and gives up on, takes no flows with it.  Over UDP templates
 * and options are sent again every template_ns, also on an idle link, and every template_messages messages of
 * flow records; reliable transports keep templates for the session (§8.1) and get options data by time only.
 */
#include "templated_internal.h"

#include <errno.h>
#include <stdlib.h>

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

/* Spooled, and no session to send anything in but flow records, which wait for one. */
static bool templated_is_apart(const struct collector *c)
{
	return templated_is_spooled(c) && c->transport->state != TRANSPORT_STATE_UP;
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

uint64_t templated_due_ns(const struct collector *c)
{
	const struct templated *s = templated_of(c);

	if (c->session != c->transport->session)
		return 0;
	if (!c->session || templated_is_apart(c))
		return UINT64_MAX;
	if (!c->started || s->templates_due || templated_due_by_count(c))
		return 0;
	return clock_sooner_ns(s->next_template_ns, s->next_stats_ns);
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
