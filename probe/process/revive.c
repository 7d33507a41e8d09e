/*
 * revive: see revive.h.
 *
 * A process is dead when it has ended, when it was stopped, or when a thread of it stands still although it
 * gets processor time.  One that gets none is left alone.  The first time it is started again at once; one
 * that dies young again and again is waited for longer each time.
 */
#include "revive.h"

#include <assert.h>
#include <errno.h>

#include "ending.h"
#include "losses.h"
#include "pitot/log.h"
#include "roles.h"

static const uint64_t grown_up_ns = 10 * NS_PER_SEC;

static uint64_t revive_wait_ns(unsigned quick)
{
	static const unsigned ms[] = {0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000};

	return ms[quick < sizeof(ms) / sizeof(*ms) ? quick : sizeof(ms) / sizeof(*ms) - 1] * NS_PER_MSEC;
}

/* Threads first to last of the watch. */
static bool revive_hangs(struct control *r, const struct child *c, unsigned first, unsigned last)
{
	for (unsigned i = first; r->live && !r->stop_by_ns && i < last; i++)
		if (watch_hangs(&r->watch, &r->shared, i, (int)c->pid))
			return true;
	return false;
}

/* What keeps it from being started again; NULL: nothing does. */
static const char *revive_obstacle(const struct control *r, const struct child *c)
{
	return c == &r->exporting && r->live ? r->confine.once : NULL;
}

/* Only while interfaces are measured, and where what it had open can be had again. */
static bool revive_may(const struct control *r, const struct child *c)
{
	return r->live && !r->stop_by_ns && !r->finishing && !revive_obstacle(r, c);
}

static void revive_give_up(struct control *r)
{
	r->failed = true;
	ending_stop_workers(r);
}

/* Sets when it is due, and returns how long that is. */
static uint64_t revive_wait(struct revival *v, uint64_t now_ns)
{
	uint64_t wait_ns;

	v->quick = now_ns - v->born_ns < grown_up_ns ? v->quick + 1 : 0;
	wait_ns = revive_wait_ns(v->quick > 1 ? v->quick - 1 : 0);
	v->due_ns = now_ns + wait_ns;
	return wait_ns;
}

/* It is gone: whether it comes again, and when. */
static void revive_note(struct control *r, struct child *c, struct revival *v, uint64_t now_ns)
{
	uint64_t wait_ns;
	char how[64];

	child_describe_end(c, how, sizeof(how));
	shared_hear(&r->shared);
	v->exits++;
	if (!revive_may(r, c)) {
		if (revive_obstacle(r, c))
			log_error(
				"the process %s has ended: %s; it is not started again, as what %s has of it "
				"may end in the middle",
				c->name, how, revive_obstacle(r, c));
		else
			log_error("the process %s has ended: %s", c->name, how);
		revive_give_up(r);
		return;
	}
	wait_ns = revive_wait(v, now_ns);
	log_warning("the process %s has ended: %s; it is started again%s", c->name, how,
		    wait_ns >= NS_PER_SEC ? " in a while" : "");
}

/* may: whether another one may come in its place. */
static void revive_look(struct child *c, bool may, bool hangs)
{
	if (hangs)
		log_warning("the process %s hangs: it is ended", c->name);
	if (hangs)
		child_kill(c);
	if (child_look(c) == CHILD_STOPPED && may) {
		log_warning("the process %s was stopped: it is ended", c->name);
		child_kill(c);
	}
}

/* If it is away, and its time has come. */
static void revive_restart(struct control *r, struct revival *v, uint64_t now_ns,
			   int (*restart)(struct control *r, struct diag *diag))
{
	struct diag diag;
	int ret;

	if (!v->due_ns || now_ns < v->due_ns)
		return;
	v->due_ns = 0;
	v->born_ns = now_ns;
	ret = restart(r, &diag);
	if (ret == -ECHILD) { /* killed once more */
		v->exits++;
		v->quick++;
		v->due_ns = now_ns + revive_wait_ns(v->quick);
		log_warning("%s; it is started again", diag.text);
	} else if (ret < 0) {
		log_error("%s", diag.text);
		revive_give_up(r);
	}
}

static void revive_metering(struct control *r, uint64_t now_ns)
{
	struct revival *v = &r->of_metering;

	if (r->metering.pid) {
		revive_look(&r->metering, r->live, revive_hangs(r, &r->metering, 0, r->n_workers));
		/* a new process without a capture that cannot be had again measures nothing */
		if (v->restarts && !r->stop_by_ns && interfaces_are_refused(&r->interfaces))
			revive_give_up(r);
		if (r->metering.pid || ending_all_done(r))
			return;
		losses_settle_metering(&r->shared);
		revive_note(r, &r->metering, v, now_ns);
		for (unsigned i = 0; i < r->n_workers; i++)
			atomic_store(&r->shared.metering[i].done, true);
	}
	if (v->due_ns && r->stop_by_ns)
		v->due_ns = 0;
	revive_restart(r, v, now_ns, roles_restart_metering);
}

static void revive_exporting(struct control *r, uint64_t now_ns)
{
	struct revival *v = &r->of_exporting;

	if (r->exporting.pid) {
		revive_look(&r->exporting, r->live,
			    !r->finishing && revive_hangs(r, &r->exporting, r->n_workers, r->n_workers + 1));
		if (r->exporting.pid || atomic_load(&r->shared.exporting->ended))
			return;
		losses_settle_exporting(&r->shared, r->config->spool_dir != NULL);
		revive_note(r, &r->exporting, v, now_ns);
		atomic_store(&r->shared.exporting->ended, true);
	}
	if (v->due_ns && r->stop_by_ns) {
		v->due_ns = 0;
		r->failed = true; /* what waits has nobody to send it */
	}
	revive_restart(r, v, now_ns, roles_restart_exporting);
}

/* ---- metrics */

static void revive_metrics(struct control *r, uint64_t now_ns)
{
	struct revival *v = &r->of_metrics;
	struct child *c = &r->metrics.child;
	struct diag diag;
	char how[64];
	int client;

	if (r->metrics.listener < 0 || r->stop_by_ns || r->finishing)
		return;
	if (c->pid) {
		revive_look(c, true, false);
		if (c->pid)
			return;
		r->of_helpers.exits++;
		child_describe_end(c, how, sizeof(how));
		log_warning("the process %s has ended: %s; it is started again", c->name, how);
		revive_wait(v, now_ns);
	}
	if (now_ns < v->due_ns)
		return;
	v->born_ns = now_ns;
	if (metrics_restart(&r->metrics, r->confine.sandbox, &client, &diag) < 0) {
		log_error("%s", diag.text);
		revive_wait(v, now_ns);
		return;
	}
	control_socket_add(r->socket, client);
	r->of_helpers.restarts++;
}

/* ---- openers */

/* Both of its processes were killed at once: the user hears of it now, and not only when it would be needed.
 */
static void revive_say_gone(const struct control *r, const struct opener *o)
{
	const char *what = o == r->confine.opener ? "an interface that is made anew cannot be opened again"
			   : o == r->confine.output_opener		      ? "output files stay .part"
			   : r->config->stats_path || r->config->metrics_path ? "no statistics can be written"
									      : "the pid file stays";

	log_error("the process %s has ended: %s; start pitot again", opener_whose(o), what);
}

static void revive_look_at_helper(struct control *r, struct opener *o, bool *gone)
{
	struct child ended = {.status = 0};
	char how[64];

	while (opener_look(o, &ended.status)) {
		r->of_helpers.exits++;
		if (*gone || opener_has_ended(o))
			continue;
		r->of_helpers.restarts++;
		child_describe_end(&ended, how, sizeof(how));
		log_warning("the process %s has ended: %s; it is started again", opener_whose(o), how);
	}
	if (!*gone && opener_has_ended(o)) {
		*gone = true;
		r->of_helpers.exits++;
		revive_say_gone(r, o);
	}
}

static void revive_helpers(struct control *r)
{
	struct opener *const all[] = {r->confine.opener, r->confine.files_opener, r->confine.output_opener};

	static_assert(sizeof(all) / sizeof(*all) == sizeof(r->of_helpers.gone) / sizeof(*r->of_helpers.gone),
		      "one for each");
	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i])
			revive_look_at_helper(r, all[i], &r->of_helpers.gone[i]);
}

void revive_step(struct control *r, uint64_t now_ns)
{
	revive_metering(r, now_ns);
	revive_exporting(r, now_ns);
	revive_metrics(r, now_ns);
	revive_helpers(r);
}
