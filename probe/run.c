/*
 * run: see run.h.  Opens captures, then collectors, then becomes another user, then starts the threads; waits
 * for signals and for the metering processes; flushes, and reports.
 */
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "confine.h"
#include "exporting.h"
#include "notify.h"
#include "pitot/clock.h"
#include "pitot/log.h"
#include "pitot/netif.h"
#include "process.h"
#include "recovery.h"
#include "reload.h"
#include "report.h"
#include "worker.h"

enum {
	QUEUE_OFFLINE = 4096, /* records: stays in the cache; the metering process waits for room */
	WAIT_MS = 200,
	FILES_OF_OURS = 256, /* descriptors besides those of savefiles and collectors */
};

static const uint64_t facts_ns = 250 * NS_PER_MSEC; /* between looks at what the metering processes have counted */

struct run {
	const struct config *config;
	bool live;
	struct clock_time start;
	struct capture_config *captures; /* interfaces or files */
	unsigned n_captures;
	struct feed *feed;
	struct export_interface *interfaces;
	unsigned n_interfaces;
	struct worker **workers;
	unsigned n_workers;
	struct exporter *exporter;
	struct exporting *exporting;
	struct own_flows own;
	int signal_fd, done_fd;
	bool pidfile_written;
	bool stopping; /* by TERM or INT */
	struct reload reload;
	struct confine confine;
	struct recovery recovery;
	struct notify notify;
	uint64_t next_facts_ns;
	uint64_t turns; /* of the metering processes' loops, when the service manager was last told of them */
};

/* ---- opening */

static int run_interfaces(struct run *r, struct diag *diag)
{
	const struct config *c = r->config;

	r->interfaces = calloc(c->n_interfaces ? c->n_interfaces : 1, sizeof(*r->interfaces));
	if (!r->interfaces)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < c->n_interfaces; i++) {
		struct export_interface *e = &r->interfaces[r->n_interfaces];
		struct netif n;
		int ret;

		if (!strcmp(c->interfaces[i].name, "any"))
			continue; /* each packet tells its own */
		ret = netif_get(&n, c->interfaces[i].name, diag);
		if (ret < 0) {
			struct diag why = *diag;

			return diag_set(diag, ret, "--interface %s: %.440s", c->interfaces[i].name, why.text);
		}
		e->ifindex = c->interfaces[i].ifindex ? c->interfaces[i].ifindex : n.index;
		memcpy(e->name, n.name, sizeof(e->name));
		memcpy(e->description, n.alias[0] ? n.alias : n.name, n.alias[0] ? sizeof(n.alias) : sizeof(n.name));
		r->n_interfaces++;
	}
	return 0;
}

static int run_captures(struct run *r, struct diag *diag)
{
	const struct config *c = r->config;
	unsigned n = r->live ? c->n_interfaces : c->n_files;

	r->captures = calloc(n, sizeof(*r->captures));
	if (!r->captures)
		return diag_set(diag, -ENOMEM, "out of memory");
	r->n_captures = n;
	for (unsigned i = 0; i < n; i++)
		r->captures[i] = (struct capture_config){
			.interface = r->live ? c->interfaces[i].name : NULL,
			.ifindex = r->live ? c->interfaces[i].ifindex : 0,
			.path = r->live ? NULL : c->files[i],
			.point = r->live && n > 1 ? (uint16_t)(i + 1) : 0,
			.method = (enum capture_method)c->capture,
			.direction = (enum capture_direction)c->direction,
			.filter = c->filter,
			.buffer_octets = c->buffer_octets,
			.snap_len = c->snap_len,
			.promiscuous = !c->no_promiscuous,
			.fanout_group = -1,
			.fanout_mode = (enum capture_fanout)c->fanout,
			.busy_poll_us = c->busy_poll_us,
		};
	return 0;
}

static int run_feed(struct run *r, const struct worker_config *w, struct diag *diag)
{
	const struct config *c = r->config;
	struct feed_config f = { .files = r->captures,
				 .n_files = r->n_captures,
				 .n_readers = r->n_workers,
				 .decode = w->decode,
				 .seed = w->table.seed,
				 .key_size = w->table.key_size };
	int ret = c->no_fragment_tracking ? 0
					  : fragment_table_new(&f.fragments, c->max_fragments, c->fragment_timeout_ns,
							       &f.seed, diag);

	if (ret == 0)
		ret = feed_new(&r->feed, &f, diag);
	if (ret < 0)
		fragment_table_free(f.fragments);
	return ret;
}

static unsigned run_count_workers(const struct config *c)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	return c->workers ? c->workers : online > 0 ? (unsigned)online : 1;
}

static int run_workers(struct run *r, struct diag *diag)
{
	const struct config *c = r->config;
	unsigned n = r->n_workers = run_count_workers(c);
	struct worker_config w = {
		/* what an earlier run left in the spool has other ids */
		.first_id = c->spool_dir ? r->start.realtime_ns / NS_PER_SEC << 24 & ((UINT64_C(1) << 56) - 1) : 0,
		.live = r->live,
		.captures = r->live ? r->captures : NULL,
		.n_captures = r->live ? r->n_captures : 0,
		.decode = { .key_tos = c->flow_key & FLOW_KEY_TOS,
			    .key_vlan = c->flow_key & FLOW_KEY_VLAN,
			    .max_layers = c->max_layers },
		.table = { .max_flows = c->max_flows / n + (c->max_flows % n > 0),
			   .active_ns = c->active_ns,
			   .inactive_ns = c->inactive_ns,
			   .tcp_end_ns = c->tcp_end_ns,
			   .key_size = c->flow_key & FLOW_KEY_MAC ? FLOW_KEY_SIZE_MAC : FLOW_KEY_SIZE },
		.track_fragments = r->live && !c->no_fragment_tracking,
		.max_fragments = c->max_fragments,
		.fragment_timeout_ns = c->fragment_timeout_ns,
		.done_fd = r->done_fd,
	};
	int ret = hash_seed_random(&w.table.seed);

	if (ret < 0)
		return diag_set(diag, ret, "no random numbers: %s", strerror(-ret));
	for (unsigned i = 0; r->live && n > 1 && i < r->n_captures; i++) /* one group an interface, of all workers */
		r->captures[i].fanout_group = (int)(((unsigned)getpid() * 31 + i) & 0xffff);
	if (!r->live) {
		ret = run_feed(r, &w, diag);
		if (ret < 0)
			return ret;
		w.feed = r->feed;
	}
	r->workers = calloc(n, sizeof(*r->workers));
	if (!r->workers)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (w.number = 0; ret == 0 && w.number < n; w.number++) {
		w.cpu = config_cpu(c->cpus, w.number);
		ret = worker_new(&r->workers[w.number], &w, diag);
	}
	return ret;
}

static bool run_has_ethernet(const struct run *r)
{
	for (unsigned i = 0; i < r->n_captures; i++) {
		const struct capture *c = r->live ? worker_capture(r->workers[0], i) : feed_file(r->feed, i);

		if (c->link_type == 1 || c->also_ethernet)
			return true;
	}
	return false;
}

/* Where it is not known flowDirection is left out: it has no value for that. */
static bool run_tells_direction(const struct run *r)
{
	for (unsigned i = 0; i < r->n_captures; i++)
		if (!r->live || !worker_capture(r->workers[0], i)->tells_direction)
			return false;
	return true;
}

static int run_exporter(struct run *r, struct diag *diag)
{
	const struct config *c = r->config;
	struct exporter_config e = {
		.collectors = c->collectors,
		.n_collectors = c->n_collectors,
		.transport = { .source_host = c->source_host,
			       .source_port = c->source_port,
			       .bind_device = c->bind_device,
			       .ttl = c->ttl,
			       .mtu = c->mtu,
			       .tls_ca = c->tls_ca,
			       .tls_cert = c->tls_cert,
			       .tls_key = c->tls_key,
			       .tls_name = c->tls_name,
			       .reconnect_ns = c->reconnect_ns,
			       .dtls_renew_ns = c->dtls_renew_ns,
			       .buffer_octets = c->send_buffer_octets,
			       .spool_dir = c->spool_dir,
			       .spool_octets = c->spool_octets,
			       .replay_octets = c->replay_octets,
			       .replay_ns = c->replay_ns,
			       .offline = !r->live,
			       .opener = r->confine.opener },
		.domain = c->domain,
		.template_ns = c->template_ns,
		.template_messages = c->template_messages,
		.stats_ns = c->stats_ns,
		.flush_ns = c->flush_ns,
		.group = (enum collector_group)c->collector_group,
		.stop_ns = c->stop_ns,
		.active_ns = c->active_ns,
		.inactive_ns = c->inactive_ns,
		.fields = c->fields,
		.flow_key = c->flow_key,
		.has_ethernet = run_has_ethernet(r),
		.has_direction = run_tells_direction(r),
		.offline = !r->live,
		.interfaces = r->interfaces,
		.n_interfaces = r->n_interfaces,
		.start_ns = r->start.realtime_ns,
		.start_monotonic_ns = r->start.monotonic_ns,
	};
	int ret = exporter_new(&r->exporter, &e, diag);

	if (ret == 0)
		ret = exporting_new(&r->exporting, r->exporter, r->n_workers, r->live ? c->queue_records : QUEUE_OFFLINE, diag);
	if (ret == 0)
		exporting_set_rate(r->exporting, c->max_export_rate, r->live);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++)
		worker_set_outlet(r->workers[i], exporting_outlet(r->exporting, i));
	return ret;
}

static int run_open(struct run *r, struct diag *diag)
{
	const struct config *c = r->config;
	int ret = r->live ? run_interfaces(r, diag) : 0;

	r->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ret == 0 && r->done_fd < 0)
		ret = diag_set(diag, -errno, "eventfd: %s", strerror(errno));
	process_allow_files(c->n_files + c->n_collectors + FILES_OF_OURS);
	if (ret == 0)
		ret = run_captures(r, diag);
	if (ret == 0)
		ret = confine_start_opener(&r->confine, c, r->captures, diag);
	process_may_end(true); /* nothing was measured; the resolver's threads hear no signals */
	if (ret == 0)
		ret = run_workers(r, diag);
	if (ret == 0)
		ret = run_exporter(r, diag);
	process_may_end(false);
	if (ret == 0 && c->pidfile) {
		ret = process_write_pidfile(c->pidfile, diag);
		r->pidfile_written = ret == 0;
	}
	if (ret == 0 && r->live)
		ret = recovery_init(&r->recovery, r->workers, r->n_workers, r->confine.opener, diag);
	if (ret == 0)
		ret = confine_enter(&r->confine, c, diag);
	return ret;
}

/* ---- running */

/* The 5-tuples of the export itself, as they are now: what capture sees of them is not metered. */
static void run_own_flows(struct run *r)
{
	struct transport_local locals[EXPORTING_COLLECTORS_MAX];
	struct own_flows own = { 0 };
	unsigned n;

	if (!r->live)
		return;
	n = r->config->include_own ? 0 : exporting_get_locals(r->exporting, locals);
	for (unsigned i = 0; i < n && own.n < OWN_FLOWS_MAX; i++) {
		struct transport_local self = locals[i];
		struct flow_key *k = &own.flows[own.n];

		if (!self.family)
			continue;
		memcpy(k->src, self.local, sizeof(k->src));
		memcpy(k->dst, self.remote, sizeof(k->dst));
		k->src_port = self.local_port;
		k->dst_port = self.remote_port;
		k->protocol = self.protocol;
		own.n++;
	}
	if (!memcmp(&own, &r->own, sizeof(own)))
		return;
	r->own = own;
	for (unsigned i = 0; i < r->n_workers; i++)
		worker_set_own_flows(r->workers[i], &own);
}

static FILE *run_open_stats(struct run *r, const char *path)
{
	int fd = opener_file(r->confine.opener, path);
	FILE *out;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	out = fdopen(fd, "w");
	if (!out)
		close(fd);
	return out;
}

/* The sum over all metering processes; as they are now, or without waiting for them. */
static void run_sum(struct run *r, struct worker_stats *sum, bool now)
{
	struct worker_stats one;

	for (unsigned i = 0; i < r->n_workers; i++) {
		(now ? worker_get_stats : worker_peek_stats)(r->workers[i], &one);
		report_add(sum, &one);
	}
	if (!r->feed)
		return;
	one = (struct worker_stats){ 0 };
	feed_get_stats(r->feed, &one.meter, &one.flows);
	report_add(sum, &one);
}

static void run_facts(struct run *r, uint64_t now_ns, bool final)
{
	struct worker_stats sum = { 0 };
	struct export_process_facts facts;

	if (now_ns < r->next_facts_ns && !final)
		return;
	r->next_facts_ns = now_ns + facts_ns;
	run_sum(r, &sum, final);
	facts = report_facts(&sum);
	exporting_set_facts(r->exporting, &facts);
}

static int run_report(struct run *r, bool final)
{
	const struct config *c = r->config;
	struct report report = { .final = final, .duration_ns = clock_monotonic_ns() - r->start.monotonic_ns };
	FILE *out;

	exporting_get_stats(r->exporting, &report.exporting); /* first: what is taken later must have been handed on */
	run_sum(r, &report.metering, true);
	recovery_get_gaps(&r->recovery, clock_monotonic_ns(), &report.gaps, &report.gap_ns);
	if (c->stats_path) {
		out = strcmp(c->stats_path, "-") ? run_open_stats(r, c->stats_path) : stderr;
		if (out)
			report_json(out, &report);
		if (!out || (out != stderr && fclose(out) != 0)) {
			log_error("--stats %s: %s", c->stats_path, strerror(errno));
			return 1;
		}
	} else if (!c->quiet) {
		report_summary(stderr, &report);
	}
	return 0;
}

static void run_stop_workers(struct run *r)
{
	exporting_stop_by(r->exporting, clock_monotonic_ns() + r->config->stop_ns);
	for (unsigned i = 0; i < r->n_workers; i++)
		worker_stop(r->workers[i]);
}

/* A metering process that ended by itself: of interfaces that is a failure, and ends all. */
static void run_check_workers(struct run *r)
{
	if (r->live)
		run_stop_workers(r);
}

static bool run_all_done(const struct run *r)
{
	for (unsigned i = 0; i < r->n_workers; i++)
		if (!worker_done(r->workers[i]))
			return false;
	return true;
}

/* A metering process that hangs is not alive, whatever this thread does. */
static void run_alive(struct run *r, uint64_t now_ns)
{
	uint64_t turns = 0;

	for (unsigned i = 0; i < r->n_workers; i++)
		turns += worker_turns(r->workers[i]);
	if (turns != r->turns || !r->live)
		notify_watchdog(&r->notify, now_ns);
	r->turns = turns;
}

/* SIGHUP: without a configuration file, names and templates only. */
static void run_reload(struct run *r)
{
	struct exporter_periods periods;
	struct worker_timeouts timeouts;
	struct diag diag;
	const struct config *c;

	if (!r->config->config_path) {
		exporting_refresh(r->exporting, NULL);
		return;
	}
	if (reload_read(&r->reload, &r->config, &diag)) {
		log_error("reload: %s; nothing was changed", diag.text);
		return;
	}
	c = r->config;
	log_set_level(c->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	timeouts = (struct worker_timeouts){ c->active_ns, c->inactive_ns, c->tcp_end_ns };
	for (unsigned i = 0; i < r->n_workers; i++)
		worker_set_timeouts(r->workers[i], &timeouts);
	periods = (struct exporter_periods){ .template_ns = c->template_ns,
					     .template_messages = c->template_messages,
					     .stats_ns = c->stats_ns,
					     .flush_ns = c->flush_ns,
					     .active_ns = c->active_ns,
					     .inactive_ns = c->inactive_ns };
	exporting_set_rate(r->exporting, c->max_export_rate, r->live);
	exporting_refresh(r->exporting, &periods);
	log_info("reload: %s is in force", c->config_path);
}

/* A second TERM or INT ends the program now: threads are at work, and nothing is taken down under them. */
static void run_stop(struct run *r)
{
	if (r->stopping) {
		if (r->pidfile_written)
			(void)opener_remove(r->confine.opener, r->config->pidfile);
		process_abandon(1);
	}
	r->stopping = true;
	run_stop_workers(r);
}

/* Until something of the first n happens: a signal, an end, news of interfaces. */
static void run_sleep(const struct run *r, unsigned n)
{
	struct pollfd fds[] = { { .fd = r->signal_fd, .events = POLLIN },
				{ .fd = r->done_fd, .events = POLLIN },
				{ .fd = recovery_fd(&r->recovery), .events = POLLIN } };

	poll(fds, n, WAIT_MS);
}

/* Until the metering processes have ended. */
static void run_wait(struct run *r)
{
	while (!run_all_done(r)) {
		uint64_t drained, now_ns;

		run_sleep(r, 3);
		now_ns = clock_monotonic_ns();
		recovery_step(&r->recovery, now_ns);
		run_alive(r, now_ns);
		run_facts(r, now_ns, false);
		if (read(r->done_fd, &drained, sizeof(drained)) > 0)
			run_check_workers(r);
		run_own_flows(r);
		for (int s = process_next_signal(r->signal_fd); s; s = process_next_signal(r->signal_fd)) {
			if (s == SIGHUP)
				run_reload(r);
			else if (s == SIGUSR1)
				run_report(r, false);
			else
				run_stop(r);
		}
	}
}

/* Until collectors have what is left, or --stop-timeout is over; the final statistics are not far. */
static void run_finish(struct run *r)
{
	exporting_begin_finish(r->exporting, r->done_fd);
	while (!exporting_has_ended(r->exporting)) {
		uint64_t drained;

		run_sleep(r, 2);
		if (read(r->done_fd, &drained, sizeof(drained)) < 0 && errno != EAGAIN)
			break;
		for (int s = process_next_signal(r->signal_fd); s; s = process_next_signal(r->signal_fd))
			if (s == SIGTERM || s == SIGINT)
				run_stop(r);
	}
	exporting_finish(r->exporting);
}

/* Datagrams that left and, as the network told, did not arrive: nobody knows which records were in them. */
static bool run_refused(const struct collector_stats *c)
{
	if (!c->errors || c->reliable || c->last_cause)
		return false;
	if (c->last_error == ECONNREFUSED)
		log_error("--collector %s refused %llu datagram%s (%s): nobody listens there; %llu flow record%s sent "
			  "may be lost",
			  c->url, (unsigned long long)c->errors, log_plural(c->errors), collector_cause(c),
			  (unsigned long long)c->records, log_plural(c->records));
	else
		log_error("--collector %s: %s (%llu error%s): %llu flow record%s sent may be lost", c->url,
			  collector_cause(c), (unsigned long long)c->errors, log_plural(c->errors),
			  (unsigned long long)c->records, log_plural(c->records));
	return true;
}

/* What a person must hear of collectors at the end of a savefile: 1 when one got nothing, or not all. */
static int run_verdict(struct run *r)
{
	struct exporting_stats stats;
	int status = 0;

	if (r->live)
		return 0;
	exporting_get_stats(r->exporting, &stats);
	for (unsigned i = 0; i < stats.n_collectors; i++) {
		const struct collector_stats *c = &stats.collectors[i];

		if (c->pending_records)
			log_warning("--collector %s: %s: left in the spool for the next run: %llu flow record%s", c->url,
				    collector_cause(c), (unsigned long long)c->pending_records,
				    log_plural(c->pending_records));
		if (!c->lost_records) {
			status |= run_refused(c);
			continue;
		}
		log_error("--collector %s: %s: %llu of %llu flow record%s not sent (%llu error%s)", c->url,
			  collector_cause(c), (unsigned long long)c->lost_records,
			  (unsigned long long)(c->records + c->lost_records), log_plural(c->records + c->lost_records),
			  (unsigned long long)c->errors, log_plural(c->errors));
		status = 1;
	}
	return status;
}

static int run_measure(struct run *r, struct diag *diag)
{
	int status = 0, ret;

	run_own_flows(r);
	ret = exporting_start(r->exporting, diag);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++) {
		worker_set_sandbox(r->workers[i], r->confine.sandbox);
		ret = worker_start(r->workers[i], diag);
	}
	if (ret < 0)
		return ret;
	/* a savefile's records do not depend on how fast it is read: no facts before the first periodic statistics */
	r->next_facts_ns = r->live ? 0 : clock_monotonic_ns() + r->config->stats_ns - facts_ns;
	process_ready();
	notify_ready(&r->notify);
	run_wait(r);
	notify_stopping(&r->notify);
	for (unsigned i = 0; i < r->n_workers; i++) {
		ret = worker_join(r->workers[i], diag);
		if (ret < 0) {
			log_error("%s", diag->text);
			status = 1;
		}
	}
	run_facts(r, 0, true);
	run_finish(r);
	status |= run_report(r, true);
	return run_verdict(r) ? 1 : status;
}

static void run_close(struct run *r)
{
	for (unsigned i = 0; r->workers && i < r->n_workers; i++)
		worker_free(r->workers[i]);
	feed_free(r->feed);
	exporting_free(r->exporting);
	exporter_free(r->exporter);
	if (r->pidfile_written)
		(void)opener_remove(r->confine.opener, r->config->pidfile);
	recovery_deinit(&r->recovery);
	notify_close(&r->notify);
	confine_deinit(&r->confine);
	if (r->signal_fd >= 0)
		close(r->signal_fd);
	if (r->done_fd >= 0)
		close(r->done_fd);
	free(r->workers);
	free(r->captures);
	free(r->interfaces);
	reload_deinit(&r->reload);
}

int run(const struct config *config, int argc, char **argv)
{
	struct run r = { .config = config, .reload = { .argc = argc, .argv = argv },
			 .live = config->n_interfaces > 0, .signal_fd = -1, .done_fd = -1, .notify = { .fd = -1 } };
	struct diag diag = { "" };
	int ret = config->daemon ? process_daemonize(&diag) : 0;

	r.start = clock_now();
	if (PITOT_TEST_HOOKS)
		r.start.monotonic_ns -= clock_planned_uptime_ns();
	if (ret == 0) {
		r.signal_fd = process_signals(&diag);
		ret = r.signal_fd < 0 ? r.signal_fd : 0;
	}
	if (ret == 0) {
		notify_open(&r.notify);
		ret = run_open(&r, &diag);
	}
	if (ret == 0)
		ret = run_measure(&r, &diag);
	if (ret < 0)
		log_error("%s", diag.text);
	run_close(&r);
	return ret ? 1 : 0;
}
