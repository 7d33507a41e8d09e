/*
 * metering_hand_over: a metering thread, when another process takes over (take_over.h, commands.def): it
 * stops between two batches, writes what it has into memory that control gives it, and then ends, or goes on
 * as if nothing had been.
 */
#include "metering_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "metering_live.h"
#include "pitot/clock.h"
#include "pitot/fragment.h"
#include "pitot/log.h"
#include "take_over.h"

/* ---- out */

/* Numbers, records and samples can be seen: all that was read is on its way. */
int metering_on_freeze(struct metering *w, const struct command_none *a, struct command_frozen *reply)
{
	(void)a;
	if (!w->config.live || w->stop)
		return -EINVAL;
	w->frozen = true;
	metering_take_counts(w, true);
	metering_publish_numbers(w, true);
	selection_publish(&w->selection);
	ring_publish(&w->records);
	gate_wake(w->consumer);
	*reply = (struct command_frozen){.frozen = true,
					 .octets = 4096 + flow_table_hand_over_octets(w->table) +
						   metering_live_hand_over_octets(w->source)};
	return 0;
}

static void metering_write(struct metering *w, void *memory, size_t octets)
{
	struct take_over_thread thread = {flow_table_latest_id(w->table)};
	int *fds = calloc(w->config.n_places ? w->config.n_places : 1, sizeof(*fds));
	struct sections_writer out;

	if (!fds)
		return;
	sections_write_init(&out, memory, octets);
	sections_begin(&out, TAKE_OVER_THREAD, TAKE_OVER_VERSION);
	sections_put(&out, &thread, sizeof(thread));
	sections_end(&out);
	w->handed.n_fds = metering_live_hand_over(w->source, &out, fds);
	flow_table_hand_over(w->table, &out);
	if (mailbox_give_fds(&w->mailbox, fds, w->handed.n_fds) == 0)
		w->handed.octets = sections_finish(&out);
	free(fds);
}

int metering_on_hand_over(struct metering *w, const struct command_hand_over *a, struct command_none *reply)
{
	void *memory;
	int r;

	(void)reply;
	w->handed = (struct command_handed){0};
	r = w->frozen ? mailbox_take_memory(&w->mailbox, a->octets, &memory) : -EINVAL;
	if (r < 0)
		return r;
	metering_write(w, memory, a->octets);
	munmap(memory, a->octets);
	return 0;
}

int metering_on_handed(struct metering *w, const struct command_none *a, struct command_handed *reply)
{
	(void)a;
	*reply = w->handed;
	return 0;
}

int metering_on_thaw(struct metering *w, const struct command_none *a, struct command_none *reply)
{
	struct diag why;

	(void)a;
	(void)reply;
	if (w->frozen && !w->let_go && metering_live_resume(w->source, &why) < 0)
		log_error("%s", why.text);
	w->frozen = false;
	return 0;
}

int metering_on_let_go(struct metering *w, const struct command_none *a, struct command_none *reply)
{
	(void)a;
	(void)reply;
	if (!w->frozen)
		return -EINVAL;
	w->let_go = true;
	metering_publish_numbers(w, true); /* what the captures have counted up to here */
	metering_live_let_go(w->source);
	return 0;
}

/* ---- in */

int metering_take_over(struct metering *w, const struct sections_reader *from,
		       const struct flow_points *points, const char **missing, struct diag *diag)
{
	struct section s;
	int r = 0;

	if (sections_find(from, FLOW_SECTION, FLOW_SECTION_VERSION, &s))
		r = flow_table_take_over(w->table, &s, points, clock_monotonic_ns(), clock_now().realtime_ns,
					 missing, diag);
	if (r == 0 && sections_find(from, FRAGMENT_SECTION, FRAGMENT_SECTION_VERSION, &s) &&
	    metering_live_take_fragments(w->source, &s, points) < 0)
		r = diag_set(diag, -EBADMSG, "the fragments are of a kind that this version does not know");
	return r;
}
