/* watch: see watch.h. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/log.h"

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

/* What a line of /proc/PID/task/TID/stat says of processor time, in ticks; -1: nothing. */
static int64_t watch_ticks(const char *line)
{
	const char *at = strrchr(line, ')'); /* its name may hold anything; then the state and ten numbers */
	unsigned long long user;
	char *end;

	for (unsigned fields = 0; at && fields < 12; fields++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -1;
	user = strtoull(at, &end, 10);
	return (int64_t)(user + strtoull(end, NULL, 10));
}

struct watch_seen {
	int64_t cpu_ms;
	char state; /* R: it wants a processor */
};

/* False: nothing is to be seen of it. */
static bool watch_see(struct watch_seen *seen, int process, int thread)
{
	char path[64], text[512];
	const char *at;
	int64_t ticks;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", process, thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	ticks = watch_ticks(text);
	if (ticks < 0)
		return false;
	at = strrchr(text, ')'); /* watch_ticks() has found it, and numbers behind it */
	*seen = (struct watch_seen){.cpu_ms = ticks * 1000 / sysconf(_SC_CLK_TCK), .state = at[2]};
	return true;
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
	struct watch_seen seen;

	if (clock_monotonic_ns() - t->moved_ns < look_ns || watch_is_done(s, i) ||
	    watch_turns(s, i) != t->turns)
		return false;
	return watch_see(&seen, process, watch_tid(s, i)) && watch_had_time(t, seen.cpu_ms);
}

bool watch_starves(struct watch *w, const struct shared *s, unsigned i, int process)
{
	struct watch_seen seen;

	return watch_see(&seen, process, watch_tid(s, i)) && (seen.state == 'R' || seen.state == 'D') &&
	       !watch_had_time(&w->threads[i], seen.cpu_ms);
}

uint64_t watch_metering(const struct watch *w, unsigned i, uint64_t now_ns)
{
	return now_ns - w->threads[i].moved_ns;
}
