/*
 * metering_commands: see commands.def and shared.h.  What a metering thread does for control between two
 * batches, and what it publishes for anybody.
 */
#include "metering_internal.h"

#include <errno.h>
#include <unistd.h>

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

int metering_on_stop(struct metering *w, const struct command_none *a, struct command_none *reply)
{
	(void)a;
	(void)reply;
	w->stop = true;
	return 0;
}

/* The old socket has nothing left to give: it is read until it says that it is down. */
int metering_on_adopt(struct metering *w, const struct command_adopt *a, struct command_none *reply)
{
	struct capture_descriptor socket = {.fd = -1, .counter_fds = {-1, -1}, .facts = a->facts};
	const struct capture *old;
	int fds[MAILBOX_FDS], r;
	unsigned n;

	(void)reply;
	r = mailbox_take_fds(&w->mailbox, fds, &n);
	if (r < 0)
		return r;
	socket.fd = fds[0];
	for (unsigned i = 1; i < n; i++)
		socket.counter_fds[i - 1] = fds[i];
	if (a->capture >= w->n_captures || !w->gaps[a->capture].down) {
		capture_descriptor_close(&socket);
		return -EBUSY;
	}
	old = w->captures[a->capture];
	r = capture_adopt(&w->captures[a->capture], &socket, &w->why);
	if (r < 0) {
		log_error("%s", w->why.text);
		return r;
	}
	if (w->captures[a->capture] != old)
		log_info("interface %s: captured by %s from now on, instead of %s", old->name,
			 w->captures[a->capture]->ops->name, old->ops->name);
	metering_note_gap(w, a->capture, false);
	return 0;
}

/* ---- numbers */

static void metering_capture_totals(struct metering *w)
{
	struct meter_stats *s = &w->stats.meter;

	s->kernel_dropped = s->filtered_packets = s->filtered_octets = s->uncounted_filters = 0;
	for (unsigned i = 0; i < w->n_captures; i++) {
		struct capture_stats c = {0};

		capture_get_stats(w->captures[i], &c);
		s->kernel_dropped += c.kernel_dropped;
		s->filtered_packets += c.filtered;
		s->filtered_octets += c.filtered_octets;
		s->uncounted_filters += c.filtered_unknown;
	}
}

void metering_publish_numbers(struct metering *w, bool now)
{
	const struct flow_stats *f = &w->stats.flows;
	struct metering_stats out;

	if (w->n_captures && (now || w->elapsed_ns - w->totals_ns >= totals_every_ns)) {
		w->totals_ns = w->elapsed_ns;
		metering_capture_totals(w);
	}
	out = w->stats;
	out.flows = *flow_table_stats(w->table);
	out.flows.fragments_tracked = f->fragments_tracked;
	out.flows.fragments_joined = f->fragments_joined;
	out.flows.fragments_evicted = f->fragments_evicted;
	published_put(&w->shared->numbers, &out);
}

/* Here and not where somebody looks from time to time: a short gap is a gap, and so is each of several. */
void metering_note_gap(struct metering *w, unsigned i, bool down)
{
	struct metering_gaps *g = &w->gaps[i];
	uint64_t now_ns = clock_monotonic_ns();

	if (down) {
		g->begun++;
		g->since_ns = now_ns;
	} else {
		g->last_ns = now_ns - g->since_ns;
		g->total_ns += g->last_ns;
	}
	g->down = down;
	published_put(&shared_gaps_of(w->config.shared, w->config.number, i)->gaps, g);
}
