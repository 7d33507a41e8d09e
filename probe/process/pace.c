/* pace: see pace.h. */
#include "pace.h"

#include "pitot/clock.h"

static const uint64_t burst_ns = NS_PER_SEC / 10;

uint64_t pace_tokens(struct pace *p, uint32_t rate, uint64_t now_ns)
{
	uint64_t most = burst_ns * rate > 2 * NS_PER_SEC ? burst_ns * rate : 2 * NS_PER_SEC;
	uint64_t passed_ns = p->seen_ns ? now_ns - p->seen_ns : NS_PER_SEC;

	p->seen_ns = now_ns;
	if (passed_ns > NS_PER_SEC) /* enough for any bucket */
		passed_ns = NS_PER_SEC;
	p->credit += passed_ns * rate;
	if (p->credit > most)
		p->credit = most;
	return p->credit / NS_PER_SEC;
}

void pace_take(struct pace *p, uint64_t n)
{
	p->credit -= n * NS_PER_SEC;
}

uint64_t pace_wait_ns(const struct pace *p, uint32_t rate)
{
	return p->credit >= NS_PER_SEC ? 0 : (NS_PER_SEC - p->credit) / rate + 1;
}
