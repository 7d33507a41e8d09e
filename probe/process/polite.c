/*
 * polite: see polite.h.
 *
 * A sample is bad, good or neither.  Three bad ones in a row are a step up; good ones that make up ten
 * seconds a step down, and after it, as long as all is well, each two more another one, so that nobody waits
 * minutes for full service.  What is neither uses up good time: a host that is half under pressure does not
 * invite to try.  What takes half of what it may is good, for a step down doubles it.
 *
 * A full flow table is no trouble by itself.  When there is trouble it decides what the next step is: where
 * there is no room for flows, fewer of them are begun, however many packets are drawn; where there is, that
 * would save nothing, and the rung is passed over.
 */
#include "polite.h"

#include <stdio.h>

enum {
	BAD_TO_GO_UP = 3,
	BUFFER_BAD = 50,
	BUFFER_URGENT = 75, /* it will be full before three samples are over: one is enough */
	BUFFER_GOOD = 25,
	QUEUE_BAD = 50,
	QUEUE_BAD_DEFERRED = 90, /* it is meant to fill */
	TABLE_FULL = 90,	 /* more than this: flows may be sliced */
	TABLE_ROOM = 50,	 /* less than this: it need not be any more */
};

static const uint64_t quiet_ns = 10 * NS_PER_SEC, next_ns = 2 * POLITE_EVERY_NS;

const struct polite_row polite_ladder[POLITE_RUNGS] = {
	[POLITE_FULL] = {.name = "full",
			 .what = "every packet is measured, and records are sent as they end"},
	[POLITE_DEFER] = {.name = "defer",
			  .what = "records wait in memory, and are sent later",
			  .defers = true},
	[POLITE_SAMPLE] = {.name = "sample",
			   .what = "packets are drawn by chance",
			   .steps = POLITE_STEPS,
			   .defers = true},
	[POLITE_SLICE] =
		{.name = "slice",
		 .what = "packets are drawn by chance, and one in 16 of those that would begin a flow "
			 "does",
		 .steps = POLITE_STEPS,
		 .slicing = 4,
		 .defers = true},
	[POLITE_COUNT] = {.name = "count",
			  .what = "packets are counted, in a record for each interface and second",
			  .defers = true,
			  .draws_none = true,
			  .counts = true},
	[POLITE_PAUSE] = {.name = "pause",
			  .what = "no packet is measured; the flows that are known are kept",
			  .defers = true,
			  .draws_none = true},
};

void polite_init(struct polite *p, const struct polite_config *config, uint64_t now_ns)
{
	*p = (struct polite){.config = *config, .last = {.now_ns = now_ns}};
	p->entered[POLITE_FULL] = 1;
}

uint32_t polite_interval(const struct polite *p)
{
	return polite_word_interval(polite_word(p->rung, p->step));
}

/* ---- judging */

/* Of a time that only grows; what begins anew with a process of its own is nothing for once. */
static unsigned polite_permille(uint64_t now, uint64_t last, uint64_t elapsed_ns)
{
	return elapsed_ns && now > last ? (unsigned)((now - last) * 1000 / elapsed_ns) : 0;
}

static bool polite_is_full(const struct polite *p, const struct polite_sample *s)
{
	unsigned most = polite_ladder[p->rung].defers ? QUEUE_BAD_DEFERRED : QUEUE_BAD;

	return s->queue_percent >= most;
}

/* What is in the buffer was drawn before the last step, and takes its time: only a buffer that fills is bad.
 */
static bool polite_is_filling(const struct polite *p, const struct polite_sample *s, unsigned percent)
{
	return (s->buffer_percent >= percent && s->buffer_percent > p->last.buffer_percent) ||
	       s->dropped > p->last.dropped;
}

/* Why the sample is bad; QUIET when it is not.  To put records off costs nobody anything, so that is done
 * however little pitot takes. */
static enum polite_because polite_judge(const struct polite *p, const struct polite_sample *s)
{
	if (polite_is_filling(p, s, BUFFER_BAD))
		return POLITE_BECAUSE_BUFFER;
	if (p->cpu_permille > 10 * p->config.cpu)
		return POLITE_BECAUSE_CPU;
	if (polite_is_full(p, s))
		return POLITE_BECAUSE_QUEUE;
	if (p->stalled_permille > 10 * p->config.yield &&
	    (p->rung == POLITE_FULL || p->config.spare == 0 || p->cpu_permille > 10 * p->config.spare))
		return POLITE_BECAUSE_PRESSURE;
	return POLITE_BECAUSE_QUIET;
}

static bool polite_is_good(const struct polite *p, const struct polite_sample *s)
{
	return s->buffer_percent < BUFFER_GOOD && p->cpu_permille <= 5 * p->config.cpu &&
	       p->stalled_permille <= 5 * p->config.yield;
}

/* Below good: on a rung that slices, whose flow table would have had room for long. */
static bool polite_has_room(const struct polite *p, const struct polite_sample *s)
{
	return polite_ladder[p->rung].slicing && s->table_percent < TABLE_ROOM;
}

/* ---- moving */

static bool polite_enter(struct polite *p, enum polite_rung rung, unsigned step)
{
	p->entered[rung] += rung != p->rung;
	p->rung = rung;
	p->step = step;
	p->changes++;
	p->n_bad = 0;
	p->good_ns = 0;
	return true;
}

/* The next rung in that direction that is of use; POLITE_RUNGS: there is none. */
static enum polite_rung polite_next(const struct polite *p, const struct polite_sample *s, int way)
{
	int rung = (int)p->rung + way;

	if (rung < POLITE_RUNGS && polite_ladder[rung].slicing &&
	    !(p->config.slice && s->table_percent > TABLE_FULL))
		rung += way;
	return (enum polite_rung)rung;
}

static bool polite_go_up(struct polite *p, const struct polite_sample *s)
{
	enum polite_rung next = polite_next(p, s, 1);

	if (p->step < polite_ladder[p->rung].steps && !(next < POLITE_RUNGS && polite_ladder[next].slicing))
		return polite_enter(p, p->rung, p->step + 1);
	if (next == POLITE_RUNGS) {
		p->n_bad = 0;
		return false;
	}
	return polite_enter(p, next, polite_ladder[next].steps && p->step == 0 ? 1 : p->step);
}

static bool polite_go_down(struct polite *p, const struct polite_sample *s)
{
	const struct polite_row *row = &polite_ladder[p->rung];
	enum polite_rung next;

	if (p->rung == POLITE_FULL)
		return false;
	if (row->steps && !row->slicing && p->step > 1)
		return polite_enter(p, p->rung, p->step - 1);
	next = polite_next(p, s, -1);
	return polite_enter(p, next, next < POLITE_SAMPLE ? 0 : p->step);
}

static bool polite_on_bad(struct polite *p, const struct polite_sample *s)
{
	bool urgent = polite_is_filling(p, s, BUFFER_URGENT);

	p->good_ns = 0;
	p->is_descending = false;
	p->n_bad += urgent ? BAD_TO_GO_UP : 1;
	return p->n_bad >= BAD_TO_GO_UP && polite_go_up(p, s);
}

static bool polite_on_good(struct polite *p, const struct polite_sample *s, uint64_t elapsed_ns)
{
	p->n_bad = 0;
	p->good_ns += elapsed_ns;
	if (p->rung == POLITE_FULL || p->good_ns < (p->is_descending ? next_ns : quiet_ns))
		return false;
	p->is_descending = true;
	return polite_go_down(p, s);
}

bool polite_step(struct polite *p, const struct polite_sample *s)
{
	uint64_t elapsed_ns = s->now_ns > p->last.now_ns ? s->now_ns - p->last.now_ns : 0;
	bool changed = false;

	p->spent_ns[p->rung] += elapsed_ns;
	if (p->has_last) {
		p->cpu_permille = polite_permille(s->cpu_ns, p->last.cpu_ns, elapsed_ns);
		p->stalled_permille =
			s->stalled_ns == POLITE_UNKNOWN || p->last.stalled_ns == POLITE_UNKNOWN
				? 0
				: polite_permille(s->stalled_ns, p->last.stalled_ns, elapsed_ns);
		p->because = polite_judge(p, s);
		if (p->because != POLITE_BECAUSE_QUIET) {
			changed = polite_on_bad(p, s);
		} else if (polite_is_good(p, s)) {
			changed = polite_on_good(p, s, elapsed_ns);
		} else if (polite_has_room(p, s)) {
			p->because = POLITE_BECAUSE_ROOM;
			changed = polite_on_good(p, s, elapsed_ns);
		} else {
			p->n_bad = 0;
			p->is_descending = false;
			p->good_ns -= p->good_ns < elapsed_ns ? p->good_ns : elapsed_ns;
		}
	}
	p->last = *s;
	p->has_last = true;
	return changed;
}

/* ---- telling */

static void polite_describe_why(const struct polite *p, char *text, unsigned size)
{
	switch (p->because) {
	case POLITE_BECAUSE_CPU:
		snprintf(text, size, "pitot itself took %u %% of a processor", p->cpu_permille / 10);
		return;
	case POLITE_BECAUSE_PRESSURE:
		snprintf(text, size,
			 "somebody waited for a processor during %u %% of the time, and pitot took %u %% of "
			 "one",
			 p->stalled_permille / 10, p->cpu_permille / 10);
		return;
	case POLITE_BECAUSE_BUFFER:
		snprintf(text, size, "the capture buffer was %u %% full%s", p->last.buffer_percent,
			 p->last.buffer_percent < BUFFER_BAD ? ", and had been full" : "");
		return;
	case POLITE_BECAUSE_QUEUE:
		snprintf(text, size, "the queue of records was %u %% full", p->last.queue_percent);
		return;
	case POLITE_BECAUSE_ROOM:
		snprintf(text, size, "the flow table has had room");
		return;
	case POLITE_BECAUSE_QUIET:
		break;
	}
	snprintf(text, size, "the host has been quiet");
}

void polite_describe(const struct polite *p, char *text, unsigned size)
{
	const struct polite_row *row = &polite_ladder[p->rung];
	char why[160], drawn[40] = "", table[60] = "";

	polite_describe_why(p, why, sizeof(why));
	if (row->slicing)
		snprintf(table, sizeof(table), "; the flow table was %u %% full", p->last.table_percent);
	if (row->steps)
		snprintf(drawn, sizeof(drawn), " 1 in %u", 1u << p->step);
	snprintf(text, size, "polite: rung %u, %s%s: %s (%s%s)", p->rung, row->name, drawn, row->what, why,
		 table);
}
