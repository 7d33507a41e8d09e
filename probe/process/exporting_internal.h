/*
 * exporting, inside: the loop (exporting.c), commands (exporting_commands.c), and handing over
 * (exporting_hand_over.c).
 */
#ifndef EXPORTING_INTERNAL_H
#define EXPORTING_INTERNAL_H

#include "exporting.h"
#include "mailbox.h"
#include "pace.h"

struct exporting {
	struct exporter *exporter;
	struct exporting_config config;
	struct shared_exporting *shared;
	struct mailbox mailbox;
	struct ring_reader *rings; /* of each metering thread */
	struct totals lost_before; /* when this process began */
	uint64_t *taken;	   /* of each in this turn; the ring has them until they are counted */
	unsigned n_samples; /* rings of packet samples: as many, and that of the reader of savefiles; 0 */
	struct ring_reader *samples;
	unsigned n_rings;
	bool finish; /* nothing comes any more */
	/* another process may take over: what waits is pushed out, at this instant at the latest; then
	 * nothing is sent */
	uint64_t settle_by_ns;
	bool frozen;
	struct command_handed passed;
	uint32_t rate;
	uint64_t facts_ns;     /* when the metering processes' numbers are looked at next */
	uint32_t polite;       /* the word that is followed */
	bool defers;	       /* records wait in the rings, unless these */
	bool catches_up;       /* are too full, or the records too old */
	uint64_t caught_up_ns; /* when it began to, or to wait */
	struct pace pace;
	unsigned turn;	  /* the ring that is first */
	uint64_t busy_ns; /* when there was something in the rings last */
	uint64_t start_ns;
	struct exporting_stats stats;
	struct exporting_locals locals;
	int last_state[EXPORTING_COLLECTORS_MAX];
	uint64_t last_errors[EXPORTING_COLLECTORS_MAX];
	uint64_t told_ns[EXPORTING_COLLECTORS_MAX]; /* of the last line about errors; 0 none */
	char told[EXPORTING_COLLECTORS_MAX][64];    /* what it said, as far as that tells it from others */
	unsigned notices[EXPORTING_COLLECTORS_MAX];
};

#endif
