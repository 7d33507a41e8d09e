/*
 * sandbox: see include/pitot/sandbox.h.  The order matters: what needs a privilege comes before it is given
 * up, and the list of system calls comes last.
 */
#include "pitot/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/sandbox_internal.h"

#if defined(PITOT_SANITIZED) && PITOT_SANITIZED
#define DUMPABLE 1 /* the leak checker attaches to its own process */
#else
#define DUMPABLE 0
#endif

struct sandbox {
	enum sandbox_mode mode;
	struct syscalls_program programs[SANDBOX_ROLES];
	char report[256];
	char missing[256];
};

__attribute__((format(printf, 3, 4))) static void sandbox_add(char *text, size_t size, const char *fmt, ...)
{
	size_t n = strlen(text);
	va_list args;

	if (n > 0 && n + 2 < size)
		n += (size_t)snprintf(text + n, size - n, ", ");
	va_start(args, fmt);
	vsnprintf(text + n, size - n, fmt, args);
	va_end(args);
}

#define sandbox_say(s, ...)  sandbox_add((s)->report, sizeof((s)->report), __VA_ARGS__)
#define sandbox_lack(s, ...) sandbox_add((s)->missing, sizeof((s)->missing), __VA_ARGS__)

static void sandbox_lack_user(struct sandbox *s, const struct sandbox_user *user)
{
	const char *capability = sandbox_user_lacks();

	if (capability)
		sandbox_lack(s, "another user than root (%s is missing)", capability);
	else
		sandbox_lack(s, "another user than root (this user namespace has no user %s)", user->name);
}

/* A user that nobody asked for may be one that this user namespace does not have: container root then stays.
 */
static int sandbox_change_user(struct sandbox *s, const struct sandbox_config *config, struct diag *diag)
{
	struct sandbox_user user;
	int r = sandbox_find_user(&user, config->user, config->stay_root, diag);

	if (r < 0)
		return r;
	if (!user.change) {
		sandbox_say(s, "uid %u", (unsigned)getuid());
		if (geteuid() == 0)
			sandbox_lack(s, "another user than root (--stay-root)");
		return 0;
	}
	r = sandbox_set_user(&user);
	if (r < 0 && (config->user || (r != -EINVAL && r != -EPERM)))
		return diag_set(diag, r, "--user %s: cannot become this user: %s", user.name, strerror(-r));
	if (r < 0)
		sandbox_lack_user(s, &user);
	sandbox_say(s, r < 0 ? "uid 0" : "user %s", user.name);
	if (r == 0 && user.uid != 0 && setuid(0) == 0)
		return diag_set(diag, -EPERM, "--user %s: root can be had back", user.name);
	return 0;
}

static int sandbox_drop(struct sandbox *s, const struct sandbox_config *config, struct diag *diag)
{
	struct rlimit none = {0, 0};
	int r;

	setrlimit(RLIMIT_CORE, &none); /* lowering cannot be refused */
	sandbox_drop_bounding(0);
	r = sandbox_change_user(s, config, diag);
	if (r < 0)
		return r;
	r = sandbox_drop_capabilities(0);
	if (r < 0 || sandbox_has_capabilities(0))
		return diag_set(diag, r < 0 ? r : -EPERM, "cannot give up capabilities: %s",
				r < 0 ? strerror(-r) : "some are left");
	sandbox_say(s, "no capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot give up new privileges: %s", strerror(errno));
	/* after the change of user, which decides it anew */
	if (prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot refuse debuggers: %s", strerror(errno));
	return 0;
}

/* *ruleset: the rules to be entered, or -1. */
static int sandbox_prepare_landlock(struct sandbox *s, const struct sandbox_config *config, int *ruleset,
				    struct diag *diag)
{
	unsigned version;
	int r;

	*ruleset = -1;
	if (config->mode == SANDBOX_OFF)
		return 0;
	r = landlock_prepare(config, &version, ruleset, diag);
	if (r < 0)
		return r;
	if (r == SANDBOX_E_MISSING)
		sandbox_lack(s, "Landlock (%.60s)", diag->text);
	else
		sandbox_say(s, "Landlock version %u", version);
	if (r == 0 && version < 4)
		sandbox_lack(s, "Landlock for TCP (the kernel has version %u, it came with 4)", version);
	return 0;
}

static void sandbox_release(struct sandbox *s)
{
	for (unsigned i = 0; i < SANDBOX_ROLES; i++)
		syscalls_release(&s->programs[i]);
}

static int sandbox_compile(struct sandbox *s, const struct sandbox_config *config, struct diag *diag)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < SANDBOX_ROLES; i++)
		if (config->for_all || i == config->role)
			r = syscalls_compile(&s->programs[i], (enum syscalls_list)i, s->mode == SANDBOX_LOG,
					     config->send_fds, config->n_send_fds, diag);
	return r;
}

static int sandbox_enter_seccomp(struct sandbox *s, const struct sandbox_config *config, struct diag *diag)
{
	int r = sandbox_compile(s, config, diag);

	if (r == 0 && !config->calls_later)
		r = syscalls_enter(&s->programs[config->role], true, diag);
	if (r != 0) /* then there is nothing for other processes either */
		sandbox_release(s);
	if (r == SANDBOX_E_MISSING) {
		sandbox_lack(s, "seccomp (%.60s)", diag->text);
		return 0;
	}
	if (r == 0)
		sandbox_say(s, s->mode == SANDBOX_LOG ? "seccomp (log only)" : "seccomp");
	return r;
}

int sandbox_enter(struct sandbox **sp, const struct sandbox_config *config, struct diag *diag)
{
	struct sandbox *s = calloc(1, sizeof(*s));
	int ruleset = -1, r;

	if (!s)
		return diag_set(diag, -ENOMEM, "sandbox: out of memory");
	s->mode = config->mode;
	r = sandbox_prepare_landlock(s, config, &ruleset, diag);
	if (r == 0)
		r = sandbox_drop(s, config, diag);
	if (r == 0 && ruleset >= 0)
		r = landlock_restrict(ruleset, diag);
	if (ruleset >= 0)
		close(ruleset);
	if (r == 0 && config->mode != SANDBOX_OFF)
		r = sandbox_enter_seccomp(s, config, diag);
	if (config->mode == SANDBOX_OFF)
		sandbox_lack(s, "Landlock and seccomp (--sandbox off)");
	if (r < 0) {
		sandbox_free(s);
		return r;
	}
	*sp = s;
	return 0;
}

void sandbox_leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	sandbox_release(s);
	free(s);
}

int sandbox_enter_calls(const struct sandbox *s, enum sandbox_role role, struct diag *diag)
{
	int r = s && s->programs[role].n ? syscalls_enter(&s->programs[role], true, diag) : 0;

	return r == SANDBOX_E_MISSING ? 0 : r; /* a kernel without: known, where it could be said */
}

const char *sandbox_report(const struct sandbox *s)
{
	return s->report;
}

const char *sandbox_missing(const struct sandbox *s)
{
	return s->missing;
}
