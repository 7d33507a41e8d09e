/* losses: see losses.h. */
#include "losses.h"

#include <stdio.h>

#include "ledger.h"

/* ---- metering */

static void losses_settle_thread(struct shared_metering *m, uint64_t ring_records)
{
	uint64_t head = atomic_load(&m->records.head), tail = atomic_load(&m->records.tail), written;
	struct metering_stats n;
	struct totals lost;

	published_get(&m->numbers, &n);
	lost = n.flows.in_table;
	/* these were counted, so they are whole in the ring; those behind them are not */
	written = n.flows.handed_on.records - n.lost.records - n.deleted.records;
	if (written > head && written - tail <= ring_records)
		atomic_store(&m->records.head, written);
	n.flows.ended[FLOW_END_FORCED] += lost.records;
	totals_add(&n.flows.handed_on, &lost);
	totals_add(&n.lost, &lost);
	n.flows.in_table = (struct totals){0};
	published_put(&m->numbers, &n);
}

void losses_settle_metering(const struct shared *s)
{
	for (unsigned i = 0; i < s->config.n_metering; i++)
		losses_settle_thread(&s->metering[i], s->config.ring_records);
}

/* ---- exporting */

/* Records that it took in hand and had not counted; they leave the ring. */
static struct totals losses_in_hand(const struct shared *s, uint64_t counted)
{
	struct totals lost = {0};
	uint64_t given_back = 0;

	for (unsigned i = 0; i < s->config.n_metering; i++)
		given_back += atomic_load(&s->metering[i].records.tail);
	for (unsigned i = 0; i < s->config.n_metering; i++) {
		struct shared_metering *m = &s->metering[i];
		uint64_t tail = atomic_load(&m->records.tail), taking = atomic_load(&m->taking);
		struct ring_reader r;

		if (taking <= tail)
			continue;
		shared_read_records(s, i, &r);
		for (uint64_t k = 0; counted == given_back && k < taking - tail; k++) {
			const struct flow_record *record = ring_slot(&r, k);

			totals_count(&lost, record->packets, record->octets);
		}
		atomic_store(&m->records.tail, taking);
	}
	return lost;
}

static bool losses_has_takers(const struct exporting_stats *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].takes)
			return true;
	return false;
}

/* What is true of all collectors together, from what each says. */
static void losses_sum_up(struct exporting_stats *e)
{
	if (losses_has_takers(e))
		e->exporter.not_sent = collectors_not_sent(e->collectors, (unsigned)e->n_collectors);
	e->exporter.estimated = collectors_estimated(e->collectors, (unsigned)e->n_collectors);
	e->exporter.exported =
		e->exporter.taken.records - e->exporter.not_sent.records - e->exporter.unwanted;
}

/* keeps: what waited is on disk, but for the message that was not full. */
static void losses_settle_collector(struct collector_stats *c, const struct totals *in_hand, bool keeps)
{
	struct totals waiting = keeps ? c->open : c->pending;

	if (c->sequence_of_records) /* what is lost is missing in a file that goes on */
		c->sequence += (uint32_t)in_hand->records;
	totals_add(&c->taken, in_hand);
	totals_add(&c->lost, in_hand);
	totals_add(&c->lost, &waiting);
	totals_subtract(&c->pending, &waiting);
	c->open = (struct totals){0};
}

void losses_settle_exporting(const struct shared *s, bool keeps)
{
	struct exporting_stats e;
	struct totals in_hand, none = {0};
	bool shared = false;

	published_get(&s->exporting->numbers, &e);
	if (e.n_collectors > EXPORTING_COLLECTORS_MAX) /* not written by a process of ours */
		e.n_collectors = 0;
	in_hand = losses_in_hand(s, e.exporter.taken.records);
	totals_add(&e.exporter.taken, &in_hand);
	for (unsigned i = 0; i < e.n_collectors; i++) {
		struct collector_stats *c = &e.collectors[i];
		bool had = c->takes && !(c->shares && shared); /* one of those that share had them */

		losses_settle_collector(c, had ? &in_hand : &none, keeps && c->reliable);
		shared |= c->shares;
	}
	if (!losses_has_takers(&e))
		e.exporter.unwanted += in_hand.records;
	losses_sum_up(&e);
	published_put(&s->exporting->numbers, &e);
}

/* Of them so many records; of packets and octets nobody knows which these were. */
static struct totals losses_part(const struct totals *of, uint64_t records)
{
	if (records >= of->records)
		return *of;
	return (struct totals){records, of->packets / of->records * records,
			       of->octets / of->records * records};
}

/* What the earlier one left on disk is sent by the later one, which counts it as sent again, or dropped. */
static void losses_add_collector(struct collector_stats *c, const struct collector_stats *earlier)
{
	struct totals left = earlier->pending, sent = losses_part(&left, c->resent_records), dropped;

	totals_subtract(&left, &sent);
	dropped = losses_part(&left, c->spool_dropped_records);
	totals_subtract(&left, &dropped);

	totals_add(&c->taken, &earlier->taken);
	c->messages += earlier->messages;
	c->octets += earlier->octets;
	totals_add(&c->sent, &earlier->sent);
	totals_add(&c->estimated, &earlier->estimated);
	totals_add(&c->sent, &sent);
	totals_add(&c->pending, &left);
	c->resent_records += earlier->resent_records - sent.records;
	c->sessions += earlier->sessions;
	c->templates += earlier->templates;
	c->option_records += earlier->option_records;
	totals_add(&c->lost, &earlier->lost);
	totals_add(&c->lost, &dropped);
	c->spool_dropped_records += earlier->spool_dropped_records - dropped.records;
	c->spool_torn_octets += earlier->spool_torn_octets;
	c->spool_errors += earlier->spool_errors;
	totals_add(&c->unfit, &earlier->unfit);
	c->saturated += earlier->saturated;
	c->samples += earlier->samples;
	c->lost_samples += earlier->lost_samples;
	c->unfit_samples += earlier->unfit_samples;
	if (!c->last_error && earlier->last_error) {
		c->last_error = earlier->last_error;
		c->has_cause = earlier->has_cause;
		snprintf(c->reason, sizeof(c->reason), "%s", earlier->reason);
	}
	c->errors += earlier->errors;
}

void losses_add_exporting(struct exporting_stats *later, const struct exporting_stats *earlier)
{
	totals_add(&later->exporter.taken, &earlier->exporter.taken);
	totals_add(&later->exporter.not_sent, &earlier->exporter.not_sent);
	later->exporter.dropped += earlier->exporter.dropped;
	later->exporter.unwanted += earlier->exporter.unwanted;
	for (unsigned i = 0; i < later->n_collectors && i < earlier->n_collectors; i++)
		losses_add_collector(&later->collectors[i], &earlier->collectors[i]);
	losses_sum_up(later);
}
