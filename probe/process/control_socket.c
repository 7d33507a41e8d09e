/* control_socket: see control_socket.h. */
#include "control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/control_protocol.h"
#include "pitot/path.h"

#define OUT_MAX	     (8u << 20) /* octets of answers that wait for a client */
#define STEP_LINES   4		/* requests of one client in a turn: metering is told of in between */
#define GROUPS_MAX   256
#define STREAM_OUT   (64u << 10)       /* octets that may wait before a stream is asked for more */
#define STREAM_LINES 8		       /* of one client in a turn */
#define STREAM_REST  3		       /* for each time unit of work */
#define STREAM_NS    (5 * NS_PER_MSEC) /* most that one client takes in a turn, waiting included */

struct control_client {
	int fd;
	uint64_t heard_ns; /* monotonic */
	char *in;
	size_t n_in;
	char *out;
	size_t n_out, sent, room;
	bool ended; /* sends no more */
	bool own;
	struct control_stream *stream; /* the answer that is under way; requests wait until it has ended */
};

struct control_socket {
	struct control_socket_config config;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	bool has_group;
	gid_t group;
	int fd;
	unsigned n_clients;
	struct control_client clients[CONTROL_CLIENTS_MAX];
	struct control_socket_stats stats;
	struct control_client *asking; /* whose request is being answered */
	uint64_t streams_ns;	       /* when they may go on */
};

/* ---- the socket */

static struct sockaddr_un control_socket_address(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	return at;
}

/* Is it a socket that nobody listens on? */
static bool control_socket_is_stale(const struct path_at *place, const struct sockaddr_un *at)
{
	int fd, r;
	struct stat st;

	if (path_stat(place, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	r = connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0 ? errno : 0;
	close(fd);
	return r == ECONNREFUSED;
}

/* The place is walked to as all paths are (path.h), and everything is done relative to its directory. */
static int control_socket_bind_at(struct control_socket *s, const struct path_at *place, struct diag *diag)
{
	char name[sizeof(s->path)];
	struct sockaddr_un at;
	mode_t mask = umask(s->has_group ? 0117 : 0177);
	int r;

	if (snprintf(name, sizeof(name), "/proc/self/fd/%d/%s", place->dir, place->name) >=
		    (int)sizeof(name) ||
	    access("/proc/self/fd", X_OK) < 0)
		snprintf(name, sizeof(name), "%s", s->path);
	at = control_socket_address(name);
	r = bind(s->fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
	if (r == EADDRINUSE && control_socket_is_stale(place, &at) && path_remove(place, diag) == 0)
		r = bind(s->fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
	umask(mask);
	if (r == EADDRINUSE)
		return diag_set(diag, -r,
				"--control %s: is in use: another pitot listens there, or it is no socket",
				s->path);
	if (r)
		return diag_set(diag, -r, "--control %s: %s", s->path, strerror(r));
	if (s->has_group && fchownat(place->dir, place->name, (uid_t)-1, s->group, AT_SYMLINK_NOFOLLOW) < 0)
		return diag_set(diag, -errno, "--control-group: %s: %s", s->path, strerror(errno));
	return listen(s->fd, 64) < 0 ? diag_set(diag, -errno, "--control %s: %s", s->path, strerror(errno))
				     : 0;
}

static int control_socket_bind(struct control_socket *s, struct diag *diag)
{
	struct path_at place;
	int r = path_find(&place, s->path, (unsigned)s->config.user, diag);

	r = r < 0 ? diag_prefix(diag, r, "--control ") : control_socket_bind_at(s, &place, diag);
	path_forget(&place);
	return r;
}

int control_socket_find_group(const char *name, gid_t *gid, struct diag *diag)
{
	const struct group *group = getgrnam(name);

	if (!group)
		return diag_set(diag, -ENOENT, "--control-group %.80s: there is no such group", name);
	*gid = group->gr_gid;
	return 0;
}

static int control_socket_set_group(struct control_socket *s, const char *name, struct diag *diag)
{
	s->has_group = false;
	if (!name)
		return 0;
	s->has_group = control_socket_find_group(name, &s->group, diag) == 0;
	return s->has_group ? 0 : -ENOENT;
}

int control_socket_open(struct control_socket **sp, const struct control_socket_config *config,
			struct diag *diag)
{
	struct control_socket *s;
	int r;

	if (config->path && strlen(config->path) >= sizeof(s->path))
		return diag_set(diag, -ENAMETOOLONG,
				"--control %.60s...: a socket's path has at most %zu octets", config->path,
				sizeof(s->path) - 1);
	s = calloc(1, sizeof(*s));
	if (!s)
		return diag_set(diag, -ENOMEM, "--control: out of memory");
	s->config = *config;
	s->fd = -1;
	*sp = s;
	if (!config->path)
		return 0;
	*sp = NULL;
	snprintf(s->path, sizeof(s->path), "%s", config->path);
	s->config.path = s->path;
	if (config->listener > 0) {
		s->fd = config->listener;
		*sp = s;
		return control_socket_set_group(s, config->group, diag);
	}
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = s->fd < 0 ? diag_set(diag, -errno, "--control: %s", strerror(errno)) : 0;
	if (r == 0)
		r = control_socket_set_group(s, config->group, diag);
	if (r == 0)
		r = control_socket_bind(s, diag);
	if (r < 0) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return r;
	}
	*sp = s;
	return 0;
}

static void control_socket_drop(struct control_socket *s, unsigned i)
{
	struct control_client *c = &s->clients[i];

	close(c->fd);
	if (c->stream)
		c->stream->free(c->stream);
	free(c->in);
	free(c->out);
	*c = s->clients[--s->n_clients];
}

void control_socket_close(struct control_socket *s)
{
	if (!s)
		return;
	while (s->n_clients)
		control_socket_drop(s, 0);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

void control_socket_add(struct control_socket *s, int fd)
{
	if (s->n_clients == CONTROL_CLIENTS_MAX)
		control_socket_drop(s, 0);
	s->clients[s->n_clients++] = (struct control_client){.fd = fd, .own = true};
}

int control_socket_detach(struct control_socket *s)
{
	int fd = s->asking ? fcntl(s->asking->fd, F_DUPFD_CLOEXEC, 3) : -1;

	if (fd >= 0)
		s->asking->ended = true; /* and goes when it was answered */
	return fd;
}

int control_socket_listener(const struct control_socket *s)
{
	return s ? s->fd : -1;
}

void control_socket_let_go(struct control_socket *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	for (unsigned i = 0; i < s->n_clients;)
		if (s->clients[i].own)
			control_socket_drop(s, i);
		else
			i++;
}

void control_socket_get_stats(const struct control_socket *s, struct control_socket_stats *stats)
{
	*stats = s ? s->stats : (struct control_socket_stats){0};
}

/* ---- clients */

static bool control_socket_in_group(const struct control_socket *s, int fd, gid_t own)
{
	gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (!s->has_group)
		return false;
	if (own == s->group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		if (groups[i] == s->group)
			return true;
	return false;
}

/* The file's mode keeps others away already; this is for a directory that somebody else could write. */
static bool control_socket_may(const struct control_socket *s, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	return peer.uid == 0 || peer.uid == s->config.user || peer.uid == geteuid() ||
	       control_socket_in_group(s, fd, peer.gid);
}

/* The one that was silent longest makes room. */
static void control_socket_make_room(struct control_socket *s)
{
	unsigned oldest = CONTROL_CLIENTS_MAX;

	if (s->n_clients < CONTROL_CLIENTS_MAX)
		return;
	for (unsigned i = 0; i < s->n_clients; i++)
		if (!s->clients[i].own &&
		    (oldest == CONTROL_CLIENTS_MAX || s->clients[i].heard_ns < s->clients[oldest].heard_ns))
			oldest = i;
	control_socket_drop(s, oldest);
	s->stats.cut_off++;
}

static void control_socket_accept(struct control_socket *s, uint64_t now_ns)
{
	for (unsigned n = 0; s->fd >= 0 && n < CONTROL_CLIENTS_MAX; n++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		if (!control_socket_may(s, fd)) {
			s->stats.refused++;
			close(fd);
			continue;
		}
		control_socket_make_room(s);
		s->clients[s->n_clients++] = (struct control_client){.fd = fd, .heard_ns = now_ns};
		s->stats.accepted++;
	}
}

/* False: the client is gone, or has to go. */
static bool control_client_send(struct control_client *c)
{
	while (c->sent < c->n_out) {
		ssize_t n = send(c->fd, c->out + c->sent, c->n_out - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
	}
	free(c->out);
	c->out = NULL;
	c->sent = c->n_out = c->room = 0;
	return !c->ended || c->stream;
}

/* Room for size octets behind those that wait; it is doubled, so that what waits is not copied for each
 * answer. */
static bool control_client_make_room(struct control_client *c, size_t size)
{
	size_t left = c->n_out - c->sent, room = 2 * c->room < OUT_MAX ? 2 * c->room : OUT_MAX;
	char *grown;

	if (left + size > OUT_MAX)
		return false; /* it does not read */
	if (c->n_out + size <= c->room)
		return true;
	if (c->sent)
		memmove(c->out, c->out + c->sent, left);
	c->n_out = left;
	c->sent = 0;
	if (left + size <= c->room)
		return true;
	if (room < left + size)
		room = left + size;
	grown = realloc(c->out, room);
	if (!grown)
		return false;
	c->out = grown;
	c->room = room;
	return true;
}

static bool control_client_append(struct control_client *c, const char *text)
{
	size_t size = strlen(text);

	if (!control_client_make_room(c, size + 1))
		return false;
	memcpy(c->out + c->n_out, text, size);
	c->out[c->n_out + size] = '\n';
	c->n_out += size + 1;
	return true;
}

static bool control_client_answer(struct control_socket *s, struct control_client *c, const char *line,
				  size_t size)
{
	char *answer;
	bool good;

	s->asking = c;
	answer = s->config.answer(s->config.ctx, line, size, &c->stream);
	s->asking = NULL;
	good = answer ? control_client_append(c, answer) : c->stream != NULL;

	free(answer);
	s->stats.requests++;
	return good;
}

/* Whole lines of what came; the rest waits for its end. */
static bool control_client_lines(struct control_socket *s, struct control_client *c)
{
	size_t done = 0;
	bool good = true;

	for (unsigned n = 0; good && !c->stream && n < STEP_LINES; n++) {
		char *end = memchr(c->in + done, '\n', c->n_in - done);

		if (!end)
			break;
		good = control_client_answer(s, c, c->in + done, (size_t)(end - c->in) - done);
		done = (size_t)(end - c->in) + 1;
	}
	memmove(c->in, c->in + done, c->n_in - done);
	c->n_in -= done;
	if (c->n_in == CONTROL_LINE_MAX && !c->stream && !memchr(c->in, '\n', c->n_in))
		return false;
	return good;
}

static bool control_client_receive(struct control_socket *s, struct control_client *c, uint64_t now_ns)
{
	ssize_t n;

	if (!c->in)
		c->in = malloc(CONTROL_LINE_MAX);
	if (!c->in)
		return false;
	n = c->ended || c->stream || c->n_in == CONTROL_LINE_MAX
		    ? -1
		    : recv(c->fd, c->in + c->n_in, CONTROL_LINE_MAX - c->n_in, MSG_DONTWAIT);
	if (n > 0) {
		c->n_in += (size_t)n;
		c->heard_ns = now_ns;
	}
	if (n == 0)
		c->ended = true; /* it may still read */
	if (n < 0 && !c->ended && !c->stream && c->n_in < CONTROL_LINE_MAX && errno != EAGAIN &&
	    errno != EINTR)
		return false;
	return control_client_lines(s, c);
}

static bool control_client_wants_more(const struct control_client *c)
{
	return c->stream && c->n_out - c->sent < STREAM_OUT;
}

/* Some lines of the answer that is under way.  False: the client has to go. */
static bool control_client_stream(struct control_client *c, uint64_t now_ns)
{
	uint64_t end_ns = clock_monotonic_ns() + STREAM_NS;
	bool ended = false, good = true;

	for (unsigned n = 0; good && !ended && n < STREAM_LINES && control_client_wants_more(c) &&
			     (n == 0 || clock_monotonic_ns() < end_ns);
	     n++) {
		char *line = c->stream->next(c->stream, &ended);

		good = line ? control_client_append(c, line) : !ended;
		free(line);
	}
	c->heard_ns = now_ns; /* it reads */
	if (ended) {
		c->stream->free(c->stream);
		c->stream = NULL;
	}
	return good;
}

/* Streams work a part of the time only. */
static void control_socket_stream(struct control_socket *s, uint64_t now_ns)
{
	uint64_t begun_ns, worked_ns;
	bool worked = false;

	if (now_ns < s->streams_ns)
		return;
	begun_ns = clock_monotonic_ns();
	worked_ns = clock_worked_ns();
	for (unsigned i = 0; i < s->n_clients;) {
		if (!control_client_wants_more(&s->clients[i])) {
			i++;
			continue;
		}
		worked = true;
		if (control_client_stream(&s->clients[i], now_ns)) {
			i++;
		} else {
			s->stats.cut_off++;
			control_socket_drop(s, i);
		}
	}
	if (worked)
		s->streams_ns = now_ns + clock_monotonic_ns() - begun_ns +
				STREAM_REST * (clock_worked_ns() - worked_ns);
}

int control_socket_wait_ms(const struct control_socket *s, uint64_t now_ns, int most_ms)
{
	for (unsigned i = 0; s && i < s->n_clients; i++) {
		uint64_t wait_ns = s->streams_ns > now_ns ? s->streams_ns - now_ns : 0;

		if (control_client_wants_more(&s->clients[i]) && wait_ns < (uint64_t)most_ms * NS_PER_MSEC)
			return (int)((wait_ns + NS_PER_MSEC - 1) / NS_PER_MSEC);
	}
	return most_ms;
}

nfds_t control_socket_polls(const struct control_socket *s, struct pollfd polls[CONTROL_POLLS])
{
	nfds_t n = 0;

	if (!s)
		return 0;
	polls[n++] = (struct pollfd){.fd = s->fd, .events = POLLIN}; /* -1 is passed over */
	for (unsigned i = 0; i < s->n_clients; i++) {
		const struct control_client *c = &s->clients[i];

		polls[n++] = (struct pollfd){
			.fd = c->fd,
			/* what waits behind a stream's answer stays where it is */
			.events = (short)((c->ended || c->stream ? 0 : POLLIN) | (c->n_out ? POLLOUT : 0))};
	}
	return n;
}

void control_socket_step(struct control_socket *s, uint64_t now_ns)
{
	if (!s)
		return;
	control_socket_accept(s, now_ns);
	control_socket_stream(s, now_ns);
	for (unsigned i = 0; i < s->n_clients;) {
		struct control_client *c = &s->clients[i];
		bool good = control_client_receive(s, c, now_ns);

		if (good)
			good = control_client_send(c);
		else
			s->stats.cut_off++;
		if (good)
			i++;
		else
			control_socket_drop(s, i);
	}
}
