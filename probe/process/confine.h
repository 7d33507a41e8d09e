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
	/*
	 * Two of them, so that a file system that hangs does not keep an interface from being opened again,
	 * and neither has what the other needs.  NULL: there is nothing for it to do.
	 */
	struct opener *opener; /* of interfaces */
	struct opener *files_opener;
	struct sandbox *sandbox;
	char control_path[4096];   /* of the control socket; "" none */
	unsigned user;		   /* whom the process becomes */
	struct opener_file *files; /* the latter's */
	unsigned n_files;
};

/* Forks the openers, as far as there is anything for them to do: before threads and before anything is
 * secret. */
int confine_start_opener(struct confine *c, const struct config *config, struct capture_config *captures,
			 struct diag *diag);
/* Everything is open: gives up the rest, and logs what holds and what is missing. */
int confine_enter(struct confine *c, const struct config *config, struct diag *diag);
void confine_deinit(struct confine *c);

#endif
