/*
 * confine: from the configuration to the opener and the sandbox: which files, ports and interfaces they know.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include "pitot/capture.h"
#include "pitot/config.h"
#include "pitot/opener.h"
#include "pitot/sandbox.h"

struct confine {
	struct opener *opener; /* NULL: nothing will have to be opened again */
	struct sandbox *sandbox;
	char control_path[4096];   /* of the control socket; "" none */
	unsigned user;		   /* whom the process becomes */
	struct opener_file *files; /* the opener's */
	unsigned n_files;
};

/* Forks the opener, if there is anything for it to do: before threads and before anything is secret. */
int confine_start_opener(struct confine *c, const struct config *config, struct capture_config *captures,
			 struct diag *diag);
/* Everything is open: gives up the rest, and logs what holds and what is missing. */
int confine_enter(struct confine *c, const struct config *config, struct diag *diag);
void confine_deinit(struct confine *c);

#endif
