/* overload: see overload.h. */
#include "overload.h"

#include "pitot/clock.h"

static const uint64_t quiet_ns = 60 * NS_PER_SEC;

uint64_t overload_look(struct overload *o, uint64_t dropped, uint64_t now_ns)
{
	uint64_t news;

	if (dropped <= o->told || (o->next_ns && now_ns < o->next_ns))
		return 0;
	news = dropped - o->told;
	o->told = dropped;
	o->next_ns = now_ns + quiet_ns;
	return news;
}
