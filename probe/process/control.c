/*
 * control: see control.h.  Opens everything and starts the others (setup.c); then waits for signals and for
 * what they have to say, until all records are out.
 */
#include "control_internal.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "pitot/log.h"
#include "pitot/screen.h"
#include "announce.h"
#include "daemon.h"
#include "ending.h"
#include "orders.h"
#include "pidfile.h"
#include "reporting.h"
#include "resting.h"
#include "revive.h"
#include "roles.h"
#include "setup.h"
#include "stepping.h"
#include "verdict.h"

/* A metering thread that ended by itself: of interfaces that is a failure, and ends all. */
static void control_check_workers(struct control *r)
{
	for (unsigned i = 0; r->live && !r->stop_by_ns && !r->of_metering.due_ns && i < r->n_workers; i++)
		if (atomic_load(&r->shared.metering[i].done))
			ending_stop_workers(r);
}

/* A program of which one thread hangs is not alive, whatever the others do. */
static void control_alive(struct control *r, uint64_t now_ns)
{
	uint64_t still_ns = watch_look(&r->watch, &r->shared, r->live && !r->finishing, now_ns);

	if (still_ns < WATCH_HUNG_NS || !r->live)
		service_watchdog(&r->service, now_ns);
}

/* The user has left the view: that is the end of what it shows, too. */
static void control_check_view(struct control *r)
{
	enum live_view_end end = live_view_look(&r->live_view);

	if (end == LIVE_VIEW_RUNS || r->stopping) /* at the end it may find that nobody answers any more */
		return;
	r->failed |= end == LIVE_VIEW_FAILED;
	ending_stop(r, 0);
	r->view_left = true;
}

/* Until something of the first n happens: a signal, an end, news of interfaces; or the bell is rung. */
static void control_sleep(struct control *r, unsigned n)
{
	struct pollfd fds[4 + CONTROL_POLLS] = {{.fd = r->signal_fd, .events = POLLIN},
						{.fd = interfaces_fd(&r->interfaces), .events = POLLIN}};
	nfds_t clients = control_socket_polls(r->socket, fds + n);
	uint64_t now_ns = clock_monotonic_ns();

	fds[n + clients++] = (struct pollfd){.fd = r->heir.fd, .events = POLLIN};
	fds[n + clients] = (struct pollfd){.fd = r->shared.bell_fd, .events = POLLIN};
	poll(fds, n + clients + 1, control_socket_wait_ms(r->socket, now_ns, resting_wait_ms(r, now_ns)));
	r->heard_of_child = false;
	if (fds[n + clients].revents)
		shared_hush_bell(&r->shared);
}

static void control_hear(struct control *r, struct diag *diag)
{
	for (int s = daemon_next_signal(r->signal_fd); s; s = daemon_next_signal(r->signal_fd)) {
		if (s == SIGUSR1)
			reporting_write(r, false);
		else if (s == SIGCHLD)
			r->heard_of_child = true; /* it may have ended after it was looked at */
		else if (s != SIGHUP)
			ending_stop(r, s);
		else if (r->finishing)
			log_info("SIGHUP: nothing is changed any more, this process is ending");
		else
			(void)orders_reload(r, diag);
	}
}

static void control_tell_counters(void *ctx, const struct interface_counters *c)
{
	struct control *r = ctx;

	(void)command_tell_counters(&r->shared.to_exporting, c);
}

/* Until the metering processes have ended. */
static void control_show_progress(struct control *r, uint64_t now_ns)
{
	struct metering_stats sum;

	if (!progress_is_wanted(&r->progress))
		return;
	shared_sum_metering(&r->shared, &sum);
	progress_step(&r->progress, sum.meter.received_packets, now_ns);
}

/* Packets that the kernel had no room for: what can be done. */
static void control_tell_overload(struct control *r, uint64_t now_ns)
{
	struct metering_stats sum;
	uint64_t news;

	if (!r->live || now_ns < r->next_overload_ns)
		return;
	r->next_overload_ns = now_ns + NS_PER_SEC;
	shared_sum_metering(&r->shared, &sum);
	news = overload_look(&r->overload, sum.meter.kernel_dropped, now_ns);
	if (news)
		log_warning("the capture buffer was full: the kernel dropped %llu packet%s, %llu in all; a "
			    "larger --buffer, more --workers%s would help",
			    (unsigned long long)news, log_plural(news),
			    (unsigned long long)sum.meter.kernel_dropped,
			    r->config->polite.on ? " or a smaller --snaplen"
						 : ", a smaller --snaplen, --sample N or --polite");
}

/* Another process has taken over: what it wants to have next. */
static void control_let_go(struct control *r)
{
	control_socket_let_go(r->socket);
	r->confine.control_path[0] = '\0'; /* its file stays */
	metrics_stop(&r->metrics);
	if (r->pid_fd >= 0)
		close(r->pid_fd);
	r->pid_fd = -1;
}

static void control_hand_over(struct control *r, uint64_t now_ns)
{
	bool has_taken_over;

	if (r->heir.fd < 0)
		return;
	has_taken_over = hand_over_step(r, now_ns);
	control_alive(r, clock_monotonic_ns()); /* nobody was looked at meanwhile */
	if (!has_taken_over)
		return;
	control_let_go(r);
	hand_over_done(r);
	ending_stop_workers(r);
}

static void control_wait(struct control *r)
{
	while (!ending_all_done(r)) {
		struct diag diag = {""};
		uint64_t now_ns;

		control_sleep(r, 2);
		now_ns = clock_monotonic_ns();
		if (!r->heir.is_owner)
			interfaces_step(&r->interfaces, now_ns);
		if (interfaces_network_changed(&r->interfaces) || r->names_untold)
			orders_follow_network(r, false);
		control_alive(r, now_ns);
		shared_hear(&r->shared);
		log_tick(now_ns);
		control_check_view(r);
		revive_step(r, now_ns);
		control_check_workers(r);
		orders_own_flows(r);
		control_socket_step(r->socket, now_ns);
		control_hand_over(r, now_ns);
		reporting_step(r, now_ns);
		control_show_progress(r, now_ns);
		control_tell_overload(r, now_ns);
		stepping_step(r, now_ns);
		poller_step(&r->poller, &r->names, now_ns, control_tell_counters, r);
		control_hear(r, &diag);
	}
	progress_erase(&r->progress);
}

/* Until collectors have what is left, or --stop-timeout is over; the final statistics are not far. */
static void control_finish(struct control *r)
{
	struct diag diag = {""};

	r->finishing = true;
	pidfile_end(r->pid_fd);
	command_tell_finish(&r->shared.to_exporting, &(struct command_none){0});
	while (!atomic_load(&r->shared.exporting->ended)) {
		uint64_t now_ns;

		control_sleep(r, 1);
		now_ns = clock_monotonic_ns();
		control_socket_step(r->socket, now_ns);
		control_alive(r, now_ns);
		shared_hear(&r->shared);
		log_tick(now_ns);
		revive_step(r, now_ns);
		reporting_step(r, now_ns);
		control_hear(r, &diag);
		if (ending_is_too_late(r, now_ns))
			return;
	}
	shared_hear(&r->shared);
}

static int control_measure(struct control *r, struct diag *diag)
{
	int status = 0, ret = watch_init(&r->watch, r->n_workers, clock_monotonic_ns());

	if (ret < 0)
		return diag_set(diag, ret, "out of memory");
	orders_own_flows(r);
	roles_go(r);
	opener_hurry(r->confine.opener, r->stop_fd, &r->shared.exporting->stop_by_ns);
	opener_hurry(r->confine.files_opener, r->stop_fd, &r->shared.exporting->stop_by_ns);
	daemon_ready();
	if (r->config->daemon || r->config->log >= CONFIG_LOG_SYSLOG)
		log_divert();
	service_ready(&r->service);
	if (r->announced)
		announce_start(r->config);
	control_wait(r);
	live_view_stop(&r->live_view);
	if (!r->heir.is_owner)
		service_stopping(&r->service);
	shared_hear(&r->shared);
	for (unsigned i = 0; i < r->n_workers; i++) {
		if (atomic_load(&r->shared.metering[i].result) < 0) {
			log_error("%.*s", (int)sizeof(struct diag) - 1, r->shared.metering[i].why.text);
			status = 1;
		}
	}
	control_finish(r);
	child_end(&r->metering);
	child_end(&r->exporting);
	status |= reporting_write(r, !r->lost && !r->failed) | r->lost | r->failed;
	return verdict_tell(r) ? 1 : status;
}

static void control_close_socket(struct control *r)
{
	struct diag diag = {""};

	if (!r->socket)
		return;
	control_socket_close(r->socket);
	if (r->confine.control_path[0] &&
	    opener_remove(r->confine.files_opener, r->confine.control_path, &diag) < 0)
		log_debug("--control %s", diag.text); /* the next start replaces it */
}

static void control_close(struct control *r)
{
	for (unsigned i = 0; r->workers && i < r->n_workers; i++)
		metering_free(r->workers[i]);
	dealing_free(r->dealing);
	savefiles_free(r->files);
	progress_close(&r->progress);
	child_end(&r->metering);
	child_end(&r->exporting);
	ending_remove_pidfile(r);
	if (r->pid_fd >= 0)
		close(r->pid_fd);
	take_over_free(r->taking);
	if (r->heir.fd >= 0)
		close(r->heir.fd);
	interfaces_deinit(&r->interfaces);
	control_close_socket(r);
	metrics_stop(&r->metrics);
	poller_deinit(&r->poller);
	stepping_close(r);
	service_close(&r->service);
	confine_deinit(&r->confine);
	if (r->signal_fd >= 0)
		close(r->signal_fd);
	if (r->stop_fd >= 0)
		close(r->stop_fd);
	shared_free(&r->shared);
	watch_deinit(&r->watch);
	free(r->send_fds);
	free(r->workers);
	free(r->captures);
	names_deinit(&r->names);
	reload_deinit(&r->reload);
}

static int control_open_log(const struct config *c, struct diag *diag)
{
	struct log_config log = {.target = (enum log_target)c->log,
				 .background = c->daemon,
				 .journal_path = LOG_JOURNAL_PATH,
				 .syslog_path = LOG_SYSLOG_PATH};

	return log_open(&log, diag);
}

int control_run(const struct config *config, int argc, char **argv)
{
	struct control r = {.config = config,
			    .reload = {.argc = argc, .argv = argv},
			    .live = config->n_interfaces > 0,
			    .announced = announce_is_wanted(config),
			    .pid_fd = -1,
			    .signal_fd = -1,
			    .stop_fd = -1,
			    .heir = {.fd = -1},
			    .metrics = {.listener = -1},
			    .service = {.fd = -1},
			    .stepping = {.pressure_fd = -1}};
	struct diag diag = {""};
	gid_t group;
	int ret = 0;

	if (config->control_group && control_socket_find_group(config->control_group, &group, &diag) < 0) {
		log_error("%s", diag.text);
		return 1;
	}
	if (config->live && screen_check(&diag) < 0) {
		log_error("--live: %s", diag.text);
		return 2;
	}
	ret = config->daemon ? daemon_fork(&diag) : 0;
	r.start = clock_now();
	if (PITOT_TEST_HOOKS)
		r.start.monotonic_ns -= clock_planned_uptime_ns();
	r.boot = r.start;
	if (ret == 0) {
		r.signal_fd = daemon_signals(&diag);
		ret = r.signal_fd < 0 ? r.signal_fd : 0;
		r.stop_fd = daemon_stop_fd();
	}
	if (ret == 0)
		ret = control_open_log(config, &diag);
	if (ret == 0) {
		service_open(&r.service);
		ret = setup_open(&r, &diag);
	}
	if (ret == 0)
		ret = control_measure(&r, &diag);
	live_view_stop(&r.live_view);
	if (ret < 0)
		log_error("%s", diag.text);
	control_close(&r);
	log_end();
	log_close();
	return ret ? 1 : r.signal && !r.live ? 128 + r.signal : 0;
}
