/*
 * interfaces: interfaces that go away and come again while the program runs.
 *
 * One that is taken down and up again needs nothing: its capture goes on.  One that was deleted and made anew
 * is opened again by the opener, by the name that the user gave; the metering process gets the new socket and
 * keeps its flows.
 */
#ifndef INTERFACES_H
#define INTERFACES_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"
#include "pitot/netif.h"
#include "pitot/opener.h"
#include "metering.h"
#include "names.h"

/* A worker's capture: the interface that it has, or was last given. */
struct interfaces_capture {
	char name[64];
	uint32_t index;
	bool down;
	bool refused;	/* said */
	bool fixed;	/* it cannot adopt a socket */
	uint64_t begun; /* gaps that were told */
};

struct interfaces {
	struct opener *opener; /* NULL: nothing can be opened again */
	struct netif_watch *watch;
	struct names *names; /* forgets interfaces that are deleted; NULL: nobody */
	const struct shared *shared;
	unsigned n_workers, n_captures;
	struct interfaces_capture *captures; /* n_captures of each worker */
	uint64_t next_ns;
};

/* The workers are open and not started. */
int interfaces_init(struct interfaces *r, struct metering *const *workers, const struct shared *shared,
		    struct opener *opener, struct diag *diag);
void interfaces_deinit(struct interfaces *r);

int interfaces_fd(const struct interfaces *r); /* readable when links change; -1 none */
void interfaces_step(struct interfaces *r, uint64_t now_ns);
/* Did links, addresses or routes change since the last call, as of the last step? */
bool interfaces_network_changed(struct interfaces *r);
/* Interfaces that were not measured for a while, and how long in sum, up to now. */
void interfaces_get_gaps(const struct interfaces *r, uint64_t now_ns, uint64_t *gaps, uint64_t *gap_ns);

/* Runs in the opener: ctx is the array of struct capture_config. */
int interfaces_open_capture(void *ctx, unsigned index, struct opener_answer *answer, struct diag *diag);

#endif
