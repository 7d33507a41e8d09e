/* ending: see ending.h. */
#include "ending.h"

#include "daemon.h"
#include "pidfile.h"
#include "pitot/log.h"

/* After --stop-timeout: nobody takes the records of metering threads any more. */
static const uint64_t late_ns = 300 * NS_PER_MSEC;
/* The exporting thread has said goodbye to collectors by then. */
static const uint64_t too_late_ns = NS_PER_SEC;
/* What is added where the machine has no time for them: the data is there, and they only have to come round.
 */
static const uint64_t starved_ns = 10 * NS_PER_SEC;

void ending_stop_workers(struct control *r)
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
static bool ending_is_lost(struct control *r, unsigned i, uint64_t now_ns)
{
	uint64_t still_ns = watch_metering(&r->watch, i, now_ns);

	if (!r->stop_by_ns || (still_ns < WATCH_HUNG_NS && now_ns < r->stop_by_ns + late_ns))
		return false;
	if (now_ns < r->stop_by_ns + starved_ns &&
	    watch_starves(&r->watch, &r->shared, i, (int)r->metering.pid))
		return false;
	if (!r->lost)
		log_error("metering thread %u does not end: what it has is lost", i);
	r->lost = true;
	return true;
}

bool ending_all_done(struct control *r)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (r->of_metering.due_ns) /* it is away */
		return false;
	for (unsigned i = 0; i < r->n_workers; i++)
		if (!atomic_load(&r->shared.metering[i].done) && !ending_is_lost(r, i, now_ns))
			return false;
	return true;
}

bool ending_is_too_late(struct control *r, uint64_t now_ns)
{
	if (!r->stop_by_ns || now_ns < r->stop_by_ns + too_late_ns)
		return false;
	if (now_ns < r->stop_by_ns + starved_ns &&
	    watch_starves(&r->watch, &r->shared, r->n_workers, (int)r->exporting.pid))
		return false;
	log_error("the exporting process does not end: what it has is lost");
	r->lost = true;
	return true;
}

void ending_remove_pidfile(const struct control *r)
{
	struct diag diag = {""};

	if (r->pid_fd >= 0 && opener_remove(r->confine.files_opener, r->config->pidfile, &diag) < 0)
		log_warning("--pidfile %s", diag.text);
}

/* A second TERM or INT ends the program now: threads are at work, and nothing is taken down under them. */
void ending_stop(struct control *r, int signal)
{
	if (r->view_left) { /* by the same Ctrl-C, and we heard of that sooner */
		r->view_left = false;
		return;
	}
	if (r->stopping) {
		ending_remove_pidfile(r);
		daemon_abandon(1);
	}
	r->stopping = true;
	if (!r->finishing) {
		r->signal = signal;
		atomic_store(&r->shared.exporting->cut_short, signal && !r->live);
	}
	pidfile_end(r->pid_fd);
	ending_stop_workers(r);
}
