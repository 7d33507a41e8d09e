/*
 * metering: one metering process (RFC 5470 §5.1) on a thread of its own.  It shares nothing: it owns its
 * captures, its flow table and its counters, writes ended records to its ring and publishes its counters in
 * the shared region.  What is asked of it comes by its mailbox (commands.def).
 */
#ifndef METERING_H
#define METERING_H

#include <stdbool.h>
#include <stdint.h>

#include "account.h"
#include "dealing.h"
#include "savefiles.h"
#include "selection.h"
#include "shared.h"
#include "pitot/capture.h"
#include "pitot/decode.h"
#include "pitot/diag.h"
#include "pitot/flow_table.h"
#include "pitot/sandbox.h"
#include "pitot/stats.h"

struct metering_config {
	unsigned number;
	const struct shared *shared; /* its part is that of this number */
	uint64_t first_id;	     /* records count from here, below 2^56 */
	bool live;
	const struct capture_plan *const *plans; /* live: of interfaces, all at once, each in its place */
	unsigned n_places;
	struct savefiles *files; /* else: savefiles */
	struct dealing *dealing; /* of several threads, which has a lane of this number; NULL: one has all */
	struct decode_config decode;
	struct flow_table_config table; /* on_record, ctx and first_id are the worker's */
	bool track_fragments;		/* a dealing tracks its own */
	uint32_t max_fragments;
	uint64_t fragment_timeout_ns;
	struct selection_config selection;
	bool polite;		/* it follows shared_control.polite; live */
	int cpu;		/* to bind the thread to; -1: none */
	bool speaks;		/* to control, which writes the log */
	bool paused;		/* stop-gather is in force */
	bool follows;		/* on another one, whose published numbers it goes on with */
	const _Atomic bool *go; /* its thread waits for this; NULL: for nothing */
};

struct metering;

int metering_new(struct metering **wp, const struct metering_config *config, struct diag *diag);
void metering_free(struct metering *w);

/*
 * Interfaces come and go: a place has a capture or none.  The capture of an interface that is gone
 * (CAPTURE_E_GONE) leaves its place, with everything metered that it had; another one comes by COMMAND_ADOPT.
 */
/* Before metering_start().  The capture is the thread's from here on, whatever happens. */
int metering_set_capture(struct metering *w, unsigned place, struct capture *c, struct diag *diag);
const struct capture *metering_capture(const struct metering *w, unsigned place); /* before the start, too */

/*
 * Before metering_start(), with its captures there: flows and fragments that the thread of this number had in
 * another process.  0, or negative errno and a sentence.  missing: as flow_table_take_over() has it.
 */
int metering_take_over(struct metering *w, const struct sections_reader *from,
		       const struct flow_points *points, const char **missing, struct diag *diag);

/* Does it capture by libpcap?  Its list of system calls is another one. */
bool metering_uses_libpcap(const struct metering *w);

int metering_start(struct metering *w, struct diag *diag);
/* Waits for its end, which COMMAND_STOP brings about, or the end of the files.
 * 0, or why it ended: negative errno and the sentence. */
int metering_join(struct metering *w, struct diag *diag);

#endif
