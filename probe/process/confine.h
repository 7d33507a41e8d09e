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
	 * Three of them, so that a file system that hangs does not keep an interface from being opened again,
	 * and none has what another needs.  NULL: there is nothing for it to do.
	 */
	struct opener *opener;	      /* of interfaces */
	struct opener *files_opener;  /* of statistics, the pid file, the control socket */
	struct opener *output_opener; /* of collectors that are files: the exporting process's */
	struct sandbox *sandbox;
	const int *send_fds; /* metering threads' sockets to control: see struct sandbox_config */
	unsigned n_send_fds;
	char control_path[4096];   /* of the control socket; "" none */
	unsigned user;		   /* whom the process becomes */
	struct opener_file *files; /* first the n_files of the second, then the n_outputs of the third */
	unsigned n_files, n_outputs;
	const char *keys[OPENER_READS]; /* what TLS reads, and its user may not: kept open by the third */
	unsigned n_keys;
	const char
		*once; /* a collector where a line that is cut off cannot be taken back: a pipe; NULL none */
};

/* Forks the openers, as far as there is anything for them to do: before threads and before anything is
 * secret. */
int confine_start_opener(struct confine *c, const struct config *config, struct capture_config *captures,
			 struct diag *diag);
/*
 * Everything is open: a process gives up the rest; control logs what holds and what is missing.  A metering
 * process enters its list of system calls later, by sandbox_enter_calls().
 */
int confine_enter(struct confine *c, const struct config *config, enum sandbox_role role, struct diag *diag);
void confine_deinit(struct confine *c);

#endif
