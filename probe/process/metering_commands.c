/*
 * metering_commands: see commands.def and shared.h.  What a metering thread does for control between two
 * batches, and what it publishes for anybody.
 */
#include "metering_internal.h"

#include <errno.h>
#include <unistd.h>

#include "ledger.h"
#include "metering_live.h"
#include "pitot/clock.h"

static const uint64_t totals_every_ns = 20 * NS_PER_MSEC;

/* ---- commands */

int metering_on_timeouts(struct metering *w, const struct metering_timeouts *a, struct command_none *reply)
{
	(void)reply;
	flow_table_set_timeouts(w->table, a->active_ns, a->inactive_ns, a->tcp_end_ns);
	return 0;
}

int metering_on_own_flows(struct metering *w, const struct own_flows *a, struct command_none *reply)
{
	(void)reply;
	w->own = *a;
	if (w->own.n > OWN_FLOWS_MAX)
		w->own.n = OWN_FLOWS_MAX;
	return 0;
}

int metering_on_stop(struct metering *w, const struct command_stop *a, struct command_none *reply)
{
	(void)reply;
	if (w->let_go) /* its captures are another process's */
		return 0;
	w->stop = true;
	w->drop_at_stop |= a->drop;
	w->source->ops->stop(w->source);
	return 0;
}

int metering_on_adopt(struct metering *w, const struct command_adopt *a, struct command_none *reply)
{
	struct capture_descriptor socket = {.fd = -1, .facts = a->facts};
	int fds[MAILBOX_FDS], r;
	unsigned n;

	(void)reply;
	r = mailbox_take_fds(&w->mailbox, fds, &n);
	if (r < 0)
		return r;
	socket.fd = fds[0];
	for (unsigned i = 1; i < n; i++)
		close(fds[i]);
	if (!w->config.live) {
		capture_descriptor_close(&socket);
		return -EINVAL;
	}
	return metering_live_adopt(w->source, a->place, &socket, &w->why);
}

/* ---- numbers */

/*
 * In the middle of a batch, where a record waits for room, some of its packets have not come to the table
 * yet, and a flow that has ended is still in it.  Between two batches this changes nothing.
 */
static void metering_settle(struct metering_stats *s)
{
	struct flow_stats *f = &s->flows;
	uint64_t packets = f->in_table.packets + f->handed_on.packets + f->handed_over.packets +
			   f->sliced.packets - f->taken_over.packets;

	f->in_table.records =
		f->created + f->taken_over.records - f->handed_on.records - f->handed_over.records;
	s->meter.received_packets -= s->meter.metered_packets - packets;
	s->meter.metered_packets = packets;
	s->meter.metered_octets = f->in_table.octets + f->handed_on.octets + f->handed_over.octets +
				  f->sliced.octets - f->taken_over.octets;
}

void metering_publish_numbers(struct metering *w, bool now)
{
	struct metering_stats out;

	if (w->source->ops->get_totals && (now || w->source->elapsed_ns - w->totals_ns >= totals_every_ns)) {
		w->totals_ns = w->source->elapsed_ns;
		w->source->ops->get_totals(w->source, &w->stats.meter);
	}
	out = w->stats;
	out.flows = *flow_table_stats(w->table);
	out.flows.fragments = w->stats.flows.fragments;
	metering_settle(&out);
	if (w->config.polite)
		atomic_store_explicit(
			&w->shared->table_percent,
			(uint32_t)(100 * out.flows.in_table.records / flow_table_capacity(w->table)),
			memory_order_relaxed);
	if (w->config.follows)
		ledger_add(&out, &w->base);
	published_put(&w->shared->numbers, &out);
}
