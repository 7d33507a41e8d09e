/* ledger: see ledger.h. */
#include "ledger.h"

#include <string.h>

const struct ledger_row ledger_rows[LEDGER_NUMBERS] = {
#define LEDGER(group, name, kind, unit, value, metric, help)                                                 \
	{#group, "", NULL, #name, LEDGER_##kind, LEDGER_##unit, metric, help},
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)                               \
	{#group, #family, #label, #name, LEDGER_##kind, LEDGER_##unit, metric, help},
#define COLLECTOR(family, name, kind, unit, value, metric, help)
#define BALANCE(text, left, right)
#include "ledger.def"
};

const struct ledger_row ledger_collector_rows[LEDGER_COLLECTOR_NUMBERS] = {
#define LEDGER(group, name, kind, unit, value, metric, help)
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)
#define COLLECTOR(family, name, kind, unit, value, metric, help)                                             \
	{"collectors", #family, NULL, #name, LEDGER_##kind, LEDGER_##unit, metric, help},
#define BALANCE(text, left, right)
#include "ledger.def"
};

void ledger_add(struct metering_stats *sum, const struct metering_stats *one)
{
	/* both are nothing but counters, except two times */
	uint64_t first = sum->meter.first_ignored_ns, last = sum->meter.last_ignored_ns;
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "counters only");
	for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
	if (first == 0 || (one->meter.first_ignored_ns && one->meter.first_ignored_ns < first))
		first = one->meter.first_ignored_ns;
	if (one->meter.last_ignored_ns > last)
		last = one->meter.last_ignored_ns;
	sum->meter.first_ignored_ns = first;
	sum->meter.last_ignored_ns = last;
}

struct export_process_facts ledger_facts(const struct metering_stats *sum, bool polite)
{
	struct export_process_facts facts = {.ignored_octets = sum->meter.ignored_octets,
					     .first_ignored_ns = sum->meter.first_ignored_ns,
					     .last_ignored_ns = sum->meter.last_ignored_ns,
					     .dropped_packets = sum->meter.kernel_dropped,
					     .lost = sum->lost};

	static_assert((int)EXPORT_SELECTORS == (int)STATS_SELECTORS, "the same");
	for (unsigned i = 0; polite && i < EXPORT_SELECTORS; i++) {
		facts.selected_packets[i] = sum->meter.selected_by[i];
		facts.observed_packets[i] = sum->meter.selected_by[i] + sum->meter.unselected_by[i];
	}
	if (!polite) {
		facts.observed_packets[0] = sum->meter.received_packets;
		facts.selected_packets[0] = sum->meter.received_packets - sum->meter.unselected_packets;
	}
	totals_add(&facts.lost, &sum->deleted); /* no collector is sent them, either */
	for (unsigned i = 0; i < PACKET_VERDICTS; i++)
		facts.ignored_packets += sum->meter.ignored[i];
	return facts;
}

uint64_t ledger_family(const struct ledger *l, const char *group, const char *family)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < LEDGER_NUMBERS; i++)
		if (!strcmp(ledger_rows[i].group, group) && !strcmp(ledger_rows[i].family, family))
			sum += l->values[i];
	return sum;
}

static void ledger_take_collector(struct ledger_collector *to, const struct collector_stats *c)
{
	static const char *const states[] = {[TRANSPORT_STATE_CONNECTING] = "connecting",
					     [TRANSPORT_STATE_UP] = "up",
					     [TRANSPORT_STATE_FAILED] = "failed"};

	*to = (struct ledger_collector){
		.url = c->url,
		.state = states[c->state],
		.last_error = c->last_error ? collector_cause(c) : NULL,
		.values =
			{
#define LEDGER(group, name, kind, unit, value, metric, help)
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)
#define COLLECTOR(family, name, kind, unit, value, metric, help) [LEDGER_COLLECTOR_##family##_##name] = value,
#define BALANCE(text, left, right)
#include "ledger.def"
			},
	};
}

/* The first equation that does not hold; NULL when all do. */
static const char *ledger_balance(const struct ledger *l, const struct report *r, const struct totals *queued)
{
	const struct flow_stats *f = &r->metering.flows;
	const struct exporter_stats *e = &r->exporting.exporter;
	uint64_t ignored = ledger_family(l, "packets", "ignored");
	uint64_t ended = ledger_family(l, "flows", "ended");

#define N(group, name) l->values[LEDGER_##group##_##name]
#define LEDGER(group, name, kind, unit, value, metric, help)
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)
#define COLLECTOR(family, name, kind, unit, value, metric, help)
#define BALANCE(text, left, right)                                                                           \
	if ((left) != (right))                                                                               \
		return text;
#include "ledger.def"
#undef N
	if ((int64_t)queued->records < 0 || (int64_t)queued->packets < 0 || (int64_t)queued->octets < 0)
		return "the exporting process has more than was handed on to it";
	if (r->final && (queued->records || queued->packets || queued->octets || f->in_table.records))
		return "something is under way at the end";
	return NULL;
}

void ledger_take(struct ledger *l, const struct report *r)
{
	const struct meter_stats *m = &r->metering.meter;
	const struct flow_stats *f = &r->metering.flows;
	const struct exporter_stats *e = &r->exporting.exporter;
	struct totals q = f->handed_on;

	totals_subtract(&q, &r->metering.lost);
	totals_subtract(&q, &r->metering.deleted);
	totals_subtract(&q, &e->taken);
	*l = (struct ledger){
		.duration_ns = r->duration_ns,
		.final = r->final,
		.values =
			{
#define LEDGER(group, name, kind, unit, value, metric, help) [LEDGER_##group##_##name] = value,
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help)                               \
	[LEDGER_##group##_##family##_##name] = value,
#define COLLECTOR(family, name, kind, unit, value, metric, help)
#define BALANCE(text, left, right)
#include "ledger.def"
			},
	};
	l->n_collectors = r->exporting.n_collectors;
	for (unsigned i = 0; i < l->n_collectors; i++)
		ledger_take_collector(&l->collectors[i], &r->exporting.collectors[i]);
	l->unbalanced = ledger_balance(l, r, &q);
	l->balanced = !l->unbalanced;
}
