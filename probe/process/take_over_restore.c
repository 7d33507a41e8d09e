/*
 * take_over_restore: see take_over.h.  What the older process handed over becomes the new one's: captures,
 * flows and sessions.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>

#include "control_internal.h"
#include "pitot/log.h"
#include "take_over.h"
#include "take_over_internal.h"

uint32_t take_over_sampling(const struct control *r)
{
	const struct config_sample *s = &r->config->sample;
	uint32_t polite = 15;

	if (control_is_polite(r))
		return polite << 28; /* each record says by itself */
	return s->interval > 1 ? (uint32_t)s->kind << 28 | s->interval : 1;
}

int take_over_check_sampling(const struct take_over *t, const struct control *r, struct diag *diag)
{
	uint32_t there = t->process.sampling;

	if (there == 0 || there == take_over_sampling(r))
		return 0;
	return diag_set(
		diag, -ENOTSUP,
		"--takeover: the other process selects packets otherwise (--sample, --polite), and a "
		"flow's record has packets of one rate only: it goes on; stop it, and start this one");
}

uint64_t take_over_latest_id(const struct take_over *t)
{
	uint64_t latest = 0, mask = (UINT64_C(1) << 56) - 1;

	for (unsigned i = 0; t && i < t->n_workers; i++) {
		struct take_over_thread thread;
		struct section s;

		if (sections_find(&t->workers[i].memory.sections, TAKE_OVER_THREAD, TAKE_OVER_VERSION, &s) &&
		    section_get(&s, &thread, sizeof(thread)) && (thread.latest_id & mask) > latest)
			latest = thread.latest_id & mask;
	}
	return latest;
}

/* ---- captures */

/* By its name, or by its index where it was renamed; -1: none of those that were measured. */
static int take_find_place(const struct take_over *t, const char *interface)
{
	for (unsigned i = 0; i < t->process.n_interfaces; i++)
		if (strcmp(t->interfaces[i].name, interface) == 0)
			return (int)i;
	return -1;
}

/* Of a worker: what it had of the place, and its socket, which is *fd's no more. */
static bool take_find_capture(struct take_over_worker *w, unsigned place, struct take_over_capture *c,
			      int **fd)
{
	struct section s;
	unsigned nth = 0;

	if (!sections_find(&w->memory.sections, TAKE_OVER_CAPTURES, TAKE_OVER_VERSION, &s))
		return false;
	while (section_get(&s, c, sizeof(*c))) {
		*fd = c->has_socket && nth < w->n_fds ? &w->fds[nth] : NULL;
		nth += c->has_socket != 0;
		c->method[sizeof(c->method) - 1] = '\0';
		if (c->place == place)
			return true;
	}
	return false;
}

/* Have all workers a socket of it?  What they have instead is said. */
static bool take_is_whole(struct take_over *t, const char *interface, unsigned place)
{
	uint32_t index = if_nametoindex(interface);

	for (unsigned i = 0; i < t->n_workers; i++) {
		struct take_over_capture c;
		int *fd;

		if (!take_find_capture(&t->workers[i], place, &c, &fd) || !c.has_capture)
			return false; /* it was waited for */
		if (fd && *fd >= 0 && index == c.facts.index)
			continue;
		if (!fd)
			log_warning("--takeover: interface %s was captured by %s, which cannot be handed "
				    "over: it is "
				    "opened anew, and what came meanwhile is not measured",
				    interface, c.method);
		return false;
	}
	return true;
}

int take_over_captures(struct take_over *t, const char *interface, struct capture **captures,
		       const struct capture_plan *plan, struct diag *diag)
{
	int place = t && t->received ? take_find_place(t, interface) : -1, ret = 0;

	if (place < 0 || !take_is_whole(t, interface, (unsigned)place))
		return 0;
	for (unsigned i = 0; ret == 0 && i < t->n_workers; i++) {
		struct take_over_capture c;
		struct capture_descriptor d;
		int *fd = NULL;

		if (!take_find_capture(&t->workers[i], (unsigned)place, &c, &fd) || !fd)
			ret = diag_set(diag, -EBADMSG, "--takeover: a capture cannot be understood");
		if (ret < 0)
			break;
		d = (struct capture_descriptor){.fd = *fd, .facts = c.facts};
		*fd = -1;
		ret = capture_take_over(&captures[i], plan, &d, &c.position, diag);
		if (ret < 0)
			captures[i] = NULL;
	}
	for (unsigned i = 0; ret < 0 && i < t->n_workers; i++) {
		capture_close(captures[i]);
		captures[i] = NULL;
	}
	return ret < 0 ? ret : 1;
}

/* ---- flows */

static void take_say_interfaces(const struct take_over *t, const struct control *r)
{
	for (unsigned i = 0; i < t->process.n_interfaces; i++) {
		bool here = false;

		for (unsigned n = 0; n < r->n_captures; n++)
			here |= strcmp(t->interfaces[i].name, r->captures[n].interface) == 0;
		if (!here)
			log_warning(
				"--takeover: interface %s is not measured any more: its flows end by their "
				"time-outs, and what waited in its buffer is dropped",
				t->interfaces[i].name);
	}
}

/* What this process calls the observation points of the other one. */
static void take_map_points(const struct take_over *t, const struct control *r, uint16_t *to, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = UINT16_MAX; /* nobody's */
	for (unsigned i = 0; i < t->process.n_interfaces; i++)
		for (unsigned k = 0; k < r->n_captures; k++)
			if (strcmp(t->interfaces[i].name, r->captures[k].interface) == 0 &&
			    t->interfaces[i].point < n)
				to[t->interfaces[i].point] = r->captures[k].point;
}

int take_over_flows(struct take_over *t, const struct control *r, struct diag *diag)
{
	uint16_t to[TAKE_OVER_INTERFACES + 1];
	struct flow_points points = {.to = to, .n = 1};
	const char *missing = NULL;
	int ret = 0;

	if (!t || !t->received)
		return 0;
	/* "any" tells interfaces apart by their indices, which stay */
	points.n = t->process.n_interfaces == 1 ? 0 : t->process.n_interfaces + 1;
	if (t->process.n_interfaces == 1 && r->n_captures > 1)
		points.n = 1;
	take_map_points(t, r, to, points.n);
	take_say_interfaces(t, r);
	for (unsigned i = 0; ret == 0 && i < t->n_workers; i++) {
		ret = metering_take_over(r->workers[i], &t->workers[i].memory.sections, &points, &missing,
					 diag);
		if (ret < 0)
			diag_prefix(diag, ret, "--takeover: ");
	}
	if (ret == 0 && missing)
		log_warning("--takeover: the other process's flows had no %s facts: those of flows that live "
			    "on are "
			    "zero",
			    missing);
	return ret;
}

/* ---- sessions */

static void take_say_session(void *ctx, const char *sentence)
{
	(void)ctx;
	log_warning("--takeover: %s", sentence);
}

uint64_t take_over_sessions(const struct take_over *t, struct exporter *e)
{
	int fds[EXPORTING_COLLECTORS_MAX];
	uint64_t taken;

	if (!t || !t->received || !t->of_exporting.memory)
		return 0;
	for (unsigned i = 0; i < t->n_sessions; i++)
		fds[i] = fcntl(t->sessions[i], F_DUPFD_CLOEXEC, 3);
	taken = exporter_take_over(e, &t->of_exporting.sections, fds, t->n_sessions, take_say_session, NULL);
	return taken;
}
