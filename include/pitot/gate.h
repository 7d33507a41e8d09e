/*
 * gate: one thread sleeps at it, another wakes it, of the same process or of another one that shares the
 * memory; waking nobody costs one load.
 *
 *     gate_arm(g);  if (there is work) gate_disarm(g);  else gate_sleep(g, timeout_ns);
 *
 * A wake that races with the arming may be missed: sleeps are short and bounded, never forever.
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

struct gate {
	_Alignas(64) _Atomic uint32_t waiting;
};

static inline void gate_arm(struct gate *g)
{
	atomic_store(&g->waiting, 1);
}
static inline void gate_disarm(struct gate *g)
{
	atomic_store_explicit(&g->waiting, 0, memory_order_relaxed);
}
void gate_sleep(struct gate *g, uint64_t timeout_ns);
void gate_wake_sleeper(struct gate *g);

static inline void gate_wake(struct gate *g)
{
	if (atomic_load_explicit(&g->waiting, memory_order_relaxed))
		gate_wake_sleeper(g);
}

#endif
