/*
 * shared: the memory that the processes share: rings of records, what each has counted, and its mailbox.
 *
 * It is made once, before they are forked, of one size that nobody can change, and all have it at the same
 * address.  Nothing in it is an address: what a process that was taken over writes there can make others read
 * wrong numbers, and nothing else.  Each part says who writes it; numbers outlive their writer.
 */
#ifndef SHARED_H
#define SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "child.h"
#include "mailbox.h"
#include "pitot/diag.h"
#include "pitot/exporter.h"
#include "pitot/gate.h"
#include "pitot/log.h"
#include "pitot/published.h"
#include "pitot/ring.h"
#include "pitot/stats.h"

#define EXPORTING_COLLECTORS_MAX 64

struct exporting_stats {
	struct exporter_stats exporter;
	uint64_t n_collectors;
	struct collector_stats collectors[EXPORTING_COLLECTORS_MAX];
};

/* The ends of the connections to collectors; family 0: none. */
struct exporting_locals {
	uint64_t n;
	_Alignas(8) struct transport_local to[EXPORTING_COLLECTORS_MAX];
};

/* The interfaces that collectors are told of: names.h. */
#define EXPORTING_INTERFACES_MAX 1024
struct exporting_interfaces {
	uint64_t n;
	_Alignas(8) struct export_interface list[EXPORTING_INTERFACES_MAX];
};

/* What a process that may not write has to say to people. */
enum { SHARED_LINES = 16, SHARED_LINE = 1000 };
struct shared_lines {
	struct ring ring;
	_Atomic uint64_t lost;
	struct shared_line {
		uint64_t level;
		char text[SHARED_LINE];
	} slots[SHARED_LINES];
};

/* Of one metering thread, which writes all but the ring's tail. */
struct shared_metering {
	struct ring records;
	struct gate room;		     /* it sleeps here when it may wait for room */
	_Alignas(64) _Atomic uint64_t turns; /* grows while its loop turns */
	_Atomic int32_t thread;		     /* as the system calls it */
	_Atomic bool done;
	_Atomic uint32_t fill_percent;	/* of its capture buffers the fullest; polite mode only */
	_Atomic uint32_t table_percent; /* likewise: of its flow table */
	_Alignas(64) _Atomic uint64_t
		taking;		/* the exporting process is at work on its records up to this one */
	_Atomic int32_t result; /* why it is done: 0, or negative errno and a sentence */
	struct diag why;
	struct shared_lines lines;
	struct shared_mailbox mailbox;
	PUBLISHED(struct metering_stats) numbers; /* once a batch, before its records can be seen */
	struct ring samples;			  /* of struct packet_sample */
};

/* A metering thread's place for an interface, which that thread writes. */
struct shared_place {
	_Atomic bool taken;	   /* it has a capture */
	_Atomic uint32_t answered; /* sockets that it was given, whatever came of them */
};

/* Of control: what must be seen in the middle of a batch, and is no command for that. */
struct shared_control {
	struct child_report metering, exporting; /* these they write, when their set-up is done */
	_Atomic bool go;			 /* all are ready: packets are read from now on */
	_Atomic bool stop;			 /* pipes are no longer waited for */
	/* polite_word() of the rung that is in force: who meters and who exports follow it between two
	 * batches */
	_Alignas(64) _Atomic uint32_t polite;
};

/* What is counted of savefiles but not by one metering thread. */
struct shared_files {
	struct ring samples;
	struct gate room; /* whoever reads sleeps here when there is no room for samples */
	PUBLISHED(struct metering_stats) numbers;   /* by whoever reads */
	PUBLISHED(struct metering_stats) fragments; /* by whoever completes them for several threads */
};

/* Of the exporting process, which writes all but the end of its waits and the interfaces. */
struct shared_exporting {
	struct gate gate;		     /* it sleeps here */
	_Alignas(64) _Atomic uint64_t turns; /* grows while its loop turns */
	_Atomic int32_t thread;
	_Atomic bool ended;
	_Atomic uint64_t
		taken; /* --takeover: the sessions that it can go on in, by the other process's numbers */
	/* a savefile was not read to its end: what its files have is less than their names promise */
	_Atomic bool cut_short;
	/*
	 * Control writes it when the program is to end: nothing is waited for beyond that instant of
	 * clock_monotonic_ns(), and what is over the export rate then is dropped.  No command, for it must be
	 * seen in the middle of a batch.  UINT64_MAX: open.
	 */
	_Atomic uint64_t stop_by_ns;
	struct shared_lines lines;
	struct shared_mailbox mailbox;
	PUBLISHED(struct exporting_stats) numbers;	       /* once a turn */
	struct transport_mark marks[EXPORTING_COLLECTORS_MAX]; /* of files */
	PUBLISHED(struct exporting_locals) locals;
	PUBLISHED(struct exporting_interfaces) interfaces; /* by control: COMMAND_INTERFACES */
};

struct shared_config {
	unsigned n_metering;
	unsigned n_places; /* of each: interfaces */
	uint64_t ring_records;
	size_t record_size;
	uint64_t ring_samples; /* of each and of the reader of savefiles; 0: none are drawn */
};

/* Where the parts are, and the ends of the mailboxes: each process has its copy. */
struct shared {
	struct shared_config config;
	void *memory;
	size_t size;
	struct shared_exporting *exporting;
	struct shared_control *control;
	struct shared_files *files;
	struct shared_metering *metering; /* n_metering */
	struct shared_place *places;	  /* n_places of each */
	uint8_t *slots;			  /* ring_records of each */
	uint8_t *sample_slots;		  /* ring_samples of each, the reader of savefiles last */
	struct mailbox *to_metering;	  /* n_metering */
	struct mailbox to_exporting;
	int bell_fd; /* control polls it; of a process that may write; -1: none */
};

/* All zero, all rings empty. */
int shared_new(struct shared *s, const struct shared_config *config, struct diag *diag);
void shared_free(struct shared *s); /* all zero is fine */

void shared_write_records(const struct shared *s, unsigned i, struct ring_writer *w);
/* i is n_metering for the reader of savefiles. */
void shared_write_samples(const struct shared *s, unsigned i, struct ring_writer *w);
void shared_read_samples(const struct shared *s, unsigned i, struct ring_reader *r);
void shared_read_records(const struct shared *s, unsigned i, struct ring_reader *r);
/* Control is to look now, and not only when it does so anyway. */
void shared_ring_bell(const struct shared *s);
/* Control, awake. */
void shared_hush_bell(const struct shared *s);
struct shared_place *shared_place_of(const struct shared *s, unsigned i, unsigned place);

/* Lines: log_relay() of a process; ctx is its struct shared_speaker.  Control writes what was said to the
 * log. */
struct shared_speaker {
	struct ring_writer writer;
	struct shared_lines *lines;
	const struct shared *shared; /* whose bell is rung */
};
void shared_speak(struct shared_speaker *s, const struct shared *shared, struct shared_lines *lines);
void shared_say(void *ctx, enum log_level level, const char *text);
void shared_hear(const struct shared *s);

/* The sum of what the metering threads and the reader of savefiles have published. */
void shared_sum_metering(const struct shared *s, struct metering_stats *sum);

#endif
