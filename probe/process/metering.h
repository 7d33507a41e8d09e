/*
 * metering: one metering process (RFC 5470 §5.1) on a thread of its own.  It shares nothing: it owns its
 * captures, its flow table and its counters, and writes ended records to its outlet.
 */
#ifndef METERING_H
#define METERING_H

#include <stdbool.h>
#include <stdint.h>

#include "exporting.h"
#include "file_reader.h"
#include "account.h"
#include "pitot/capture.h"
#include "pitot/decode.h"
#include "pitot/diag.h"
#include "pitot/flow_table.h"
#include "pitot/sandbox.h"
#include "pitot/stats.h"

struct metering_config {
	unsigned number;
	uint64_t first_id; /* records count from here, below 2^56 */
	bool live;
	const struct capture_config *captures; /* live: interfaces, all at once */
	unsigned n_captures;
	struct file_reader *feed; /* else: savefiles; the worker is its reader of this number */
	struct decode_config decode;
	struct flow_table_config table; /* on_record, ctx and first_id are the worker's */
	bool track_fragments;		/* live; a feed tracks its own */
	uint32_t max_fragments;
	uint64_t fragment_timeout_ns;
	int cpu;     /* to bind the thread to; -1: none */
	int done_fd; /* an eventfd that is written to when the thread ends */
};

struct metering;

/* Opens the captures.  All of them must open. */
int metering_new(struct metering **wp, const struct metering_config *config, struct diag *diag);
void metering_free(struct metering *w);

unsigned metering_captures(const struct metering *w);
const struct capture *metering_capture(const struct metering *w, unsigned i);

/* Takes a copy; may be called again while the worker runs. */
void metering_set_own_flows(struct metering *w, const struct own_flows *own);

/* The same: time-outs of flows, from now on. */
struct metering_timeouts {
	uint64_t active_ns, inactive_ns, tcp_end_ns;
};
void metering_set_timeouts(struct metering *w, const struct metering_timeouts *timeouts);

/* What its thread enters when it starts; NULL: nothing. */
void metering_set_sandbox(struct metering *w, const struct sandbox *sandbox);

/* When a capture waited for its interface. */
struct metering_gaps {
	bool down;	/* it does now, since since_ns (monotonic) */
	uint64_t begun; /* how often */
	uint64_t since_ns;
	uint64_t last_ns;  /* how long the last one was that ended */
	uint64_t total_ns; /* and all of these */
};
void metering_get_gaps(struct metering *w, unsigned i, struct metering_gaps *gaps);
/* A socket of the interface that came in the place of capture i's; it is the worker's from here on. */
void metering_offer(struct metering *w, unsigned i, const struct capture_descriptor *socket);

/* Grows while its loop turns. */
uint64_t metering_turns(const struct metering *w);

/* Where ended records go; before metering_start(). */
void metering_set_outlet(struct metering *w, struct outlet *outlet);

int metering_start(struct metering *w, struct diag *diag);
/* Asks it to flush and end.  Safe from any thread, any number of times. */
void metering_stop(struct metering *w);
bool metering_done(const struct metering *w);
/* 0, or why it ended: negative errno and the sentence. */
int metering_join(struct metering *w, struct diag *diag);

/* Counters that agree with each other, from the end of a batch. */
void metering_get_stats(struct metering *w, struct metering_stats *stats);
/* The same without waiting: what it told when it was last asked, here or above, and asks again. */
void metering_peek_stats(struct metering *w, struct metering_stats *stats);

#endif
