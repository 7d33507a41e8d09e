/* watch: see watch.h. */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>

#include "pitot/clock.h"
#include "pitot/log.h"
#include "pitot/task.h"

enum { HANG_MS = 800 }; /* of processor time */

static const uint64_t look_ns = 200 * NS_PER_MSEC; /* a batch takes less */
static const uint64_t tell_ns = 5 * NS_PER_SEC;

void watch_begin(struct watch *w, unsigned i, uint64_t now_ns)
{
	w->threads[i] = (struct watch_thread){.moved_ns = now_ns, .cpu_ms = -1};
}

int watch_init(struct watch *w, unsigned n_metering, uint64_t now_ns)
{
	*w = (struct watch){.threads = calloc(n_metering + 1, sizeof(*w->threads)), .n_metering = n_metering};
	for (unsigned i = 0; w->threads && i <= n_metering; i++)
		watch_begin(w, i, now_ns);
	return w->threads ? 0 : -ENOMEM;
}

void watch_deinit(struct watch *w)
{
	free(w->threads);
	*w = (struct watch){0};
}

static uint64_t watch_turns(const struct shared *s, unsigned i)
{
	return i < s->config.n_metering ? atomic_load_explicit(&s->metering[i].turns, memory_order_relaxed)
					: atomic_load_explicit(&s->exporting->turns, memory_order_relaxed);
}

static bool watch_is_done(const struct shared *s, unsigned i)
{
	return i < s->config.n_metering ? atomic_load(&s->metering[i].done)
					: atomic_load(&s->exporting->ended);
}

static void watch_tell(struct watch_thread *t, const char *what, unsigned i, uint64_t still_ns)
{
	if (still_ns >= tell_ns && !t->told) {
		log_error("%s thread %u has not come round for %u s", what, i,
			  (unsigned)(still_ns / NS_PER_SEC));
		t->told = true;
	} else if (still_ns == 0 && t->told) {
		log_info("%s thread %u goes on", what, i);
		t->told = false;
	}
}

uint64_t watch_look(struct watch *w, const struct shared *s, bool exporting, uint64_t now_ns)
{
	uint64_t stillest_ns = 0;

	for (unsigned i = 0; i < w->n_metering + exporting; i++) {
		struct watch_thread *t = &w->threads[i];
		uint64_t turns = watch_turns(s, i), still_ns;

		if (turns != t->turns || watch_is_done(s, i)) {
			t->turns = turns;
			t->moved_ns = now_ns;
			t->cpu_ms = -1;
		}
		still_ns = now_ns - t->moved_ns;
		watch_tell(t, i < w->n_metering ? "metering" : "exporting", i < w->n_metering ? i : 0,
			   still_ns);
		if (still_ns > stillest_ns)
			stillest_ns = still_ns;
	}
	return stillest_ns;
}

static int watch_tid(const struct shared *s, unsigned i)
{
	return i < s->config.n_metering ? atomic_load(&s->metering[i].thread)
					: atomic_load(&s->exporting->thread);
}

/* Of one that stands still: has it got so much processor time meanwhile that it should have come round? */
static bool watch_had_time(struct watch_thread *t, int64_t cpu_ms)
{
	if (t->cpu_ms < 0)
		t->cpu_ms = cpu_ms;
	return cpu_ms - t->cpu_ms >= HANG_MS;
}

bool watch_hangs(struct watch *w, const struct shared *s, unsigned i, int process)
{
	struct watch_thread *t = &w->threads[i];
	struct task_seen seen;

	if (clock_monotonic_ns() - t->moved_ns < look_ns || watch_is_done(s, i) ||
	    watch_turns(s, i) != t->turns)
		return false;
	return task_look(&seen, process, watch_tid(s, i)) && watch_had_time(t, seen.cpu_ms);
}

bool watch_starves(struct watch *w, const struct shared *s, unsigned i, int process)
{
	struct task_seen seen;

	return task_look(&seen, process, watch_tid(s, i)) && (seen.state == 'R' || seen.state == 'D') &&
	       !watch_had_time(&w->threads[i], seen.cpu_ms);
}

bool watch_is_uneasy(const struct watch *w, uint64_t now_ns)
{
	for (unsigned i = 0; i <= w->n_metering; i++)
		if (now_ns - w->threads[i].moved_ns >= look_ns)
			return true;
	return false;
}

uint64_t watch_metering(const struct watch *w, unsigned i, uint64_t now_ns)
{
	return now_ns - w->threads[i].moved_ns;
}
