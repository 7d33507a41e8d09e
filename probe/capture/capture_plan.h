/*
 * capture_plan: what opening an interface by the packet ring takes, besides the socket.
 */
#ifndef CAPTURE_PLAN_H
#define CAPTURE_PLAN_H

#include "capture/capture_filter.h"
#include "capture/capture_socket_program.h"
#include "pitot/capture.h"

/* An interface that is made anew may have the other link type of those that the ring knows. */
enum capture_plan_link { CAPTURE_PLAN_ETHERNET, CAPTURE_PLAN_RAW, CAPTURE_PLAN_COOKED, CAPTURE_PLAN_LINKS };

struct capture_plan_program {
	struct capture_socket_program *program;
	enum capture_plan_link link;
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
	/* With a filter, a select_interval, or one that varies: for each worker's socket one of each link
	 * type; none where the kernel takes no such program, and why. */
	unsigned n_programs;
	struct capture_plan_program **programs;
	struct diag no_program;
};

/* The filter for frames of this link type; -EPROTONOSUPPORT where the kernel cannot run it. */
int capture_plan_filter(const struct capture_plan *p, const struct capture_facts *facts,
			const struct capture_filter **filter, struct diag *diag);

/* One that no socket has, NULL when there is none; to be given back when the socket is closed. */
struct capture_plan_program *capture_plan_take_program(const struct capture_plan *p,
						       const struct capture_facts *facts);
void capture_plan_release_program(struct capture_plan_program *program); /* NULL is fine */

#endif
