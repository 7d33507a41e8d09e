/* take_over: see take_over.h.  The new process asks the older one, and keeps what that one hands over. */
#include "take_over.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control_internal.h"
#include "pitot/control_protocol.h"
#include "pitot/log.h"
#include "take_over_internal.h"
#include "take_over_offer.h"
#include "take_over_wire.h"

#define MEMORY_MOST (UINT64_C(64) << 30)

static const uint64_t least_ns = NS_PER_SEC;
static const uint64_t margin_ns = 2 * NS_PER_SEC; /* the older process gives up first, and says so */

/* ---- asking */

static int take_fail(const struct control *r, int ret, const char *what, struct diag *diag)
{
	return diag_set(diag, ret, "--takeover: %.200s: %s", r->confine.control_path, what);
}

static int take_connect(const struct control *r, struct diag *diag)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	const char *path = r->confine.control_path;
	int fd, ret;

	if (!path[0])
		return diag_set(diag, -ENOENT,
				"--takeover: there is no control socket to ask at: name that of the other "
				"process with "
				"--control");
	if (strlen(path) >= sizeof(at.sun_path))
		return take_fail(r, -ENAMETOOLONG, "the path is too long", diag);
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return take_fail(r, -errno, strerror(errno), diag);
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	ret = errno == ENOENT || errno == ECONNREFUSED
		      ? take_fail(r, -errno, "no pitot listens there; start without --takeover", diag)
		      : take_fail(r, -errno, strerror(errno), diag);
	close(fd);
	return ret;
}

/* A line, octet by octet: what is behind it is no line. */
static int take_line(int fd, char *line, size_t size, uint64_t deadline_ns)
{
	size_t n = 0;

	while (n + 1 < size) {
		ssize_t done = recv(fd, line + n, 1, MSG_DONTWAIT);
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (done == 1 && line[n] == '\n')
			break;
		if (done == 1)
			n++;
		else if (done == 0)
			return -EPIPE;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
		else if (clock_monotonic_ns() >= deadline_ns)
			return -ETIMEDOUT;
		else
			(void)poll(&p, 1, 100);
	}
	line[n] = '\0';
	return 0;
}

static int take_ask(struct take_over *t, const struct control *r, struct diag *diag)
{
	static const char request[] = "{\"command\":\"takeover\",\"version\":\"" PITOT_VERSION "\"}\n";
	char line[1024];
	struct diag why = {""};
	int ret;

	if (send(t->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1)
		return take_fail(r, -errno, "cannot be asked", diag);
	ret = take_line(t->fd, line, sizeof(line), clock_monotonic_ns() + t->patience_ns);
	if (ret == -EPIPE)
		return take_fail(r, ret,
				 "only root, and the user that the other process runs as, may take over",
				 diag);
	if (ret == 0)
		ret = take_over_read_offer(line, &t->n_workers, &why);
	if (ret < 0)
		return take_fail(r, ret, why.text[0] ? why.text : strerror(-ret), diag);
	if (t->n_workers == 0 || t->n_workers > TAKE_OVER_WORKERS)
		return take_fail(r, -EBADMSG, "the answer is none", diag);
	return 0;
}

int take_over_begin(struct take_over **tp, const struct control *r, struct diag *diag)
{
	struct take_over *t;
	int ret;

	*tp = NULL;
	if (!r->config->takeover)
		return 0;
	if (!take_over_offers_exist())
		return diag_set(diag, -ENOTSUP,
				"--takeover: this build has no JSON library, and so no control socket");
	t = calloc(1, sizeof(*t));
	if (!t)
		return diag_set(diag, -ENOMEM, "--takeover: out of memory");
	t->listener = -1;
	t->patience_ns = r->config->stop_ns > least_ns ? r->config->stop_ns : least_ns;
	ret = t->fd = take_connect(r, diag);
	if (ret >= 0)
		ret = take_ask(t, r, diag);
	if (ret < 0) {
		take_over_free(t);
		return ret;
	}
	*tp = t;
	return 0;
}

unsigned take_over_workers(const struct take_over *t)
{
	return t ? t->n_workers : 0;
}

/* ---- receiving */

static int take_memory(struct take_over_memory *m, int fd, uint64_t octets)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;

	if (m->memory || (fcntl(fd, F_GET_SEALS) & sealed) != sealed || fstat(fd, &st) < 0 || octets == 0 ||
	    octets > MEMORY_MOST || (uint64_t)st.st_size < octets)
		return -EBADMSG;
	m->memory = mmap(NULL, octets, PROT_READ, MAP_PRIVATE, fd, 0);
	if (m->memory == MAP_FAILED) {
		m->memory = NULL;
		return -ENOMEM;
	}
	m->octets = octets;
	return sections_read_init(&m->sections, m->memory, octets);
}

static int take_sockets(struct take_over *t, unsigned worker, const int *fds, unsigned n)
{
	struct take_over_worker *w = &t->workers[worker];
	int *grown;

	if (worker >= t->n_workers || w->n_fds + n > TAKE_OVER_INTERFACES)
		return -EBADMSG;
	grown = reallocarray(w->fds, w->n_fds + n, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	w->fds = grown;
	memcpy(grown + w->n_fds, fds, n * sizeof(*fds));
	w->n_fds += n;
	return 0;
}

static int take_sessions(struct take_over *t, const int *fds, unsigned n)
{
	if (t->n_sessions + n > EXPORTING_COLLECTORS_MAX)
		return -EBADMSG;
	memcpy(t->sessions + t->n_sessions, fds, n * sizeof(*fds));
	t->n_sessions += n;
	return 0;
}

/* *keeps: the descriptors are t's. */
static int take_message(struct take_over *t, const struct take_over_message *m, const int *fds, bool *keeps)
{
	int r = -EBADMSG;

	*keeps = false;
	switch (m->kind) {
	case TAKE_OVER_MEMORY_PROCESS:
		return m->n_fds == 1 ? take_memory(&t->of_process, fds[0], m->value) : r;
	case TAKE_OVER_MEMORY_EXPORTING:
		return m->n_fds == 1 ? take_memory(&t->of_exporting, fds[0], m->value) : r;
	case TAKE_OVER_MEMORY_THREAD:
		return m->n_fds == 1 && m->number < t->n_workers
			       ? take_memory(&t->workers[m->number].memory, fds[0], m->value)
			       : r;
	case TAKE_OVER_SOCKETS_THREAD:
		r = take_sockets(t, m->number, fds, m->n_fds);
		break;
	case TAKE_OVER_SOCKETS_EXPORTING:
		r = take_sessions(t, fds, m->n_fds);
		break;
	case TAKE_OVER_LISTENER:
		if (m->n_fds == 1 && t->listener < 0) {
			t->listener = fds[0];
			r = 0;
		}
		break;
	default:
		return 0; /* of a version that has more to say */
	}
	*keeps = r == 0;
	return r;
}

static int take_all(struct take_over *t, struct diag *diag)
{
	for (;;) {
		struct take_over_message m;
		int fds[TAKE_OVER_FDS], r = take_over_hear(t->fd, &m, fds, t->deadline_ns);
		bool keeps;

		if (r < 0)
			return diag_set(diag, r, "--takeover: the other process does not hand over: %s",
					strerror(-r));
		if (m.kind == TAKE_OVER_REFUSED)
			return diag_set(diag, -ECANCELED, "--takeover: the other process goes on: %.230s",
					m.text);
		r = take_message(t, &m, fds, &keeps);
		for (unsigned i = 0; !keeps && i < m.n_fds; i++)
			close(fds[i]);
		if (r < 0)
			return diag_set(diag, r,
					"--takeover: what the other process hands over cannot be understood");
		if (m.kind == TAKE_OVER_READY)
			return 0;
	}
}

static int take_read_process(struct take_over *t, struct diag *diag)
{
	struct section s;
	bool good = t->of_process.memory &&
		    sections_find(&t->of_process.sections, TAKE_OVER_PROCESS, TAKE_OVER_VERSION, &s) &&
		    section_get(&s, &t->process, sizeof(t->process)) &&
		    t->process.n_workers == t->n_workers && t->process.n_interfaces <= TAKE_OVER_INTERFACES;

	if (good) {
		t->process.pidfile[sizeof(t->process.pidfile) - 1] = '\0';
		t->interfaces = calloc(t->process.n_interfaces + 1, sizeof(*t->interfaces));
		good = t->interfaces &&
		       section_get(&s, t->interfaces, t->process.n_interfaces * sizeof(*t->interfaces));
	}
	for (unsigned i = 0; good && i < t->process.n_interfaces; i++)
		t->interfaces[i].name[sizeof(t->interfaces[i].name) - 1] = '\0';
	for (unsigned i = 0; good && i < t->n_workers; i++)
		good = t->workers[i].memory.memory &&
		       sections_find(&t->workers[i].memory.sections, FLOW_SECTION, FLOW_SECTION_VERSION, &s);
	return good ? 0
		    : diag_set(diag, -EBADMSG,
			       "--takeover: the other process's flows are of a kind that this version does "
			       "not know: it "
			       "goes on; stop it, and start this one");
}

int take_over_receive(struct take_over *t, struct diag *diag)
{
	struct take_over_message freeze = {.kind = TAKE_OVER_FREEZE};
	int r;

	if (!t)
		return 0;
	t->deadline_ns = clock_monotonic_ns() + t->patience_ns + margin_ns;
	r = take_over_send(t->fd, &freeze, NULL, 0, t->deadline_ns);
	if (r < 0)
		return diag_set(diag, r, "--takeover: the other process is gone: %s", strerror(-r));
	r = take_all(t, diag);
	if (r == 0)
		r = take_read_process(t, diag);
	t->received = r == 0;
	return r;
}

const struct take_over_facts *take_over_get_facts(const struct take_over *t)
{
	return t && t->received ? &t->process : NULL;
}

/* ---- the moment */

int take_over_commit(struct take_over *t, uint64_t taken, struct diag *diag)
{
	struct take_over_message m = {.kind = TAKE_OVER_COMMIT, .value = taken};
	int fds[TAKE_OVER_FDS], r = take_over_send(t->fd, &m, NULL, 0, t->deadline_ns);

	if (r < 0)
		return diag_set(diag, r, "--takeover: the other process is gone: %s", strerror(-r));
	do {
		r = take_over_hear(t->fd, &m, fds, t->deadline_ns);
		for (unsigned i = 0; r == 0 && i < m.n_fds; i++)
			close(fds[i]);
	} while (r == 0 && m.kind != TAKE_OVER_REFUSED && m.kind != TAKE_OVER_DONE);
	if (r == 0 && m.kind == TAKE_OVER_REFUSED)
		return diag_set(diag, -ECANCELED, "--takeover: the other process goes on: %.230s", m.text);
	if (r < 0)
		log_warning("--takeover: the other process does not say that it has let go (%s): this one "
			    "goes on",
			    strerror(-r));
	return 0;
}

int take_over_listener(struct take_over *t)
{
	int fd = t && t->listener > 0 ? t->listener : 0;

	if (t)
		t->listener = -1;
	return fd;
}

static void take_forget_memory(struct take_over_memory *m)
{
	if (m->memory)
		munmap(m->memory, m->octets);
	m->memory = NULL;
}

void take_over_free(struct take_over *t)
{
	if (!t)
		return;
	take_forget_memory(&t->of_process);
	take_forget_memory(&t->of_exporting);
	for (unsigned i = 0; i < TAKE_OVER_WORKERS; i++) {
		struct take_over_worker *w = &t->workers[i];

		take_forget_memory(&w->memory);
		for (unsigned k = 0; k < w->n_fds; k++)
			if (w->fds[k] >= 0)
				close(w->fds[k]);
		free(w->fds);
	}
	for (unsigned i = 0; i < t->n_sessions; i++)
		close(t->sessions[i]);
	if (t->listener >= 0)
		close(t->listener);
	if (t->fd >= 0)
		close(t->fd);
	free(t->interfaces);
	free(t);
}
