/*
 * watch: whether every thread comes round, each by itself.
 *
 * Metering threads do whatever they wait for; the exporting thread does while it measures interfaces, for
 * then it waits for nobody.  Where there is nothing to do they still come round five times a second.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>

#include "shared.h"

/* A thread that stands still for so long hangs, as far as stopping and the service manager are concerned. */
#define WATCH_HUNG_NS (2 * NS_PER_SEC)

struct watch {
	struct watch_thread {
		uint64_t turns;
		uint64_t moved_ns; /* when they were others */
		int64_t cpu_ms; /* its processor time when it was first seen to stand still; -1: it moves */
		bool told;
	} * threads; /* of metering, then the exporting one */
	unsigned n_metering;
};

int watch_init(struct watch *w, unsigned n_metering, uint64_t now_ns);
void watch_deinit(struct watch *w);

/* Looks at all; one that stands still is logged.  exporting: that one, too.  How long the stillest has not
 * moved. */
uint64_t watch_look(struct watch *w, const struct shared *s, bool exporting, uint64_t now_ns);
/*
 * Does thread i (that after those of metering is the exporting one) of this process hang?  It stands still
 * although it gets processor time.  One that gets none is not to blame, nor is one that sleeps, for it waits
 * for somebody.
 */
bool watch_hangs(struct watch *w, const struct shared *s, unsigned i, int process);
/* Or is it the machine that has no time for it: it wants to run, and has not been let?  (Or it waits for a
 * disk.) */
bool watch_starves(struct watch *w, const struct shared *s, unsigned i, int process);
/* Does one stand still for longer than it sleeps, so that it is worth a closer look soon? */
bool watch_is_uneasy(const struct watch *w, uint64_t now_ns);
/* After a process was started again. */
void watch_begin(struct watch *w, unsigned i, uint64_t now_ns);
/* How long metering thread i has not, when it was last looked at. */
uint64_t watch_metering(const struct watch *w, unsigned i, uint64_t now_ns);

#endif
