/*
 * capture_plan: what opening an interface by the packet ring takes, besides the socket.
 */
#ifndef CAPTURE_PLAN_H
#define CAPTURE_PLAN_H

#include "capture/capture_filter.h"
#include "capture/capture_sampling.h"
#include "pitot/capture.h"

/* An interface that is made anew may have the other link type of those that the ring knows. */
enum capture_plan_link { CAPTURE_PLAN_ETHERNET, CAPTURE_PLAN_RAW, CAPTURE_PLAN_COOKED, CAPTURE_PLAN_LINKS };

struct capture_plan_sampling {
	struct capture_sampling *sampling;
	_Atomic unsigned holders; /* the plan, and the capture of a socket, which may outlive it */
};

struct capture_plan {
	struct capture_config config;
	bool loopback;
	struct capture_plan_filter {
		struct capture_filter filter;
		int result; /* 0, or why there is none: negative errno and the sentence */
		struct diag why;
	} filters[CAPTURE_PLAN_LINKS];
	/* with a select_interval, or one that varies, one for each worker's socket; none where the kernel has
	 * no way to draw */
	unsigned n_samplings;
	struct capture_plan_sampling **samplings;
};

/* The filter for frames of this link type; -EPROTONOSUPPORT where the kernel cannot run it. */
int capture_plan_filter(const struct capture_plan *p, const struct capture_facts *facts,
			const struct capture_filter **filter, struct diag *diag);

/* One that no socket has, NULL when there is none; to be given back when the socket is closed. */
struct capture_plan_sampling *capture_plan_take_sampling(const struct capture_plan *p);
void capture_plan_release_sampling(struct capture_plan_sampling *s); /* NULL is fine */

#endif
