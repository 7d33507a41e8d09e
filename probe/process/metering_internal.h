/* metering_internal: what metering.c (the loop) and mailbox.c (what other threads ask of it) share. */
#ifndef METERING_INTERNAL_H
#define METERING_INTERNAL_H

#include "metering.h"

#include <pthread.h>

struct metering {
	struct metering_config config;
	struct capture **captures;
	struct decoder **decoders; /* by capture: link types may differ */
	unsigned n_captures;
	struct outlet *outlet;
	struct flow_table *table;
	struct fragment_table *fragments;
	struct metering_stats stats; /* flows: only the fragment counters; the rest is the table's */
	struct own_flows own;

	/* the metering clock (pitot(8), AGEING) */
	uint64_t now_ns;
	uint64_t elapsed_ns;
	uint64_t expired_ns; /* elapsed_ns at the last look for silent keys */
	uint64_t window_min_ns;
	unsigned window_packets;

	pthread_t thread;
	bool started;
	_Atomic bool stop;
	_Atomic bool done;
	const struct sandbox *sandbox;
	_Atomic uint64_t turns;
	bool may_wait; /* for room in the outlet: savefiles, and the flush at the end */
	int result;
	struct diag why;

	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t copied;
	_Atomic uint32_t stats_wanted;
	uint32_t stats_done;
	struct metering_stats stats_copy;
	_Atomic bool own_changed;
	struct own_flows own_next;
	_Atomic bool timeouts_changed;
	struct metering_timeouts timeouts_next;
	_Atomic uint64_t offered; /* a bit for each of these that was not adopted yet */
	struct capture_descriptor *offers;
	struct metering_gaps *gaps; /* by capture; its thread alone writes */

	struct frame_batch batch;
	struct packet packets[BATCH_MAX];
};

/* Its thread, between two batches: what other threads asked for. */
void metering_answer(struct metering *w);
/* Its thread: the counters as they are. */
void metering_assemble_stats(struct metering *w, struct metering_stats *out);
/* Its thread: capture i began to wait for its interface, or goes on. */
void metering_note_gap(struct metering *w, unsigned i, bool down);

#endif
