/*
 * patience: where the exporting process waits for collectors, and how long.
 *
 * Twice: where a savefile is read, as long as a record would push out another one; and at the end, for what
 * is left and for sessions to end in good order.  All collectors are waited for at the same time, so that
 * many that stand still cost no more than one; and one that was waited for in vain is not waited for again
 * before it has taken something.
 */
#include "patience.h"

#include <stdatomic.h>

#define LEAST_NS   NS_PER_SEC	       /* while reading, however short --stop-timeout is */
#define GOODBYE_NS (800 * NS_PER_MSEC) /* for sessions to end, when --stop-timeout is over */
#define CLOSE_NS   (200 * NS_PER_MSEC) /* for a transport to close, which waits for nobody by itself */
#define STEP_MS	   5
#define FDS_MOST   64

static uint64_t patience_of(const struct exporter *e)
{
	return e->config.stop_ns > LEAST_NS ? e->config.stop_ns : LEAST_NS;
}

/* When whoever asked us to stop wants it done: in the clock of the ticks, which may be shifted. */
static uint64_t patience_left_ns(const struct exporter *e)
{
	const _Atomic uint64_t *word = e->config.stop_by_ns;
	uint64_t by = word ? atomic_load_explicit(word, memory_order_relaxed) : UINT64_MAX;
	uint64_t now = waiting_now_ns(e->config.waiting);

	return by == UINT64_MAX ? UINT64_MAX : by > now ? by - now : 0;
}

/*
 * A pipe that is all that there is to write is waited for like any other program does, until its reader goes
 * or somebody asks us to stop: nobody is in its way.
 */
static bool patience_is_alone(const struct exporter *e, const struct collector *c)
{
	return e->n_collectors == 1 && c->config.transport == TRANSPORT_FILE && e->config.offline;
}

/* Has it stood still for longer than anybody waits?  By the real clock: ticks of one batch say the same. */
static bool patience_has_given_up(const struct exporter *e, const struct collector *c)
{
	if (!c->stalled_ns || c->stalled_progress != c->transport->progress)
		return false;
	if (patience_is_alone(e, c) && patience_left_ns(e) > 0)
		return false;
	return waiting_now_ns(e->config.waiting) - c->stalled_ns >= patience_of(e);
}

static void patience_note_progress(const struct exporter *e, struct collector *c)
{
	if (c->stalled_ns && c->stalled_progress == c->transport->progress)
		return;
	c->stalled_ns = waiting_now_ns(e->config.waiting);
	c->stalled_progress = c->transport->progress;
}

/* Does a record for it have to wait? */
static bool patience_is_waited_for(const struct exporter *e, struct collector *c)
{
	const struct transport *t = c->transport;

	if (!t->ops->crowded || !t->ops->crowded(t)) {
		c->stalled_ns = 0;
		return false;
	}
	patience_note_progress(e, c);
	return !patience_has_given_up(e, c);
}

static void patience_step(struct exporter *e, struct clock_time *now, const struct clock_time *begun,
			  uint64_t begun_ns)
{
	struct pollfd fds[FDS_MOST];
	uint64_t passed_ns;
	nfds_t n = 0;

	for (unsigned i = 0; i < e->n_collectors && n < FDS_MOST; i++) {
		const struct transport *t = e->collectors[i].transport;

		if (!t) /* another process has it */
			continue;
		if (t->limits.spooled || (t->ops->idle && !t->ops->idle(t, 0)))
			fds[n++] = (struct pollfd){.fd = t->fd, .events = POLLIN};
	}
	if (waiting_poll(e->config.waiting, fds, n, STEP_MS) >
	    0) /* of a peer that has closed for as long as it is looked at */
		waiting_poll(e->config.waiting, NULL, 0, 1);
	passed_ns = waiting_now_ns(e->config.waiting) - begun_ns;
	*now = (struct clock_time){begun->realtime_ns + passed_ns, begun->monotonic_ns + passed_ns};
}

void patience_for_room(struct exporter *e)
{
	struct clock_time begun = e->now, now = begun;
	uint64_t begun_ns = waiting_now_ns(e->config.waiting);

	for (;;) {
		bool wait = false;

		for (unsigned i = 0; i < e->n_collectors; i++)
			wait |= patience_is_waited_for(e, &e->collectors[i]);
		if (!wait || patience_left_ns(e) == 0)
			return;
		patience_step(e, &now, &begun, begun_ns);
		for (unsigned i = 0; i < e->n_collectors; i++) {
			struct transport *t = e->collectors[i].transport;

			if (!t->ops->crowded)
				continue;
			t->ops->tick(t, &now);
			t->ops->flush(t);
		}
	}
}

bool patience_is_needed(const struct exporter *e)
{
	for (unsigned i = 0; e->config.offline && i < e->n_collectors; i++) {
		const struct transport *t = e->collectors[i].transport;

		if (t->ops->crowded && t->ops->crowded(t))
			return true;
	}
	return false;
}

/* Is there something left that it is waited for?  over: the time that it has is. */
static bool patience_is_left(struct exporter *e, struct collector *c, uint64_t until_ns, bool over)
{
	const struct transport *t = c->transport;

	if (!t->ops->idle || t->ops->idle(t, until_ns))
		return false;
	if (c->config.transport != TRANSPORT_FILE)
		return !over && !patience_has_given_up(e, c);
	patience_note_progress(e, c);
	/* of a savefile a reader gets everything, however slow, as long as it takes something */
	return !patience_has_given_up(e, c) && (e->config.offline ? patience_left_ns(e) > 0 : !over);
}

void patience_begin(struct patience *p, const struct exporter *e, const struct clock_time *now)
{
	uint64_t left_ns = patience_left_ns(e);

	*p = (struct patience){.begun = *now,
			       .now = *now,
			       .begun_ns = waiting_now_ns(e->config.waiting),
			       .most_ns = e->config.stop_ns < left_ns ? e->config.stop_ns : left_ns};
}

void patience_begin_goodbye(struct patience *p, const struct exporter *e)
{
	uint64_t passed_ns = waiting_now_ns(e->config.waiting) - p->begun_ns;

	p->goodbye_ns = GOODBYE_NS;
	p->now = (struct clock_time){p->begun.realtime_ns + passed_ns, p->begun.monotonic_ns + passed_ns};
}

bool patience_goes_on(struct patience *p, struct exporter *e)
{
	uint64_t passed_ns = waiting_now_ns(e->config.waiting) - p->begun_ns;
	uint64_t until_ns = p->begun.monotonic_ns + p->most_ns + p->goodbye_ns;
	bool left = false;

	for (unsigned i = 0; i < e->n_collectors; i++) {
		struct collector *c = &e->collectors[i];
		uint64_t its_ns = p->most_ns;

		if (!c->transport)
			continue;
		its_ns += c->transport->ops->finish ? p->goodbye_ns : 0;
		left |= patience_is_left(e, c, until_ns, passed_ns >= its_ns);
	}
	if (left)
		patience_step(e, &p->now, &p->begun, p->begun_ns);
	return left;
}

uint64_t patience_close_by_ns(const struct exporter *e)
{
	return waiting_now_ns(e->config.waiting) + CLOSE_NS; /* all of them, one after the other */
}
