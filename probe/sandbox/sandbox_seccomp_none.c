/* sandbox_seccomp_none: a build without libseccomp. */
#include "sandbox/sandbox_internal.h"

int syscalls_compile(struct syscalls_program *p, enum syscalls_list list, bool log_only, const int *send_fds,
		     unsigned n_send_fds, struct diag *diag)
{
	(void)send_fds;
	(void)n_send_fds;
	(void)list;
	(void)log_only;
	*p = (struct syscalls_program){0};
	return diag_set(diag, SANDBOX_E_MISSING, "built without libseccomp");
}

int syscalls_enter(const struct syscalls_program *p, bool whole_process, struct diag *diag)
{
	(void)p;
	(void)whole_process;
	return diag_set(diag, SANDBOX_E_MISSING, "built without libseccomp");
}

void syscalls_release(struct syscalls_program *p)
{
	*p = (struct syscalls_program){0};
}
