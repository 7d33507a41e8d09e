/*
 * recovery: interfaces that go away and come again while the program runs.
 *
 * One that is taken down and up again needs nothing: its capture goes on.  One that was deleted and made anew
 * is opened again by the opener, by the name that the user gave; the metering process gets the new socket and
 * keeps its flows.
 */
#ifndef RECOVERY_H
#define RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"
#include "pitot/netif.h"
#include "pitot/opener.h"
#include "worker.h"

/* A worker's capture: the interface that it has, or was last given. */
struct recovery_capture {
	char name[64];
	uint32_t index;
	bool down;
	bool refused;	/* said */
	bool fixed;	/* it cannot adopt a socket */
	uint64_t begun; /* gaps that were told */
};

struct recovery {
	struct opener *opener; /* NULL: nothing can be opened again */
	struct netif_watch *watch;
	struct worker **workers;
	unsigned n_workers, n_captures;
	struct recovery_capture *captures; /* n_captures of each worker */
	uint64_t next_ns;
};

/* The workers are open and not started. */
int recovery_init(struct recovery *r, struct worker **workers, unsigned n_workers, struct opener *opener,
		  struct diag *diag);
void recovery_deinit(struct recovery *r);

int recovery_fd(const struct recovery *r); /* readable when links change; -1 none */
void recovery_step(struct recovery *r, uint64_t now_ns);
/* Interfaces that were not measured for a while, and how long in sum, up to now. */
void recovery_get_gaps(const struct recovery *r, uint64_t now_ns, uint64_t *gaps, uint64_t *gap_ns);

/* Runs in the opener: ctx is the array of struct capture_config. */
int recovery_open_capture(void *ctx, unsigned index, struct opener_answer *answer, struct diag *diag);

#endif
