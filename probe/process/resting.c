/* resting: see resting.h. */
#include "resting.h"

#include "reporting.h"
#include "stepping.h"

enum { UNREST_MS = 50, REST_MS = 250 };

/* Files that are read, an end, a process that is away: something is under way that is heard of by looking. */
static bool resting_is_disturbed(const struct control *r, uint64_t now_ns)
{
	return !r->live || r->stop_by_ns || r->finishing || r->heir.fd >= 0 || r->names_untold ||
	       r->of_metering.due_ns || r->of_exporting.due_ns ||
	       (r->metrics.listener >= 0 && r->metrics.child.pid <= 0) ||
	       !interfaces_are_measured(&r->interfaces) || watch_is_uneasy(&r->watch, now_ns);
}

int resting_wait_ms(const struct control *r, uint64_t now_ns)
{
	uint64_t due_ns = now_ns + REST_MS * NS_PER_MSEC, wait_ns;

	if (r->heard_of_child)
		return 0;
	if (resting_is_disturbed(r, now_ns))
		return stepping_wait_ms(r, now_ns, UNREST_MS);
	due_ns = clock_sooner_ns(due_ns, reporting_due_ns(r));
	due_ns = clock_sooner_ns(due_ns, service_due_ns(&r->service));
	due_ns = clock_sooner_ns(due_ns, poller_due_ns(&r->poller));
	wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
	return stepping_wait_ms(r, now_ns, (int)((wait_ns + NS_PER_MSEC - 1) / NS_PER_MSEC));
}
