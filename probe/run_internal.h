/* run_internal: what run.c (the measurement) and run_open.c (everything before it) share. */
#ifndef RUN_INTERNAL_H
#define RUN_INTERNAL_H

#include "confine.h"
#include "exporting.h"
#include "notify.h"
#include "pitot/clock.h"
#include "recovery.h"
#include "reload.h"
#include "run.h"
#include "worker.h"

struct run {
	const struct config *config;
	bool live;
	struct clock_time start;
	struct capture_config *captures; /* interfaces or files */
	unsigned n_captures;
	struct feed *feed;
	struct export_interface *interfaces;
	unsigned n_interfaces;
	struct worker **workers;
	unsigned n_workers;
	struct exporter *exporter;
	struct exporting *exporting;
	struct own_flows own;
	int signal_fd, done_fd;
	int pid_fd;    /* of --pidfile, once it was written */
	bool stopping; /* by TERM or INT */
	struct reload reload;
	struct confine confine;
	struct recovery recovery;
	struct notify notify;
	uint64_t next_facts_ns;
	uint64_t turns; /* of the metering processes' loops, when the service manager was last told of them */
};

/* Captures, then collectors, then whatever has to be given up.  0, or negative errno and a sentence. */
int run_open(struct run *r, struct diag *diag);

#endif
