/*
 * mailbox: see metering.h.  What other threads tell a metering process and ask of it: they leave it at the
 * door, under the mutex, and the metering thread fetches it between two batches.
 */
#include "metering_internal.h"

#include "pitot/clock.h"

/* ---- what it is told */

void metering_set_own_flows(struct metering *w, const struct own_flows *own)
{
	pthread_mutex_lock(&w->mutex);
	w->own_next = *own;
	atomic_store(&w->own_changed, true);
	pthread_mutex_unlock(&w->mutex);
}

void metering_set_timeouts(struct metering *w, const struct metering_timeouts *timeouts)
{
	pthread_mutex_lock(&w->mutex);
	w->timeouts_next = *timeouts;
	atomic_store(&w->timeouts_changed, true);
	pthread_mutex_unlock(&w->mutex);
}

void metering_offer(struct metering *w, unsigned i, const struct capture_descriptor *socket)
{
	uint64_t bit = UINT64_C(1) << i;

	pthread_mutex_lock(&w->mutex);
	if (atomic_load(&w->offered) & bit)
		capture_descriptor_close(&w->offers[i]); /* one that was not fetched is of yesterday */
	w->offers[i] = *socket;
	atomic_fetch_or(&w->offered, bit);
	pthread_mutex_unlock(&w->mutex);
}

/* ---- what it is asked */

void metering_get_stats(struct metering *w, struct metering_stats *stats)
{
	uint32_t mine = atomic_fetch_add(&w->stats_wanted, 1) + 1;

	pthread_mutex_lock(&w->mutex);
	while (w->started && !atomic_load(&w->done) && (int32_t)(w->stats_done - mine) < 0)
		pthread_cond_wait(&w->copied, &w->mutex);
	*stats = w->stats_copy;
	pthread_mutex_unlock(&w->mutex);
}

void metering_peek_stats(struct metering *w, struct metering_stats *stats)
{
	pthread_mutex_lock(&w->mutex);
	*stats = w->stats_copy;
	atomic_fetch_add(&w->stats_wanted, 1);
	pthread_mutex_unlock(&w->mutex);
}

void metering_get_gaps(struct metering *w, unsigned i, struct metering_gaps *gaps)
{
	pthread_mutex_lock(&w->mutex);
	*gaps = w->gaps[i];
	pthread_mutex_unlock(&w->mutex);
}

/* ---- the metering thread's side */

static void metering_capture_totals(struct metering *w)
{
	struct meter_stats *s = &w->stats.meter;

	s->kernel_dropped = s->filtered_packets = s->filtered_octets = 0;
	for (unsigned i = 0; i < w->n_captures; i++) {
		struct capture_stats c = {0};

		capture_get_stats(w->captures[i], &c);
		s->kernel_dropped += c.kernel_dropped;
		s->filtered_packets += c.filtered;
		s->filtered_octets += c.filtered_octets;
	}
}

void metering_assemble_stats(struct metering *w, struct metering_stats *out)
{
	const struct flow_stats *t = flow_table_stats(w->table), *f = &w->stats.flows;

	metering_capture_totals(w);
	*out = w->stats;
	out->flows = *t;
	out->flows.fragments_tracked = f->fragments_tracked;
	out->flows.fragments_joined = f->fragments_joined;
	out->flows.fragments_evicted = f->fragments_evicted;
}

/* What other threads asked for, between two batches. */
void metering_answer(struct metering *w)
{
	uint32_t wanted = atomic_load_explicit(&w->stats_wanted, memory_order_relaxed);

	if (wanted == w->stats_done && !atomic_load_explicit(&w->own_changed, memory_order_relaxed) &&
	    !atomic_load_explicit(&w->timeouts_changed, memory_order_relaxed))
		return;
	pthread_mutex_lock(&w->mutex);
	if (atomic_exchange(&w->own_changed, false))
		w->own = w->own_next;
	if (atomic_exchange(&w->timeouts_changed, false))
		flow_table_set_timeouts(w->table, w->timeouts_next.active_ns, w->timeouts_next.inactive_ns,
					w->timeouts_next.tcp_end_ns);
	if (wanted != w->stats_done) {
		metering_assemble_stats(w, &w->stats_copy);
		w->stats_done = wanted;
		pthread_cond_broadcast(&w->copied);
	}
	pthread_mutex_unlock(&w->mutex);
}

/* Here and not where somebody looks from time to time: a short gap is a gap, and so is each of several. */
void metering_note_gap(struct metering *w, unsigned i, bool down)
{
	struct metering_gaps *g = &w->gaps[i];
	uint64_t now_ns = clock_monotonic_ns();

	pthread_mutex_lock(&w->mutex);
	if (down) {
		g->begun++;
		g->since_ns = now_ns;
	} else {
		g->last_ns = now_ns - g->since_ns;
		g->total_ns += g->last_ns;
	}
	g->down = down;
	pthread_mutex_unlock(&w->mutex);
}
