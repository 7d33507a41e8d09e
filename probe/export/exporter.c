/*
 * exporter: see include/pitot/exporter.h.  Here: set-up, and the loop over collectors.
 */
#include "pitot/exporter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow_templates.h"
#include "format.h"
#include "patience.h"
#include "pitot/utf8.h"
#include "top.h"

/* ---- set-up */

static struct export_interface *exporter_copy_interfaces(const struct export_interface *from, unsigned n)
{
	struct export_interface *to = calloc(n ? n : 1, sizeof(*to));

	for (unsigned i = 0; to && i < n; i++) {
		to[i].ifindex = from[i].ifindex;
		to[i].gone = from[i].gone;
		utf8_copy(to[i].name, sizeof(to[i].name), from[i].name);
		utf8_copy(to[i].description, sizeof(to[i].description), from[i].description);
	}
	return to;
}

static int exporter_copy_config(struct exporter *e, const struct exporter_config *config, struct diag *diag)
{
	e->config = *config;
	if (!e->config.waiting)
		e->config.waiting = &waiting_really;
	record_layout_complete(&e->config.layout);
	e->collectors = calloc(config->n_collectors ? config->n_collectors : 1, sizeof(*e->collectors));
	e->interfaces = exporter_copy_interfaces(config->interfaces, config->n_interfaces);
	if (config->fields) {
		e->fields = strdup(config->fields);
		e->config.fields = e->fields;
	}
	if (!e->collectors || !e->interfaces || (config->fields && !e->fields))
		return diag_set(diag, -ENOMEM, "exporter: out of memory");
	e->config.interfaces = e->interfaces;
	e->config.collectors = NULL;
	e->may_wait = config->offline;
	if (e->config.layout.record_at[BLOCK_SLICE])
		e->estimate = aligned_alloc(64, e->config.layout.record_size);
	if (e->config.layout.record_at[BLOCK_SLICE] && !e->estimate)
		return diag_set(diag, -ENOMEM, "exporter: out of memory");
	return 0;
}

int exporter_new(struct exporter **ep, const struct exporter_config *config, struct diag *diag)
{
	struct exporter *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return diag_set(diag, -ENOMEM, "exporter: out of memory");
	r = exporter_copy_config(e, config, diag);
	if (r == 0 && config->top && top_new(&e->top) < 0)
		r = diag_set(diag, -ENOMEM, "--top: out of memory");
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

void exporter_free(struct exporter *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (c->transport)
			message_abandon(c);
		collector_close(c, 0);
		if (c->format && c->format->close)
			c->format->close(c);
	}
	top_free(e->top);
	free(e->collectors);
	free(e->interfaces);
	free(e->fields);
	free(e->estimate);
	free(e);
}

/* ---- running */

static void exporter_count_record(struct exporter *e, const struct flow_record *r)
{
	totals_count(&e->stats.taken, r->packets, r->octets);
	if (r->last_ns > e->latest_ns)
		e->latest_ns = r->last_ns;
}

static void exporter_count_not_sent(struct exporter *e, const struct flow_record *r)
{
	totals_count(&e->stats.not_sent, r->packets, r->octets);
}

/* Of a savefile: sessions begin as soon as they can, and what the next record would push out is waited for.
 */
static void exporter_wait(struct exporter *e)
{
	bool begun = true;

	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct transport *t = e->collectors[i].transport;

		if (t->session == 0)
			t->ops->tick(t, &e->now);
		begun = begun && t->session;
	}
	if (patience_is_needed(e))
		patience_for_room(e);
	else
		e->may_wait = !begun;
}

/*
 * What collectors are told of a record: of a flow that came in by chance, 1 in 2^k, the first packet counts
 * for 2^k, so that the sum over many flows is the truth whatever k they have.  That is no rate by which a
 * collector could multiply: what came after that packet was counted.  All else is of packets that were seen.
 */
static const struct flow_record *exporter_estimate(struct exporter *e, const struct flow_record *r)
{
	const struct record_layout *l = &e->config.layout;
	const struct block_slice *s = flow_record_block(l, r, BLOCK_SLICE);
	uint64_t missed;

	if (!s)
		return r;
	e->added = (struct totals){0};
	missed = block_slice_missed(s);
	if (!missed)
		return r;
	e->added = (struct totals){1, missed, missed * s->octets};
	flow_record_copy(e->estimate, r, l->record_size);
	e->estimate->packets += e->added.packets;
	e->estimate->octets += e->added.octets;
	if (l->record_at[BLOCK_FRAMES]) {
		struct block_frames *f = (void *)((uint8_t *)e->estimate + l->record_at[BLOCK_FRAMES]);

		f->octets += missed * s->link_octets;
	}
	return e->estimate;
}

void exporter_record(struct exporter *e, const struct flow_record *r, const struct clock_time *now)
{
	const struct flow_record *told = exporter_estimate(e, r);
	uint64_t chosen;

	e->now = *now;
	if (e->may_wait)
		exporter_wait(e);
	chosen = e->config.group == COLLECTOR_GROUP_REPLICATE ? e->all : group_choose(e, r);
	exporter_count_record(e, r);
	if (e->top)
		top_count(e->top, r);
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!(chosen >> i & 1) || !c->transport)
			continue;
		if (c->transport->rotates)
			collector_rotate(c);
		totals_count(&c->stats.taken, r->packets, r->octets);
		if (c->format->fits && !c->format->fits(told))
			collector_unfit(c, told);
		else
			c->format->record(c, told, now);
	}
	e->stats.unwanted += e->all == 0;
}

void exporter_sample(struct exporter *e, const struct packet_sample *s, const struct clock_time *now)
{
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].transport && e->collectors[i].format->sample)
			e->collectors[i].format->sample(&e->collectors[i], s);
}

void exporter_counters(struct exporter *e, const struct interface_counters *n, const struct clock_time *now)
{
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].transport && e->collectors[i].format->counters)
			e->collectors[i].format->counters(&e->collectors[i], n);
}

void exporter_drop(struct exporter *e, const struct flow_record *r, const struct clock_time *now)
{
	uint64_t chosen;

	e->now = *now;
	chosen = group_choose(e, r);
	exporter_count_record(e, r);
	if (!chosen)
		exporter_count_not_sent(e, r);
	e->stats.dropped++;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!(chosen >> i & 1))
			continue;
		totals_count(&c->stats.taken, r->packets, r->octets);
		if (c->format->fits && !c->format->fits(r)) { /* it would not have had it */
			totals_count(&c->stats.unfit, r->packets, r->octets);
			continue;
		}
		totals_count(&c->stats.lost, r->packets, r->octets);
		collector_add_loss(c, &(struct totals){1, r->packets, r->octets});
		if (!c->format->counts_messages)
			c->sequence++;
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
		if (c->transport->rotates && !e->config.offline)
			collector_rotate(c);
		collector_watch_errors(c, now);
		if (c->format->tick)
			c->format->tick(c, now);
		if (m->open && now->monotonic_ns - since >= e->config.flush_ns)
			message_finish(c);
		c->transport->ops->flush(c->transport);
	}
}

uint64_t exporter_due_ns(const struct exporter *e)
{
	uint64_t due_ns = UINT64_MAX;

	for (unsigned i = 0; i < e->n_collectors; i++) {
		const struct collector *c = &e->collectors[i];

		if (c->transport)
			due_ns = clock_sooner_ns(due_ns, collector_due_ns(c));
	}
	return due_ns;
}

void exporter_set_facts(struct exporter *e, const struct export_process_facts *facts)
{
	struct totals lost = facts->lost;

	totals_subtract(&lost, &e->facts.lost);
	e->facts = *facts;
	if (lost.records == 0)
		return;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!group_takes(e, i))
			continue;
		collector_add_loss(c, &lost);
		if (!c->format->counts_messages)
			c->sequence += (uint32_t)lost.records;
	}
}

void exporter_set_selector(struct exporter *e, unsigned selector, const struct clock_time *now)
{
	e->now = *now;
	e->selector = selector;
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].format->selector)
			e->collectors[i].format->selector(&e->collectors[i]);
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

int exporter_set_interfaces(struct exporter *e, const struct export_interface *interfaces, unsigned n)
{
	struct export_interface *copy = exporter_copy_interfaces(interfaces, n);

	if (!copy)
		return -ENOMEM;
	free(e->interfaces);
	e->interfaces = copy;
	e->config.interfaces = copy;
	e->config.n_interfaces = n;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		c->context.interfaces = copy;
		c->context.n_interfaces = n;
		if (c->format->refresh)
			c->format->refresh(c);
	}
	return 0;
}

void exporter_network_changed(struct exporter *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct transport *t = e->collectors[i].transport;

		if (t && t->ops->network_changed)
			t->ops->network_changed(t);
	}
}

void exporter_set_periods(struct exporter *e, const struct exporter_periods *periods,
			  const struct clock_time *now)
{
	e->config.template_ns = periods->template_ns;
	e->config.template_messages = periods->template_messages;
	e->config.stats_ns = periods->stats_ns;
	e->config.flush_ns = periods->flush_ns;
	e->config.active_ns = periods->active_ns;
	e->config.inactive_ns = periods->inactive_ns;
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].format->periods)
			e->collectors[i].format->periods(&e->collectors[i]);
	exporter_refresh(e, now);
}

/* What is told when everything else has been. */
static void exporter_last_messages(struct exporter *e)
{
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!c->transport) /* another process has it */
			continue;
		if (c->format->finish)
			c->format->finish(c, &e->now);
		message_flush(c);
	}
	for (unsigned i = 0; i < e->n_collectors; i++)
		if (e->collectors[i].transport && e->collectors[i].transport->ops->finish)
			e->collectors[i].transport->ops->finish(e->collectors[i].transport);
}

static void exporter_wait_for_all(struct exporter *e, struct patience *p)
{
	do
		exporter_tick(e, &p->now);
	while (patience_goes_on(p, e));
}

void exporter_finish(struct exporter *e, const struct clock_time *now)
{
	struct patience p;
	uint64_t close_by_ns;

	if (e->finished)
		return;
	e->finished = true;
	e->now = *now;
	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];

		if (!c->transport)
			continue;
		c->transport->ops->tick(c->transport, now);
		if (c->transport->limits.spooled)
			message_finish(c);
	}
	patience_begin(&p, e, now);
	exporter_wait_for_all(e, &p);
	exporter_last_messages(e);
	patience_begin_goodbye(&p, e);
	exporter_wait_for_all(e, &p);
	close_by_ns = patience_close_by_ns(e);
	for (unsigned i = 0; i < e->n_collectors; i++)
		collector_close(&e->collectors[i], close_by_ns);
}

void exporter_print_top(struct exporter *e, void (*print)(void *ctx, const char *line), void *ctx)
{
	if (e->top)
		top_print(e->top, e->config.top, print, ctx);
}

/* ---- reading */

void exporter_get_stats(const struct exporter *e, struct exporter_stats *stats)
{
	struct totals least = group_not_sent(e);

	*stats = e->stats;
	stats->estimated = group_estimated(e);
	totals_add(&stats->not_sent, &least);
	stats->exported = stats->taken.records - stats->not_sent.records - stats->unwanted;
}

unsigned exporter_collectors(const struct exporter *e)
{
	return e->n_collectors;
}

void exporter_get_template(const struct exporter *e, unsigned i, unsigned number, struct export_template *t)
{
	const struct collector *c = i < e->n_collectors ? &e->collectors[i] : NULL;
	const struct template *from = c && c->format->template ? c->format->template(c, number) : NULL;

	static_assert(EXPORT_TEMPLATE_FIELDS == TEMPLATE_FIELDS, "all of them");
	*t = (struct export_template){0};
	if (!from)
		return;
	t->there = 1;
	t->id = from->id;
	t->n_scope = from->n_scope;
	for (; t->n_fields < from->n_fields; t->n_fields++) {
		const struct template_field *f = &from->fields[t->n_fields];
		struct export_template_field *to = &t->fields[t->n_fields];

		snprintf(to->name, sizeof(to->name), "%s", f->ie->name);
		to->id = f->id;
		to->length = f->length;
		to->pen = f->pen;
	}
}

const struct transport *exporter_transport(const struct exporter *e, unsigned i)
{
	return e->collectors[i].transport;
}

static void exporter_print_template(const struct template *t, const char *what,
				    void (*print)(void *ctx, const char *line), void *ctx)
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
	static const char *const names[FLOW_MASKS] = {"IPv4",
						      "IPv6",
						      "IPv4 in a tunnel over IPv4",
						      "IPv6 in a tunnel over IPv4",
						      "IPv4 in a tunnel over IPv6",
						      "IPv6 in a tunnel over IPv6"};
	struct exporter_config own = *config;

	record_layout_init(&own.layout, exporter_blocks(config), 0);
	for (unsigned i = 0; i < config->n_collectors; i++) {
		const struct format_ops *format = collector_format(config->collectors[i].format);
		struct flow_templates f;
		int r;

		print(ctx, config->collectors[i].url);
		if (!format->dialect) {
			print(ctx, "  a fixed layout without templates");
			continue;
		}
		r = flow_templates_init(&f, format->protocol, &own,
					transport_replays(config->collectors[i].transport), diag);
		if (r == 0 && flow_templates_make_all(&f))
			r = diag_set(diag, -ENOMEM, "--print-template: out of memory");
		for (unsigned mask = 0; r == 0 && mask < FLOW_MASKS; mask++)
			if (f.made[mask])
				exporter_print_template(f.made[mask], names[mask], print, ctx);
		flow_templates_deinit(&f);
		if (r)
			return r;
	}
	return 0;
}
