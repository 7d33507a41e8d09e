/* verdict: see verdict.h. */
#include "verdict.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "pitot/log.h"
#include "reporting.h"

/*
 * Datagrams without flow records did not arrive, as the network told.  A host may tell of few of those that
 * it refuses: nobody knows what became of the others.
 */
static bool verdict_refused(const struct collector_stats *c)
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
static bool verdict_tell_rest(const struct collector_stats *c)
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
	if (c->spool_dropped_records)
		log_warning("--collector %s: %llu flow record%s that an earlier run left in the spool %s "
			    "dropped: "
			    "for want of room (--spool-size), or unreadable",
			    c->url, (unsigned long long)c->spool_dropped_records,
			    log_plural(c->spool_dropped_records),
			    c->spool_dropped_records == 1 ? "is" : "are");
	meant = c->samples + c->lost_samples;
	if (c->lost_samples)
		log_error("--collector %s: %s: %llu of %llu sample%s not sent (%llu error%s)", c->url,
			  collector_cause(c), (unsigned long long)c->lost_samples, (unsigned long long)meant,
			  log_plural(meant), (unsigned long long)c->errors, log_plural(c->errors));
	return c->lost.records > 0 || c->lost_samples > 0;
}

/* What is left of a savefile that was not read to its end. */
static void verdict_say_interrupted(const struct control *r, const struct exporting_stats *stats)
{
	bool file = false;

	for (unsigned i = 0; i < r->config->n_collectors; i++)
		file |= i < stats->n_collectors && stats->collectors[i].is_file &&
			strcmp(r->config->collectors[i].path, "-") != 0;
	log_error("ended by SIG%s before the end of the input: the records are of what was read until then%s",
		  r->signal == SIGINT ? "INT" : "TERM", file ? "; output files are left as .part" : "");
}

int verdict_tell(const struct control *r)
{
	struct exporting_stats stats;
	int status = 0;

	reporting_take_exporting(r, &stats);
	for (unsigned i = 0; i < stats.n_collectors; i++) {
		const struct collector_stats *c = &stats.collectors[i];

		if (r->live && !c->reliable && !(c->is_file && c->errors)) /* was told when it happened */
			continue;
		if (c->unnamed)
			log_error("--collector %s: %s", c->url, collector_cause(c));
		if (c->unnamed || verdict_tell_rest(c) || verdict_refused(c))
			status |= !r->live || c->is_file;
	}
	if (r->signal && !r->live)
		verdict_say_interrupted(r, &stats);
	return status;
}
