/*
 * metrics: a page for Prometheus over HTTP (--metrics), by a process of its own that holds nothing but the
 * listener and a conversation with control.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>

#include "child.h"
#include "pitot/diag.h"

struct metrics_config {
	const char *listen; /* [ADDR:]PORT, an IPv6 address in brackets; without ADDR: 127.0.0.1 */
	const char *user;   /* see struct sandbox_config */
	bool stay_root;
	bool sandbox;
};

struct sandbox;

struct metrics {
	struct child child;
	int listener; /* kept for the next process; -1: there are no metrics */
};

enum { METRICS_ADDRESS = 64 };

/* 0 and the address that is listened on, or -EINVAL and a sentence: what follows --metrics is wrong. */
int metrics_check(const char *listen, char address[METRICS_ADDRESS], struct diag *diag);
/*
 * Listens, and forks the process.  *client is control's end of the conversation, which is the caller's: a
 * client of the control socket like others.
 */
int metrics_start(struct metrics *m, const struct metrics_config *config, int *client, struct diag *diag);
/* In the place of one that has ended; s: what control has compiled for the processes that it forks. */
int metrics_restart(struct metrics *m, const struct sandbox *s, int *client, struct diag *diag);
/* It ends with its conversation; here at the latest.  The port is free then. */
void metrics_stop(struct metrics *m);

#endif
