/*
 * sandbox_seccomp: the lists of system calls, by libseccomp.
 *
 * Any other call ends the whole process (SIGSYS): a process that does what it was not written to do is no
 * longer ours.  Names that an architecture lacks are skipped, so the lists hold old and new names side by
 * side.
 *
 * libseccomp compiles once, at the start; a thread then loads the program by the system call itself, without
 * memory of its own.  Lists of threads come on top of the process's: a call has to be on both.
 *
 * To find what is missing: --sandbox log, then `journalctl -k | grep type=1326` (syscall=NUMBER).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <signal.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox_internal.h"

#if defined(PITOT_SANITIZED) && PITOT_SANITIZED
#define SANITIZED true
#else
#define SANITIZED false
#endif
#if defined(PITOT_COVERAGE)
#define COVERAGE true
#else
#define COVERAGE false
#endif

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define BIT(list) (1u << (list))
#define EVERYBODY (BIT(SYSCALLS_LISTS) - 1)
#define METERING  (BIT(SYSCALLS_METERING) | BIT(SYSCALLS_METERING_LIBPCAP))
#define CONTROL	  BIT(SYSCALLS_CONTROL)
#define PROCESS	  (BIT(SYSCALLS_EXPORTING) | CONTROL)
#define LIBPCAP	  BIT(SYSCALLS_METERING_LIBPCAP)
#define OPENER	  BIT(SYSCALLS_OPENER)

struct syscalls_names {
	unsigned lists;
	const char *const *names;
};

/* Memory, locks, clocks, the end: what any code does. */
static const char *const names_everybody[] = {
	"brk",
	"clock_getres",
	"clock_getres_time64",
	"clock_gettime",
	"clock_gettime64",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"close",
	"exit",
	"exit_group",
	"fstat",
	"fstat64",
	"futex",
	"futex_time64",
	"getegid",
	"geteuid",
	"getgid",
	"getpid",
	"getrandom",
	"getrusage",
	"gettid",
	"gettimeofday",
	"getuid",
	"lseek",
	"_llseek",
	"madvise",
	"membarrier",
	"mlock",
	"mlock2",
	"mremap",
	"munlock",
	"munmap",
	"nanosleep",
	"pause",
	"poll",
	"ppoll",
	"ppoll_time64",
	"pread64",
	"read",
	"readv",
	"restart_syscall",
	"rseq",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigreturn",
	"sched_getaffinity",
	"sched_yield",
	"set_robust_list",
	"sigaltstack",
	"time",
	"tgkill",
	NULL,
};

/* Not for who parses packets: it tells others by the memory that it shares. */
static const char *const names_writing[] = {"write", "writev", NULL};

/* From what is open: packets in. */
static const char *const names_metering[] = {
	"getsockname", "getsockopt", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", NULL,
};

/* Sockets to collectors, name resolution, files, threads. */
static const char *const names_process[] = {
	"accept4",
	"access",
	"bind",
	"capget",
	"connect",
	"dup",
	"dup2",
	"dup3",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_wait",
	"eventfd2",
	"faccessat",
	"faccessat2",
	"fadvise64",
	"fadvise64_64",
	"arm_fadvise64_64",
	"fallocate",
	"fchmod",
	"fcntl",
	"fcntl64",
	"fdatasync",
	"flock",
	"fstatat64",
	"fstatfs",
	"fstatfs64",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"getcwd",
	"getdents",
	"getdents64",
	"getpeername",
	"getppid",
	"getresgid",
	"getresuid",
	"getsockname",
	"getsockopt",
	"lstat",
	"lstat64",
	"mkdir",
	"mkdirat",
	"newfstatat",
	"open",
	"openat",
	"pipe",
	"pipe2",
	"prlimit64",
	"pwrite64",
	"pwritev",
	"readlink",
	"readlinkat",
	"recv",
	"recvfrom",
	"recvmmsg",
	"recvmmsg_time64",
	"recvmsg",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigtimedwait",
	"rt_sigtimedwait_time64",
	"sched_getparam",
	"sched_getscheduler",
	"sched_setaffinity",
	"sched_setattr",
	"sched_setscheduler",
	"seccomp",
	"send",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"set_tid_address",
	"setpriority",
	"setsockopt",
	"shutdown",
	"signalfd4",
	"stat",
	"stat64",
	"statfs",
	"statfs64",
	"statx",
	"sync_file_range",
	"sysinfo",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_settime",
	"timerfd_settime64",
	"umask",
	"uname",
	"unlink",
	"unlinkat",
	"utimensat",
	"wait4",
	"waitid",
	NULL,
};

static const char *const names_opener[] = {
	"bind",	     "faccessat", "faccessat2", "fchmod",      "fchown",     "fchown32", "fcntl",
	"fcntl64",   "fstatat64", "ftruncate",	"getsockname", "getsockopt", "ioctl",	 "newfstatat",
	"open",	     "openat",	  "recv",	"recvfrom",    "recvmsg",    "rename",	 "renameat",
	"renameat2", "sendmsg",	  "sendto",	"setsockopt",  "statx",	     "unlink",	 "unlinkat",
	"pipe2",     "wait4",	  "getppid",	NULL,
};

/* What the run-time of a sanitizer does besides; never in a build that is used. */
static const char *const names_sanitized[] = {
	"clone",
	"fcntl",
	"fork",
	"getdents64",
	"getpgid",
	"getppid",
	"ioctl",
	"kill",
	"mincore",
	"mmap",
	"mprotect",
	"newfstatat",
	"open",
	"openat",
	"personality",
	"pipe",
	"pipe2",
	"prctl",
	"prlimit64",
	"process_vm_readv",
	"ptrace",
	"readlink",
	"readlinkat",
	"rt_sigaction",
	"rt_sigsuspend",
	"sched_getparam",
	"sched_getscheduler",
	"set_tid_address",
	"stat",
	"sysinfo",
	"uname",
	"wait4",
	NULL,
};
/* It ends processes that hang, and hands memory over to a process that takes over. */
static const char *const names_control[] = {"close_range", "kill", "memfd_create", NULL};
static const char *const names_coverage[] = {"fcntl",  "openat", "newfstatat", "mkdir",
					     "unlink", "umask",	 "prlimit64",  NULL};

static const struct syscalls_names lists[] = {
	{EVERYBODY, names_everybody},
	{EVERYBODY & ~METERING, names_writing},
	{METERING, names_metering},
	{PROCESS, names_process},
	{OPENER, names_opener},
	{SANITIZED ? EVERYBODY : 0, names_sanitized},
	{SANITIZED || COVERAGE ? METERING : 0, names_writing},
	{COVERAGE ? EVERYBODY : 0, names_coverage},
	{CONTROL, names_control},
};

/* Calls that are allowed with some arguments: (argument & mask) == value. */
struct syscalls_argument {
	unsigned lists;
	const char *name;
	unsigned argument;
	uint64_t mask, value;
};

#define WHOLE UINT64_C(0xffffffff) /* int arguments: the upper half may hold anything */

static const struct syscalls_argument arguments[] = {
	/* memory that is never code; the name service's modules are code */
	{METERING | OPENER, "mmap", 2, PROT_EXEC, 0},
	{METERING | OPENER, "mmap2", 2, PROT_EXEC, 0},
	{METERING | OPENER, "mprotect", 2, PROT_EXEC, 0},
	{PROCESS, "mmap", 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
	{PROCESS, "mmap", 2, PROT_EXEC, 0},
	{PROCESS, "mmap2", 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
	{PROCESS, "mmap2", 2, PROT_EXEC, 0},
	{PROCESS, "mprotect", 2, PROT_EXEC, 0},
	/* sockets: collectors, the resolver's daemons, link events */
	{PROCESS, "socket", 0, WHOLE, AF_INET},
	{PROCESS, "socket", 0, WHOLE, AF_INET6},
	{PROCESS, "socket", 0, WHOLE, AF_UNIX},
	{PROCESS, "socket", 0, WHOLE, AF_NETLINK},
	{PROCESS, "socketpair", 0, WHOLE, AF_UNIX},
	{OPENER, "socket", 0, WHOLE, AF_PACKET},
	{OPENER, "socket", 0, WHOLE, AF_UNIX},
	{OPENER, "socket", 0, WHOLE, AF_NETLINK},
	/* threads, no processes */
	{PROCESS, "clone", 0, CLONE_THREAD, CLONE_THREAD},
	/* and fork(), which starts a process again that has ended */
	{CONTROL, "clone", 0, WHOLE, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD},
	{PROCESS | OPENER, "prctl", 0, WHOLE, PR_SET_PDEATHSIG},
	/* the two processes of an opener start each other again */
	{OPENER, "clone", 0, WHOLE, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD},
	{OPENER, "kill", 1, WHOLE, SIGKILL},
	/* an interface's state; a terminal, and how much a socket holds */
	{METERING | PROCESS, "ioctl", 1, WHOLE, SIOCGIFNAME},
	{METERING | PROCESS, "ioctl", 1, WHOLE, SIOCGIFFLAGS},
	{METERING | PROCESS, "ioctl", 1, WHOLE, SIOCGIFINDEX},
	{PROCESS, "ioctl", 1, WHOLE, SIOCGIFMTU},
	{PROCESS, "ioctl", 1, WHOLE, SIOCGIFHWADDR},
	{PROCESS, "ioctl", 1, WHOLE, SIOCETHTOOL},
	{PROCESS, "ioctl", 1, WHOLE, TCGETS},
	{PROCESS, "ioctl", 1, WHOLE, TIOCGWINSZ},
	{CONTROL, "ioctl", 1, WHOLE, TCSETS}, /* of a view that was killed */
	{PROCESS, "ioctl", 1, WHOLE, FIONREAD},
	{PROCESS, "ioctl", 1, WHOLE, FIONBIO},
	{PROCESS, "ioctl", 1, WHOLE, SIOCOUTQ},
	{PROCESS, "ioctl", 1, WHOLE, SIOCGSTAMP},
	/* the program of a packet socket, to shut its entrance */
	{METERING, "setsockopt", 2, WHOLE, SO_ATTACH_FILTER},
	/* or one that was loaded at the start, for an interface that is there again */
	{METERING, "setsockopt", 2, WHOLE, SO_ATTACH_BPF},
	/* libpcap gives its ring back when the interface is gone */
	{LIBPCAP, "setsockopt", 2, WHOLE, PACKET_RX_RING},
	{METERING | PROCESS, "prctl", 0, WHOLE, PR_SET_NAME},
	{PROCESS, "prctl", 0, WHOLE, PR_SET_VMA},     /* the C library names its memory */
	{METERING, "rt_sigaction", 2, UINT64_MAX, 0}, /* to ask only */
	{METERING, "fcntl", 1, WHOLE, F_GETFL},
};

static int seccomp_add_names(scmp_filter_ctx ctx, const char *const *names)
{
	for (; *names; names++) {
		int nr = seccomp_syscall_resolve_name(*names), r;

		if (nr == __NR_SCMP_ERROR)
			continue; /* newer than this libseccomp, or of another architecture */
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
		if (r < 0 && r != -EDOM)
			return r;
	}
	return 0;
}

static int seccomp_add_argument(scmp_filter_ctx ctx, const struct syscalls_argument *a)
{
	int nr = seccomp_syscall_resolve_name(a->name), r;
	struct scmp_arg_cmp compare = {
		.arg = a->argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = a->mask, .datum_b = a->value};

	if (nr == __NR_SCMP_ERROR)
		return 0;
	r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, &compare);
	return r == -EDOM || r == -EEXIST ? 0 : r;
}

/* To control, for whom sockets are that another process takes over. */
static int seccomp_add_sending(scmp_filter_ctx ctx, const int *fds, unsigned n)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < n; i++) {
		struct syscalls_argument a = {METERING, "sendmsg", 0, WHOLE, (uint64_t)fds[i]};

		r = seccomp_add_argument(ctx, &a);
	}
	return r;
}

static int seccomp_fill(scmp_filter_ctx ctx, enum syscalls_list list)
{
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	for (size_t i = 0; r == 0 && i < sizeof(lists) / sizeof(*lists); i++)
		if (lists[i].lists & BIT(list))
			r = seccomp_add_names(ctx, lists[i].names);
	for (size_t i = 0; r == 0 && i < sizeof(arguments) / sizeof(*arguments); i++)
		if (arguments[i].lists & BIT(list))
			r = seccomp_add_argument(ctx, &arguments[i]);
	/* its flags are in memory, which a filter cannot read: the C library then takes clone */
	if (r == 0 && BIT(list) & (PROCESS | OPENER))
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name("clone3"), 0);
	return r;
}

/* All of it is there: a program ends with an answer. */
static bool seccomp_is_whole(const struct syscalls_program *p, size_t size)
{
	const struct sock_filter *filter = p->instructions;

	return p->n && size % sizeof(*filter) == 0 && BPF_CLASS(filter[p->n - 1].code) == BPF_RET;
}

/* libseccomp writes its program into a file only, and says nothing when the file may not be so long. */
static int seccomp_export(scmp_filter_ctx ctx, struct syscalls_program *p)
{
	int fd = memfd_create("seccomp", MFD_CLOEXEC), r;
	struct stat st;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0) {
		p->instructions = malloc((size_t)st.st_size);
		r = p->instructions ? 0 : -ENOMEM;
	}
	if (r == 0 && pread(fd, p->instructions, (size_t)st.st_size, 0) != st.st_size)
		r = -EIO;
	if (r == 0)
		p->n = (unsigned)((size_t)st.st_size / sizeof(struct sock_filter));
	if (r == 0 && !seccomp_is_whole(p, (size_t)st.st_size))
		r = -EFBIG;
	close(fd);
	return r;
}

int syscalls_compile(struct syscalls_program *p, enum syscalls_list list, bool log_only, const int *send_fds,
		     unsigned n_send_fds, struct diag *diag)
{
	uint32_t refused = log_only ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx ctx = seccomp_init(refused);
	int r;

	*p = (struct syscalls_program){0};
	if (!ctx)
		return diag_set(diag, SANDBOX_E_MISSING, "libseccomp does not know this kernel");
	r = seccomp_fill(ctx, list);
	if (r == 0 && BIT(list) & METERING)
		r = seccomp_add_sending(ctx, send_fds, n_send_fds);
	if (r == 0)
		r = seccomp_export(ctx, p);
	seccomp_release(ctx);
	if (r < 0) {
		syscalls_release(p);
		if (r == -EFBIG)
			return diag_set(diag, r,
					"seccomp: the list of system calls does not fit into a file: the "
					"limit of file sizes is too small (ulimit -f)");
		return diag_set(diag, r, "seccomp: compiling the list of system calls: %s", strerror(-r));
	}
	return 0;
}

int syscalls_enter(const struct syscalls_program *p, bool whole_process, struct diag *diag)
{
	struct sock_fprog program = {.len = (unsigned short)p->n, .filter = p->instructions};
	unsigned flags = whole_process ? SECCOMP_FILTER_FLAG_TSYNC : 0;
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);

	if (r == 0)
		return 0;
	if (r < 0 && (errno == ENOSYS || errno == EINVAL))
		return diag_set(diag, SANDBOX_E_MISSING, "this kernel has none");
	return diag_set(diag, r > 0 ? -EBUSY : -errno, "seccomp: %s",
			r > 0 ? "a thread has a list of its own" : strerror(errno));
}

void syscalls_release(struct syscalls_program *p)
{
	free(p->instructions);
	*p = (struct syscalls_program){0};
}
