/* client: see client.h. */
#include "client.h"

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/control_protocol.h"
#include "pitot/waiting.h"

enum { WAIT_MS = 10000, ANSWER_MAX = 256 << 20 };

/* Connected; or why not.  A socket that somebody was killed beside stays, and nobody listens there. */
static int client_connect(struct client *c, const char *path, int flags)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	/* one that hangs takes no more connections at some time, and would be waited for */
	const struct timeval most = {.tv_sec = WAIT_MS / 1000};
	int r = 0;

	if (!*path || strlen(path) >= sizeof(at.sun_path))
		return *path ? -ENAMETOOLONG : -ENOENT;
	memcpy(at.sun_path, path, strlen(path) + 1);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (c->fd < 0)
		return -errno;
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
	if (connect(c->fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		r = -errno;
		client_close(c);
	}
	return r;
}

static bool client_is_left_over(const char *path)
{
	struct client c = {.fd = -1};
	int r = client_connect(&c, path, SOCK_NONBLOCK);

	client_close(&c);
	return r == -ECONNREFUSED;
}

/* The one socket of a pitot that runs here. */
static int client_find(char *path, size_t size, struct diag *diag)
{
	const char *several[2] = {NULL, NULL};
	unsigned n = 0;
	glob_t found = {0};
	/* a service NAME of several has the directory pitot-NAME */
	int r = glob(CONTROL_DIRECTORY "{,-*}/*" CONTROL_SUFFIX, GLOB_BRACE, NULL, &found);

	if (r == GLOB_NOMATCH || (r == 0 && found.gl_pathc == 0))
		r = diag_set(diag, -ENOENT,
			     "no pitot listens in " CONTROL_DIRECTORY
			     ": start it as root with -i, or give it --control PATH and say -c PATH here");
	else if (r != 0)
		r = diag_set(diag, -EACCES, "cannot look into " CONTROL_DIRECTORY);
	for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
		if (found.gl_pathc > 1 && client_is_left_over(found.gl_pathv[i]))
			continue;
		if (n < 2)
			several[n] = found.gl_pathv[i];
		n++;
	}
	if (n > 1)
		r = diag_set(diag, -EEXIST, "several pitots listen (%s, %s%s): say which with -c PATH",
			     several[0], several[1], n > 2 ? " ..." : "");
	else if (r == 0)
		snprintf(path, size, "%s", n ? several[0] : found.gl_pathv[0]);
	globfree(&found);
	return r;
}

void client_init(struct client *c, int fd)
{
	*c = (struct client){.fd = fd, .wait_ms = WAIT_MS};
}

int client_open(struct client *c, const char *path, struct diag *diag)
{
	char found[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat st;
	int r = 0;

	client_init(c, -1);
	if (!path) {
		r = client_find(found, sizeof(found), diag);
		path = found;
	}
	if (r < 0)
		return r;
	r = client_connect(c, path, 0);
	if (r == 0)
		return 0;
	if (r == -EAGAIN)
		return diag_set(diag, -ETIMEDOUT, "%s: pitot does not answer", path);
	if (r == -ENAMETOOLONG)
		return diag_set(diag, r, "%.60s...: a socket's path has at most %zu octets", path,
				sizeof(found) - 1);
	if (r == -ECONNREFUSED && stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return diag_set(diag, r, "%s: this is no socket", path);
	if (r == -ECONNREFUSED)
		return diag_set(diag, r, "%s: no pitot listens there any more", path);
	if (r == -EACCES)
		return diag_set(diag, r, "%s: you may not: be root, or a member of pitot's --control-group",
				path);
	return diag_set(diag, r, "%s: %s", *path ? path : "-c ''", strerror(-r));
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	*c = (struct client){.fd = -1};
}

static int client_send(struct client *c, const json_t *request, struct diag *diag)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t size = text ? strlen(text) : 0, sent = 0;

	if (!text)
		return diag_set(diag, -ENOMEM, "out of memory");
	text[size++] = '\n'; /* in the place of the end */
	while (sent < size) {
		ssize_t n = send(c->fd, text + sent, size - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int r = -errno;

			free(text);
			return r == -EAGAIN ? diag_set(diag, -ETIMEDOUT, "pitot does not answer")
					    : diag_set(diag, r, "pitot is gone: %s", strerror(-r));
		}
		sent += (size_t)n;
	}
	free(text);
	return 0;
}

/* Until something is there to be read; signals do not lengthen the wait.  False: nothing came in time. */
static bool client_wait(const struct client *c, uint64_t end_ns)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	uint64_t now_ns;

	while ((now_ns = clock_monotonic_ns()) < end_ns)
		if (waiting_poll(&waiting_really, &p, 1, (int)((end_ns - now_ns) / NS_PER_MSEC) + 1) > 0)
			return true;
	return false;
}

/* Until a whole line is in. */
static int client_receive(struct client *c, struct diag *diag)
{
	uint64_t end_ns = clock_monotonic_ns() + c->wait_ms * NS_PER_MSEC;

	while (!c->n_in || !memchr(c->in, '\n', c->n_in)) {
		ssize_t n;

		if (c->n_in == c->size) {
			char *grown = c->size < ANSWER_MAX ? realloc(c->in, c->size * 2 + 65536) : NULL;

			if (!grown)
				return diag_set(diag, -ENOMEM, "the answer is too long");
			c->in = grown;
			c->size = c->size * 2 + 65536;
		}
		if (!client_wait(c, end_ns))
			return diag_set(diag, -ETIMEDOUT, "pitot does not answer");
		n = recv(c->fd, c->in + c->n_in, c->size - c->n_in, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return diag_set(diag, -ECONNRESET, "pitot has ended, or has cut this off");
		c->n_in += (size_t)n;
	}
	return 0;
}

/* The next line.  Positive: more lines come. */
static int client_line(struct client *c, json_t **result, struct diag *diag)
{
	int r = client_receive(c, diag);
	const char *why;
	json_t *answer;
	size_t line;

	if (r < 0)
		return r;
	line = (size_t)((char *)memchr(c->in, '\n', c->n_in) - c->in);
	answer = json_loadb(c->in, line, 0, NULL);
	memmove(c->in, c->in + line + 1, c->n_in - line - 1);
	c->n_in -= line + 1;
	if (!json_is_object(answer)) {
		json_decref(answer);
		return diag_set(diag, -EPROTO, "what listens there is no pitot: its answer is no object");
	}
	why = json_string_value(json_object_get(answer, "error"));
	if (json_is_true(json_object_get(answer, "ok")))
		*result = json_incref(json_object_get(answer, "result"));
	else
		r = diag_set(diag, -EREMOTEIO, "%s", why ? why : "refused, without a reason");
	if (r == 0 && json_is_true(json_object_get(answer, "more")))
		r = 1;
	json_decref(answer);
	return r;
}

int client_ask_parts(struct client *c, const json_t *request, void (*part)(void *ctx, const json_t *result),
		     void *ctx, json_t **result, struct diag *diag)
{
	int r = client_send(c, request, diag);

	if (r < 0)
		return r;
	while ((r = client_line(c, result, diag)) > 0) {
		part(ctx, *result);
		json_decref(*result);
		*result = NULL;
	}
	return r;
}

static void client_ignore(void *ctx, const json_t *result)
{
	(void)ctx;
	(void)result;
}

int client_ask(struct client *c, const char *command, json_t **result, struct diag *diag)
{
	json_t *request = json_pack("{s:s}", "command", command);
	int r = request ? client_ask_parts(c, request, client_ignore, NULL, result, diag)
			: diag_set(diag, -ENOMEM, "out of memory");

	json_decref(request);
	return r;
}
