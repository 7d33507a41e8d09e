/*
 * landlock: paths and TCP ports, by the system calls themselves (glibc has no wrappers).
 *
 * The numbers below are of the kernel's interface up to version 7; the headers of a distribution may be
 * older. A kernel of an earlier version gets what it knows: version 1 (Linux 5.13) files, 3 (6.2) truncation,
 * 4 (6.7) TCP, 5 (6.10) ioctl on devices, 6 (6.12) signals and abstract sockets.
 *
 * A path that does not exist grants nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox_internal.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif

#if defined(PITOT_SANITIZED) && PITOT_SANITIZED
#define READ_MORE "/" /* reports of a sanitizer name source lines */
#else
#define READ_MORE NULL
#endif
#if defined(PITOT_COVERAGE)
#define WRITE_MORE PITOT_COVERAGE /* the build directory: counters are written at exit */
#else
#define WRITE_MORE NULL
#endif

enum {
	VERSION_QUERY = 1, /* LANDLOCK_CREATE_RULESET_VERSION */
	RULE_PATH_BENEATH = 1,
	RULE_NET_PORT = 2,
};

#define FS_WRITE_FILE	(UINT64_C(1) << 1)
#define FS_READ_FILE	(UINT64_C(1) << 2)
#define FS_READ_DIR	(UINT64_C(1) << 3)
#define FS_REMOVE_FILE	(UINT64_C(1) << 5)
#define FS_MAKE_REG	(UINT64_C(1) << 8)
#define FS_TRUNCATE	(UINT64_C(1) << 14)
#define FS_ALL(last)	((UINT64_C(1) << ((last) + 1)) - 1)
#define NET_BIND_TCP	(UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define SCOPE_SOCKETS	(UINT64_C(1)) /* abstract ones */
#define SCOPE_ALL	(UINT64_C(3)) /* and signals */

#define FS_READ	 (FS_READ_FILE | FS_READ_DIR)
#define FS_WRITE (FS_READ | FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE)

struct landlock_attr {
	uint64_t fs, net, scoped;
};

/* the kernel's is packed, and it reads no further than parent_fd */
struct landlock_path {
	uint64_t allowed;
	int32_t parent_fd;
};

struct landlock_port {
	uint64_t allowed, port;
};

/*
 * What the resolver of the C library reads, its name service modules among it, and the counters of
 * interfaces. /run: where resolv.conf is a link to.
 */
static const char *const system_paths[] = {
	"/etc",
	"/lib",
	"/lib64",
	"/usr/lib",
	"/usr/lib64",
	"/usr/lib32",
	"/run/systemd/resolve",
	"/run/resolvconf",
	"/run/NetworkManager",
	"/run/nscd",
	"/var/run/nscd",
	"/run/systemd/machines",
	"/sys/class/net",
	"/sys/devices",
	"/proc/sys",
	"/proc/net",
	"/proc/self",
	"/dev/null",
	"/dev/urandom",
	READ_MORE,
	NULL,
};

/* How much processor time the other processes get. */
static const char *const process_paths[] = {"/proc", NULL};
static const char *const no_paths[] = {READ_MORE, NULL};

unsigned landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_QUERY);

	return v > 0 ? (unsigned)v : 0;
}

static uint64_t landlock_fs_rights(unsigned version)
{
	return version >= 5 ? FS_ALL(15) : version >= 3 ? FS_ALL(14) : version == 2 ? FS_ALL(13) : FS_ALL(12);
}

static int landlock_create(unsigned version, uint64_t fs, bool net, uint64_t scoped)
{
	struct landlock_attr attr = {
		.fs = fs,
		.net = net && version >= 4 ? NET_BIND_TCP | NET_CONNECT_TCP : 0,
		.scoped = version >= 6 ? scoped : 0,
	};
	size_t size = version >= 6 ? sizeof(attr) : version >= 4 ? 16 : 8;
	long fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);

	return fd < 0 ? -errno : (int)fd;
}

static int landlock_add_fd(int ruleset, int fd, uint64_t allowed)
{
	struct landlock_path rule = {.allowed = allowed, .parent_fd = fd};
	struct stat st;

	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
	return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

static int landlock_add_path(int ruleset, const char *path, uint64_t allowed)
{
	int fd = open(path, O_PATH | O_CLOEXEC), r;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : -errno;
	r = landlock_add_fd(ruleset, fd, allowed);
	close(fd);
	return r;
}

static int landlock_add_paths(int ruleset, const char *const *paths, uint64_t allowed)
{
	int r = 0;

	for (; r == 0 && paths && *paths; paths++)
		r = landlock_add_path(ruleset, *paths, allowed);
	return r;
}

static int landlock_add_port(int ruleset, uint64_t allowed, uint16_t port)
{
	struct landlock_port rule = {.allowed = allowed, .port = port};

	return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) < 0 ? -errno : 0;
}

static int landlock_add_ports(int ruleset, const struct sandbox_config *config)
{
	int r = landlock_add_port(ruleset, NET_CONNECT_TCP, 53); /* the resolver, for long answers */

	for (unsigned i = 0; r == 0 && i < config->n_tcp_ports; i++)
		r = landlock_add_port(ruleset, NET_CONNECT_TCP, config->tcp_ports[i]);
	if (r == 0 && config->n_tcp_ports)
		r = landlock_add_port(ruleset, NET_BIND_TCP, config->tcp_source_port);
	return r;
}

int landlock_restrict(int ruleset, struct diag *diag)
{
	int r = syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;

	return r < 0 ? diag_set(diag, r, "Landlock: %s", strerror(-r)) : 0;
}

static int landlock_missing(struct diag *diag)
{
	return diag_set(diag, SANDBOX_E_MISSING, "%s",
			errno == EOPNOTSUPP ? "switched off in this kernel" : "this kernel has none");
}

static int landlock_add_system(int ruleset, enum sandbox_role role)
{
	int r;

	switch (role) {
	case SANDBOX_METERING:
	case SANDBOX_METERING_LIBPCAP:
		return landlock_add_paths(ruleset, no_paths, FS_READ);
	case SANDBOX_CONTROL:
		r = landlock_add_paths(ruleset, process_paths, FS_READ);
		return r < 0 ? r : landlock_add_paths(ruleset, system_paths, FS_READ);
	default:
		return landlock_add_paths(ruleset, system_paths, FS_READ);
	}
}

int landlock_prepare(const struct sandbox_config *config, unsigned *version, int *ruleset_fd,
		     struct diag *diag)
{
	static const char *const writable[] = {"/dev/null", WRITE_MORE, NULL};
	uint64_t fs;
	int ruleset, r;

	*version = landlock_version();
	if (*version == 0)
		return landlock_missing(diag);
	fs = landlock_fs_rights(*version);
	/* control ends processes that hang, which are in no domain of its own */
	ruleset = landlock_create(*version, fs, true,
				  config->role == SANDBOX_CONTROL ? SCOPE_SOCKETS : SCOPE_ALL);
	if (ruleset < 0)
		return diag_set(diag, ruleset, "Landlock: %s", strerror(-ruleset));
	r = landlock_add_system(ruleset, config->role);
	if (r == 0)
		r = landlock_add_paths(ruleset, config->read_paths, FS_READ);
	if (r == 0)
		r = landlock_add_paths(ruleset, config->write_paths, FS_WRITE & fs);
	if (r == 0)
		r = landlock_add_paths(ruleset, writable, FS_WRITE & fs);
	if (r == 0 && *version >= 4)
		r = landlock_add_ports(ruleset, config);
	if (r < 0) {
		close(ruleset);
		return diag_set(diag, r, "Landlock: %s", strerror(-r));
	}
	*ruleset_fd = ruleset;
	return 0;
}

int landlock_enter_writing(const int *directories, unsigned n, struct diag *diag)
{
	unsigned version = landlock_version();
	int ruleset, r;

	if (version == 0)
		return landlock_missing(diag);
	ruleset = landlock_create(version, landlock_fs_rights(version), true, SCOPE_ALL);
	if (ruleset < 0)
		return diag_set(diag, ruleset, "Landlock: %s", strerror(-ruleset));
	r = landlock_add_paths(ruleset, system_paths, FS_READ);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = landlock_add_fd(ruleset, directories[i], FS_WRITE & landlock_fs_rights(version));
	if (r == 0 && WRITE_MORE)
		r = landlock_add_path(ruleset, WRITE_MORE, FS_WRITE & landlock_fs_rights(version));
	r = r < 0 ? diag_set(diag, r, "Landlock: %s", strerror(-r)) : landlock_restrict(ruleset, diag);
	close(ruleset);
	return r;
}
