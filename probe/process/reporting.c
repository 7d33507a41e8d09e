/* reporting: see reporting.h. */
#include "reporting.h"

#include <poll.h>
#include <string.h>

#include "announce.h"
#include "pitot/log.h"
#include "statistics.h"

static const uint64_t metrics_every_ns = 15 * NS_PER_SEC; /* as often as scrapers come */

/* Published numbers hold no addresses. */
void reporting_take_exporting(const struct control *r, struct exporting_stats *stats)
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
void reporting_take(struct control *r, struct report *report, struct ledger *ledger, bool final)
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
	control_socket_get_stats(r->socket, &report->control);
	report->polite = control_is_polite(r) ? &r->stepping.polite : NULL;
	for (;;) {
		reporting_take_exporting(r, &report->exporting);
		shared_sum_metering(&r->shared, &report->metering);
		ledger_take(ledger, report);
		if (ledger->balanced || final || clock_monotonic_ns() >= end_ns)
			return;
		poll(NULL, 0, 1);
	}
}

/* --metrics-file; what goes wrong is logged, and tried again the next time.  0, or 1: it went wrong. */
static int reporting_write_metrics(struct control *r, const struct ledger *ledger)
{
	const char *path = r->config->metrics_path;
	struct diag diag = {""};

	if (!path || statistics_write(r->confine.files_opener, path, report_prometheus, ledger, &diag) >= 0)
		return 0;
	log_error("--metrics-file %s", diag.text);
	return 1;
}

int reporting_write(struct control *r, bool final)
{
	const struct config *c = r->config;
	uint64_t wait_ns = final ? c->stop_ns : 0;
	struct report report;
	struct ledger ledger;
	struct diag diag = {""};
	int status = 0;

	reporting_take(r, &report, &ledger, final);
	if (final && r->announced)
		announce_stop(&ledger);
	if (final && !r->heir.is_owner) /* the page is another process's, too */
		status = reporting_write_metrics(r, &ledger);
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
	return status;
}

uint64_t reporting_due_ns(const struct control *r)
{
	uint64_t due_ns = UINT64_MAX;

	if (r->config->stats_path && r->config->stats_every_ns)
		due_ns = r->next_report_ns;
	return r->config->metrics_path ? clock_sooner_ns(due_ns, r->next_metrics_ns) : due_ns;
}

void reporting_step(struct control *r, uint64_t now_ns)
{
	uint64_t every_ns = r->config->stats_path ? r->config->stats_every_ns : 0;

	if (every_ns && now_ns >= r->next_report_ns) {
		if (r->next_report_ns)
			(void)reporting_write(r, false);
		r->next_report_ns = now_ns + every_ns;
	}
	if (r->config->metrics_path && now_ns >= r->next_metrics_ns) {
		struct report report;
		struct ledger ledger;

		reporting_take(r, &report, &ledger, false);
		(void)reporting_write_metrics(r, &ledger);
		r->next_metrics_ns =
			now_ns + (r->config->stats_every_ns ? r->config->stats_every_ns : metrics_every_ns);
	}
}
