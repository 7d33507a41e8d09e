/* metering_internal: what metering.c (the loop) and metering_commands.c (what control asks of it) share. */
#ifndef METERING_INTERNAL_H
#define METERING_INTERNAL_H

#include "metering.h"

#include <pthread.h>

#include "mailbox.h"
#include "shared.h"
#include "source.h"

struct metering {
	struct metering_config config;
	struct source *source;
	struct ring_writer records;
	struct gate *consumer; /* the exporting process sleeps there */
	uint64_t wake_at;      /* records that are worth waking it for */
	struct shared_metering *shared;
	struct mailbox mailbox;
	struct selection selection;
	struct ring_writer samples;
	struct flow_table *table;
	struct metering_stats stats; /* flows: only the fragment counters; the rest is the table's */
	struct own_flows own;

	unsigned unpublished; /* batches since numbers and records were published */
	uint64_t expired_ns;  /* elapsed_ns of the source at the last look for silent keys */

	pthread_t thread;
	bool started;
	struct shared_speaker speaker;
	bool stop;
	bool starved;	   /* files: there was nothing to read */
	bool walked;	   /* somebody looks through the table, and goes on */
	bool paused;	   /* stop-gather: what comes is counted and nothing else */
	bool dropping;	   /* records that end are dropped, and counted as that */
	bool drop_at_stop; /* those that are left at the end, too */
	bool frozen;	   /* another process may take over: nothing is read */
	bool let_go;	   /* it did: nothing here is ours any more */
	struct command_handed handed;
	int result;
	struct diag why;

	struct metering_stats base; /* of those before it */
	struct flow_record *count;  /* polite mode: of what was only counted, record_size octets; else NULL */

	uint64_t totals_ns; /* when the captures' totals were last asked for */
	size_t packet_size;
};

/* Polite mode: packets that nobody looked at, and that are in a record all the same. */
void metering_take_counts(struct metering *w, bool all);
/* Publishes the counters as they are; the captures' own only when they are old, for that is a system call. */
void metering_publish_numbers(struct metering *w, bool now);

#endif
