/* metering_internal: what metering.c (the loop) and metering_commands.c (what control asks of it) share. */
#ifndef METERING_INTERNAL_H
#define METERING_INTERNAL_H

#include "metering.h"

#include <pthread.h>

#include "mailbox.h"
#include "shared.h"

/* A place for an interface. */
struct metering_place {
	struct capture *capture;     /* NULL: the interface is waited for */
	struct decoder *decoder;     /* link types may differ */
	struct capture_stats before; /* of captures that had this place earlier */
	bool refused;		     /* a socket for it could not be used, which was said */
	struct shared_place *shared;
};

struct metering {
	struct metering_config config;
	struct metering_place *places;
	unsigned n_places;
	struct ring_writer records;
	struct gate *consumer; /* the exporting process sleeps there */
	uint64_t wake_at;      /* records that are worth waking it for */
	struct shared_metering *shared;
	struct mailbox mailbox;
	struct selection selection;
	struct ring_writer samples;
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
	bool stop;
	struct shared_speaker speaker;
	bool starved;	   /* files: there was nothing to read */
	bool walked;	   /* somebody looks through the table, and goes on */
	bool paused;	   /* stop-gather: what comes is counted and nothing else */
	bool dropping;	   /* records that end are dropped, and counted as that */
	bool drop_at_stop; /* those that are left at the end, too */
	bool may_wait;	   /* for room in the ring: savefiles, and the flush at the end */
	int result;
	struct diag why;

	struct metering_stats base; /* of those before it */

	uint64_t totals_ns; /* when the captures' totals were last asked for */

	struct frame_batch batch;
	struct packet *packets; /* BATCH_MAX of packet_size octets each */
	size_t packet_size;
};

/* Publishes the counters as they are; the captures' own only when they are old, for that is a system call. */
void metering_publish_numbers(struct metering *w, bool now);
/* What the captures of a place have counted so far, earlier ones too. */
struct capture_stats metering_place_totals(const struct metering_place *p);

#endif
