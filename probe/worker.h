/*
 * worker: one metering process (RFC 5470 §5.1) on a thread of its own.  It shares nothing: it owns its
 * captures, its flow table and its counters, and writes ended records to its outlet.
 */
#ifndef WORKER_H
#define WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "exporting.h"
#include "feed.h"
#include "meter.h"
#include "pitot/capture.h"
#include "pitot/decode.h"
#include "pitot/diag.h"
#include "pitot/flow_table.h"
#include "pitot/sandbox.h"
#include "pitot/stats.h"

struct worker_config {
	unsigned number;
	uint64_t first_id; /* records count from here, below 2^56 */
	bool live;
	const struct capture_config *captures; /* live: interfaces, all at once */
	unsigned n_captures;
	struct feed *feed; /* else: savefiles; the worker is its reader of this number */
	struct decode_config decode;
	struct flow_table_config table; /* on_record, ctx and first_id are the worker's */
	bool track_fragments;		/* live; a feed tracks its own */
	uint32_t max_fragments;
	uint64_t fragment_timeout_ns;
	int cpu;     /* to bind the thread to; -1: none */
	int done_fd; /* an eventfd that is written to when the thread ends */
};

struct worker;

/* Opens the captures.  All of them must open. */
int worker_new(struct worker **wp, const struct worker_config *config, struct diag *diag);
void worker_free(struct worker *w);

unsigned worker_captures(const struct worker *w);
const struct capture *worker_capture(const struct worker *w, unsigned i);

/* Takes a copy; may be called again while the worker runs. */
void worker_set_own_flows(struct worker *w, const struct own_flows *own);

/* The same: time-outs of flows, from now on. */
struct worker_timeouts {
	uint64_t active_ns, inactive_ns, tcp_end_ns;
};
void worker_set_timeouts(struct worker *w, const struct worker_timeouts *timeouts);

/* What its thread enters when it starts; NULL: nothing. */
void worker_set_sandbox(struct worker *w, const struct sandbox *sandbox);

/* When a capture waited for its interface. */
struct worker_gaps {
	bool down;	/* it does now, since since_ns (monotonic) */
	uint64_t begun; /* how often */
	uint64_t since_ns;
	uint64_t last_ns;  /* how long the last one was that ended */
	uint64_t total_ns; /* and all of these */
};
void worker_get_gaps(struct worker *w, unsigned i, struct worker_gaps *gaps);
/* A socket of the interface that came in the place of capture i's; it is the worker's from here on. */
void worker_offer(struct worker *w, unsigned i, const struct capture_descriptor *socket);

/* Grows while its loop turns. */
uint64_t worker_turns(const struct worker *w);

/* Where ended records go; before worker_start(). */
void worker_set_outlet(struct worker *w, struct outlet *outlet);

int worker_start(struct worker *w, struct diag *diag);
/* Asks it to flush and end.  Safe from any thread, any number of times. */
void worker_stop(struct worker *w);
bool worker_done(const struct worker *w);
/* 0, or why it ended: negative errno and the sentence. */
int worker_join(struct worker *w, struct diag *diag);

/* Counters that agree with each other, from the end of a batch. */
void worker_get_stats(struct worker *w, struct worker_stats *stats);
/* The same without waiting: what it told when it was last asked, here or above, and asks again. */
void worker_peek_stats(struct worker *w, struct worker_stats *stats);

#endif
