/*
 * collector: one collector of the exporter: its format and its transport, from opening to closing.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "format.h"

#define PROBE_NS                                                                                             \
	NS_PER_SEC	   /* after an error of the network: until a collector is asked whether it is back   \
			    */
#define CALM_NS NS_PER_SEC /* and for an error to come, if it is not */

static const struct format_ops *const formats[FORMAT_COUNT] = {
#define FORMAT(NAME, name, text, number, port, carriers, only) [FORMAT_##NAME] = &name##_ops,
#include "pitot/formats.def"
};

const struct format_ops *collector_format(enum export_format format)
{
	return formats[format];
}

/* ---- life */

static void collector_on_restamp(void *context, uint8_t *message, size_t size, uint32_t records)
{
	struct collector *c = context;

	(void)size;
	if (c->stamp_session != c->transport->session) {
		c->stamp_session = c->transport->session;
		c->sequence = 0; /* RFC 7011 §3.1 */
	}
	c->format->restamp(c, message, records);
}

static size_t collector_on_withdraw(void *context, uint8_t *message)
{
	struct collector *c = context;

	return c->format->withdraw ? c->format->withdraw(c, message) : 0;
}

int collector_open(struct exporter *e, struct collector *c, const struct collector_config *config,
		   struct diag *diag)
{
	struct transport_config tc = e->config.transport;
	int r;

	c->exporter = e;
	c->config = *config;
	c->format = e->config.formats ? e->config.formats[config->format] : collector_format(config->format);
	c->context.interfaces = e->interfaces;
	c->context.n_interfaces = e->config.n_interfaces;
	c->context.interval = e->config.sampling.interval;
	export_clock_init(&c->clock, c->format->clock, e->config.offline, e->config.start_monotonic_ns);
	if (c->format->setup) {
		r = c->format->setup(c, diag);
		if (r)
			return r;
	}
	tc.collector = &c->config;
	tc.offline = e->config.offline;
	tc.heading = c->format->heading ? c->format->heading(c) : NULL;
	tc.spool_tag = e->config.domain;
	tc.mark = e->config.marks ? &e->config.marks[c->index] : NULL;
	r = e->config.open_transport ? e->config.open_transport(e->config.open_ctx, &c->transport, &tc, diag)
				     : transport_open(&c->transport, &tc, diag);
	if (r)
		return r;
	collector_ledger_begin(c);
	c->transport->restamp = collector_on_restamp;
	c->transport->withdraw = collector_on_withdraw;
	if (!c->transport->limits.spooled)
		return 0;
	r = c->format->announce ? c->format->announce(c) : -EINVAL;
	if (r)
		return diag_set(diag, r, "--collector %.200s: its templates do not fit a message",
				c->config.url);
	return 0;
}

void collector_close(struct collector *c, uint64_t deadline_ns)
{
	struct transport_stats last = {0};

	if (!c->transport)
		return;
	c->stats.state = c->transport->state;
	c->transport->incomplete =
		c->exporter->config.cut_short && atomic_load(c->exporter->config.cut_short);
	c->transport->ops->close(c->transport, deadline_ns, &last);
	c->transport = NULL;
	c->stats.errors += last.errors;
	c->stats.sessions = last.sessions;
	c->stats.unnamed = last.unnamed;
	c->stats.resent_records = last.resent_records;
	c->stats.spool_errors = last.spool_errors;
	c->stats.spool_dropped_records = last.spool_dropped_records;
	c->stats.spool_torn_octets = last.spool_torn_octets;
	memcpy(c->stats.reason, last.reason, sizeof(c->stats.reason));
	c->stats.last_error = last.last_error;
	c->stats.last_cause = last.last_cause;
}

void collector_rotate(struct collector *c)
{
	const struct exporter *e = c->exporter;
	uint64_t now_ns = e->config.offline ? e->latest_ns : e->now.realtime_ns;

	if (now_ns < c->transport->rotate_ns)
		return;
	if (c->session && c->format->finish)
		c->format->finish(c, &e->now);
	message_flush(c);
	c->transport->ops->rotate(c->transport, now_ns);
	if (c->format->tick)
		c->format->tick(c, &e->now);
}

uint64_t collector_due_ns(const struct collector *c)
{
	const struct exporter_config *config = &c->exporter->config;
	const struct message *m = &c->message;
	const struct transport *t = c->transport;
	uint64_t due_ns = t->ops->due_ns ? t->ops->due_ns(t) : 0;

	if (m->open)
		due_ns = clock_sooner_ns(due_ns,
					 (config->offline ? m->touched_ns : m->begun_ns) + config->flush_ns);
	if (c->error_ns && !c->probe_ns)
		due_ns = clock_sooner_ns(due_ns, c->error_ns + PROBE_NS);
	else if (c->error_ns && t->state == TRANSPORT_STATE_UP)
		due_ns = clock_sooner_ns(due_ns, c->probe_ns + CALM_NS);
	return c->format->due_ns ? clock_sooner_ns(due_ns, c->format->due_ns(c)) : due_ns;
}

static void collector_probe(struct collector *c)
{
	if (c->format->refresh)
		c->format->refresh(c);
	else if (c->transport->ops->probe)
		c->transport->ops->probe(c->transport);
}

void collector_watch_errors(struct collector *c, const struct clock_time *now)
{
	uint64_t errors = c->transport->stats.errors;

	if (c->transport->limits.reliable || c->transport->limits.spooled)
		return; /* their sessions tell */
	if (errors > c->error_count) {
		c->error_count = errors;
		c->error_ns = now->monotonic_ns;
		c->error_messages = c->stats.messages;
		c->probe_ns = 0;
	} else if (!c->error_ns) {
		return;
	} else if (!c->probe_ns) {
		if (c->stats.messages > c->error_messages) /* which asked the same */
			c->probe_ns = now->monotonic_ns;
		else if (now->monotonic_ns - c->error_ns >= PROBE_NS) {
			c->probe_ns = now->monotonic_ns;
			collector_probe(c);
		}
	} else if (now->monotonic_ns - c->probe_ns > CALM_NS && c->transport->state == TRANSPORT_STATE_UP) {
		c->error_ns = 0;
		if (c->format->refresh)
			c->format->refresh(c);
	}
}
