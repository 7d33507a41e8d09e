/*
 * roles: see control_internal.h.  The two processes that control forks: what each lets go of that is
 * another's, how it becomes what it is to be, and its life.
 *
 * Control opens what captures, for that may need its privileges, makes the shared region and forks.  The
 * exporting process opens the collectors itself, so that keys, sessions and files are never anybody else's.
 */
#include "control_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "stepping.h"
#include "pitot/log.h"
#include "pitot/netif.h"

#define SPOOL_MARGIN_NS (3 * NS_PER_SEC) /* beside what the other process's sessions may take to end */

/* A savefile's records do not depend on how fast it is read: no facts before the first statistics. */
static uint64_t roles_first_facts_ns(const struct control *r)
{
	return r->live ? 0 : clock_monotonic_ns() + r->config->stats_ns - NS_PER_SEC / 4;
}

/* What captures: the memory and the descriptors, but not what they are of. */
static void roles_let_captures_go(struct control *r)
{
	for (unsigned i = 0; r->workers && i < r->n_workers; i++) {
		metering_free(r->workers[i]);
		r->workers[i] = NULL;
	}
	dealing_free(r->dealing);
	savefiles_free(r->files);
	r->dealing = NULL;
	r->files = NULL;
}

static void roles_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* What is control's alone. */
static void roles_leave_control(struct control *r)
{
	daemon_forget();
	progress_close(&r->progress);
	roles_close(&r->signal_fd);
	roles_close(&r->stop_fd);
	roles_close(&r->pid_fd);
	roles_close(&r->stepping.pressure_fd);
	roles_close(&r->metrics_client);
	netif_watch_close(r->interfaces.watch);
	r->interfaces.watch = NULL;
	opener_forget(r->confine.opener);
	opener_forget(r->confine.files_opener);
	r->confine.opener = r->confine.files_opener = NULL;
	opener_leave_alone(r->confine.output_opener);
	service_close(&r->service);
	control_socket_close(r->socket);
	r->socket = NULL;
	log_close();
	roles_close(&r->heir.fd);
	roles_close(&r->shared.to_exporting.send_fd);
	for (unsigned i = 0; i < r->n_workers; i++)
		roles_close(&r->shared.to_metering[i].send_fd);
}

/* --polite: it gives way to everybody by itself, once and for all, for there is no way back. */
static void roles_give_way(const struct control *r)
{
	if (r->config->polite.on && setpriority(PRIO_PROCESS, 0, POLITE_NICE) < 0)
		log_warning("--polite: the priority cannot be lowered: %s", strerror(errno));
}

/* ---- the exporting process */

/* Standard output, unless a program is to read what is written there. */
static int roles_top_fd(const struct config *c)
{
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (collector_is_stdout(&c->collectors[i]) && c->collectors[i].format != FORMAT_TEXT)
			return STDERR_FILENO;
	return STDOUT_FILENO;
}

static int roles_set_up_exporting(struct control *r, struct exporter **exporter, struct enrich **enrich,
				  struct exporting **e, struct diag *diag)
{
	struct exporting_config config = {.shared = &r->shared,
					  .mailbox = &r->shared.to_exporting,
					  .live = r->live,
					  .top_fd = roles_top_fd(r->config),
					  .max_rate = r->max_rate,
					  .polite = control_is_polite(r),
					  .first_facts_ns = roles_first_facts_ns(r)};
	static struct exporting_stats base; /* it is large, and one in a process */
	bool again = r->of_exporting.restarts > 0;
	int ret;

	if (again) {
		published_get(&r->shared.exporting->numbers, &base);
		config.base = &base;
	}
	ret = setup_exporter(r, config.base, exporter, diag);
	if (ret == 0)
		atomic_store(&r->shared.exporting->taken, take_over_sessions(r->taking, *exporter));
	if (ret == 0)
		ret = setup_enrich(r, enrich, diag);
	config.enrich = *enrich;
	return ret < 0 ? ret : exporting_new(e, *exporter, &config, diag);
}

/* Everything is open. */
static int roles_confine_exporting(struct control *r, struct diag *diag)
{
	return r->of_exporting.restarts > 0 ? sandbox_enter_calls(r->confine.sandbox, SANDBOX_EXPORTING, diag)
					    : confine_enter(&r->confine, r->config, SANDBOX_EXPORTING, diag);
}

/*
 * --takeover: the other process has let go.  The spool it had until its sessions ended: what was tried
 * without is made anew with it.
 */
static int roles_take_over_exporting(struct control *r, struct exporter **exporter, struct enrich **enrich,
				     struct exporting **e, struct diag *diag)
{
	uint64_t end_ns;
	int ret;

	while (!atomic_load(&r->shared.control->go))
		poll(NULL, 0, 1);
	if (!r->config->spool_dir)
		return 0;
	r->tries = false;
	end_ns = clock_monotonic_ns() + 2 * r->config->stop_ns + SPOOL_MARGIN_NS;
	do {
		exporting_free(*e);
		exporter_free(*exporter);
		enrich_free(*enrich);
		*e = NULL;
		*exporter = NULL;
		*enrich = NULL;
		ret = roles_set_up_exporting(r, exporter, enrich, e, diag);
		if (ret == -EBUSY)
			poll(NULL, 0, 10);
	} while (ret == -EBUSY && clock_monotonic_ns() < end_ns);
	return ret < 0 ? ret : roles_confine_exporting(r, diag);
}

static _Noreturn void roles_export(struct control *r, struct child *self)
{
	struct exporter *exporter = NULL;
	struct enrich *enrich = NULL;
	struct exporting *e = NULL;
	struct shared_speaker speaker;
	struct diag diag = {""};
	int ret;

	shared_speak(&speaker, &r->shared.exporting->lines);
	roles_give_way(r);
	roles_let_captures_go(r);
	roles_leave_control(r);
	for (unsigned i = 0; i < r->n_workers; i++)
		roles_close(&r->shared.to_metering[i].receive_fd);
	r->tries = r->taking && r->config->spool_dir;
	ret = roles_set_up_exporting(r, &exporter, &enrich, &e, &diag);
	daemon_may_end(false);
	if (ret == 0 && !r->tries)
		ret = roles_confine_exporting(r, &diag);
	if (r->config->daemon) /* a collector on standard output has its own descriptor by now */
		sandbox_leave_terminal();
	child_hold_on(self);
	opener_hurry(r->confine.output_opener, -1, &r->shared.exporting->stop_by_ns);
	child_tell(self, ret, &diag);
	if (ret == 0 && r->taking) {
		ret = roles_take_over_exporting(r, &exporter, &enrich, &e, &diag);
		if (ret < 0)
			log_error("%s", diag.text);
	}
	take_over_free(r->taking);
	r->taking = NULL;
	if (ret == 0)
		exporting_run(e);
	exporting_free(e);
	exporter_free(exporter);
	enrich_free(enrich);
	daemon_abandon(ret < 0);
}

/* ---- the metering process: threads that share nothing but what they read savefiles from */

static enum sandbox_role roles_metering_role(const struct control *r)
{
	for (unsigned i = 0; i < r->n_workers; i++)
		if (metering_uses_libpcap(r->workers[i]))
			return SANDBOX_METERING_LIBPCAP;
	return SANDBOX_METERING;
}

static int roles_set_up_metering(struct control *r, const struct child *self, struct diag *diag)
{
	bool again = r->of_metering.restarts > 0;
	enum sandbox_role role;
	/* flows of another process: here, where their memory is used */
	int ret = again ? setup_new_workers(r, diag) : take_over_flows(r->taking, r, diag);

	take_over_free(r->taking);
	r->taking = NULL;
	if (ret < 0)
		return ret;
	role = roles_metering_role(r);
	if (!again)
		ret = confine_enter(&r->confine, r->config, role, diag);
	child_hold_on(self);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++)
		ret = metering_start(r->workers[i], diag);
	return ret < 0 ? ret : sandbox_enter_calls(r->confine.sandbox, role, diag);
}

static _Noreturn void roles_meter(struct control *r, struct child *self)
{
	struct shared_speaker speaker;
	struct diag diag = {""};
	int ret;

	shared_speak(&speaker, &r->shared.metering[0].lines);
	roles_give_way(r);
	daemon_may_end(false);
	roles_leave_control(r);
	roles_close(&r->shared.to_exporting.receive_fd);
	opener_forget(r->confine.output_opener);
	r->confine.output_opener = NULL;
	if (r->config->daemon)
		sandbox_leave_terminal();
	ret = roles_set_up_metering(r, self, &diag);
	child_tell(self, ret, &diag);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++)
		(void)metering_join(r->workers[i], &diag);
	daemon_abandon(ret < 0);
}

/* ---- control */

static int roles_fork_exporting(struct control *r, struct diag *diag)
{
	int ret = child_fork(&r->exporting, "pitot-exporting", &r->shared.control->exporting, diag);

	if (ret == 1)
		roles_export(r, &r->exporting);
	return ret < 0 ? ret : child_await(&r->exporting, diag);
}

static int roles_fork_metering(struct control *r, struct diag *diag)
{
	int ret = child_fork(&r->metering, "pitot-metering", &r->shared.control->metering, diag);

	if (ret == 1)
		roles_meter(r, &r->metering);
	return ret < 0 ? ret : child_await(&r->metering, diag);
}

int roles_start(struct control *r, struct diag *diag)
{
	int ret = roles_fork_exporting(r, diag);

	if (ret == 0)
		ret = roles_fork_metering(r, diag);
	shared_hear(&r->shared);
	roles_let_captures_go(r);
	return ret;
}

/* What was asked of one that is gone is not done by the other. */
static void roles_empty_mailbox(struct shared_mailbox *m)
{
	atomic_store(&m->answered, atomic_load(&m->asked));
}

int roles_restart_exporting(struct control *r, struct diag *diag)
{
	int ret;

	r->of_exporting.restarts++;
	roles_empty_mailbox(&r->shared.exporting->mailbox);
	ret = roles_fork_exporting(r, diag);
	if (ret < 0)
		return ret;
	atomic_store(&r->shared.exporting->ended, false);
	watch_begin(&r->watch, r->n_workers, clock_monotonic_ns());
	r->names_untold = true;
	return 0;
}

int roles_restart_metering(struct control *r, struct diag *diag)
{
	int ret;

	r->of_metering.restarts++;
	r->metering_config.follows = true;
	r->metering_config.paused = r->paused;
	r->metering_config.table.active_ns = r->timeouts.active_ns;
	r->metering_config.table.inactive_ns = r->timeouts.inactive_ns;
	r->metering_config.table.tcp_end_ns = r->timeouts.tcp_end_ns;
	atomic_store(&r->shared.control->go, false);
	for (unsigned i = 0; i < r->n_workers; i++)
		roles_empty_mailbox(&r->shared.metering[i].mailbox);
	interfaces_begin_again(&r->interfaces);
	ret = roles_fork_metering(r, diag);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < r->n_workers; i++) {
		atomic_store(&r->shared.metering[i].done, false);
		watch_begin(&r->watch, i, clock_monotonic_ns());
	}
	r->own = (struct own_flows){0}; /* it is to be told of them */
	roles_go(r);
	return 0;
}

void roles_go(struct control *r)
{
	atomic_store(&r->shared.control->go, true);
}
