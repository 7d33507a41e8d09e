/* announce: see announce.h. */
#include "announce.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/log.h"

#define N(group, name) l->values[LEDGER_##group##_##name]

enum { LIST_MOST = 360 }; /* of a line; more are counted */

bool announce_is_wanted(const struct config *c)
{
	if (c->daemon || c->log >= CONFIG_LOG_SYSLOG || getenv("NOTIFY_SOCKET"))
		return true;
	return !c->quiet && (c->n_interfaces > 0 || c->debug);
}

/* "a, b and 5 more" */
static void announce_add(char *list, const char *name, unsigned i, unsigned n)
{
	size_t used = strlen(list);

	if (used && list[used - 1] == ')')
		return;
	if (used + strlen(name) + 24 < LIST_MOST)
		snprintf(list + used, LIST_MOST - used, "%s%s", i ? ", " : "", name);
	else
		snprintf(list + used, LIST_MOST - used, " (and %u more)", n - i);
}

void announce_start(const struct config *c)
{
	char from[LIST_MOST] = "", to[LIST_MOST] = "";

	for (unsigned i = 0; i < c->n_interfaces; i++)
		announce_add(from, c->interfaces[i].name, i, c->n_interfaces);
	for (unsigned i = 0; i < c->n_files; i++)
		announce_add(from, c->files[i], i, c->n_files);
	for (unsigned i = 0; i < c->n_collectors; i++)
		announce_add(to, c->collectors[i].url, i, c->n_collectors);
	log_info("pitot %s measures %s%s%s%s; records go to %s", PITOT_VERSION, from,
		 c->filter ? ", only \"" : "", c->filter ? c->filter : "", c->filter ? "\"" : "",
		 c->n_collectors ? to : "nobody");
}

void announce_stop(const struct ledger *l)
{
	log_info("ended after %" PRIu64 ".%" PRIu64 " s: %" PRIu64 " packets received, %" PRIu64
		 " metered, %" PRIu64 " dropped by the kernel; %" PRIu64 " flows exported, %" PRIu64
		 " not sent",
		 l->duration_ns / NS_PER_SEC, l->duration_ns / (NS_PER_SEC / 10) % 10, N(packets, received),
		 N(packets, metered), N(packets, dropped_by_kernel), N(flows, exported), N(flows, not_sent));
}
