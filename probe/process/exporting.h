/*
 * exporting: the exporting process's thread.  It drains a ring of flow records from each metering process,
 * hands them to the exporter and drives its timers.
 *
 * A metering process writes through its outlet and never waits for a collector: live a full ring is a counted
 * loss, offline it waits for room.
 */
#ifndef EXPORTING_H
#define EXPORTING_H

#include <pthread.h>
#include <stdbool.h>

#include "pitot/exporter.h"
#include "pitot/gate.h"
#include "pitot/ring.h"

struct outlet {
	struct ring ring;
	struct gate room;      /* the metering process sleeps here when it may wait */
	struct gate *consumer; /* the exporting process sleeps there */
	uint64_t wake_at;      /* records that are worth waking it for */
};

struct exporting;

int exporting_new(struct exporting **ep, struct exporter *exporter, unsigned n_outlets, size_t ring_records,
		  struct diag *diag);
struct outlet *exporting_outlet(struct exporting *e, unsigned i);
int exporting_start(struct exporting *e, struct diag *diag);
/*
 * All outlets are done: drains them, finishes the exporter, ends the thread.  Collectors may take their time
 * for that: who must not wait begins it, and is told by done_fd (an eventfd) when it has ended.
 */
void exporting_begin_finish(struct exporting *e, int done_fd);
bool exporting_has_ended(struct exporting *e);
void exporting_finish(struct exporting *e);
void exporting_free(struct exporting *e);

/* SIGHUP: templates again, names resolved again; NULL: with the periods as they are. */
void exporting_refresh(struct exporting *e, const struct exporter_periods *periods);

/* A copy of the statistics, not older than this call. */
#define EXPORTING_COLLECTORS_MAX 64
struct exporting_stats {
	struct exporter_stats exporter;
	unsigned n_collectors;
	struct collector_stats collectors[EXPORTING_COLLECTORS_MAX];
};
void exporting_get_stats(struct exporting *e, struct exporting_stats *stats);

/*
 * Most records a second, bursts aside; 0: no limit.  What is over it waits in the queues.  live: what they
 * have no room for is dropped, and counted, and records may change their order; else the metering processes
 * wait.  Any thread, any time.
 */
void exporting_set_rate(struct exporting *e, uint32_t records, bool live);
/* From this monotonic time on nothing waits for the rate any more: what is over it is dropped. */
void exporting_stop_by(struct exporting *e, uint64_t deadline_ns);

/* What the metering processes have counted by now; it is in the next statistics that collectors get. */
void exporting_set_facts(struct exporting *e, const struct export_process_facts *facts);

/* The ends of the connections to collectors (family 0: none), as they are now; their number. */
unsigned exporting_get_locals(struct exporting *e, struct transport_local locals[EXPORTING_COLLECTORS_MAX]);

#endif
