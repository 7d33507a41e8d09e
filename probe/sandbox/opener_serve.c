/*
 * opener_serve: the opener itself.  One socket, one loop; opener_keep.c makes it two processes.
 *
 * It becomes the user that the program becomes where all its files are that user's anyway, and keeps the one
 * that started it elsewhere; of capabilities it keeps CAP_NET_RAW if there are captures, CAP_CHOWN only if
 * one of the files is to be somebody else's, and CAP_DAC_OVERRIDE only if one could not be written without
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/descriptors.h"
#include "sandbox/opener_internal.h"
#include "sandbox/sandbox_internal.h"

#define OWN_DESCRIPTORS "/proc/self/fd"

enum { FILES_MAX = 128 };

struct serve {
	const struct opener_config *config;
	struct opener_life *life;
	struct path_at files[FILES_MAX];
	bool is_descriptor[FILES_MAX]; /* a name in our own /proc/self/fd, as /dev/stderr is */
	int reads[OPENER_READS];       /* -1: it could not be opened */
};

/* ---- files */

bool opener_opens(unsigned kind)
{
	return kind == OPENER_REWRITE || kind == OPENER_CONTINUE || kind == OPENER_BEGIN ||
	       kind == OPENER_RESUME;
}

int opener_do(const struct opener_request *request, const struct path_at *at, int *fd,
	      struct opener_done *done, struct diag *diag)
{
	char name[PATH_NAME_SIZE];
	struct path_time time = request->time;
	bool part = false;
	int r;

	*fd = -1;
	*done = (struct opener_done){0};
	switch ((enum opener_kind)request->kind) {
	case OPENER_REWRITE:
		*fd = path_rewrite(at, &part, diag);
		done->part = part;
		return *fd < 0 ? *fd : 0;
	case OPENER_FINISH:
		return path_finish_part(at, diag);
	case OPENER_REMOVE:
		return path_remove(at, diag);
	case OPENER_CONTINUE:
		*fd = path_continue(at, diag);
		return *fd < 0 ? *fd : 0;
	case OPENER_SET_ASIDE:
		r = path_set_aside(at, name, diag);
		return r < 0 ? r : diag_set(diag, 0, "%s", name);
	case OPENER_BEGIN:
		*fd = path_begin_part(at, &time, diag);
		done->number = time.number;
		return *fd < 0 ? *fd : 0;
	case OPENER_RESUME:
		*fd = path_resume_part(at, &time, diag);
		return *fd < 0 ? *fd : 0;
	case OPENER_COMPLETE:
		return path_complete_part(at, &time, diag);
	case OPENER_READY:
	case OPENER_CAPTURE:
	case OPENER_READ:
	case OPENER_ALONE:
		break;
	}
	return diag_set(diag, -EBADRQC, "nothing of the kind is done with a file");
}

/* Whether a file is there for this kind of request. */
static bool serve_permits(const struct opener_file *file, unsigned kind)
{
	static const unsigned rights[] = {
		[OPENER_REWRITE] = OPENER_REWRITES,    [OPENER_FINISH] = OPENER_FINISHES,
		[OPENER_REMOVE] = OPENER_REMOVES,      [OPENER_CONTINUE] = OPENER_CONTINUES,
		[OPENER_SET_ASIDE] = OPENER_CONTINUES, [OPENER_BEGIN] = OPENER_ROTATES,
		[OPENER_COMPLETE] = OPENER_ROTATES,    [OPENER_RESUME] = OPENER_ROTATES,
	};

	return kind < sizeof(rights) / sizeof(*rights) && (file->rights & rights[kind]) != 0;
}

/* Whether that works with what we are now. */
static int serve_may_write(const struct opener_file *file, const struct path_at *at, struct diag *diag)
{
	if (file->rights & (OPENER_REWRITES | OPENER_CONTINUES))
		return path_may_rewrite(at, diag);
	return faccessat(at->dir, ".", W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* Whether the user could do all of it: the directory is theirs, and so is what will be written. */
static bool serve_user_suffices(const struct serve *s)
{
	for (unsigned i = 0; i < s->config->n_files; i++) {
		struct stat dir, st;

		if (fstat(s->files[i].dir, &dir) < 0 || dir.st_uid != s->config->user ||
		    (dir.st_mode & S_IRWXU) != S_IRWXU)
			return false;
		if (path_stat(&s->files[i], &st) == 0 && st.st_uid != s->config->user)
			return false;
	}
	return true;
}

/* ---- set-up */

static int serve_find(struct serve *s, struct diag *diag)
{
	for (unsigned i = 0; i < s->config->n_files; i++) {
		int r = path_find(&s->files[i], s->config->files[i].path, s->config->user, diag);
		struct stat dir, own;

		if (r < 0)
			return diag_prefix(diag, r, "%s ", s->config->files[i].option);
		s->is_descriptor[i] = fstat(s->files[i].dir, &dir) == 0 && stat(OWN_DESCRIPTORS, &own) == 0 &&
				      dir.st_dev == own.st_dev && dir.st_ino == own.st_ino;
	}
	return 0;
}

/* The other process of an opener may not look into the descriptors of the one that found them: each uses its
 * own. */
static void serve_find_descriptors(struct serve *s)
{
	for (unsigned i = 0; i < s->config->n_files; i++) {
		int dir = s->is_descriptor[i] ? open(OWN_DESCRIPTORS, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

		if (dir < 0)
			continue;
		close(s->files[i].dir);
		s->files[i].dir = dir;
	}
}

/* The capabilities that are left stay through a change of user. */
static int serve_become_user(const struct serve *s, struct diag *diag)
{
	const struct sandbox_user user = {.uid = s->config->user, .gid = s->config->group};
	int r;

	if (geteuid() != 0 || user.uid == 0 || !serve_user_suffices(s))
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot keep capabilities: %s", strerror(errno));
	r = sandbox_set_user(&user); /* a user namespace may lack this user: then it stays */
	return r == 0 || r == -EINVAL || r == -EPERM
		       ? 0
		       : diag_set(diag, r, "cannot become uid %u: %s", user.uid, strerror(-r));
}

/* CAP_DAC_OVERRIDE, if something cannot be written without it. */
static uint64_t serve_needs_override(const struct serve *s, uint64_t keep, struct diag *diag)
{
	uint64_t more = UINT64_C(1) << CAP_DAC_OVERRIDE;
	bool needed = false;

	(void)sandbox_lend_capabilities(keep | more, keep);
	for (unsigned i = 0; i < s->config->n_files; i++)
		needed |= serve_may_write(&s->config->files[i], &s->files[i], diag) < 0;
	return needed ? more : 0;
}

static uint64_t serve_needs_chown(const struct serve *s)
{
	for (unsigned i = 0; i < s->config->n_files; i++)
		if (s->config->files[i].rights & ~OPENER_REMOVES && path_gives(&s->files[i]))
			return UINT64_C(1) << CAP_CHOWN;
	return 0;
}

static int serve_drop(const struct serve *s, struct diag *diag)
{
	uint64_t keep = s->config->n_captures ? UINT64_C(1) << CAP_NET_RAW : 0;
	struct rlimit none = {0, 0};
	int r;

	setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_NAME, opener_name(s->config));
	sandbox_drop_bounding(keep | UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_CHOWN);
	r = serve_become_user(s, diag);
	if (r < 0)
		return r;
	/* after the change of user, which decides it anew */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot refuse debuggers: %s", strerror(errno));
	keep |= serve_needs_chown(s);
	keep |= serve_needs_override(s, keep, diag);
	r = sandbox_keep_capabilities(keep, diag);
	for (unsigned i = 0; r == 0 && i < s->config->n_files; i++) {
		/* the file is opened when there are statistics, which may be in a week: better told now */
		if (s->config->files[i].rights & OPENER_REWRITES)
			r = path_may_rewrite(&s->files[i], diag);
		if (r < 0)
			diag_prefix(diag, r, "%s ", s->config->files[i].option);
	}
	return r;
}

static int serve_landlock(const struct serve *s, struct diag *diag)
{
	int directories[FILES_MAX];

	for (unsigned i = 0; i < s->config->n_files; i++)
		directories[i] = s->files[i].dir;
	return landlock_enter_writing(directories, s->config->n_files, diag);
}

/* The missing layers are in reply->text. */
static int serve_sandbox(const struct serve *s, struct opener_reply *reply, struct diag *diag)
{
	struct syscalls_program program;
	size_t n = 0;
	int r;

	if (!s->config->sandbox)
		return 0;
	r = serve_landlock(s, diag);
	if (r < 0)
		return r;
	if (r == SANDBOX_E_MISSING)
		n = (size_t)snprintf(reply->text, sizeof(reply->text), "Landlock (%.80s)", diag->text);
	r = syscalls_compile(&program, SYSCALLS_OPENER, false, NULL, 0, diag);
	if (r == 0)
		r = syscalls_enter(&program, true, diag);
	syscalls_release(&program);
	if (r == SANDBOX_E_MISSING) {
		snprintf(reply->text + n, sizeof(reply->text) - n, "%sseccomp (%.80s)", n ? ", " : "",
			 diag->text);
		r = 0;
	}
	return r;
}

/* ---- the loop */

static int serve_capture(const struct opener_config *config, const struct opener_request *request,
			 struct opener_reply *reply, int *fds, unsigned *n_fds)
{
	struct opener_answer answer = {0};
	struct diag diag = {""};
	int r;

	if (request->index >= config->n_captures)
		return -EBADRQC;
	r = config->open_capture(config->ctx, request->index, request->group, &answer, &diag);
	snprintf(reply->text, sizeof(reply->text), "%.255s", diag.text);
	if (r < 0)
		return r;
	memcpy(reply->facts, answer.facts, sizeof(reply->facts));
	memcpy(fds, answer.fds, sizeof(answer.fds));
	*n_fds = answer.n_fds;
	return 0;
}

static int serve_file(const struct serve *s, const struct opener_request *request, struct opener_reply *reply,
		      int *fds, unsigned *n_fds)
{
	struct diag diag = {""};
	struct opener_done done;
	int r, fd = -1;

	if (request->index >= s->config->n_files ||
	    !serve_permits(&s->config->files[request->index], request->kind))
		return -EBADRQC;
	r = opener_do(request, &s->files[request->index], &fd, &done, &diag);
	memcpy(reply->facts, &done, sizeof(done));
	snprintf(reply->text, sizeof(reply->text), "%.255s", diag.text);
	if (fd >= 0)
		fds[(*n_fds)++] = fd;
	return r;
}

/* From its beginning, each time. */
static int serve_read(const struct serve *s, const struct opener_request *request, struct opener_reply *reply,
		      int *fds, unsigned *n_fds)
{
	int fd = request->index < s->config->n_reads ? s->reads[request->index] : -1, r;

	if (fd < 0)
		return -ENOENT;
	if (lseek(fd, 0, SEEK_SET) < 0) {
		r = -errno;
		snprintf(reply->text, sizeof(reply->text), "%.190s: is no file, so it can be read once only",
			 s->config->reads[request->index]);
		return r;
	}
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	fds[(*n_fds)++] = fd;
	return 0;
}

/* 0 when it was answered, or need not be. */
static int serve_one(int fd, const struct serve *s, const struct opener_request *request)
{
	struct opener_reply reply = {.number = request->number};
	int fds[OPENER_FDS];
	unsigned n_fds = 0;
	int r;

	if (request->kind == OPENER_CAPTURE)
		reply.result = serve_capture(s->config, request, &reply, fds, &n_fds);
	else if (request->kind == OPENER_READ)
		reply.result = serve_read(s, request, &reply, fds, &n_fds);
	else
		reply.result = serve_file(s, request, &reply, fds, &n_fds);
	if (reply.result < 0 && !reply.text[0])
		snprintf(reply.text, sizeof(reply.text), "%s", strerror(-reply.result));
	r = descriptors_send(fd, &reply, sizeof(reply), fds, n_fds, 0);
	descriptors_close(fds, n_fds);
	return r;
}

/* The process before this one ended over a question: how far it had come nobody knows, and it is not tried
 * again. */
static void serve_excuse(int fd, const struct serve *s)
{
	struct opener_reply reply = {.number = atomic_load(&s->life->at), .result = -EINTR};

	atomic_store(&s->life->at, 0);
	if (!reply.number)
		return;
	snprintf(reply.text, sizeof(reply.text), "the process %s has ended while it was at it",
		 opener_name(s->config));
	(void)descriptors_send(fd, &reply, sizeof(reply), NULL, 0, 0);
}

/* The elder process is stopped: its parent may not end it, but we may. */
static void serve_end_elder(const struct serve *s)
{
	pid_t elder = opener_elder(s->life);

	if (elder == getppid())
		kill(elder, SIGKILL);
}

static int serve_requests(void *ctx, int fd, int elder_fd)
{
	struct serve *s = ctx;

	serve_find_descriptors(s);
	serve_excuse(fd, s);
	for (;;) {
		struct pollfd fds[] = {{.fd = elder_fd}, {.fd = fd, .events = POLLIN}};
		struct opener_request request;
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return 1;
		if (fds[0].revents)
			return OPENER_E_ALONE;
		n = recv(fd, &request, sizeof(request), MSG_DONTWAIT);
		if (n == 0)
			return 0; /* the other side is gone */
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return 1;
		if (n != sizeof(request)) /* not of ours */
			continue;
		if (request.kind == OPENER_ALONE) {
			serve_end_elder(s);
			continue;
		}
		atomic_store(&s->life->at, request.number);
		n = serve_one(fd, s, &request);
		atomic_store(&s->life->at, 0);
		if (n < 0)
			return n == -EPIPE ? 0 : 1;
	}
}

/*
 * It lives as long as its parent needs it: signals to the whole group of processes (of a terminal, of a
 * service) are the parent's.  What the parent has open is not its business.
 */
static void serve_begin(int fd)
{
	static const int of_faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
	sigset_t all;

	sigfillset(&all);
	for (unsigned i = 0; i < sizeof(of_faults) / sizeof(*of_faults); i++)
		sigdelset(&all, of_faults[i]);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL); /* where it is ignored nobody could wait for the other process */
	if (fd > 3)
		close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, UINT_MAX, 0);
}

static int serve_set_up(struct serve *s, struct opener_reply *reply, struct diag *diag)
{
	int r = s->config->n_files > FILES_MAX
			? diag_set(diag, -E2BIG, "more than %d output files", FILES_MAX)
			: serve_find(s, diag);

	for (unsigned i = 0; i < s->config->n_reads && i < OPENER_READS; i++) {
		struct diag ignored; /* whoever needs it first says it better */

		s->reads[i] = path_read(s->config->reads[i], s->config->user, O_NONBLOCK, &ignored);
	}
	if (r == 0)
		r = serve_drop(s, diag);
	return r < 0 ? r : serve_sandbox(s, reply, diag);
}

int opener_serve(int fd, const struct opener_config *config, struct opener_life *life)
{
	static struct serve s; /* of a process of its own, whose end is the end of all this */
	struct opener_reply reply = {0};
	struct diag diag = {""};
	int r;

	s.config = config;
	s.life = life;
	opener_step_up(life);
	serve_begin(fd);
	if (config->detach)
		sandbox_leave_terminal();
	r = serve_set_up(&s, &reply, &diag);
	reply.result = r;
	if (r < 0)
		snprintf(reply.text, sizeof(reply.text), "%.255s", diag.text);
	if (descriptors_send(fd, &reply, sizeof(reply), NULL, 0, 0) < 0 || r < 0)
		return 1;
	return opener_keep(life, fd, serve_requests, &s);
}
