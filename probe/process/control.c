/*
 * control: see control.h.  Opens everything (setup.c), starts the threads, waits for signals and for the
 * metering processes; flushes, and reports.
 */
#include "control_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/log.h"
#include "pitot/screen.h"
#include "announce.h"
#include "daemon.h"
#include "pidfile.h"
#include "report.h"
#include "statistics.h"
#include "stepping.h"

enum { WAIT_MS = 50 };

static const uint64_t metrics_every_ns = 15 * NS_PER_SEC; /* as often as scrapers come */
static const uint64_t hung_ns = 2 * NS_PER_SEC;
/* After --stop-timeout: for metering threads, whose records nobody takes any more, and for the exporting
 * thread, which has said goodbye to collectors by then. */
static const uint64_t late_ns = 300 * NS_PER_MSEC, too_late_ns = NS_PER_SEC;

/* The 5-tuples of the export itself, as they are now: what capture sees of them is not metered. */
static void control_own_flows(struct control *r)
{
	struct exporting_locals locals;
	struct own_flows own = {0};
	bool told = true;

	if (!r->live || r->config->include_own)
		return;
	published_get(&r->shared.exporting->locals, &locals);
	for (unsigned i = 0; i < locals.n && i < EXPORTING_COLLECTORS_MAX && own.n < OWN_FLOWS_MAX; i++) {
		const struct transport_local *self = &locals.to[i];
		struct flow_key *k = &own.flows[own.n];

		if (!self->family)
			continue;
		memcpy(k->src, self->local, sizeof(k->src));
		memcpy(k->dst, self->remote, sizeof(k->dst));
		k->src_port = self->local_port;
		k->dst_port = self->remote_port;
		k->protocol = self->protocol;
		own.n++;
	}
	if (!memcmp(&own, &r->own, sizeof(own)))
		return;
	for (unsigned i = 0; i < r->n_workers; i++)
		told &= command_tell_own_flows(&r->shared.to_metering[i], &own) == 0;
	if (told) /* else once more */
		r->own = own;
}

/* Published numbers hold no addresses. */
static void control_take_exporting(const struct control *r, struct exporting_stats *stats)
{
	published_get(&r->shared.exporting->numbers, stats);
	if (stats->n_collectors > r->config->n_collectors || stats->n_collectors > EXPORTING_COLLECTORS_MAX)
		stats->n_collectors = 0; /* not written by a process of ours */
	for (unsigned i = 0; i < stats->n_collectors; i++) {
		stats->collectors[i].url = r->config->collectors[i].url;
		stats->collectors[i].reason[sizeof(stats->collectors[i].reason) - 1] = '\0';
	}
}

/*
 * All numbers at one moment.  Records that the exporting process has counted were counted by the metering
 * process before, but may not be published yet: it waits for room in the middle of a batch.
 */
void control_take(struct control *r, struct report *report, struct ledger *ledger, bool final)
{
	uint64_t now_ns = clock_monotonic_ns(), end_ns = now_ns + NS_PER_SEC;

	*report = (struct report){.final = final, .duration_ns = now_ns - r->start.monotonic_ns};
	interfaces_get_numbers(&r->interfaces, now_ns, &report->interfaces);
	report->processes = (struct processes_numbers){.metering_exits = r->of_metering.exits,
						       .metering_restarts = r->of_metering.restarts,
						       .exporting_exits = r->of_exporting.exits,
						       .exporting_restarts = r->of_exporting.restarts,
						       .helper_exits = r->of_helpers.exits,
						       .helper_restarts = r->of_helpers.restarts};
	report->polite = control_is_polite(r) ? &r->stepping.polite : NULL;
	for (;;) {
		control_take_exporting(r, &report->exporting);
		shared_sum_metering(&r->shared, &report->metering);
		ledger_take(ledger, report);
		if (ledger->balanced || final || clock_monotonic_ns() >= end_ns)
			return;
		poll(NULL, 0, 1);
	}
}

/* --metrics-file; what goes wrong is logged, and tried again the next time. */
static void control_write_metrics(struct control *r, const struct ledger *ledger)
{
	const char *path = r->config->metrics_path;
	struct diag diag = {""};

	if (path && statistics_write(r->confine.files_opener, path, report_prometheus, ledger, &diag) < 0)
		log_error("--metrics-file %s", diag.text);
}

static int control_report(struct control *r, bool final)
{
	const struct config *c = r->config;
	uint64_t wait_ns = final ? c->stop_ns : 0;
	struct report report;
	struct ledger ledger;
	struct diag diag = {""};

	control_take(r, &report, &ledger, final);
	if (final && r->announced)
		announce_stop(&ledger);
	if (final && !r->heir.is_owner) /* the page is another process's, too */
		control_write_metrics(r, &ledger);
	if (c->stats_path && !strcmp(c->stats_path, "-")) {
		statistics_print(report_json, &ledger, wait_ns);
	} else if (c->stats_path) {
		if (statistics_write(r->confine.files_opener, c->stats_path, report_json, &ledger, &diag) <
		    0) {
			log_error("--stats %s", diag.text);
			return 1;
		}
	} else if (!c->quiet) {
		statistics_print(report_text, &ledger, wait_ns);
	} else if (!final) {
		log_info("SIGUSR1: --quiet leaves no summary, and there is no --stats");
	}
	return 0;
}

void control_stop_workers(struct control *r)
{
	if (!r->stop_by_ns) {
		r->stop_by_ns = clock_monotonic_ns() + r->config->stop_ns;
		atomic_store(&r->shared.exporting->stop_by_ns, r->stop_by_ns);
		gate_wake(&r->shared.exporting->gate);
		atomic_store(&r->shared.control->stop, true);
	}
	for (unsigned i = 0; i < r->n_workers; i++)
		command_tell_stop(&r->shared.to_metering[i], &(struct command_stop){r->drop_flows});
}

/* One that hangs is not waited for after it was told to stop: others want to have their records sent. */
static bool control_is_lost(struct control *r, unsigned i, uint64_t now_ns)
{
	uint64_t still_ns = watch_metering(&r->watch, i, now_ns);

	if (!r->stop_by_ns || (still_ns < hung_ns && now_ns < r->stop_by_ns + late_ns))
		return false;
	if (!r->lost)
		log_error("metering thread %u does not end: what it has is lost", i);
	r->lost = true;
	return true;
}

bool control_all_done(struct control *r)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (r->of_metering.due_ns) /* it is away */
		return false;
	for (unsigned i = 0; i < r->n_workers; i++)
		if (!atomic_load(&r->shared.metering[i].done) && !control_is_lost(r, i, now_ns))
			return false;
	return true;
}

/* A metering thread that ended by itself: of interfaces that is a failure, and ends all. */
static void control_check_workers(struct control *r)
{
	for (unsigned i = 0; r->live && !r->stop_by_ns && !r->of_metering.due_ns && i < r->n_workers; i++)
		if (atomic_load(&r->shared.metering[i].done))
			control_stop_workers(r);
}

/* A program of which one thread hangs is not alive, whatever the others do. */
static void control_alive(struct control *r, uint64_t now_ns)
{
	uint64_t still_ns = watch_look(&r->watch, &r->shared, r->live && !r->finishing, now_ns);

	if (still_ns < hung_ns || !r->live)
		service_watchdog(&r->service, now_ns);
}

/* A process that is late takes it over when it goes on. */
static void control_say_late(int outcome, const char *process)
{
	if (outcome == MAILBOX_E_LATE)
		log_warning("the %s process does not answer; it takes the configuration over later", process);
}

void control_set_timeouts(struct control *r, const struct metering_timeouts *timeouts)
{
	struct command_none done;

	r->timeouts = *timeouts;
	for (unsigned i = 0; i < r->n_workers; i++)
		control_say_late(command_ask_timeouts(&r->shared.to_metering[i], timeouts, &done),
				 "metering");
}

void control_set_gather(struct control *r, bool on)
{
	struct command_none done;

	r->paused = !on;
	for (unsigned i = 0; i < r->n_workers; i++)
		control_say_late(
			command_ask_gather(&r->shared.to_metering[i], &(struct command_gather){on}, &done),
			"metering");
}

void control_set_rate(struct control *r, uint32_t records)
{
	r->max_rate = records;
	command_tell_rate(&r->shared.to_exporting, &(struct command_rate){records});
}

/* Links, addresses or routes: what was remembered of them may not be so any more.  asked: by the user. */
static void control_follow_network(struct control *r, bool asked)
{
	struct exporting_interfaces *now;
	bool links;

	if (!r->live)
		return;
	links = interfaces_links_changed(&r->interfaces) || asked;
	command_tell_network(&r->shared.to_exporting, &(struct command_none){0});
	if (!(links && names_look(&r->names)) && !r->names_untold)
		return;
	r->names_untold = true;
	now = calloc(1, sizeof(*now));
	if (!now)
		return; /* they are called as before until there is memory */
	now->n = r->names.n_list;
	if (now->n)
		memcpy(now->list, r->names.list, now->n * sizeof(*now->list));
	published_put(&r->shared.exporting->interfaces, now);
	free(now);
	r->names_untold = command_tell_interfaces(&r->shared.to_exporting, &(struct command_none){0}) != 0;
}

void control_refresh(struct control *r)
{
	control_follow_network(r, true);
	command_tell_refresh(&r->shared.to_exporting, &(struct command_none){0});
}

int control_reload(struct control *r, struct diag *diag)
{
	struct exporter_periods periods;
	struct command_none done;
	const struct config *c;
	int ret;

	if (!r->config->config_path) {
		control_refresh(r);
		log_info("reload: templates are sent again, and names of collectors are looked up again");
		return 0;
	}
	ret = reload_read(&r->reload, &r->config, diag);
	if (ret) {
		log_error("reload: %s; nothing was changed", diag->text);
		control_refresh(r); /* files may have been moved away all the same */
		return ret < 0 ? ret : -EINVAL;
	}
	control_follow_network(r, true);
	c = r->config;
	log_set_level(c->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	control_set_timeouts(r, &(struct metering_timeouts){c->active_ns, c->inactive_ns, c->tcp_end_ns});
	periods = (struct exporter_periods){.template_ns = c->template_ns,
					    .template_messages = c->template_messages,
					    .stats_ns = c->stats_ns,
					    .flush_ns = c->flush_ns,
					    .active_ns = c->active_ns,
					    .inactive_ns = c->inactive_ns};
	control_set_rate(r, c->max_export_rate);
	control_say_late(command_ask_periods(&r->shared.to_exporting, &periods, &done), "exporting");
	log_info("reload: %s is in force", c->config_path);
	return 0;
}

static void control_remove_pidfile(const struct control *r)
{
	struct diag diag = {""};

	if (r->pid_fd >= 0 && opener_remove(r->confine.files_opener, r->config->pidfile, &diag) < 0)
		log_warning("--pidfile %s", diag.text);
}

/* A second TERM or INT ends the program now: threads are at work, and nothing is taken down under them. */
void control_stop(struct control *r, int signal)
{
	if (r->view_left) { /* by the same Ctrl-C, and we heard of that sooner */
		r->view_left = false;
		return;
	}
	if (r->stopping) {
		control_remove_pidfile(r);
		daemon_abandon(1);
	}
	r->stopping = true;
	if (!r->finishing) {
		r->signal = signal;
		atomic_store(&r->shared.exporting->cut_short, signal && !r->live);
	}
	pidfile_end(r->pid_fd);
	control_stop_workers(r);
}

/* The user has left the view: that is the end of what it shows, too. */
static void control_check_view(struct control *r)
{
	enum live_view_end end = live_view_look(&r->live_view);

	if (end == LIVE_VIEW_RUNS || r->stopping) /* at the end it may find that nobody answers any more */
		return;
	r->failed |= end == LIVE_VIEW_FAILED;
	control_stop(r, 0);
	r->view_left = true;
}

/* Until something of the first n happens: a signal, an end, news of interfaces. */
static void control_sleep(const struct control *r, unsigned n)
{
	struct pollfd fds[3 + CONTROL_POLLS] = {{.fd = r->signal_fd, .events = POLLIN},
						{.fd = interfaces_fd(&r->interfaces), .events = POLLIN}};
	nfds_t clients = control_socket_polls(r->socket, fds + n);
	uint64_t now_ns = clock_monotonic_ns();

	fds[n + clients++] = (struct pollfd){.fd = r->heir.fd, .events = POLLIN};
	poll(fds, n + clients,
	     control_socket_wait_ms(r->socket, now_ns, stepping_wait_ms(r, now_ns, WAIT_MS)));
}

/* --stats-every; what goes wrong is logged, and tried again the next time. */
static void control_report_often(struct control *r, uint64_t now_ns)
{
	uint64_t every_ns = r->config->stats_path ? r->config->stats_every_ns : 0;

	if (every_ns && now_ns >= r->next_report_ns) {
		if (r->next_report_ns)
			(void)control_report(r, false);
		r->next_report_ns = now_ns + every_ns;
	}
	if (r->config->metrics_path && now_ns >= r->next_metrics_ns) {
		struct report report;
		struct ledger ledger;

		control_take(r, &report, &ledger, false);
		control_write_metrics(r, &ledger);
		r->next_metrics_ns =
			now_ns + (r->config->stats_every_ns ? r->config->stats_every_ns : metrics_every_ns);
	}
}

static void control_hear(struct control *r, struct diag *diag)
{
	for (int s = daemon_next_signal(r->signal_fd); s; s = daemon_next_signal(r->signal_fd)) {
		if (s == SIGUSR1)
			control_report(r, false);
		else if (s == SIGCHLD)
			continue; /* it is looked at anyway */
		else if (s != SIGHUP)
			control_stop(r, s);
		else if (r->finishing)
			log_info("SIGHUP: nothing is changed any more, this process is ending");
		else
			(void)control_reload(r, diag);
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
	control_stop_workers(r);
}

static void control_wait(struct control *r)
{
	while (!control_all_done(r)) {
		struct diag diag = {""};
		uint64_t now_ns;

		control_sleep(r, 2);
		now_ns = clock_monotonic_ns();
		if (!r->heir.is_owner)
			interfaces_step(&r->interfaces, now_ns);
		if (interfaces_network_changed(&r->interfaces) || r->names_untold)
			control_follow_network(r, false);
		control_alive(r, now_ns);
		shared_hear(&r->shared);
		log_tick(now_ns);
		control_check_view(r);
		revive_step(r, now_ns);
		control_check_workers(r);
		control_own_flows(r);
		control_socket_step(r->socket, now_ns);
		control_hand_over(r, now_ns);
		control_report_often(r, now_ns);
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
		control_report_often(r, now_ns);
		control_hear(r, &diag);
		if (r->stop_by_ns && now_ns >= r->stop_by_ns + too_late_ns) {
			log_error("the exporting process does not end: what it has is lost");
			r->lost = true;
			return;
		}
	}
	shared_hear(&r->shared);
}

/*
 * Datagrams without flow records did not arrive, as the network told.  A host may tell of few of those that
 * it refuses: nobody knows what became of the others.
 */
static bool control_refused(const struct collector_stats *c)
{
	if (!c->errors || c->reliable || c->is_file || c->has_cause)
		return false;
	if (c->last_error == ECONNREFUSED)
		log_error("--collector %s refused %llu datagram%s (%s): nobody listens there; %llu flow "
			  "record%s sent "
			  "may be lost",
			  c->url, (unsigned long long)c->errors, log_plural(c->errors), collector_cause(c),
			  (unsigned long long)c->sent.records, log_plural(c->sent.records));
	else
		log_error("--collector %s: %s (%llu error%s): %llu flow record%s sent may be lost", c->url,
			  collector_cause(c), (unsigned long long)c->errors, log_plural(c->errors),
			  (unsigned long long)c->sent.records, log_plural(c->sent.records));
	return true;
}

/* What became of one collector's records; true: some were not sent. */
static bool control_tell_rest(const struct collector_stats *c)
{
	/* what its format cannot carry was never meant to arrive */
	uint64_t meant = c->taken.records - c->unfit.records;

	if (c->pending.records)
		log_warning(
			"--collector %s: %s: left in the spool for the next run: %llu of %llu flow record%s",
			c->url, collector_cause(c), (unsigned long long)c->pending.records,
			(unsigned long long)meant, log_plural(meant));
	if (c->lost.records)
		log_error("--collector %s: %s: %llu of %llu flow record%s not sent (%llu error%s)", c->url,
			  collector_cause(c), (unsigned long long)c->lost.records, (unsigned long long)meant,
			  log_plural(meant), (unsigned long long)c->errors, log_plural(c->errors));
	meant = c->samples + c->lost_samples;
	if (c->lost_samples)
		log_error("--collector %s: %s: %llu of %llu sample%s not sent (%llu error%s)", c->url,
			  collector_cause(c), (unsigned long long)c->lost_samples, (unsigned long long)meant,
			  log_plural(meant), (unsigned long long)c->errors, log_plural(c->errors));
	return c->lost.records > 0 || c->lost_samples > 0;
}

/* What is left of a savefile that was not read to its end. */
static void control_say_interrupted(const struct control *r, const struct exporting_stats *stats)
{
	bool file = false;

	for (unsigned i = 0; i < r->config->n_collectors; i++)
		file |= i < stats->n_collectors && stats->collectors[i].is_file &&
			strcmp(r->config->collectors[i].path, "-") != 0;
	log_error("ended by SIG%s before the end of the input: the records are of what was read until then%s",
		  r->signal == SIGINT ? "INT" : "TERM", file ? "; output files are left as .part" : "");
}

/*
 * What a person must hear of collectors at the end: 1 when one got nothing of a savefile, or not all, or when
 * a file is not what it should be.
 */
static int control_verdict(struct control *r)
{
	struct exporting_stats stats;
	int status = 0;

	control_take_exporting(r, &stats);
	for (unsigned i = 0; i < stats.n_collectors; i++) {
		const struct collector_stats *c = &stats.collectors[i];

		if (r->live && !c->reliable && !(c->is_file && c->errors)) /* was told when it happened */
			continue;
		if (c->unnamed)
			log_error("--collector %s: %s", c->url, collector_cause(c));
		if (c->unnamed || control_tell_rest(c) || control_refused(c))
			status |= !r->live || c->is_file;
	}
	if (r->signal && !r->live)
		control_say_interrupted(r, &stats);
	return status;
}

static int control_measure(struct control *r, struct diag *diag)
{
	int status = 0, ret = watch_init(&r->watch, r->n_workers, clock_monotonic_ns());

	if (ret < 0)
		return diag_set(diag, ret, "out of memory");
	control_own_flows(r);
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
	status |= control_report(r, !r->lost && !r->failed) | r->lost | r->failed;
	return control_verdict(r) ? 1 : status;
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
	control_remove_pidfile(r);
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
			    .service = {.fd = -1},
			    .stepping = {.pressure_fd = -1}};
	struct diag diag = {""};
	int ret = 0;

	if (config->metrics && metrics_check(config->metrics, &diag) < 0) {
		log_error("%s", diag.text);
		return 2;
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
