/*
 * stepping: see stepping.h.
 *
 * The rung is one word of the shared region: who meters and who exports look at it between two batches, so
 * nobody is asked and nobody waits.  Without pressure-stall information (an old kernel, or one that was told
 * not to count) pitot is polite by its own share and by its buffers alone, which is said at the start.
 */
#include "stepping.h"

#include <string.h>
#include <unistd.h>

#include "pressure.h"
#include "pitot/log.h"

int stepping_open(struct control *r, struct diag *diag)
{
	const struct config_polite *c = &r->config->polite;
	r->stepping.pressure_fd = -1;
	if (!r->config->polite.on)
		return 0;
	if (!r->live) {
		log_info("--polite: a file can wait, so all of it is measured; pitot only gives way to "
			 "others");
		return 0;
	}
	polite_init(&r->stepping.polite,
		    &(struct polite_config){
			    .cpu = c->cpu, .yield = c->yield, .spare = c->spare, .slice = c->slice},
		    clock_monotonic_ns());
	if (!strcmp(c->pressure, "none"))
		return 0;
	r->stepping.pressure_fd = pressure_open(c->pressure[0] ? c->pressure : NULL, diag);
	if (r->stepping.pressure_fd < 0 && c->pressure[0])
		return diag_prefix(diag, r->stepping.pressure_fd, "--polite: pressure: ");
	if (r->stepping.pressure_fd < 0)
		log_warning("--polite: nobody tells how long others wait for a processor (%s): pitot steps "
			    "back by its own "
			    "share alone",
			    diag->text);
	return 0;
}

void stepping_close(struct control *r)
{
	if (r->stepping.pressure_fd >= 0)
		close(r->stepping.pressure_fd);
	r->stepping.pressure_fd = -1;
}

static unsigned stepping_queue_percent(const struct control *r)
{
	unsigned most = 0;

	for (unsigned i = 0; i < r->n_workers; i++) {
		struct ring_reader reader;
		uint64_t used;

		shared_read_records(&r->shared, i, &reader);
		used = 100 * ring_used(&reader.at) / ring_capacity(&reader.at);
		most = used > most ? (unsigned)used : most;
	}
	return most;
}

static struct polite_sample stepping_look(const struct control *r, uint64_t now_ns)
{
	struct polite_sample s = {.now_ns = now_ns,
				  .cpu_ns = pressure_cpu_ns(r->metering.pid) +
					    pressure_cpu_ns(r->exporting.pid) + pressure_cpu_ns(getpid()),
				  .stalled_ns = pressure_read(r->stepping.pressure_fd),
				  .queue_percent = stepping_queue_percent(r)};
	struct metering_stats sum;

	shared_sum_metering(&r->shared, &sum);
	s.dropped = sum.meter.kernel_dropped;
	for (unsigned i = 0; i < r->n_workers; i++) {
		const struct shared_metering *m = &r->shared.metering[i];
		uint32_t fill = atomic_load_explicit(&m->fill_percent, memory_order_relaxed),
			 table = atomic_load_explicit(&m->table_percent, memory_order_relaxed);

		s.buffer_percent = fill > s.buffer_percent ? fill : s.buffer_percent;
		s.table_percent = table > s.table_percent ? table : s.table_percent;
	}
	return s;
}

int stepping_wait_ms(const struct control *r, uint64_t now_ns, int most)
{
	uint64_t next_ns = r->stepping.next_ns,
		 ms = next_ns > now_ns ? (next_ns - now_ns) / NS_PER_MSEC + 1 : 0;

	return control_is_polite(r) && !r->stop_by_ns && !r->finishing && ms < (uint64_t)most ? (int)ms
											      : most;
}

void stepping_step(struct control *r, uint64_t now_ns)
{
	struct polite *p = &r->stepping.polite;
	struct polite_sample s;
	char text[400];

	if (!control_is_polite(r) || now_ns < r->stepping.next_ns || r->stop_by_ns)
		return;
	/* on a grid, for three samples in a row are a step */
	r->stepping.next_ns += POLITE_EVERY_NS;
	if (r->stepping.next_ns <= now_ns)
		r->stepping.next_ns = now_ns + POLITE_EVERY_NS;
	s = stepping_look(r, now_ns);
	if (!polite_step(p, &s))
		return;
	atomic_store(&r->shared.control->polite, polite_word(p->rung, p->step));
	gate_wake(&r->shared.exporting->gate);
	polite_describe(p, text, sizeof(text));
	log_info("%s", text);
}
