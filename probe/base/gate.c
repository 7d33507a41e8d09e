/* gate: see include/pitot/gate.h.  Not FUTEX_PRIVATE_FLAG: who sleeps and who wakes may be two processes. */
#include "pitot/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pitot/clock.h"

void gate_sleep(struct gate *g, uint64_t timeout_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(timeout_ns / NS_PER_SEC),
			      .tv_nsec = (long)(timeout_ns % NS_PER_SEC)};
	uint32_t armed = atomic_load(&g->waiting);

	if (armed != GATE_AWAKE)
		syscall(SYS_futex, &g->waiting, FUTEX_WAIT, armed, &ts, NULL, 0);
	gate_disarm(g);
}

void gate_wake_sleeper(struct gate *g)
{
	if (atomic_exchange(&g->waiting, GATE_AWAKE) != GATE_AWAKE)
		syscall(SYS_futex, &g->waiting, FUTEX_WAKE, 1, NULL, NULL, 0);
}
