/*
 * exporter: see include/pitot/exporter.h.  Here: set-up, the loop over collectors, the ledger.
 */
#include "pitot/exporter.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "outcome.h"

#define CALM_NS     NS_PER_SEC       /* after the last ICMP error templates are sent again */
#define DEADLINE_NS (2 * NS_PER_SEC) /* for transports to end in good order, once nothing is left or time is up */
#define DRAIN_STEP_MS 10

static const struct format_ops *const formats[FORMAT_COUNT] = {
	[FORMAT_NETFLOW5] = &netflow5_ops, [FORMAT_NETFLOW9] = &netflow9_ops, [FORMAT_IPFIX] = &ipfix_ops,
	[FORMAT_JSON] = &json_ops,	   [FORMAT_TEXT] = &text_ops,
};

const char *collector_cause(const struct collector_stats *c)
{
	if (c->reason[0])
		return c->reason;
	if (c->last_cause)
		return c->last_cause;
	return c->last_error ? strerror(c->last_error) : "not reached";
}

/* ---- the ledger */

static uint64_t loss_time(const struct exporter *e)
{
	return e->config.offline && e->latest_ns ? e->latest_ns : e->now.realtime_ns;
}

static void add_loss(struct collector *c, uint64_t records, uint64_t packets, uint64_t octets)
{
	if (records == 0)
		return;
	c->lost.records += records;
	c->lost.packets += packets;
	c->lost.octets += octets;
	c->last_lost_ns = loss_time(c->exporter);
	if (c->last_lost_ns < c->first_lost_ns)
		c->last_lost_ns = c->first_lost_ns;
	if (!c->first_lost_ns)
		c->first_lost_ns = c->last_lost_ns;
}

/* Nobody else can have its records: what it lost was not sent, and no outcomes need to be remembered. */
static bool is_alone(const struct collector *c)
{
	return c->exporter->n_collectors == 1;
}

static void on_outcome(void *context, const struct transport_load *load, size_t size, bool sent)
{
	struct collector *c = context;

	if (!sent) {
		if (c->transport->limits.spooled && c->format->protocol != P9)
			c->sequence += load->records; /* numbers are given when messages enter a session */
		collector_lose(c, load);
		return;
	}
	c->stats.messages++;
	c->stats.octets += size;
	c->stats.records += load->records;
	c->stats.option_records += load->options;
	c->stats.templates += load->templates;
	c->shown = load->lost;
	if (!is_alone(c))
		outcome_tell(c->exporter->outcomes, load->first, load->end, c->index, true, &c->exporter->stats);
}

static void count_not_sent(struct collector *c, const struct transport_load *load)
{
	c->exporter->stats.not_sent += load->records;
	c->exporter->stats.not_sent_packets += load->packets;
	c->exporter->stats.not_sent_octets += load->octets;
}

static void on_revoked(void *context, const struct transport_load *load, size_t size)
{
	struct collector *c = context;

	c->stats.messages--;
	c->stats.octets -= size;
	c->stats.records -= load->records;
	c->stats.lost_records += load->records;
	c->stats.lost_packets += load->packets;
	c->stats.lost_octets_total += load->octets;
	add_loss(c, load->records, load->packets, load->octets);
	if (is_alone(c))
		count_not_sent(c, load);
	else
		outcome_revoke(c->exporter->outcomes, load->first, load->end, c->index, &c->exporter->stats);
}

static void on_restamp(void *context, uint8_t *message, size_t size, uint32_t records)
{
	struct collector *c = context;

	(void)size;
	if (c->stamp_session != c->transport->session) {
		c->stamp_session = c->transport->session;
		c->sequence = 0; /* RFC 7011 §3.1 */
	}
	c->format->restamp(c, message, records);
}

static size_t on_withdraw(void *context, uint8_t *message)
{
	struct collector *c = context;

	return c->format->withdraw ? c->format->withdraw(c, message) : 0;
}

void collector_lose(struct collector *c, const struct transport_load *load)
{
	c->stats.lost_records += load->records;
	c->stats.lost_packets += load->packets;
	c->stats.lost_octets_total += load->octets;
	add_loss(c, load->records, load->packets, load->octets);
	if (load->templates)
		c->started = false; /* nobody may have them: announce anew */
	if (is_alone(c))
		count_not_sent(c, load);
	else
		outcome_tell(c->exporter->outcomes, load->first, load->end, c->index, false, &c->exporter->stats);
}

void collector_unfit(struct collector *c, const struct flow_record *r)
{
	uint64_t number = exporter_number(c->exporter);

	c->stats.unfit_records++;
	c->stats.unfit_packets += r->packets;
	c->stats.unfit_octets += r->octets;
	if (is_alone(c))
		count_not_sent(c, &(struct transport_load){ .records = 1, .packets = r->packets, .octets = r->octets });
	else
		outcome_tell(c->exporter->outcomes, number, number + 1, c->index, false, &c->exporter->stats);
}

/* ---- set-up */

/* RFC 7011 §6.1.6: strings are UTF-8; what the system has may be any octets. */
static void copy_utf8(char *out, size_t size, const char *in)
{
	size_t n = 0;

	while (*in && n + 1 < size) {
		unsigned char ch = (unsigned char)*in;
		unsigned more = ch < 0x80 ? 0 : ch >= 0xc2 && ch < 0xe0 ? 1 : ch >= 0xe0 && ch < 0xf0 ? 2
				      : ch >= 0xf0 && ch < 0xf5			      ? 3
										      : 9;
		bool good = more < 9 && n + more + 1 < size;

		for (unsigned i = 1; good && i <= more; i++)
			good = ((unsigned char)in[i] & 0xc0) == 0x80;
		if (good && ((ch == 0xe0 && (unsigned char)in[1] < 0xa0) || (ch == 0xed && (unsigned char)in[1] > 0x9f) ||
			     (ch == 0xf0 && (unsigned char)in[1] < 0x90) || (ch == 0xf4 && (unsigned char)in[1] > 0x8f)))
			good = false; /* overlong, surrogates, beyond U+10FFFF */
		if (!good || ch < 0x20 || ch == 0x7f) {
			out[n++] = '?';
			in++;
			continue;
		}
		for (unsigned i = 0; i <= more; i++)
			out[n++] = *in++;
	}
	out[n] = '\0';
}

static int copy_config(struct exporter *e, const struct exporter_config *config, struct diag *diag)
{
	e->config = *config;
	e->collectors = calloc(config->n_collectors ? config->n_collectors : 1, sizeof(*e->collectors));
	e->interfaces = calloc(config->n_interfaces ? config->n_interfaces : 1, sizeof(*e->interfaces));
	if (config->fields) {
		e->fields = strdup(config->fields);
		e->config.fields = e->fields;
	}
	if (!e->collectors || !e->interfaces || (config->fields && !e->fields))
		return diag_set(diag, -ENOMEM, "exporter: out of memory");
	for (unsigned i = 0; i < config->n_interfaces; i++) {
		e->interfaces[i].ifindex = config->interfaces[i].ifindex;
		copy_utf8(e->interfaces[i].name, sizeof(e->interfaces[i].name), config->interfaces[i].name);
		copy_utf8(e->interfaces[i].description, sizeof(e->interfaces[i].description),
			  config->interfaces[i].description);
	}
	e->config.interfaces = e->interfaces;
	e->config.collectors = NULL;
	return 0;
}

static int collector_open(struct exporter *e, struct collector *c, const struct collector_config *config,
			  struct diag *diag)
{
	struct transport_config tc = e->config.transport;
	int r;

	c->exporter = e;
	c->config = *config;
	c->format = formats[config->format];
	c->context.interfaces = e->interfaces;
	c->context.n_interfaces = e->config.n_interfaces;
	export_clock_init(&c->clock, c->format->clock, e->config.offline, e->config.start_monotonic_ns);
	if (c->format->setup) {
		r = c->format->setup(c, diag);
		if (r)
			return r;
	}
	tc.collector = &c->config;
	tc.offline = e->config.offline;
	tc.spool_tag = e->config.domain;
	r = transport_open(&c->transport, &tc, diag);
	if (r)
		return r;
	c->transport->outcome = on_outcome;
	c->transport->revoked = on_revoked;
	c->transport->restamp = on_restamp;
	c->transport->withdraw = on_withdraw;
	c->transport->context = c;
	if (!c->transport->limits.spooled) {
		e->in_step |= UINT64_C(1) << c->index;
		return 0;
	}
	r = c->format->announce ? c->format->announce(c) : -EINVAL;
	if (r)
		return diag_set(diag, r, "--collector %.200s: its templates do not fit a message", c->config.url);
	return 0;
}

int exporter_new(struct exporter **ep, const struct exporter_config *config, struct diag *diag)
{
	struct exporter *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return diag_set(diag, -ENOMEM, "exporter: out of memory");
	r = copy_config(e, config, diag);
	if (r == 0 && outcome_new(&e->outcomes))
		r = diag_set(diag, -ENOMEM, "exporter: out of memory");
	for (unsigned i = 0; r == 0 && i < config->n_collectors; i++) {
		e->n_collectors = i + 1; /* what was half opened is freed */
		e->collectors[i].index = i;
		r = collector_open(e, &e->collectors[i], &config->collectors[i], diag);
	}
	if (r == 0)
		group_init(e);
	if (r) {
		exporter_free(e);
		return r;
	}
	*ep = e;
	return 0;
}

static void close_transport(struct collector *c, uint64_t deadline_ns)
{
	struct transport_stats last = { 0 };

	if (!c->transport)
		return;
	c->stats.state = c->transport->state;
	c->transport->ops->close(c->transport, deadline_ns, &last);
	c->transport = NULL;
	c->stats.errors += last.errors;
	c->stats.sessions = last.sessions;
	c->stats.resent_records = last.resent_records;
	memcpy(c->stats.reason, last.reason, sizeof(c->stats.reason));
	c->stats.last_error = last.last_error;
	c->stats.last_cause = last.last_cause;
}

void exporter_free(struct exporter *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (c->transport && e->outcomes)
			message_abandon(c);
		close_transport(c, 0);
		free(c->announced);
		free(c->plain);
	}
	outcome_free(e->outcomes);
	free(e->collectors);
	free(e->interfaces);
	free(e->fields);
	free(e);
}

/* ---- running */

/* Everything before the record is told of, or as much as can be. */
static void make_place(struct exporter *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++)
		message_flush(&e->collectors[i]);
}

void exporter_record(struct exporter *e, const struct flow_record *r, const struct clock_time *now)
{
	uint64_t chosen;

	e->now = *now;
	chosen = e->config.group == COLLECTOR_GROUP_REPLICATE ? e->all : group_choose(e, r);
	if (e->n_collectors > 1) {
		if (outcome_is_crowded(e->outcomes, e->stats.records, e->in_step))
			make_place(e);
		outcome_add(e->outcomes, e->stats.records, r, chosen);
	}
	e->stats.records++;
	e->stats.packets += r->packets;
	e->stats.octets += r->octets;
	e->record = r;
	if (r->last_ns > e->latest_ns)
		e->latest_ns = r->last_ns;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!(chosen >> i & 1))
			continue;
		c->stats.taken_records++;
		if (e->config.offline && c->transport->session == 0)
			c->transport->ops->tick(c->transport, now); /* may wait for a name */
		if (c->format->fits && !c->format->fits(r))
			collector_unfit(c, r);
		else
			c->format->record(c, r, now);
	}
	if (e->n_collectors == 0) {
		e->stats.not_sent++;
		e->stats.not_sent_packets += r->packets;
		e->stats.not_sent_octets += r->octets;
	}
	e->record = NULL;
}

void exporter_drop(struct exporter *e, const struct flow_record *r, const struct clock_time *now)
{
	uint64_t chosen;

	e->now = *now;
	chosen = group_choose(e, r);
	e->stats.records++;
	e->stats.packets += r->packets;
	e->stats.octets += r->octets;
	e->stats.dropped++;
	e->stats.not_sent++;
	e->stats.not_sent_packets += r->packets;
	e->stats.not_sent_octets += r->octets;
	if (r->last_ns > e->latest_ns)
		e->latest_ns = r->last_ns;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!(chosen >> i & 1))
			continue;
		c->stats.taken_records++;
		c->stats.lost_records++;
		c->stats.lost_packets += r->packets;
		c->stats.lost_octets_total += r->octets;
		add_loss(c, 1, r->packets, r->octets);
		if (c->format->protocol != P9) /* which counts messages */
			c->sequence++;
	}
}

/* Templates again once a collector that refused datagrams takes them: it may have been started just now. */
static void watch_errors(struct collector *c, const struct clock_time *now)
{
	uint64_t errors = c->transport->stats.errors;

	if (errors > c->error_count) {
		c->error_count = errors;
		c->error_ns = now->monotonic_ns;
		c->error_messages = c->stats.messages;
	} else if (c->error_ns && now->monotonic_ns - c->error_ns > CALM_NS &&
		   c->stats.messages > c->error_messages) {
		c->error_ns = 0;
		if (c->format->refresh)
			c->format->refresh(c);
	}
}

void exporter_tick(struct exporter *e, const struct clock_time *now)
{
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];
		struct message *m = &c->message;
		/* offline a message is only sent early when records have stopped coming (a pipe): else where
		 * messages end would depend on the machine's speed */
		uint64_t since = e->config.offline ? m->touched_ns : m->begun_ns;

		if (!c->transport)
			continue;
		c->transport->ops->tick(c->transport, now);
		watch_errors(c, now);
		if (c->format->tick)
			c->format->tick(c, now);
		if (m->open && now->monotonic_ns - since >= e->config.flush_ns)
			message_finish(c);
		c->transport->ops->flush(c->transport);
	}
}

void exporter_set_facts(struct exporter *e, const struct export_process_facts *facts)
{
	uint64_t records = facts->lost_records - e->facts.lost_records;
	uint64_t packets = facts->lost_packets - e->facts.lost_packets;
	uint64_t octets = facts->lost_octets - e->facts.lost_octets;

	e->facts = *facts;
	if (records == 0)
		return;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		add_loss(c, records, packets, octets);
		if (c->format->protocol != P9) /* which counts messages */
			c->sequence += (uint32_t)records;
	}
}

void exporter_refresh(struct exporter *e, const struct clock_time *now)
{
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!c->transport)
			continue;
		message_flush(c);
		if (c->transport->ops->refresh)
			c->transport->ops->refresh(c->transport);
		if (c->format->refresh)
			c->format->refresh(c);
	}
	exporter_tick(e, now);
}

void exporter_set_periods(struct exporter *e, const struct exporter_periods *periods, const struct clock_time *now)
{
	e->config.template_ns = periods->template_ns;
	e->config.template_messages = periods->template_messages;
	e->config.stats_ns = periods->stats_ns;
	e->config.flush_ns = periods->flush_ns;
	e->config.active_ns = periods->active_ns;
	e->config.inactive_ns = periods->inactive_ns;
	for (unsigned i = 0; i < e->n_collectors; i++)
		e->collectors[i].next_stats_ns = 0;
	exporter_refresh(e, now);
}

static bool is_idle(const struct collector *c, uint64_t until_ns)
{
	return !c->transport->ops->idle || c->transport->ops->idle(c->transport, until_ns);
}

/* Until the collectors have taken what is left, or stop_ns have passed. */
static void drain(struct exporter *e, const struct clock_time *start)
{
	uint64_t begun_ns = clock_monotonic_ns();

	for (;;) {
		uint64_t passed_ns = clock_monotonic_ns() - begun_ns;
		struct clock_time now = { start->realtime_ns + passed_ns, start->monotonic_ns + passed_ns };
		struct pollfd fds[64];
		nfds_t n = 0;

		exporter_tick(e, &now);
		for (unsigned i = 0; i < e->n_collectors && n < 64; i++)
			if (!is_idle(&e->collectors[i], start->monotonic_ns + e->config.stop_ns))
				fds[n++] = (struct pollfd){ .fd = e->collectors[i].transport->fd, .events = POLLIN };
		if (n == 0 || passed_ns >= e->config.stop_ns)
			return;
		poll(fds, n, DRAIN_STEP_MS);
	}
}

void exporter_finish(struct exporter *e, const struct clock_time *now)
{
	if (e->finished)
		return;
	e->finished = true;
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		c->transport->ops->tick(c->transport, now);
		if (c->transport->limits.spooled)
			message_finish(c);
	}
	drain(e, now);
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (c->format->finish)
			c->format->finish(c, &e->now);
		message_flush(c);
	}
	for (unsigned i = 0; i < e->n_collectors; i++)
		close_transport(&e->collectors[i], e->now.monotonic_ns + DEADLINE_NS);
}

/* ---- reading */

void exporter_get_stats(const struct exporter *e, struct exporter_stats *stats)
{
	*stats = e->stats;
	stats->exported = stats->records - stats->not_sent;
}

unsigned exporter_collectors(const struct exporter *e)
{
	return e->n_collectors;
}

void exporter_get_collector_stats(const struct exporter *e, unsigned i, struct collector_stats *stats)
{
	const struct collector *c = &e->collectors[i];

	*stats = c->stats;
	stats->url = c->config.url;
	stats->saturated = c->context.saturated;
	stats->reliable = transport_replays(c->config.transport);
	stats->pending_records = stats->taken_records - stats->records - stats->lost_records - stats->unfit_records;
	if (c->transport) {
		stats->errors += c->transport->stats.errors;
		stats->sessions = c->transport->stats.sessions;
		stats->resent_records = c->transport->stats.resent_records;
		memcpy(stats->reason, c->transport->stats.reason, sizeof(stats->reason));
		stats->last_error = c->transport->stats.last_error;
		stats->last_cause = c->transport->stats.last_cause;
		stats->state = c->transport->state;
	}
}

const struct transport *exporter_transport(const struct exporter *e, unsigned i)
{
	return e->collectors[i].transport;
}

static void print_template(const struct template *t, const char *what, void (*print)(void *ctx, const char *line),
			   void *ctx)
{
	char line[160];

	snprintf(line, sizeof(line), "  %u %s: %u fields, %u%s octets", t->id, what, t->n_fields, t->min_size,
		 t->min_size == t->max_size ? "" : " or more");
	print(ctx, line);
	for (unsigned i = 0; i < t->n_fields; i++) {
		const struct template_field *f = &t->fields[i];

		if (f->length == IE_VARIABLE)
			snprintf(line, sizeof(line), "    %5u  %-30s varies", f->id, f->ie->name);
		else
			snprintf(line, sizeof(line), "    %5u  %-30s %u", f->id, f->ie->name, f->length);
		print(ctx, line);
	}
}

int exporter_print_templates(const struct exporter_config *config, void (*print)(void *ctx, const char *line),
			     void *ctx, struct diag *diag)
{
	for (unsigned i = 0; i < config->n_collectors; i++) {
		const struct format_ops *format = formats[config->collectors[i].format];
		struct template v4, v6;
		int r;

		print(ctx, config->collectors[i].url);
		if (!(format->protocol & (P9 | PX))) {
			print(ctx, "  a fixed layout without templates");
			continue;
		}
		r = fields_templates(&v4, &v6, format->protocol, config, diag);
		if (r == 0 && transport_replays(config->collectors[i].transport))
			r = fields_add_id(&v4, &v6, diag);
		if (r)
			return r;
		print_template(&v4, "IPv4", print, ctx);
		print_template(&v6, "IPv6", print, ctx);
	}
	return 0;
}
