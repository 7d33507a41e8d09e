/*
 * opener_serve: the opener process itself.  One thread, one socket, one loop.
 *
 * It keeps the user that started it and CAP_NET_RAW if there are captures; CAP_DAC_OVERRIDE only if that user
 * could not write one of the files without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/opener_internal.h"
#include "sandbox/sandbox_internal.h"

enum { FILES_MAX = 128 };

/* ---- files */

int opener_do_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	return fd < 0 ? -errno : fd;
}

int opener_do_rename(const char *path)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	return rename(part, path) < 0 ? -errno : 0;
}

int opener_do_remove(const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}

static void serve_directory(char directory[PATH_MAX], const char *path)
{
	char *slash;

	snprintf(directory, PATH_MAX, "%s", path);
	slash = strrchr(directory, '/');
	if (!slash)
		snprintf(directory, PATH_MAX, ".");
	else
		slash[slash == directory] = '\0';
}

static bool serve_may_write(const char *path)
{
	char directory[PATH_MAX];

	serve_directory(directory, path);
	if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) < 0)
		return false;
	return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 || errno == ENOENT;
}

/* ---- set-up */

static int serve_drop(const struct opener_config *config, struct diag *diag)
{
	uint64_t keep = config->n_captures ? UINT64_C(1) << CAP_NET_RAW : 0;
	uint64_t more = keep | UINT64_C(1) << CAP_DAC_OVERRIDE;
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_NAME, "pitot-opener");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return diag_set(diag, -errno, "cannot refuse debuggers: %s", strerror(errno));
	sandbox_drop_bounding(more);
	/* what can be written without the one capability decides whether it stays */
	(void)sandbox_lend_capabilities(more, keep);
	for (unsigned i = 0; i < config->n_files; i++)
		if (!serve_may_write(config->files[i]))
			keep = more;
	return sandbox_keep_capabilities(keep, diag);
}

static int serve_landlock(const struct opener_config *config, struct diag *diag)
{
	static char directories[FILES_MAX][PATH_MAX];
	const char *list[FILES_MAX + 1] = {NULL};

	if (config->n_files > FILES_MAX)
		return diag_set(diag, -E2BIG, "more than %d output files", FILES_MAX);
	for (unsigned i = 0; i < config->n_files; i++) {
		serve_directory(directories[i], config->files[i]);
		list[i] = directories[i];
	}
	return landlock_enter_writing(list, diag);
}

/* The missing layers are in reply->text. */
static int serve_sandbox(const struct opener_config *config, struct opener_reply *reply, struct diag *diag)
{
	struct syscalls_program program;
	size_t n = 0;
	int r;

	if (!config->sandbox)
		return 0;
	r = serve_landlock(config, diag);
	if (r < 0)
		return r;
	if (r == SANDBOX_E_MISSING)
		n = (size_t)snprintf(reply->text, sizeof(reply->text), "Landlock (%.80s)", diag->text);
	r = syscalls_compile(&program, SYSCALLS_OPENER, false, diag);
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

static void serve_leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

/* ---- the loop */

static int serve_capture(const struct opener_config *config, unsigned index, struct opener_reply *reply,
			 int *fds, unsigned *n_fds)
{
	struct opener_answer answer = {0};
	struct diag diag = {""};
	int r;

	if (index >= config->n_captures)
		return -EBADRQC;
	r = config->open_capture(config->ctx, index, &answer, &diag);
	snprintf(reply->text, sizeof(reply->text), "%.255s", diag.text);
	if (r < 0)
		return r;
	memcpy(reply->facts, answer.facts, sizeof(reply->facts));
	memcpy(fds, answer.fds, sizeof(answer.fds));
	*n_fds = answer.n_fds;
	return 0;
}

static int serve_file(const struct opener_config *config, const struct opener_request *request, int *fds,
		      unsigned *n_fds)
{
	const char *path;
	int r;

	if (request->index >= config->n_files)
		return -EBADRQC;
	path = config->files[request->index];
	switch (request->kind) {
	case OPENER_RENAME:
		return opener_do_rename(path);
	case OPENER_REMOVE:
		return opener_do_remove(path);
	case OPENER_FILE:
		r = opener_do_file(path);
		if (r < 0)
			return r;
		fds[(*n_fds)++] = r;
		return 0;
	default:
		return -EBADRQC;
	}
}

static int serve_one(int fd, const struct opener_config *config, const struct opener_request *request)
{
	struct opener_reply reply = {.number = request->number};
	int fds[OPENER_FDS];
	unsigned n_fds = 0;
	int r;

	if (request->kind == OPENER_CAPTURE)
		reply.result = serve_capture(config, request->index, &reply, fds, &n_fds);
	else
		reply.result = serve_file(config, request, fds, &n_fds);
	if (reply.result < 0 && !reply.text[0])
		snprintf(reply.text, sizeof(reply.text), "%s", strerror(-reply.result));
	r = opener_send(fd, &reply, fds, n_fds);
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
	return r;
}

int opener_serve(int fd, const struct opener_config *config)
{
	struct opener_reply reply = {0};
	struct diag diag = {""};
	int r;

	if (config->detach)
		serve_leave_terminal();
	r = serve_drop(config, &diag);
	if (r == 0)
		r = serve_sandbox(config, &reply, &diag);
	reply.result = r;
	if (r < 0)
		snprintf(reply.text, sizeof(reply.text), "%.255s", diag.text);
	if (opener_send(fd, &reply, NULL, 0) < 0 || r < 0)
		return 1;
	for (;;) {
		struct opener_request request;
		ssize_t n = recv(fd, &request, sizeof(request), 0);

		if (n == 0)
			return 0; /* the other side is gone */
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(request) || serve_one(fd, config, &request) < 0)
			return 1;
	}
}
