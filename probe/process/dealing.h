/*
 * dealing: savefiles for several metering threads.
 *
 * Files are read in pieces, in order, under a lock: only reading and finding where packets begin.  Whoever
 * has read a piece decodes it, while others read on, and deals its packets by their flow's two addresses, so
 * that both directions of a connection and all fragments of a datagram are one thread's; live, the kernel
 * shares an interface in the same way.  Fragments are completed piece by piece, in the order of the files.
 * So a thread gets all packets of its flows, in order, and the records are those that one thread alone would
 * make.
 */
#ifndef DEALING_H
#define DEALING_H

#include "pitot/fragment.h"
#include "pitot/hash.h"
#include "savefiles.h"

struct dealing_config {
	struct savefiles *files;
	unsigned n_lanes;	     /* metering threads */
	struct record_layout layout; /* of packets */
	struct hash_seed seed;
	struct fragment_table *fragments; /* NULL: none are tracked; the dealing's from now on */
	struct shared_files *shared;	  /* numbers of fragments are counted there */
};

struct dealing;

int dealing_new(struct dealing **dp, const struct dealing_config *config, struct diag *diag);
void dealing_free(struct dealing *d);

/*
 * The next packets of a lane, decoded, in order: n of them, at most BATCH_MAX, none when none come within a
 * moment.  They are the lane's to use until its next call.  SAVEFILES_E_END or negative errno and a sentence
 * as savefiles_recv(), once all that was good is handed out.
 */
int dealing_next(struct dealing *d, unsigned lane, struct packet **packets, unsigned *n, struct diag *diag);

#endif
