/*
 * take_over: --takeover.  A new process goes on where an older one is, with its captures and their unread
 * packets, its flows, fragments, sequence numbers, templates and sessions, and no packet is lost or counted
 * twice.
 *
 * The new process opens everything that it can, then asks the older one over its control socket
 * (hand_over.c), which stops reading at the end of a batch, sends out what waits, and hands over memory that
 * nobody can change any more (sections.h) and descriptors.  Only when the new process is ready does it say
 * so: until that moment the older one goes on as if nothing had happened if anything fails; from it on, the
 * new one is the owner.
 */
#ifndef TAKE_OVER_H
#define TAKE_OVER_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"
#include "pitot/diag.h"
#include "pitot/sections.h"

struct control;
struct exporter;

/* ---- what is handed over, besides the sections of the flow table, of fragments and of the exporter */

#define TAKE_OVER_VERSION  1
#define TAKE_OVER_PROCESS  "process"
#define TAKE_OVER_CAPTURES "captures"
#define TAKE_OVER_THREAD   "thread"

enum { TAKE_OVER_INTERFACES = 1024, TAKE_OVER_WORKERS = 256 };

/* Of the process: then its interfaces, n_interfaces of them. */
struct take_over_facts {
	uint64_t start_realtime_ns, start_monotonic_ns; /* of the first of all that followed on each other */
	uint64_t selection_seed[2];
	uint64_t watchdog_ns; /* how often the service manager is told that it is alive; 0: nobody watches */
	uint32_t fanout_seed;
	uint32_t n_workers, n_interfaces;
	uint32_t sampling; /* take_over_sampling(); 0: of a version that does not say */
	char pidfile[512]; /* "" none */
};
struct take_over_interface {
	char name[64]; /* as the user calls it */
	uint32_t point;
	uint32_t spare;
};

/* How packets are selected, as a number: records of different ones must not be mixed.  Never 0. */
uint32_t take_over_sampling(const struct control *r);

/* Of a metering thread. */
struct take_over_thread {
	uint64_t latest_id;
};
/* A place for an interface; those with a socket have one of the descriptors each, in their order. */
struct take_over_capture {
	uint32_t place;
	uint32_t has_capture, has_socket;
	struct capture_position position;
	struct capture_facts facts;
	char method[16];
};

/* ---- the new process; all do nothing, or say that there is nothing, where there is no --takeover */

struct take_over;

/* Asks whether it may, and how many metering threads there are. */
int take_over_begin(struct take_over **tp, const struct control *r, struct diag *diag);
unsigned take_over_workers(const struct take_over *t);
/* The older process stops reading, and hands over. */
int take_over_receive(struct take_over *t, struct diag *diag);
/* Received: are its flows such that ours may go on with them? */
int take_over_check_sampling(const struct take_over *t, const struct control *r, struct diag *diag);
const struct take_over_facts *
take_over_get_facts(const struct take_over *t); /* received; NULL: nothing was */
uint64_t take_over_latest_id(const struct take_over *t);
/*
 * The captures of an interface, one for each metering thread: 1, they were taken over; 0: there is nothing to
 * take over; or negative errno.
 */
int take_over_captures(struct take_over *t, const char *interface, struct capture **captures,
		       const struct capture_plan *plan, struct diag *diag);
/* Flows and fragments of all threads. */
int take_over_flows(struct take_over *t, const struct control *r, struct diag *diag);
/* The exporting process: sessions.  The older one's numbers of its collectors, bit i is collector i. */
uint64_t take_over_sessions(const struct take_over *t, struct exporter *e);
/* Nothing can fail any more: from here on it is all ours.  0, or negative errno: it stays the older
 * process's. */
int take_over_commit(struct take_over *t, uint64_t taken, struct diag *diag);
/* The control socket that it listened on; 0 none.  It is the caller's. */
int take_over_listener(struct take_over *t);
void take_over_free(struct take_over *t);

/* ---- the older process: hand_over.c */

struct heir {
	int fd; /* its end of the conversation; -1: there is none */
	int pid;
	uint64_t since_ns; /* it asked; then: nothing is read any more */
	bool is_owner;	   /* it has taken over */
	char version[64];
};

/*
 * Somebody asks whether he may take over, over this descriptor, which is a copy: *r's from here on if the
 * answer is 0; else a sentence says why not.
 */
int hand_over_offer(struct control *r, int fd, const char *version, struct diag *diag);
/* What the heir says.  True: it has taken over, and waits until what it wants to have next is let go. */
bool hand_over_step(struct control *r, uint64_t now_ns);
/* That is so. */
void hand_over_done(struct control *r);

#endif
