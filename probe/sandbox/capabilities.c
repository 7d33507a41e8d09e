/*
 * capabilities: the sets of this thread, by the system calls themselves.
 *
 * Sets are a thread's own; that is why the sandbox is entered before threads are started.  The bounding set
 * can be emptied only by who has CAP_SETPCAP: others cannot gain anything through it either, because of "no
 * new privileges".
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox_internal.h"

void sandbox_drop_bounding(uint64_t keep)
{
	/* a program that uid 0 starts would have them again; best effort, like the bounding set */
	(void)prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0);
	for (unsigned c = 0; c < 64; c++) {
		if (keep >> c & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0)
			return; /* not allowed, or one more than the kernel knows */
	}
}

static int capabilities_get(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

int sandbox_lend_capabilities(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	int r = capabilities_get(data);

	if (r < 0)
		return r;
	permitted &= data[0].permitted | (uint64_t)data[1].permitted << 32;
	effective &= permitted;
	for (unsigned i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){.effective = (uint32_t)(effective >> 32 * i),
							  .permitted = (uint32_t)(permitted >> 32 * i)};
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int sandbox_drop_capabilities(uint64_t keep)
{
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return sandbox_lend_capabilities(keep, keep);
}

bool sandbox_has_capabilities(uint64_t except)
{
	struct __user_cap_data_struct d[2];

	if (capabilities_get(d) < 0)
		return true;
	return (d[0].effective | d[0].permitted | d[0].inheritable) & ~(uint32_t)except ||
	       (d[1].effective | d[1].permitted | d[1].inheritable) & ~(uint32_t)(except >> 32);
}

const char *sandbox_user_lacks(void)
{
	static const struct {
		unsigned capability;
		const char *name;
	} wanted[] = {{CAP_SETUID, "CAP_SETUID"}, {CAP_SETGID, "CAP_SETGID"}};
	struct __user_cap_data_struct have[2];

	if (capabilities_get(have) < 0)
		return NULL;
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!(have[0].effective >> wanted[i].capability & 1))
			return wanted[i].name;
	return NULL;
}

int sandbox_keep_capabilities(uint64_t mask, struct diag *diag)
{
	int r;

	sandbox_drop_bounding(mask);
	r = sandbox_drop_capabilities(mask);
	if (r < 0 || sandbox_has_capabilities(mask))
		return diag_set(diag, r < 0 ? r : -EPERM, "cannot give up capabilities: %s",
				r < 0 ? strerror(-r) : "some are left");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot give up new privileges: %s", strerror(errno));
	return 0;
}
