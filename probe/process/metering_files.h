/* metering_files: a source that reads savefiles: all of them, or what is dealt to one of several threads. */
#ifndef METERING_FILES_H
#define METERING_FILES_H

#include "dealing.h"
#include "savefiles.h"
#include "source.h"

struct metering_files_config {
	struct savefiles *files;
	struct dealing *dealing; /* NULL: one thread has all */
	unsigned lane;		 /* of the dealing */
	size_t packet_size;
	struct fragment_table
		*fragments;	     /* the source's from now on; NULL with a dealing, which has its own */
	struct selection *selection; /* of packets; files select their frames */
	struct metering_stats *stats;
};

int metering_files_new(struct source **sp, const struct metering_files_config *config, struct diag *diag);

#endif
