/*
 * sandbox: what a process has left after it entered, and what ends it.  Each test does it in a child.
 * As root the change of user is tested too.
 *
 * sandbox/capabilities.c, sandbox/landlock.c, sandbox/sandbox_hook.c, sandbox/sandbox_user.c, and of
 * sandbox/sandbox_seccomp.c and sandbox/sandbox_seccomp_none.c the one that was built.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lacking.h"
#include "pitot/sandbox.h"
#include "refused.h"

#if defined(PITOT_SANITIZED) /* its run-time reads sources, and attaches to processes */
#define SANITIZED true
#else
#define SANITIZED false
#endif
#if defined(PITOT_COVERAGE) /* everybody may write the counters */
#define COVERAGE true
#else
#define COVERAGE false
#endif

enum { FAILED = 99 };

/* Of the child; an assert of cmocka would jump back into the parent's tests. */
#define EXPECT(what)                                                                                         \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			fprintf(stderr, "%s:%d: %s: errno %d\n", __FILE__, __LINE__, #what, errno);          \
			_exit(FAILED);                                                                       \
		}                                                                                            \
	} while (0)

static char directory[64];

static struct sandbox *enter(const struct sandbox_config *config)
{
	struct sandbox *s = NULL;
	struct diag diag = {""};

	if (sandbox_enter(&s, config, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		_exit(FAILED);
	}
	return s;
}

/* Runs it in a child: its exit status, or 1000 + the signal that ended it. */
static int in_child(void (*run)(const void *arg), const void *arg)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		run(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A line of /proc/self/status, as a number. */
static unsigned long long own_status(const char *name, int base)
{
	unsigned long long value = ~0ull;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			value = strtoull(line + strlen(name) + 1, NULL, base);
	if (f)
		fclose(f);
	return value;
}

static bool seccomp_here(void)
{
	return strstr(sandbox_missing(enter(&(struct sandbox_config){0})), "seccomp") == NULL;
}

static void run_seccomp_here(const void *arg)
{
	(void)arg;
	_exit(seccomp_here() ? 0 : 1);
}

static void require_seccomp(void)
{
	if (in_child(run_seccomp_here, NULL) != 0)
		lacking_here("no seccomp in this kernel or this build");
}

/* ---- the process */

static void run_status(const void *arg)
{
	struct sandbox *s = enter(&(struct sandbox_config){0});
	bool lists = strstr(sandbox_missing(s), "seccomp") == NULL;

	(void)arg;
	EXPECT(own_status("CapEff", 16) == 0);
	EXPECT(own_status("CapPrm", 16) == 0);
	EXPECT(own_status("CapInh", 16) == 0);
	EXPECT(own_status("CapAmb", 16) == 0);
	EXPECT(own_status("NoNewPrivs", 10) == 1);
	EXPECT(own_status("Seccomp", 10) == (lists ? 2 : 0));
	EXPECT(own_status("Uid", 10) != 0 || strstr(sandbox_missing(s), "user namespace"));
	EXPECT(strstr(sandbox_report(s), "no capabilities"));
	sandbox_free(s);
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_status, NULL), 0);
}

static void run_bounding(const void *arg)
{
	bool root = geteuid() == 0;

	(void)arg;
	EXPECT(!root || setgroups(2, (gid_t[]){0, 1}) == 0);
	enter(&(struct sandbox_config){.mode = SANDBOX_OFF});
	EXPECT(!root || own_status("CapBnd", 16) == 0);
	EXPECT(!root || getgroups(0, NULL) == 0);
	EXPECT(setuid(0) < 0 && setgid(0) < 0);
}

static void test_no_way_back(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_bounding, NULL), 0);
}

static void run_stay_root(const void *arg)
{
	struct sandbox *s = enter(&(struct sandbox_config){.stay_root = true});

	(void)arg;
	EXPECT(geteuid() == 0);
	EXPECT(own_status("CapEff", 16) == 0);
	EXPECT(own_status("CapBnd", 16) == 0);
	EXPECT(strstr(sandbox_missing(s), "--stay-root"));
	/* without capabilities root is somebody whom file modes bind */
	EXPECT(open("/proc/1/mem", O_RDWR) < 0);
}

static void test_stay_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		lacking_here("--stay-root needs root");
	assert_int_equal(in_child(run_stay_root, NULL), 0);
}

static void test_user(void **state)
{
	struct sandbox_user user;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(sandbox_find_user(&user, "12345:23456", false, &diag), 0);
	assert_true(user.change);
	assert_int_equal(user.uid, 12345);
	assert_int_equal(user.gid, 23456);
	assert_int_equal(sandbox_find_user(&user, "777", false, &diag), 0);
	assert_int_equal(user.gid, 777);
	assert_int_equal(sandbox_find_user(&user, "no-such-user-here", false, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "no-such-user-here"));
	assert_int_equal(sandbox_find_user(&user, "777:no-such-group-here", false, &diag), -ENOENT);
	assert_int_equal(sandbox_find_user(&user, "root", false, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--stay-root"));
	assert_int_equal(sandbox_find_user(&user, "777", true, &diag), -EINVAL);
	assert_int_equal(sandbox_find_user(&user, NULL, true, &diag), 0);
	assert_false(user.change);
	assert_int_equal(sandbox_find_user(&user, NULL, false, &diag), 0);
	assert_int_equal(user.change, geteuid() == 0);
	assert_true(geteuid() != 0 || user.uid != 0);
}

/* ---- system calls */

static void call_execve(void)
{
	char *const argv[] = {(char[]){"true"}, NULL};

	execv("/bin/true", argv);
}

static void call_socket(void)
{
	(void)!socket(AF_INET, SOCK_DGRAM, 0);
}

static void call_packet_socket(void)
{
	(void)!socket(AF_PACKET, SOCK_RAW, 0);
}

static void call_open(void)
{
	(void)!syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void call_ptrace(void)
{
	(void)!syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), NULL, NULL);
}

static void call_vm_write(void)
{
	(void)!syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0);
}

static void call_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	EXPECT(pid > 0 && waitpid(pid, NULL, 0) == pid);
}

static void call_kill(void)
{
	(void)!kill(getppid(), 0);
}

static void call_sethostname(void)
{
	(void)!syscall(SYS_sethostname, "x", 1);
}

static void call_unshare(void)
{
	(void)!syscall(SYS_unshare, 0x10000000);
}

static void call_nothing(void)
{
}

static void call_harmless(void)
{
	void *p = malloc(1 << 20);

	if (p)
		memset(p, 1, 1 << 20);
	free(p);
}

static void call_write(void)
{
	(void)!write(STDERR_FILENO, "", 0);
}

static void call_writev(void)
{
	(void)!syscall(SYS_writev, STDERR_FILENO, NULL, 0);
}

static void call_send(void)
{
	(void)!send(STDERR_FILENO, "", 0, MSG_NOSIGNAL);
}

static void call_sendmsg(void)
{
	(void)!sendmsg(STDERR_FILENO, &(struct msghdr){0}, MSG_NOSIGNAL);
}

static void call_connect(void)
{
	(void)!connect(STDERR_FILENO, NULL, 0);
}

struct thread_case {
	void (*call)(void);
	enum sandbox_role role;
	const struct sandbox *sandbox;
};

static void *thread_main(void *arg)
{
	struct thread_case *c = arg;
	struct diag diag = {""};

	EXPECT(sandbox_enter_calls(c->sandbox, c->role, &diag) == 0);
	c->call();
	return NULL;
}

static void run_thread(const void *arg)
{
	struct thread_case c = *(const struct thread_case *)arg;
	pthread_t thread;

	c.sandbox = enter(&(struct sandbox_config){.role = c.role, .calls_later = true});
	EXPECT(pthread_create(&thread, NULL, thread_main, &c) == 0);
	EXPECT(pthread_join(thread, NULL) == 0);
}

static int of_thread(void (*call)(void), enum sandbox_role role)
{
	return in_child(run_thread, &(struct thread_case){.call = call, .role = role});
}

static void test_metering_calls(void **state)
{
	static void (*const deadly[])(void) = {call_execve,   call_socket,	call_packet_socket,
					       call_vm_write, call_sethostname, call_unshare,
					       call_send,     call_sendmsg,	call_connect};

	(void)state;
	require_seccomp();
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		assert_int_equal(of_thread(deadly[i], SANDBOX_METERING), 1000 + SIGSYS);
	assert_int_equal(of_thread(call_nothing, SANDBOX_METERING), 0);
	assert_int_equal(of_thread(call_harmless, SANDBOX_METERING), 0);
	assert_int_equal(of_thread(call_harmless, SANDBOX_METERING_LIBPCAP), 0);
	assert_int_equal(of_thread(call_execve, SANDBOX_METERING_LIBPCAP), 1000 + SIGSYS);
	assert_int_equal(of_thread(call_socket, SANDBOX_METERING_LIBPCAP), 1000 + SIGSYS);
}

/* These a sanitizer's run-time needs, or the writing of counters. */
static void test_metering_calls_of_a_plain_build(void **state)
{
	static void (*const deadly[])(void) = {call_open, call_ptrace, call_fork,
					       call_kill, call_write,  call_writev};

	(void)state;
	if (SANITIZED || COVERAGE)
		skip();
	require_seccomp();
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		assert_int_equal(of_thread(deadly[i], SANDBOX_METERING), 1000 + SIGSYS);
		assert_int_equal(of_thread(deadly[i], SANDBOX_METERING_LIBPCAP), 1000 + SIGSYS);
	}
	assert_int_equal(of_thread(call_fork, SANDBOX_EXPORTING), 1000 + SIGSYS);
	assert_int_equal(of_thread(call_kill, SANDBOX_EXPORTING), 1000 + SIGSYS);
}

static void test_process_calls(void **state)
{
	static void (*const deadly[])(void) = {call_execve, call_packet_socket, call_vm_write,
					       call_sethostname, call_unshare};
	static void (*const allowed[])(void) = {call_socket, call_open, call_harmless, call_write};
	static const enum sandbox_role roles[] = {SANDBOX_CONTROL, SANDBOX_EXPORTING};

	(void)state;
	require_seccomp();
	for (size_t role = 0; role < ARRAY_SIZE(roles); role++) {
		for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
			assert_int_equal(of_thread(deadly[i], roles[role]), 1000 + SIGSYS);
		for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
			assert_int_equal(of_thread(allowed[i], roles[role]), 0);
	}
	/* control starts processes again, and ends those that hang */
	assert_int_equal(of_thread(call_fork, SANDBOX_CONTROL), 0);
	assert_int_equal(of_thread(call_kill, SANDBOX_CONTROL), 0);
}

static void run_log_mode(const void *arg)
{
	struct sandbox *s = enter(&(struct sandbox_config){.mode = SANDBOX_LOG});

	(void)arg;
	EXPECT(strstr(sandbox_report(s), "log only"));
	call_sethostname(); /* refused by the kernel itself: no capability */
	EXPECT(own_status("Seccomp", 10) == 2);
}

static void test_log_mode(void **state)
{
	(void)state;
	require_seccomp();
	assert_int_equal(in_child(run_log_mode, NULL), 0);
}

/* libseccomp writes its program into a file.  One that is cut off is no reason to go on without it. */
static void run_small_files(const void *arg)
{
	struct rlimit most = {1024, 1024};
	struct sandbox *s;
	struct diag diag = {""};

	(void)arg;
	signal(SIGXFSZ, SIG_IGN);
	EXPECT(setrlimit(RLIMIT_FSIZE, &most) == 0);
	EXPECT(sandbox_enter(&s, &(struct sandbox_config){.mode = SANDBOX_ON}, &diag) == -EFBIG);
	EXPECT(strstr(diag.text, "ulimit -f"));
}

static void test_small_files(void **state)
{
	(void)state;
	require_seccomp();
	assert_int_equal(in_child(run_small_files, NULL), 0);
}

static void run_off(const void *arg)
{
	struct sandbox *s = enter(&(struct sandbox_config){.mode = SANDBOX_OFF});
	struct diag diag;

	(void)arg;
	EXPECT(own_status("Seccomp", 10) == 0);
	EXPECT(own_status("CapEff", 16) == 0);
	EXPECT(own_status("NoNewPrivs", 10) == 1);
	EXPECT(strstr(sandbox_missing(s), "--sandbox off"));
	EXPECT(sandbox_enter_calls(s, SANDBOX_METERING, &diag) == 0);
	EXPECT(sandbox_enter_calls(NULL, SANDBOX_METERING, &diag) == 0);
}

static void test_off(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_off, NULL), 0);
}

/* ---- kernels that lack something, or refuse it */

static int drop_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	data[capability / 32].effective &= ~(1u << capability % 32);
	data[capability / 32].permitted &= ~(1u << capability % 32);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

struct poor_kernel {
	int call;
	int error;
	unsigned argument; /* the first; 0: whatever it is */
	const char *user;
	int result; /* of sandbox_enter() */
	const char *sentence;
	bool root; /* only for root */
};

/* Layers that are not there are told; what was to be given up and is not ends the start. */
static const struct poor_kernel poor_kernels[] = {
	{SYS_LANDLOCK_CREATE, ENOSYS, 0, NULL, 0, "Landlock (this kernel has none)", false},
	{SYS_LANDLOCK_CREATE, EOPNOTSUPP, 0, NULL, 0, "Landlock (switched off in this kernel)", false},
	{SYS_seccomp, ENOSYS, 0, NULL, 0, "seccomp (libseccomp does not know this kernel)", false},
	{SYS_seccomp, EINVAL, SECCOMP_SET_MODE_FILTER, NULL, 0, "seccomp (this kernel has none)", false},
	{SYS_LANDLOCK_ADD, ENOMEM, 0, NULL, -ENOMEM, "Landlock: Cannot allocate memory", false},
	{SYS_LANDLOCK_RESTRICT, E2BIG, 0, NULL, -E2BIG, "Landlock: Argument list too long", false},
	{SYS_seccomp, ENOMEM, SECCOMP_SET_MODE_FILTER, NULL, -ENOMEM, "seccomp: Cannot allocate memory",
	 false},
	{SYS_memfd_create, EMFILE, 0, NULL, -EMFILE,
	 "seccomp: compiling the list of system calls: Too many open files", false},
	{SYS_capset, EPERM, 0, NULL, -EPERM, "cannot give up capabilities: Operation not permitted", false},
	{SYS_capget, EPERM, 0, NULL, -EPERM, "cannot give up capabilities: Operation not permitted", false},
	{SYS_prctl, EINVAL, PR_SET_NO_NEW_PRIVS, NULL, -EINVAL,
	 "cannot give up new privileges: Invalid argument", false},
	{SYS_prctl, EINVAL, PR_SET_DUMPABLE, NULL, -EINVAL, "cannot refuse debuggers: Invalid argument",
	 false},
	{SYS_setresuid, EINVAL, 0, NULL, 0, "another user than root (this user namespace has no user ", true},
	{SYS_setresuid, EINVAL, 0, "777", -EINVAL, "--user 777: cannot become this user: Invalid argument",
	 true},
	{SYS_setresgid, EAGAIN, 0, NULL, -EAGAIN, "cannot become this user: Resource temporarily unavailable",
	 true},
};

static void run_poor_kernel(const void *arg)
{
	const struct poor_kernel *k = arg;
	struct sandbox_config config = {.user = k->user};
	struct diag diag = {""};
	struct sandbox *s = NULL;
	const char *said;
	int r;

	EXPECT(refused_call(k->call, k->argument, k->error));
	r = sandbox_enter(&s, &config, &diag);
	said = r < 0 ? diag.text : sandbox_missing(s);
	if (r != k->result || !strstr(said, k->sentence)) {
		fprintf(stderr, "call %d fails (%s): %d instead of %d, '%s' instead of '%s'\n", k->call,
			strerror(k->error), r, k->result, said, k->sentence);
		_exit(FAILED);
	}
	if (r < 0) {
		EXPECT(!s);
		return;
	}
	/* what there is holds all the same */
	EXPECT(own_status("CapEff", 16) == 0);
	EXPECT(own_status("NoNewPrivs", 10) == 1);
	EXPECT(own_status("Seccomp_filters", 10) == (k->call == SYS_seccomp ? 1 : 2));
	sandbox_free(s);
}

static void run_lacks_nothing(const void *arg)
{
	(void)arg;
	_exit(strstr(sandbox_missing(enter(&(struct sandbox_config){0})), "Landlock (") ? 1 : 0);
}

static void test_poor_kernels(void **state)
{
	(void)state;
	require_seccomp();
	if (in_child(run_lacks_nothing, NULL) != 0)
		lacking_here("this kernel has no Landlock");
	for (size_t i = 0; i < ARRAY_SIZE(poor_kernels); i++)
		if (geteuid() == 0 || !poor_kernels[i].root)
			assert_int_equal(in_child(run_poor_kernel, &poor_kernels[i]), 0);
}

/* Root of a container without the capability to become somebody else. */
static void run_bare_root(const void *arg)
{
	struct sandbox *s;

	(void)arg;
	EXPECT(drop_capability(CAP_SETUID) == 0);
	s = enter(&(struct sandbox_config){0});
	EXPECT(strstr(sandbox_missing(s), "another user than root (CAP_SETUID is missing)"));
	EXPECT(geteuid() == 0 && own_status("CapEff", 16) == 0);
}

static void test_bare_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		lacking_here("root has capabilities to lose");
	assert_int_equal(in_child(run_bare_root, NULL), 0);
}

/* ---- files and ports */

static int open_in(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, flags, 0600);
	return fd < 0 ? -errno : close(fd);
}

static void run_paths(const void *arg)
{
	char readable[128], writable[128];
	const char *read_paths[] = {readable, "/no/such/path", NULL}, *write_paths[] = {writable, NULL};
	struct sandbox *s;

	(void)arg;
	snprintf(readable, sizeof(readable), "%s/readable", directory);
	snprintf(writable, sizeof(writable), "%s/writable", directory);
	s = enter(&(struct sandbox_config){.read_paths = read_paths, .write_paths = write_paths});
	if (strstr(sandbox_missing(s), "Landlock ("))
		_exit(77);
	EXPECT(open_in("readable", O_RDONLY) == 0);
	EXPECT(open_in("readable", O_RDWR) == -EACCES);
	EXPECT(SANITIZED || open_in("secret", O_RDONLY) == -EACCES);
	EXPECT(open_in("new", O_WRONLY | O_CREAT) == -EACCES);
	EXPECT(open_in("writable/new", O_WRONLY | O_CREAT) == 0);
	EXPECT(open_in("writable/new", O_WRONLY | O_TRUNC) == 0);
	EXPECT(open("/etc/hostname", O_RDONLY) >= 0 || errno == ENOENT);
	EXPECT(open("/etc/hostname", O_RDWR) < 0);
	snprintf(readable, sizeof(readable), "%s/writable/new", directory);
	EXPECT(unlink(readable) == 0);
}

static void make_file(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT, 0666);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
}

static void test_paths(void **state)
{
	char path[128];
	int status;

	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test_sandbox.XXXXXX");
	assert_non_null(mkdtemp(directory));
	assert_int_equal(chmod(directory, 0777), 0);
	make_file("readable");
	make_file("secret");
	snprintf(path, sizeof(path), "%s/writable", directory);
	assert_int_equal(mkdir(path, 0777), 0);
	assert_int_equal(chmod(path, 0777), 0);
	status = in_child(run_paths, NULL);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/readable", directory);
	unlink(path);
	snprintf(path, sizeof(path), "%s/secret", directory);
	unlink(path);
	rmdir(directory);
	if (status == 77)
		lacking_here("this kernel has no Landlock");
	assert_int_equal(status, 0);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0), r;

	EXPECT(fd >= 0);
	r = connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static void run_ports(const void *arg)
{
	const uint16_t port = *(const uint16_t *)arg;
	struct sandbox *s = enter(&(struct sandbox_config){.tcp_ports = &port, .n_tcp_ports = 1});

	if (strstr(sandbox_missing(s), "Landlock"))
		_exit(77);
	EXPECT(connect_to(port) == 0);
	EXPECT(connect_to((uint16_t)(port ^ 1)) == -EACCES);
}

static void test_ports(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0), status;
	uint16_t port;

	(void)state;
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	port = ntohs(at.sin_port);
	status = in_child(run_ports, &port);
	close(fd);
	if (status == 77)
		lacking_here("this kernel's Landlock knows no TCP");
	assert_int_equal(status, 0);
}

static void test_make_directory(void **state)
{
	struct sandbox_user user = {.uid = 4321, .gid = 4321, .change = geteuid() == 0, .name = "4321"};
	struct diag diag;
	struct stat st;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/tmp/test_sandbox_dir.%d", getpid());
	assert_int_equal(sandbox_make_directory(path, &user, &diag), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_uid, geteuid() == 0 ? 4321 : geteuid());
	user.uid = 4322;
	assert_int_equal(sandbox_make_directory(path, &user, &diag),
			 user.change ? SANDBOX_E_OWNER : 0); /* not again */
	assert_int_equal(stat(path, &st), 0);
	assert_int_not_equal(st.st_uid, 4322);
	rmdir(path);
	if (user.change) { /* root's: when nothing is in it */
		char inside[80];

		snprintf(inside, sizeof(inside), "%s/inside", path);
		assert_int_equal(mkdir(path, 0755), 0);
		assert_int_equal(mkdir(inside, 0755), 0);
		assert_int_equal(sandbox_make_directory(path, &user, &diag), SANDBOX_E_OWNER);
		rmdir(inside);
		assert_int_equal(sandbox_make_directory(path, &user, &diag), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_uid, 4322);
		rmdir(path);
		assert_int_equal(sandbox_make_directory("/tmp", &user, &diag), SANDBOX_E_OWNER);
	}
	assert_int_equal(sandbox_make_directory("/no/such/place", &user, &diag), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),	       cmocka_unit_test(test_no_way_back),
		cmocka_unit_test(test_stay_root),      cmocka_unit_test(test_user),
		cmocka_unit_test(test_metering_calls), cmocka_unit_test(test_metering_calls_of_a_plain_build),
		cmocka_unit_test(test_process_calls),  cmocka_unit_test(test_log_mode),
		cmocka_unit_test(test_small_files),    cmocka_unit_test(test_off),
		cmocka_unit_test(test_poor_kernels),   cmocka_unit_test(test_bare_root),
		cmocka_unit_test(test_paths),	       cmocka_unit_test(test_ports),
		cmocka_unit_test(test_make_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
