/* exporting: see exporting.h. */
#include "exporting.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pace.h"
#include "pitot/clock.h"
#include "pitot/log.h"

enum { DRAIN_MAX = 512 };

static const uint64_t tick_ns = 20 * NS_PER_MSEC;

struct exporting {
	struct exporter *exporter;
	struct outlet *outlets;
	unsigned n_outlets;
	struct gate gate;
	pthread_t thread;
	bool started;
	_Atomic bool finish;
	_Atomic bool refresh;
	_Atomic bool ended;
	int done_fd; /* told of the end; -1: nobody */
	_Atomic uint32_t rate;
	_Atomic bool live;
	_Atomic uint64_t deadline_ns;
	_Atomic uint32_t stats_wanted;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t copied;
	uint32_t stats_done;
	struct exporting_stats stats;
	_Atomic bool facts_changed;
	struct export_process_facts facts;
	bool periods_changed;
	struct exporter_periods periods;
	struct transport_local locals[EXPORTING_COLLECTORS_MAX];
	/* the thread's own */
	struct pace pace;
	unsigned turn; /* the outlet that is first */
	uint64_t start_ns;
	int last_state[EXPORTING_COLLECTORS_MAX];
	struct log_gate error_gates[EXPORTING_COLLECTORS_MAX];
	uint64_t last_errors[EXPORTING_COLLECTORS_MAX];
	unsigned notices[EXPORTING_COLLECTORS_MAX];
};

int exporting_new(struct exporting **ep, struct exporter *exporter, unsigned n_outlets, size_t ring_records,
		  struct diag *diag)
{
	struct exporting *e = aligned_alloc(64, (sizeof(*e) + 63) & ~(size_t)63);

	if (!e)
		return diag_set(diag, -ENOMEM, "exporting process: out of memory");
	*e = (struct exporting){.exporter = exporter, .deadline_ns = UINT64_MAX, .done_fd = -1};
	pthread_mutex_init(&e->mutex, NULL);
	pthread_cond_init(&e->copied, NULL);
	e->outlets = aligned_alloc(64, n_outlets * sizeof(*e->outlets));
	for (unsigned i = 0; e->outlets && i < n_outlets; i++) {
		struct outlet *o = &e->outlets[i];

		*o = (struct outlet){.consumer = &e->gate};
		if (ring_init(&o->ring, ring_records, sizeof(struct flow_record)) < 0)
			break;
		o->wake_at = (o->ring.mask + 1) / 8;
		e->n_outlets = i + 1;
	}
	if (e->n_outlets != n_outlets) {
		exporting_free(e);
		return diag_set(diag, -ENOMEM, "exporting process: no memory for its queues");
	}
	*ep = e;
	return 0;
}

void exporting_free(struct exporting *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->n_outlets; i++)
		ring_deinit(&e->outlets[i].ring);
	free(e->outlets);
	pthread_mutex_destroy(&e->mutex);
	pthread_cond_destroy(&e->copied);
	free(e);
}

struct outlet *exporting_outlet(struct exporting *e, unsigned i)
{
	return &e->outlets[i];
}

/* How many of the oldest n are to be dropped instead: a queue that is nearly full would lose the next ones.
 */
static uint64_t exporting_excess(struct exporting *e, struct outlet *o, uint64_t n,
				 const struct clock_time *now)
{
	uint64_t room = (o->ring.mask + 1) / 4 * 3, used = ring_used(&o->ring); /* n may be of a while ago */

	if (now->monotonic_ns >= atomic_load_explicit(&e->deadline_ns, memory_order_relaxed))
		return n;
	if (!atomic_load_explicit(&e->live, memory_order_relaxed) || used <= room)
		return 0;
	return used - room < n ? used - room : n;
}

/* With a limit: the records that may go now, after those that cannot wait were dropped. */
static uint64_t exporting_limit(struct exporting *e, struct outlet *o, uint64_t n, uint32_t rate,
				const struct clock_time *now)
{
	uint64_t tokens = pace_tokens(&e->pace, rate, now->monotonic_ns), excess;

	if (tokens == 0) {
		excess = exporting_excess(e, o, n, now);
		for (uint64_t i = 0; i < excess; i++)
			exporter_drop(e->exporter, ring_slot(&o->ring, i), now);
		ring_consume(&o->ring, excess);
		if (excess)
			gate_wake(&o->room);
		return 0;
	}
	if (n > tokens)
		n = tokens;
	if (n > DRAIN_MAX)
		n = DRAIN_MAX;
	pace_take(&e->pace, n);
	return n;
}

/*
 * Live the IPv4 records of a turn go before the IPv6 ones: messages with one set hold more, and are of one
 * size, which the kernel sends at a quarter of the cost.  Of savefiles the order is kept: it must not depend
 * on turns.
 */
static void exporting_hand_on(struct exporting *e, struct outlet *o, unsigned n, const struct clock_time *now)
{
	bool live = atomic_load_explicit(&e->live, memory_order_relaxed);
	struct flow_record *later[DRAIN_MAX];
	unsigned n_later = 0;

	for (unsigned i = 0; i < n; i++) {
		struct flow_record *r = ring_slot(&o->ring, i);

		if (i + 4 < n) {
			const uint8_t *ahead = ring_slot(&o->ring, i + 4);

			__builtin_prefetch(ahead);
			__builtin_prefetch(ahead + 64);
		}
		if (live && r->key.ip_version == 6)
			later[n_later++] = r;
		else
			exporter_record(e->exporter, r, now);
	}
	for (unsigned i = 0; i < n_later; i++)
		exporter_record(e->exporter, later[i], now);
}

static unsigned exporting_drain(struct exporting *e, struct outlet *o, const struct clock_time *now)
{
	uint32_t rate = atomic_load_explicit(&e->rate, memory_order_relaxed);
	uint64_t n = ring_peek(&o->ring);

	if (n && rate)
		n = exporting_limit(e, o, n, rate, now);
	if (n > DRAIN_MAX)
		n = DRAIN_MAX;
	exporting_hand_on(e, o, (unsigned)n, now);
	if (n) {
		ring_consume(&o->ring, n);
		if (ring_used(&o->ring) <= (o->ring.mask + 1) / 2)
			gate_wake(&o->room);
	}
	return (unsigned)n;
}

static void exporting_copy_stats(struct exporting *e)
{
	uint32_t wanted = atomic_load(&e->stats_wanted);

	if (wanted == e->stats_done)
		return;
	pthread_mutex_lock(&e->mutex);
	exporter_get_stats(e->exporter, &e->stats.exporter);
	e->stats.n_collectors = exporter_collectors(e->exporter);
	if (e->stats.n_collectors > EXPORTING_COLLECTORS_MAX)
		e->stats.n_collectors = EXPORTING_COLLECTORS_MAX;
	for (unsigned i = 0; i < e->stats.n_collectors; i++)
		exporter_get_collector_stats(e->exporter, i, &e->stats.collectors[i]);
	e->stats_done = wanted;
	pthread_cond_broadcast(&e->copied);
	pthread_mutex_unlock(&e->mutex);
}

/* What a transport has to tell by itself: its spool, its certificate. */
static void exporting_pass_on(struct exporting *e, unsigned i)
{
	const struct transport *t = exporter_transport(e->exporter, i);

	if (!t || t->notices == e->notices[i])
		return;
	e->notices[i] = t->notices;
	log_warning("%s", t->notice);
}

/* One line when a collector begins to fail, not more than one a minute, and one when it is well again. */
static void exporting_tell(struct exporting *e, const struct clock_time *now)
{
	/* a short savefile is over before anybody could do anything: the sentence at its end is enough */
	bool early = !atomic_load(&e->live) && now->monotonic_ns - e->start_ns < 3 * NS_PER_SEC;

	for (unsigned i = 0; i < exporter_collectors(e->exporter) && i < EXPORTING_COLLECTORS_MAX; i++) {
		struct collector_stats c;

		exporting_pass_on(e, i);
		if (early)
			continue;
		exporter_get_collector_stats(e->exporter, i, &c);
		if (c.errors != e->last_errors[i] &&
		    log_gate_open(&e->error_gates[i], now->monotonic_ns, 60 * NS_PER_SEC)) {
			log_warning("--collector %s: %s (%llu error%s, %llu flow record%s not sent so far)",
				    c.url, collector_cause(&c), (unsigned long long)c.errors,
				    log_plural(c.errors), (unsigned long long)c.lost.records,
				    log_plural(c.lost.records));
			e->last_errors[i] = c.errors;
		}
		if (c.state == TRANSPORT_STATE_FAILED && e->last_state[i] != TRANSPORT_STATE_FAILED &&
		    c.errors == 0)
			log_warning("--collector %s: cannot be reached; it is tried again", c.url);
		if (c.state == TRANSPORT_STATE_UP && e->last_state[i] == TRANSPORT_STATE_FAILED)
			log_info("collector %s: reached again", c.url);
		e->last_state[i] = (int)c.state;
	}
}

static void exporting_take_facts(struct exporting *e)
{
	struct export_process_facts facts;

	if (!atomic_load_explicit(&e->facts_changed, memory_order_relaxed))
		return;
	pthread_mutex_lock(&e->mutex);
	atomic_store(&e->facts_changed, false);
	facts = e->facts;
	pthread_mutex_unlock(&e->mutex);
	exporter_set_facts(e->exporter, &facts);
}

static void exporting_do_refresh(struct exporting *e, const struct clock_time *now)
{
	struct exporter_periods periods;
	bool changed;

	pthread_mutex_lock(&e->mutex);
	periods = e->periods;
	changed = e->periods_changed;
	e->periods_changed = false;
	pthread_mutex_unlock(&e->mutex);
	if (changed)
		exporter_set_periods(e->exporter, &periods, now);
	else
		exporter_refresh(e->exporter, now);
}

static void exporting_note_locals(struct exporting *e)
{
	pthread_mutex_lock(&e->mutex);
	for (unsigned i = 0; i < exporter_collectors(e->exporter) && i < EXPORTING_COLLECTORS_MAX; i++) {
		const struct transport *t = exporter_transport(e->exporter, i);

		e->locals[i] = t ? t->self : (struct transport_local){0};
	}
	pthread_mutex_unlock(&e->mutex);
}

static bool exporting_has_records(struct exporting *e)
{
	for (unsigned i = 0; i < e->n_outlets; i++)
		if (ring_peek(&e->outlets[i].ring))
			return true;
	return false;
}

/* Until there is something to do. */
static void exporting_sleep(struct exporting *e)
{
	uint32_t rate = atomic_load_explicit(&e->rate, memory_order_relaxed);
	uint64_t wait_ns = tick_ns;

	gate_arm(&e->gate);
	if (exporting_has_records(e)) {
		wait_ns = rate ? pace_wait_ns(&e->pace, rate) : 0;
		if (wait_ns > tick_ns)
			wait_ns = tick_ns;
	} else if (atomic_load(&e->finish)) {
		wait_ns = 0;
	}
	if (wait_ns == 0 || atomic_load(&e->stats_wanted) != e->stats_done)
		gate_disarm(&e->gate);
	else
		gate_sleep(&e->gate, wait_ns);
}

static void *exporting_main(void *arg)
{
	struct exporting *e = arg;
	struct clock_time now = clock_now();
	uint64_t next_tick_ns = 0;
	const uint64_t one = 1;

	e->start_ns = now.monotonic_ns;
	for (;;) {
		bool finish = atomic_load(&e->finish); /* before the last look at the rings */
		unsigned n = 0;

		for (unsigned i = 0; i < e->n_outlets; i++)
			n += exporting_drain(e, &e->outlets[(e->turn + i) % e->n_outlets], &now);
		e->turn++;
		now = clock_now();
		if (atomic_exchange(&e->refresh, false))
			exporting_do_refresh(e, &now);
		if (now.monotonic_ns >= next_tick_ns) {
			exporting_take_facts(e);
			exporter_tick(e->exporter, &now);
			exporting_note_locals(e);
			exporting_tell(e, &now);
			next_tick_ns = now.monotonic_ns + tick_ns;
		}
		exporting_copy_stats(e);
		if (n == 0 && finish && !exporting_has_records(e))
			break;
		if (n == 0) {
			exporting_sleep(e);
			now = clock_now();
		}
	}
	exporting_take_facts(e);
	exporter_finish(e->exporter, &now);
	exporting_copy_stats(e);
	atomic_store(&e->ended, true);
	if (e->done_fd >= 0 && write(e->done_fd, &one, sizeof(one)) < 0)
		return NULL; /* it is full: whoever waits is awake */
	return NULL;
}

int exporting_start(struct exporting *e, struct diag *diag)
{
	int r = pthread_create(&e->thread, NULL, exporting_main, e);

	if (r)
		return diag_set(diag, -r, "exporting process: cannot start its thread: %s", strerror(r));
	e->started = true;
	return 0;
}

void exporting_begin_finish(struct exporting *e, int done_fd)
{
	e->done_fd = done_fd;
	atomic_store(&e->finish, true);
	gate_wake_sleeper(&e->gate);
}

bool exporting_has_ended(struct exporting *e)
{
	return atomic_load(&e->ended);
}

void exporting_finish(struct exporting *e)
{
	if (!e->started)
		return;
	if (!atomic_load(&e->finish))
		exporting_begin_finish(e, -1);
	pthread_join(e->thread, NULL);
	e->started = false;
}

void exporting_refresh(struct exporting *e, const struct exporter_periods *periods)
{
	pthread_mutex_lock(&e->mutex);
	if (periods) {
		e->periods = *periods;
		e->periods_changed = true;
	}
	pthread_mutex_unlock(&e->mutex);
	atomic_store(&e->refresh, true);
	gate_wake_sleeper(&e->gate);
}

void exporting_get_stats(struct exporting *e, struct exporting_stats *stats)
{
	uint32_t mine = atomic_fetch_add(&e->stats_wanted, 1) + 1;

	gate_wake_sleeper(&e->gate);
	if (!e->started) /* nobody else touches the exporter */
		exporting_copy_stats(e);
	pthread_mutex_lock(&e->mutex);
	while ((int32_t)(e->stats_done - mine) < 0)
		pthread_cond_wait(&e->copied, &e->mutex);
	*stats = e->stats;
	pthread_mutex_unlock(&e->mutex);
}

void exporting_set_facts(struct exporting *e, const struct export_process_facts *facts)
{
	pthread_mutex_lock(&e->mutex);
	e->facts = *facts;
	atomic_store(&e->facts_changed, true);
	pthread_mutex_unlock(&e->mutex);
}

unsigned exporting_get_locals(struct exporting *e, struct transport_local locals[EXPORTING_COLLECTORS_MAX])
{
	unsigned n = exporter_collectors(e->exporter);

	if (n > EXPORTING_COLLECTORS_MAX)
		n = EXPORTING_COLLECTORS_MAX;
	if (!e->started) /* nobody else touches the exporter */
		exporting_note_locals(e);
	pthread_mutex_lock(&e->mutex);
	memcpy(locals, e->locals, n * sizeof(*locals));
	pthread_mutex_unlock(&e->mutex);
	return n;
}

void exporting_set_rate(struct exporting *e, uint32_t records, bool live)
{
	atomic_store(&e->live, live);
	atomic_store(&e->rate, records);
	gate_wake_sleeper(&e->gate);
}

void exporting_stop_by(struct exporting *e, uint64_t deadline_ns)
{
	atomic_store(&e->deadline_ns, deadline_ns);
	exporter_stop_by(e->exporter, deadline_ns);
}
