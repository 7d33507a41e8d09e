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

/* Fewest or all of what collectors had waiting: of those records nobody was sent any. */
static uint64_t losses_waiting(const struct exporting_stats *e, bool every)
{
	uint64_t least = UINT64_MAX, sum = 0;

	for (unsigned i = 0; i < e->n_collectors; i++) {
		uint64_t n = e->collectors[i].pending_records;

		least = n < least ? n : least;
		sum += n;
	}
	return e->n_collectors == 0 ? 0 : every ? least : sum;
}

void losses_settle_exporting(const struct shared *s, bool every, bool keeps)
{
	struct exporting_stats e;
	struct totals in_hand;

	published_get(&s->exporting->numbers, &e);
	in_hand = losses_in_hand(s, e.exporter.taken.records);
	totals_add(&e.exporter.taken, &in_hand);
	totals_add(&e.exporter.not_sent, &in_hand);
	if (!keeps)
		e.exporter.not_sent.records += losses_waiting(&e, every);
	e.exporter.exported = e.exporter.taken.records - e.exporter.not_sent.records;
	for (unsigned i = 0; i < e.n_collectors && i < EXPORTING_COLLECTORS_MAX; i++) {
		struct collector_stats *c = &e.collectors[i];

		c->taken_records += in_hand.records;
		totals_add(&c->lost, &in_hand);
		if (keeps)
			continue;
		c->lost.records += c->pending_records;
		c->pending_records = 0;
	}
	published_put(&s->exporting->numbers, &e);
}

/* What the earlier one left on disk is sent by the later one, which counts it as sent again. */
static void losses_add_collector(struct collector_stats *c, const struct collector_stats *earlier)
{
	uint64_t sent =
		c->resent_records < earlier->pending_records ? c->resent_records : earlier->pending_records;

	c->taken_records += earlier->taken_records;
	c->messages += earlier->messages;
	c->octets += earlier->octets;
	c->records += earlier->records + sent;
	c->pending_records += earlier->pending_records - sent;
	c->resent_records += earlier->resent_records - sent;
	c->sessions += earlier->sessions;
	c->templates += earlier->templates;
	c->option_records += earlier->option_records;
	totals_add(&c->lost, &earlier->lost);
	totals_add(&c->unfit, &earlier->unfit);
	c->saturated += earlier->saturated;
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
	later->exporter.exported += earlier->exporter.exported;
	later->exporter.dropped += earlier->exporter.dropped;
	for (unsigned i = 0; i < later->n_collectors && i < earlier->n_collectors; i++)
		losses_add_collector(&later->collectors[i], &earlier->collectors[i]);
}
