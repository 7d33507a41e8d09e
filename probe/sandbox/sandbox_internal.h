/* sandbox_internal: the layers that sandbox.c puts on top of each other. */
#ifndef SANDBOX_INTERNAL_H
#define SANDBOX_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/sandbox.h"

/* Positive outcome of a layer: this kernel or this build has none; a word why is in diag. */
enum { SANDBOX_E_MISSING = 1 };

/* Sets the user; -EINVAL and -EPERM may mean that this user namespace has no other. */
int sandbox_set_user(const struct sandbox_user *user);
/* The capability for that which this thread does not have; NULL: it has them. */
const char *sandbox_user_lacks(void);

/* Empties the bounding set as far as that is allowed: before the user is changed. */
void sandbox_drop_bounding(uint64_t keep);
/* Empties the other capability sets of this thread. */
int sandbox_drop_capabilities(uint64_t keep);
/* Both sets, of what is permitted now: what stays permitted and is not effective can be had back. */
int sandbox_lend_capabilities(uint64_t permitted, uint64_t effective);
bool sandbox_has_capabilities(uint64_t except);

/*
 * 0 with the version of the kernel's Landlock and the rules, or SANDBOX_E_MISSING.  Rules are made by who may
 * look up their paths, so before the user is changed; they hold from landlock_restrict() on.
 */
int landlock_prepare(const struct sandbox_config *config, unsigned *version, int *ruleset_fd,
		     struct diag *diag);
int landlock_restrict(int ruleset_fd, struct diag *diag);
unsigned landlock_version(void);
/* Files may be written below these directories only; no TCP.  For the opener. */
int landlock_enter_writing(const int *directories, unsigned n, struct diag *diag);

/* A system call list, compiled: of the right type for the kernel, and 0 long when the build has none. */
struct syscalls_program {
	void *instructions; /* struct sock_filter[n] */
	unsigned n;
};
enum syscalls_list {
	SYSCALLS_CONTROL = SANDBOX_CONTROL,
	SYSCALLS_EXPORTING = SANDBOX_EXPORTING,
	SYSCALLS_METERING = SANDBOX_METERING,
	SYSCALLS_METERING_LIBPCAP = SANDBOX_METERING_LIBPCAP,
	SYSCALLS_OPENER = SANDBOX_ROLES,
	SYSCALLS_LISTS
};

/* send_fds: see struct sandbox_config; of the metering lists. */
int syscalls_compile(struct syscalls_program *p, enum syscalls_list list, bool log_only, const int *send_fds,
		     unsigned n_send_fds, struct diag *diag);
/* whole_process: all threads that there are. */
int syscalls_enter(const struct syscalls_program *p, bool whole_process, struct diag *diag);
void syscalls_release(struct syscalls_program *p);

#endif
