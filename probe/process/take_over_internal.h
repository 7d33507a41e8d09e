/* take_over_internal: what was handed over: take_over.c receives it, take_over_restore.c makes use of it. */
#ifndef TAKE_OVER_INTERNAL_H
#define TAKE_OVER_INTERNAL_H

#include "take_over.h"

#include "shared.h"

/* Sections that cannot change any more. */
struct take_over_memory {
	void *memory; /* NULL: none */
	size_t octets;
	struct sections_reader sections;
};

struct take_over_worker {
	struct take_over_memory memory;
	int *fds; /* of captures, in their order; -1: used */
	unsigned n_fds;
};

struct take_over {
	int fd;
	uint64_t patience_ns, deadline_ns;
	unsigned n_workers;
	struct take_over_memory of_process, of_exporting;
	struct take_over_facts process;
	struct take_over_interface *interfaces;
	struct take_over_worker workers[TAKE_OVER_WORKERS];
	int sessions[EXPORTING_COLLECTORS_MAX];
	unsigned n_sessions;
	int listener;
	bool received;
};

#endif
