/*
 * flow_expire: what time does to silent keys.
 *
 * Entries that have come due are looked at in batches: fetch the entries, decide, fetch the buckets of those
 * that end, end them.  A call looks at EXPIRE_BUDGET entries at most, so that capture is never kept waiting,
 * and ends no more than the caller has room for; what is left comes with the next call.
 */
#include "flow/flow_internal.h"
#include "pitot/clock.h"

enum { EXPIRE_BATCH = 32, EXPIRE_BUDGET = 8192 };

struct expiring {
	uint32_t entry;
	uint64_t hash;
	enum flow_end_reason reason;
};

/* By the two rules of arrival; and a record that a step back of the host's clock left in the future ends as
 * idle. */
static enum flow_end_reason flow_expired(struct flow_table *t, struct flow_record *e, uint64_t now_ns)
{
	enum flow_end_reason reason = flow_aged(t, e, now_ns);

	if (reason != FLOW_END_NONE || !t->config.host_clock || e->last_ns <= now_ns ||
	    e->last_ns - now_ns <= t->config.inactive_ns)
		return reason;
	if (e->state & ENTRY_FUTURE) /* silent since it was found so */
		return FLOW_END_IDLE;
	e->state |= ENTRY_FUTURE;
	return FLOW_END_NONE;
}

/* When it is worthwhile to look at a living entry again. */
static uint64_t flow_next_look(const struct flow_table *t, const struct flow_record *e, uint64_t now_ns)
{
	uint64_t deadline = flow_deadline(t, e);
	uint64_t wait = deadline > now_ns ? deadline - now_ns : 0;

	if (e->state & ENTRY_FUTURE)
		wait = t->config.inactive_ns;
	return t->elapsed_ns + wait < wait ? UINT64_MAX : t->elapsed_ns + wait;
}

static unsigned flow_expire_batch(struct flow_table *t, struct wheel *w, uint8_t in_wheel, uint64_t now_ns)
{
	uint32_t numbers[EXPIRE_BATCH];
	struct expiring ending[EXPIRE_BATCH];
	unsigned n = wheel_take(w, numbers, EXPIRE_BATCH), n_ending = 0;

	for (unsigned i = 0; i < n; i++)
		flow_fetch(t, numbers[i], false);
	for (unsigned i = 0; i < n; i++)
		flow_touch(t, numbers[i], false);
	for (unsigned i = 0; i < n; i++) {
		struct flow_record *e = flow_entry(t, numbers[i]);
		enum flow_end_reason reason;

		e->state &= (uint8_t)~in_wheel;
		/* an entry in the wheel of ended connections that has another record by now waits in its own
		 */
		if (!(e->state & ENTRY_LIVE) || (w == &t->ended && !(e->state & ENTRY_ENDED)))
			continue;
		reason = flow_expired(t, e, now_ns);
		if (reason != FLOW_END_NONE) {
			uint64_t hash = flow_entry_hash(t, e);

			__builtin_prefetch(flow_bucket(t, hash), 1);
			ending[n_ending++] = (struct expiring){numbers[i], hash, reason};
		} else if (w == &t->ended) {
			e->state |= ENTRY_IN_END;
			wheel_insert(w, numbers[i], flow_next_look(t, e, now_ns));
		} else {
			flow_schedule(t, numbers[i], flow_next_look(t, e, now_ns));
		}
	}
	for (unsigned i = 0; i < n_ending; i++) {
		flow_end(t, flow_entry(t, ending[i].entry), ending[i].reason);
		flow_remove(t, ending[i].entry, ending[i].hash);
	}
	return n;
}

void flow_table_expire(struct flow_table *t, uint64_t elapsed_ns, uint64_t now_ns, uint64_t budget)
{
	struct {
		struct wheel *wheel;
		uint8_t in_wheel;
	} wheels[] = {
		{&t->ended, ENTRY_IN_END}, {&t->single, ENTRY_IN_WHEEL}, {&t->established, ENTRY_IN_WHEEL}};

	if (elapsed_ns > t->elapsed_ns)
		t->elapsed_ns = elapsed_ns;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t looked = 0, n = EXPIRE_BATCH;

		wheel_advance(wheels[i].wheel, t->elapsed_ns);
		while (n == EXPIRE_BATCH && looked < EXPIRE_BUDGET && budget >= EXPIRE_BATCH) {
			n = flow_expire_batch(t, wheels[i].wheel, wheels[i].in_wheel, now_ns);
			looked += n;
			budget -= n;
		}
	}
}

uint64_t flow_table_due_ns(const struct flow_table *t)
{
	const struct wheel *wheels[] = {&t->ended, &t->single, &t->established};
	uint64_t due_ns = UINT64_MAX;

	for (unsigned i = 0; i < 3; i++)
		due_ns = clock_sooner_ns(due_ns, wheel_due_ns(wheels[i]));
	return due_ns;
}
