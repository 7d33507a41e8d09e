/*
 * metering_commands: see commands.def and shared.h.  What a metering thread does for control between two
 * batches, and what it publishes for anybody.
 */
#include "metering_internal.h"

#include <errno.h>
#include <unistd.h>

#include "ledger.h"
#include "pitot/clock.h"
#include "pitot/log.h"

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
	w->stop = true;
	w->drop_at_stop |= a->drop;
	return 0;
}

/* Control asks only when the place was left; what it believes is checked all the same. */
static int metering_adopt(struct metering *w, unsigned place, struct capture_descriptor *socket)
{
	struct capture *c;
	int r;

	if (w->places[place].capture) {
		capture_descriptor_close(socket);
		return -EBUSY;
	}
	r = capture_open_socket(&c, w->config.plans[place], socket, &w->why);
	if (r == 0)
		r = metering_set_capture(w, place, c, &w->why);
	if (r < 0 && !w->places[place].refused)
		log_error("%s", w->why.text);
	w->places[place].refused = r < 0;
	return r;
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
	if (a->place >= w->n_places) {
		capture_descriptor_close(&socket);
		return -EINVAL;
	}
	r = metering_adopt(w, a->place, &socket);
	/* last: until then it is given, and after it taken or left */
	atomic_fetch_add(&w->places[a->place].shared->answered, 1);
	return r;
}

/* ---- numbers */

static void metering_capture_totals(struct metering *w)
{
	struct meter_stats *s = &w->stats.meter;

	s->kernel_dropped = s->filtered_packets = s->filtered_octets = s->uncounted_filters = 0;
	for (unsigned i = 0; i < w->n_places; i++) {
		struct capture_stats c = metering_place_totals(&w->places[i]);

		s->kernel_dropped += c.kernel_dropped;
		s->filtered_packets += c.filtered;
		s->filtered_octets += c.filtered_octets;
		s->uncounted_filters += c.filtered_unknown;
	}
}

/*
 * In the middle of a batch, where a record waits for room, some of its packets have not come to the table
 * yet, and a flow that has ended is still in it.  Between two batches this changes nothing.
 */
static void metering_settle(struct metering_stats *s)
{
	struct flow_stats *f = &s->flows;
	uint64_t packets = f->in_table.packets + f->handed_on.packets;

	f->in_table.records = f->created - f->handed_on.records;
	s->meter.received_packets -= s->meter.metered_packets - packets;
	s->meter.metered_packets = packets;
	s->meter.metered_octets = f->in_table.octets + f->handed_on.octets;
}

void metering_publish_numbers(struct metering *w, bool now)
{
	const struct flow_stats *f = &w->stats.flows;
	struct metering_stats out;

	if (w->n_places && (now || w->elapsed_ns - w->totals_ns >= totals_every_ns)) {
		w->totals_ns = w->elapsed_ns;
		metering_capture_totals(w);
	}
	out = w->stats;
	out.flows = *flow_table_stats(w->table);
	out.flows.fragments_tracked = f->fragments_tracked;
	out.flows.fragments_joined = f->fragments_joined;
	out.flows.fragments_evicted = f->fragments_evicted;
	metering_settle(&out);
	if (w->config.follows)
		ledger_add(&out, &w->base);
	published_put(&w->shared->numbers, &out);
}
