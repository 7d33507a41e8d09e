/*
 * collector_ledger: what became of a collector's records: each ends in one of its counters (struct
 * collector_stats).
 *
 * The transport tells of each message once whether it was sent (transport_resolve()), and may take that back.
 */
#include <string.h>

#include "format.h"

static uint64_t ledger_loss_time(const struct exporter *e)
{
	return e->config.offline && e->latest_ns ? e->latest_ns : e->now.realtime_ns;
}

void collector_add_loss(struct collector *c, const struct totals *lost)
{
	if (lost->records == 0)
		return;
	totals_add(&c->lost, lost);
	c->last_lost_ns = ledger_loss_time(c->exporter);
	if (c->last_lost_ns < c->first_lost_ns)
		c->last_lost_ns = c->first_lost_ns;
	if (!c->first_lost_ns)
		c->first_lost_ns = c->last_lost_ns;
}

void collector_wait(struct collector *c, const struct transport_load *load, size_t octets)
{
	c->waiting.messages++;
	c->waiting.octets += octets;
	c->waiting.records += load->flows.records;
}

static void ledger_on_outcome(void *context, const struct transport_load *load, size_t size, bool sent)
{
	struct collector *c = context;

	c->waiting.messages--;
	c->waiting.octets -= size;
	c->waiting.records -= load->flows.records;
	if (!sent) {
		if (c->transport->limits.spooled && !c->format->counts_messages)
			c->sequence +=
				load->flows.records; /* numbers are given when messages enter a session */
		collector_lose(c, load);
		return;
	}
	c->stats.messages++;
	c->stats.octets += size;
	totals_add(&c->stats.sent, &load->flows);
	totals_add(&c->stats.estimated, &load->estimated);
	c->stats.samples += load->samples;
	c->stats.option_records += load->options;
	c->stats.templates += load->templates;
	c->shown = load->lost;
}

/* It was told to be sent, and was not. */
static void ledger_count_back(struct collector *c, const struct transport_load *load, size_t size)
{
	c->stats.messages--;
	c->stats.octets -= size;
	totals_subtract(&c->stats.sent, &load->flows);
	totals_subtract(&c->stats.estimated, &load->estimated);
	c->stats.samples -= load->samples;
	c->stats.option_records -= load->options;
	c->stats.templates -= load->templates;
}

static void ledger_on_revoked(void *context, const struct transport_load *load, size_t size)
{
	struct collector *c = context;

	ledger_count_back(c, load, size);
	totals_add(&c->stats.lost, &load->flows);
	c->stats.lost_samples += load->samples;
	collector_add_loss(c, &load->flows);
	c->refused = true;
}

static void ledger_on_kept(void *context, const struct transport_load *load, size_t size)
{
	ledger_count_back(context, load, size);
}

void collector_lose(struct collector *c, const struct transport_load *load)
{
	c->stats.lost_samples += load->samples;
	totals_add(&c->stats.lost, &load->flows);
	collector_add_loss(c, &load->flows);
	if (load->templates)
		c->started = false; /* nobody may have them: announce anew */
}

void collector_unfit(struct collector *c, const struct flow_record *r)
{
	const struct totals *added = &c->exporter->added;

	totals_count(&c->stats.unfit, r->packets - added->packets, r->octets - added->octets);
}

void collector_ledger_begin(struct collector *c)
{
	c->transport->outcome = ledger_on_outcome;
	c->transport->revoked = ledger_on_revoked;
	c->transport->kept = ledger_on_kept;
	c->transport->context = c;
}

/* ---- reading */

const char *collector_cause(const struct collector_stats *c)
{
	if (c->reason[0])
		return c->reason;
	if (c->last_cause)
		return c->last_cause;
	if (c->last_error)
		return strerror(c->last_error);
	/* it was too slow, or what it was to have was lost here */
	return c->reliable && c->sessions ? "reached, but not sent everything" : "not reached";
}

void exporter_get_collector_stats(const struct exporter *e, unsigned i, struct collector_stats *stats)
{
	const struct collector *c = &e->collectors[i];

	*stats = c->stats;
	stats->url = c->config.url;
	stats->saturated = c->context.saturated;
	stats->reliable = transport_replays(c->config.transport);
	stats->is_file = c->config.transport == TRANSPORT_FILE;
	stats->takes = group_takes(e, i);
	stats->shares = group_shares(e, i);
	stats->sequence = c->sequence;
	stats->sequence_of_records = !c->format->counts_messages;
	stats->open = c->message.open ? c->message.load.flows : (struct totals){0};
	stats->pending = stats->taken;
	totals_subtract(&stats->pending, &stats->sent);
	totals_subtract(&stats->pending, &stats->lost);
	totals_subtract(&stats->pending, &stats->unfit);
	if (c->transport) {
		stats->errors += c->transport->stats.errors;
		stats->sessions = c->transport->stats.sessions;
		stats->resent_records = c->transport->stats.resent_records;
		stats->spool_errors = c->transport->stats.spool_errors;
		stats->spool_dropped_records = c->transport->stats.spool_dropped_records;
		stats->spool_torn_octets = c->transport->stats.spool_torn_octets;
		memcpy(stats->reason, c->transport->stats.reason, sizeof(stats->reason));
		stats->last_error = c->transport->stats.last_error;
		stats->last_cause = c->transport->stats.last_cause;
		stats->state = c->transport->state;
	}
}
