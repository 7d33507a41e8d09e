/*
 * gate: one thread sleeps at it, another wakes it, of the same process or of another one that shares the
 * memory; waking nobody costs one load.
 *
 *     gate_arm(g);  if (there is work) gate_disarm(g);  else gate_sleep(g, timeout_ns);
 *
 * One that sleeps soundly is woken by gate_wake() alone: it comes round soon by itself, and wants to hear
 * only of what cannot wait for that.  One that sleeps lightly has nothing to do for long: gate_nudge() wakes
 * it, too.
 *
 * No wake is missed where the work is told by a sequentially consistent store, and looked for by such a load.
 * Sleeps are bounded all the same, for whoever wakes may have ended.
 */
#ifndef PITOT_GATE_H
#define PITOT_GATE_H

#include <stdatomic.h>
#include <stdint.h>

/* Between two looks of somebody who waits awake. */
#if defined(__x86_64__) || defined(__i386__)
#define GATE_PAUSE() __builtin_ia32_pause()
#else
#define GATE_PAUSE() ((void)0)
#endif

enum { GATE_AWAKE, GATE_SOUNDLY, GATE_LIGHTLY };

struct gate {
	_Alignas(64) _Atomic uint32_t waiting;
};

static inline void gate_arm(struct gate *g)
{
	atomic_store(&g->waiting, GATE_SOUNDLY);
}
static inline void gate_arm_lightly(struct gate *g)
{
	atomic_store(&g->waiting, GATE_LIGHTLY);
}
static inline void gate_disarm(struct gate *g)
{
	atomic_store_explicit(&g->waiting, GATE_AWAKE, memory_order_relaxed);
}
void gate_sleep(struct gate *g, uint64_t timeout_ns);
void gate_wake_sleeper(struct gate *g);

static inline void gate_wake(struct gate *g)
{
	if (atomic_load(&g->waiting) != GATE_AWAKE)
		gate_wake_sleeper(g);
}
static inline void gate_nudge(struct gate *g)
{
	if (atomic_load(&g->waiting) == GATE_LIGHTLY)
		gate_wake_sleeper(g);
}

#endif
