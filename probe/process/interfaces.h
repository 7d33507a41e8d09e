/*
 * interfaces: opens the interfaces at the start, and again when they come back while the program runs.
 *
 * One that is taken down and up again needs nothing: its capture goes on.  One that is deleted, or moved to
 * another network namespace, is gone for its captures whatever comes later: when all workers have metered
 * what they had of it and let go, it is opened again by the name that the user gave, for all of them at once,
 * as at the start; the opener process has the privilege.  One that is not there at the start is waited for in
 * the same way.
 *
 * Whether an interface is up is told by link events and, where events were lost, by the kernel when it is
 * asked; never by packets, which may be old.  This is the one place that watches links.
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

struct take_over;

struct interfaces_interface {
	const struct capture_config *config;
	struct capture_plan *plan;
	const char *method; /* by which it was captured last */
	struct netif link;  /* as last heard of; index 0: there is none, or it is "any" */
	uint64_t dropped_base;
	uint64_t dropped; /* by earlier interfaces of this name */
	bool measured;
	bool refused; /* said */
	struct interfaces_socket {
		struct capture_descriptor socket; /* to be handed to that worker; -1: none */
		uint32_t given;			  /* those that were handed over */
	} * sockets;				  /* one a worker */
	uint64_t gaps, since_ns, gap_ns;
};

struct interfaces {
	struct opener *opener; /* NULL: nothing can be opened again */
	struct netif_watch *watch;
	struct take_over *taking; /* --takeover: the captures of another process; NULL */
	struct names *names;	  /* forgets interfaces that are deleted; NULL: nobody */
	const struct shared *shared;
	unsigned n_workers, n;
	struct interfaces_interface *each;
	const struct capture_plan **plans;  /* of each, for the workers */
	struct capture_descriptor *scratch; /* one a worker */
	uint64_t next_ns;
	bool begins_again; /* it is no link that is lost */
	bool links_changed;
};

struct interfaces_numbers {
	uint64_t gaps, gap_ns; /* times that an interface was not measured, and how long in sum up to now */
	uint64_t dropped;      /* packets that the interfaces themselves had no room for */
};

/* Watches links, and compiles the filters. */
int interfaces_init(struct interfaces *r, const struct capture_config *configs, unsigned n,
		    const struct shared *shared, struct opener *opener, struct diag *diag);
/* Opens them for the workers, which are not started.  wait: also when not one of them is there. */
int interfaces_open(struct interfaces *r, struct metering *const *workers, bool wait, struct diag *diag);
void interfaces_deinit(struct interfaces *r);

int interfaces_fd(const struct interfaces *r); /* readable when links change; -1 none */
void interfaces_step(struct interfaces *r, uint64_t now_ns);
/* The metering process is another one, which has no capture: all are opened again. */
void interfaces_begin_again(struct interfaces *r);
/* Are all of them? */
bool interfaces_are_measured(const struct interfaces *r);
/* Is there one that cannot be opened again, which was said? */
bool interfaces_are_refused(const struct interfaces *r);
/* Did links, addresses or routes change since the last call, as of the last step? */
bool interfaces_network_changed(struct interfaces *r);
/* The same of links alone: a router may have many changes of routes a second, which rename nothing. */
bool interfaces_links_changed(struct interfaces *r);
void interfaces_get_numbers(struct interfaces *r, uint64_t now_ns, struct interfaces_numbers *numbers);

/* Runs in the opener: ctx is the array of struct capture_config. */
int interfaces_open_capture(void *ctx, unsigned index, int group, struct opener_answer *answer,
			    struct diag *diag);

#endif
