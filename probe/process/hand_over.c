/*
 * hand_over: the older process of a take-over (take_over.h), in control.
 *
 * One that asks may still open what it needs before it says that the older process is to stop reading.  From
 * there on everything happens in one go and within --stop-timeout, for packets wait meanwhile in the
 * captures' buffers: stop reading, send out what waits, write everything down, hand it over, wait for the
 * word that the other one is ready. If anything of that fails all go on where they were.
 */
#include "take_over.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control_internal.h"
#include "pitot/log.h"
#include "take_over_wire.h"

static const uint64_t settle_ns = NS_PER_SEC; /* for collectors to acknowledge what was sent */
static const uint64_t least_ns = NS_PER_SEC;
static const uint64_t asking_ns =
	10 * NS_PER_SEC; /* beside --stop-timeout, until it wants to have everything */

struct handing {
	struct control *control;
	uint64_t deadline_ns;
	struct diag why;
};

static int hand_fail(struct handing *h, int r, const char *what)
{
	return diag_set(&h->why, r, "%s: %s", what, strerror(-r));
}

/* ---- who may */

int hand_over_offer(struct control *r, int fd, const char *version, struct diag *diag)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return diag_set(diag, -errno, "who asks is not known: %s", strerror(errno));
	/* whoever may ask for numbers may not have the packets */
	if (peer.uid != 0 && peer.uid != r->confine.user && peer.uid != geteuid())
		return diag_set(diag, -EPERM,
				"only root, and the user that this pitot runs as, may take over");
	if (!r->live)
		return diag_set(diag, -EINVAL, "this pitot reads files: there is nothing to take over");
	if (r->finishing || r->stop_by_ns)
		return diag_set(diag, -EBUSY, "this pitot is ending");
	if (r->heir.fd >= 0)
		return diag_set(diag, -EBUSY, "process %d is taking over already", r->heir.pid);
	if (r->of_metering.due_ns || r->of_exporting.due_ns)
		return diag_set(diag, -EAGAIN,
				"a process of this pitot is being started again: try once more");
	if (r->config->capture == CONFIG_CAPTURE_XDP)
		return diag_set(
			diag, -EOPNOTSUPP,
			"captures by XDP cannot be handed over: stop this pitot, then start the other one");
	if (control_is_polite(r) && r->stepping.polite.rung != POLITE_FULL)
		return diag_set(diag, -EAGAIN, "this pitot steps back just now (--polite): try once more");
	r->heir = (struct heir){.fd = fd, .pid = (int)peer.pid, .since_ns = clock_monotonic_ns()};
	snprintf(r->heir.version, sizeof(r->heir.version), "%s", version);
	return 0;
}

static void hand_forget(struct control *r)
{
	if (r->heir.fd >= 0)
		close(r->heir.fd);
	r->heir.fd = -1;
}

/* ---- waiting, while the service manager hears of us */

static int hand_pause(struct handing *h)
{
	uint64_t now_ns = clock_monotonic_ns();

	service_watchdog(&h->control->service, now_ns);
	if (now_ns >= h->deadline_ns)
		return -ETIMEDOUT;
	poll(NULL, 0, 1);
	return 0;
}

/* What an ask came to.  True: it was late, and is to be asked again, for it may have much to write. */
static bool hand_is_late(struct handing *h, int *r)
{
	if (*r == MAILBOX_E_LATE && hand_pause(h) == 0)
		return true;
	*r = *r == MAILBOX_E_LATE ? -ETIMEDOUT : *r == MAILBOX_E_GONE ? -ESRCH : *r;
	return false;
}

/* ---- memory that nobody can change any more */

static int hand_memory(struct handing *h, uint64_t octets)
{
	int fd = memfd_create("pitot-takeover", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return hand_fail(h, -errno, "memory");
	if (ftruncate(fd, (off_t)octets) < 0) {
		int r = hand_fail(h, -errno, "memory");

		close(fd);
		return r;
	}
	return fd;
}

static int hand_seal(struct handing *h, int fd)
{
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return hand_fail(h, -errno, "sealing what is handed over");
	return 0;
}

static int hand_send(struct handing *h, enum take_over_kind kind, unsigned number, uint64_t value,
		     const int *fds, unsigned n)
{
	struct take_over_message m = {.kind = kind, .number = number, .value = value};
	int r = take_over_send(h->control->heir.fd, &m, fds, n, h->deadline_ns);

	return r < 0 ? hand_fail(h, r, "the process that takes over") : 0;
}

/* The descriptors that a process has sent, on to the heir. */
static int hand_sockets(struct handing *h, const struct mailbox *m, enum take_over_kind kind, unsigned number,
			unsigned n)
{
	int r = 0;

	while (r == 0 && n) {
		int fds[TAKE_OVER_FDS];
		unsigned some = n < sizeof(fds) / sizeof(*fds) ? n : sizeof(fds) / sizeof(*fds);

		r = mailbox_get_fds(m, fds, some);
		if (r < 0)
			return hand_fail(h, r, "sockets of a process");
		r = hand_send(h, kind, number, 0, fds, some);
		for (unsigned i = 0; i < some; i++)
			close(fds[i]);
		n -= some;
	}
	return r;
}

/* ---- the parts */

static int hand_freeze(struct handing *h, uint64_t *octets)
{
	struct control *r = h->control;
	struct command_frozen frozen = {0};

	for (unsigned i = 0; i < r->n_workers; i++) {
		struct mailbox *m = &r->shared.to_metering[i];
		int ret;

		do
			ret = command_ask_freeze(m, &(struct command_none){0}, &frozen);
		while (hand_is_late(h, &ret));

		if (ret < 0 || !frozen.frozen)
			return hand_fail(h, ret < 0 ? ret : -EINVAL,
					 "a metering thread does not stop reading");
		octets[i] = frozen.octets;
	}
	return 0;
}

static int hand_settle(struct handing *h, uint64_t *octets)
{
	struct mailbox *m = &h->control->shared.to_exporting;
	struct command_settle settle = {clock_monotonic_ns() + settle_ns};
	struct command_frozen frozen = {0};
	int r;

	if (settle.by_ns > h->deadline_ns)
		settle.by_ns = h->deadline_ns;
	r = command_tell_settle(m, &settle);
	while (r == 0 && !frozen.frozen) {
		do
			r = command_ask_settled(m, &(struct command_none){0}, &frozen);
		while (hand_is_late(h, &r));
		if (r == 0 && !frozen.frozen)
			r = hand_pause(h);
	}
	*octets = frozen.octets;
	return r ? hand_fail(h, r < 0 ? r : -ESRCH, "the exporting process cannot send what waits") : 0;
}

/* How a process hands over: what it is asked for, and as what that goes on. */
struct hand_way {
	int (*send)(struct mailbox *m, const struct command_hand_over *what, const int *fds, unsigned n);
	int (*ask)(struct mailbox *m, const struct command_none *none, struct command_handed *handed);
	enum take_over_kind memory, sockets;
	unsigned most; /* sockets */
	const char *refused;
};

static const struct hand_way hand_thread = {.send = command_send_hand_over,
					    .ask = command_ask_handed,
					    .memory = TAKE_OVER_MEMORY_THREAD,
					    .sockets = TAKE_OVER_SOCKETS_THREAD,
					    .most = TAKE_OVER_INTERFACES,
					    .refused = "a metering thread cannot hand over"};
static const struct hand_way hand_exporting = {.send = command_send_pass_on,
					       .ask = command_ask_passed,
					       .memory = TAKE_OVER_MEMORY_EXPORTING,
					       .sockets = TAKE_OVER_SOCKETS_EXPORTING,
					       .most = EXPORTING_COLLECTORS_MAX,
					       .refused = "the exporting process cannot hand over"};

static int hand_part(struct handing *h, struct mailbox *m, const struct hand_way *way, unsigned number,
		     uint64_t octets)
{
	struct command_hand_over what = {octets};
	struct command_handed handed = {0};
	int fd = hand_memory(h, octets), r;

	if (fd < 0)
		return fd;
	mailbox_drop_fds(m); /* of an earlier try */
	r = way->send(m, &what, &fd, 1);
	if (r == 0) {
		do
			r = way->ask(m, &(struct command_none){0}, &handed);
		while (hand_is_late(h, &r));
	}
	if (r || !handed.octets || handed.n_fds > way->most)
		r = hand_fail(h, r < 0 ? r : -EIO, way->refused);
	if (r == 0)
		r = hand_seal(h, fd);
	if (r == 0)
		r = hand_send(h, way->memory, number, handed.octets, &fd, 1);
	close(fd);
	return r < 0 ? r : hand_sockets(h, m, way->sockets, number, handed.n_fds);
}

static void hand_write_process(const struct control *r, struct sections_writer *w)
{
	struct take_over_facts p = {.start_realtime_ns = r->boot.realtime_ns,
				    .start_monotonic_ns = r->boot.monotonic_ns,
				    .selection_seed = {r->selection_seed.k[0], r->selection_seed.k[1]},
				    .watchdog_ns = r->service.interval_ns,
				    .fanout_seed = r->captures[0].fanout_seed,
				    .n_workers = r->n_workers,
				    .n_interfaces = r->n_captures,
				    .sampling = take_over_sampling(r)};

	if (r->config->pidfile)
		snprintf(p.pidfile, sizeof(p.pidfile), "%s", r->config->pidfile);
	sections_begin(w, TAKE_OVER_PROCESS, TAKE_OVER_VERSION);
	sections_put(w, &p, sizeof(p));
	for (unsigned i = 0; i < r->n_captures; i++) {
		struct take_over_interface itf = {.point = r->captures[i].point};

		snprintf(itf.name, sizeof(itf.name), "%s", r->captures[i].interface);
		sections_put(w, &itf, sizeof(itf));
	}
	sections_end(w);
}

static int hand_process(struct handing *h)
{
	struct control *r = h->control;
	size_t octets = 8192 + r->n_captures * sizeof(struct take_over_interface), used;
	int fd = hand_memory(h, octets), listener = control_socket_listener(r->socket), ret = 0;
	struct sections_writer w;
	void *memory;

	if (fd < 0)
		return fd;
	memory = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		ret = hand_fail(h, -errno, "memory");
		close(fd);
		return ret;
	}
	sections_write_init(&w, memory, octets);
	hand_write_process(r, &w);
	used = sections_finish(&w);
	munmap(memory, octets);
	if (!used)
		ret = hand_fail(h, -ENOSPC, "memory");
	if (ret == 0)
		ret = hand_seal(h, fd);
	if (ret == 0)
		ret = hand_send(h, TAKE_OVER_MEMORY_PROCESS, 0, used, &fd, 1);
	if (ret == 0 && listener >= 0)
		ret = hand_send(h, TAKE_OVER_LISTENER, 0, 0, &listener, 1);
	close(fd);
	return ret;
}

/* ---- all of it */

static int hand_all(struct handing *h)
{
	struct shared *shared = &h->control->shared;
	uint64_t octets[TAKE_OVER_WORKERS], exporting_octets = 0;
	unsigned n = h->control->n_workers;
	int r = n > TAKE_OVER_WORKERS ? -E2BIG : hand_freeze(h, octets);

	if (r == 0)
		r = hand_settle(h, &exporting_octets);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = hand_part(h, &shared->to_metering[i], &hand_thread, i, octets[i]);
	if (r == 0)
		r = hand_part(h, &shared->to_exporting, &hand_exporting, 0, exporting_octets);
	if (r == 0)
		r = hand_process(h);
	return r < 0 ? r : hand_send(h, TAKE_OVER_READY, 0, 0, NULL, 0);
}

/* Until the other one is ready, or it is not. */
static int hand_await_word(struct handing *h, struct take_over_message *word)
{
	int fds[TAKE_OVER_FDS], r;

	do {
		uint64_t soon_ns = clock_monotonic_ns() + 100 * NS_PER_MSEC;

		service_watchdog(&h->control->service, clock_monotonic_ns());
		/* a word that has begun to come comes at once */
		r = take_over_hear(h->control->heir.fd, word, fds,
				   soon_ns < h->deadline_ns ? soon_ns : h->deadline_ns);
	} while (r == -ETIMEDOUT && clock_monotonic_ns() < h->deadline_ns);
	for (unsigned i = 0; r == 0 && i < word->n_fds; i++)
		close(fds[i]);
	if (r == -EPIPE)
		return diag_set(&h->why, r, "process %d has ended before it was ready", h->control->heir.pid);
	if (r == -ETIMEDOUT)
		return diag_set(&h->why, r, "process %d was not ready in time (--stop-timeout)",
				h->control->heir.pid);
	return r == 0 && word->kind != TAKE_OVER_COMMIT
		       ? hand_fail(h, -EBADMSG, "the process that takes over")
		       : r;
}

/* Nobody took over: as if nothing had been. */
static void hand_undo(struct handing *h)
{
	struct control *r = h->control;
	struct take_over_message m = {.kind = TAKE_OVER_REFUSED};

	for (unsigned i = 0; i < r->n_workers; i++)
		command_tell_thaw(&r->shared.to_metering[i], &(struct command_none){0});
	command_tell_resume(&r->shared.to_exporting, &(struct command_none){0});
	snprintf(m.text, sizeof(m.text), "%.220s", h->why.text);
	(void)take_over_send(r->heir.fd, &m, NULL, 0, clock_monotonic_ns() + 100 * NS_PER_MSEC);
	hand_forget(r);
	log_warning("nobody took over: %s; this process goes on", h->why.text);
}

/* It is theirs. */
static void hand_commit(struct handing *h, uint64_t taken)
{
	struct control *r = h->control;
	struct command_release release = {taken};

	r->heir.is_owner = true;
	command_tell_release(&r->shared.to_exporting, &release);
	for (unsigned i = 0; i < r->n_workers; i++)
		command_tell_let_go(&r->shared.to_metering[i], &(struct command_none){0});
	service_main_process(&r->service, r->heir.pid);
}

void hand_over_done(struct control *r)
{
	struct take_over_message done = {.kind = TAKE_OVER_DONE};

	(void)take_over_send(r->heir.fd, &done, NULL, 0, clock_monotonic_ns() + NS_PER_SEC);
	hand_forget(r);
	log_info("process %d, pitot %s, has taken over; packets waited %llu ms; this process ends",
		 r->heir.pid, r->heir.version,
		 (unsigned long long)((clock_monotonic_ns() - r->heir.since_ns) / NS_PER_MSEC));
}

static void hand_all_over(struct control *r)
{
	uint64_t patience_ns = r->config->stop_ns > least_ns ? r->config->stop_ns : least_ns;
	struct handing h = {.control = r, .deadline_ns = clock_monotonic_ns() + patience_ns};
	struct take_over_message word;
	int ret;

	r->heir.since_ns = clock_monotonic_ns();
	ret = hand_all(&h);

	if (ret == 0)
		ret = hand_await_word(&h, &word);
	if (ret < 0)
		hand_undo(&h);
	else
		hand_commit(&h, word.value);
}

bool hand_over_step(struct control *r, uint64_t now_ns)
{
	struct pollfd p = {.fd = r->heir.fd, .events = POLLIN};
	struct take_over_message word;
	int fds[TAKE_OVER_FDS], ret;

	if (r->heir.fd < 0)
		return false;
	if (poll(&p, 1, 0) <= 0) {
		if (now_ns > r->heir.since_ns + r->config->stop_ns + asking_ns)
			hand_forget(r);
		return false;
	}
	ret = take_over_hear(r->heir.fd, &word, fds, now_ns + NS_PER_SEC);
	for (unsigned i = 0; ret == 0 && i < word.n_fds; i++)
		close(fds[i]);
	if (ret == 0 && word.kind == TAKE_OVER_FREEZE && !r->stop_by_ns)
		hand_all_over(r);
	else
		hand_forget(r);
	return r->heir.is_owner;
}
