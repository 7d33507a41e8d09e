/* control_internal: all that control knows of a measurement, for its files; each has its functions in a
 * header of its own. */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "child.h"
#include "confine.h"
#include "exporting.h"
#include "service.h"
#include "pitot/clock.h"
#include "interfaces.h"
#include "reload.h"
#include "watch.h"
#include "control.h"
#include "metering.h"
#include "names.h"
#include "progress.h"
#include "control_socket.h"
#include "ledger.h"
#include "live_view.h"
#include "metrics.h"
#include "overload.h"
#include "polite.h"
#include "poller.h"
#include "shared.h"
#include "take_over.h"

struct control {
	const struct config *config;
	bool live;
	bool announced; /* the start and the end are worth a line each */
	struct clock_time start;
	struct clock_time
		boot; /* as collectors are told: that of the first process where one took over from another */
	struct take_over *taking; /* --takeover, until it has; NULL */
	bool took_over;		  /* from another process */
	bool tries; /* the exporting process: everything but the spool, which the other process still has */
	struct heir heir;		 /* who takes over from us */
	struct capture_config *captures; /* interfaces or files */
	unsigned n_captures;
	struct shared shared;
	struct savefiles *files; /* or interfaces */
	struct dealing *dealing;
	struct hash_seed selection_seed;
	struct export_sampling sampling; /* as it is announced */
	struct export_agent agent;
	struct record_layout layout;		/* of packets and records */
	struct record_layout export_layout;	/* with what enrich/ adds to records */
	struct names names;			/* of interfaces, for collectors */
	bool names_untold;			/* the exporting process was not told of them yet */
	struct metering_config metering_config; /* of all, but for number and processor */
	struct metering **workers;
	unsigned n_workers;
	bool has_ethernet, tells_direction; /* of all captures */
	struct child metering, exporting;
	struct revival {
		uint64_t born_ns;
		uint64_t due_ns; /* it is away, and is started again then; 0: it is there */
		unsigned quick;	 /* how often it died young */
		uint64_t exits, restarts;
	} of_metering, of_exporting, of_metrics;
	struct helpers {
		uint64_t exits, restarts;
		bool gone[3]; /* that was told */
	} of_helpers;
	struct own_flows own;
	int signal_fd, stop_fd;
	int pid_fd;	     /* of --pidfile, once it was written */
	uint64_t stop_by_ns; /* when all has to be over; 0: nobody asked */
	int signal;	     /* TERM or INT that ended it; 0 none */
	bool stopping;	     /* by TERM or INT */
	bool heard_of_child; /* that something became of one: it is to be looked at before control sleeps */
	bool view_left;	     /* that is why, and no signal has come yet */
	bool failed;	     /* a process ended in the middle of its work */
	struct reload reload;
	struct confine confine;
	int *send_fds; /* see struct confine */
	struct interfaces interfaces;
	struct service service;
	struct watch watch;
	struct progress progress;
	uint64_t next_report_ns; /* --stats-every */
	uint64_t next_metrics_ns;
	bool finishing; /* nothing is metered any more */
	bool lost;	/* a thread that did not end in time: what is left of the process goes with it */
	struct control_socket *socket; /* NULL: none */
	struct metrics metrics;
	struct live_view live_view;
	struct poller poller;
	struct overload overload;
	struct stepping {
		struct polite polite;
		int pressure_fd; /* -1: there is none */
		uint64_t next_ns;
	} stepping;			   /* --polite: stepping.c */
	uint64_t next_overload_ns;	   /* when drops are looked at again */
	int metrics_client;		   /* its conversation, until the control socket has it; -1 */
	struct metering_timeouts timeouts; /* in force */
	bool paused;			   /* stop-gather */
	bool drop_flows;		   /* at the end: exit */
	uint32_t max_rate;		   /* likewise: --max-export-rate */
};

/* What a file holds can wait, so nothing of it is shed. */
static inline bool control_is_polite(const struct control *r)
{
	return r->config->polite.on && r->live;
}

#endif
