/*
 * metering: see metering.h.  metering_loop() is THE loop: packets in, records out.
 */
#include "metering_internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/fragment.h"
#include "pitot/log.h"
#include "exporting.h"
#include "metering_files.h"
#include "metering_live.h"
#include "polite.h"

enum { FOLLOWING_IDS = 1 << 20, COMMANDS_MS = 50, PUBLISH_BATCHES = 16 };

static const uint64_t expire_every_ns = NS_PER_MSEC;

/* ---- records out */

static struct flow_record *metering_wait_for_room(struct metering *w)
{
	for (;;) {
		struct flow_record *slot;

		atomic_fetch_add_explicit(&w->shared->turns, 1, memory_order_relaxed);
		metering_publish_numbers(w, false);
		selection_publish(&w->selection);
		ring_publish(&w->records);
		gate_wake(w->consumer);
		gate_arm(&w->shared->room);
		slot = ring_reserve(&w->records);
		if (slot) {
			gate_disarm(&w->shared->room);
			return slot;
		}
		gate_sleep(&w->shared->room, NS_PER_MSEC);
		if (atomic_load(&w->config.shared->exporting->ended))
			return NULL; /* nobody will make room */
	}
}

static void metering_on_record(void *ctx, const struct flow_record *record)
{
	struct metering *w = ctx;
	struct flow_record *slot;

	if (w->dropping) {
		totals_count(&w->stats.deleted, record->packets, record->octets);
		return;
	}
	slot = ring_reserve(&w->records);
	if (!slot && w->source->may_wait)
		slot = metering_wait_for_room(w);
	if (!slot) {
		totals_count(&w->stats.lost, record->packets, record->octets);
		return;
	}
	flow_record_copy(slot, record, w->config.table.layout.record_size);
}

/* Records that are worth waking the exporting process for: polite, it sleeps on until the queue is full. */
static uint64_t metering_wake_at(const struct metering *w)
{
	const struct shared_control *control = w->config.shared->control;

	if (w->config.polite &&
	    polite_word_row(atomic_load_explicit(&control->polite, memory_order_relaxed))->defers)
		return ring_capacity(&w->records.at) / 8 * EXPORTING_FULL_EIGHTHS;
	return w->wake_at;
}

/*
 * Numbers first: who sees a record sees what was counted with it.  While more is at hand once in a few
 * batches is enough.
 */
static void metering_publish(struct metering *w)
{
	bool samples = w->selection.ring && ring_has_news(w->selection.ring);
	bool records = ring_has_news(&w->records);

	if (w->source->at_hand && ++w->unpublished < PUBLISH_BATCHES &&
	    ring_unpublished(&w->records) < w->wake_at)
		return;
	w->unpublished = 0;
	metering_publish_numbers(w, false);
	selection_publish(&w->selection);
	if (records) {
		ring_publish(&w->records);
		if (ring_pending(&w->records, metering_wake_at(w)))
			gate_wake(w->consumer);
	}
	/* the exporting process looks at rings now and then by itself; a burst of samples does not wait */
	if (samples && ring_pending(w->selection.ring, ring_capacity(&w->selection.ring->at) / 8))
		gate_wake(w->consumer);
	if (samples || records) /* unless nothing has come for a while */
		gate_nudge(w->consumer);
}

/* ---- set-up */

static int metering_open_source(struct metering *w, struct diag *diag)
{
	const struct metering_config *config = &w->config;
	struct metering_live_config live = {.shared = config->shared,
					    .number = config->number,
					    .plans = config->plans,
					    .n_places = config->n_places,
					    .decode = &config->decode,
					    .packet_size = w->packet_size,
					    .own = &w->own,
					    .selection = &w->selection,
					    .stats = &w->stats,
					    .paused = &w->paused,
					    .polite = config->polite,
					    .mailbox = &w->mailbox};
	struct metering_files_config files = {.files = config->files,
					      .dealing = config->dealing,
					      .lane = config->number,
					      .packet_size = w->packet_size,
					      .selection = &w->selection,
					      .stats = &w->stats};
	struct fragment_table *fragments = NULL;
	int r = 0;

	if (config->track_fragments)
		r = fragment_table_new(&fragments, config->max_fragments, config->fragment_timeout_ns,
				       &config->table.seed, diag);
	live.fragments = files.fragments = fragments;
	if (r == 0)
		r = config->live ? metering_live_new(&w->source, &live, diag)
				 : metering_files_new(&w->source, &files, diag);
	if (r < 0)
		fragment_table_free(fragments);
	return r;
}

static int metering_new_count(struct metering *w, struct diag *diag)
{
	w->count = aligned_alloc(64, w->config.table.layout.record_size);
	return w->count ? 0 : diag_set(diag, -ENOMEM, "metering process: out of memory");
}

int metering_new(struct metering **wp, const struct metering_config *config, struct diag *diag)
{
	struct metering *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	int r;

	if (!w)
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	*w = (struct metering){.config = *config,
			       .paused = config->paused,
			       .shared = &config->shared->metering[config->number],
			       .mailbox = config->shared->to_metering[config->number],
			       .consumer = &config->shared->exporting->gate};
	shared_write_samples(config->shared, config->number, &w->samples);
	selection_init(&w->selection, &config->selection, &w->samples, NULL);
	shared_write_records(config->shared, config->number, &w->records);
	w->wake_at = ring_capacity(&w->records.at) / 8;
	w->config.table.on_record = metering_on_record;
	w->config.table.ctx = w;
	w->config.table.first_id = config->first_id + ((uint64_t)config->number << 56);
	w->config.table.host_clock = config->live;
	w->config.table.slicing_seed =
		~(config->selection.flows.seed + config->number); /* other draws than the sampler's */
	if (config->follows) { /* with room for records that were never published */
		published_get(&w->shared->numbers, &w->base);
		w->config.table.first_id += w->base.flows.created + FOLLOWING_IDS;
	}
	record_layout_complete(&w->config.table.layout);
	w->config.decode.layout = w->config.table.layout; /* what is decoded is what is metered */
	w->packet_size = w->config.table.layout.packet_size;
	r = metering_open_source(w, diag);
	if (r == 0)
		r = flow_table_new(&w->table, &w->config.table, diag);
	if (r == 0 && config->polite)
		r = metering_new_count(w, diag);
	if (r < 0) {
		metering_free(w);
		return r;
	}
	*wp = w;
	return 0;
}

void metering_free(struct metering *w)
{
	if (!w)
		return;
	if (w->source)
		w->source->ops->free(w->source);
	flow_table_free(w->table);
	free(w->count);
	free(w);
}

int metering_set_capture(struct metering *w, unsigned place, struct capture *c, struct diag *diag)
{
	return metering_live_set_capture(w->source, place, c, diag);
}

const struct capture *metering_capture(const struct metering *w, unsigned place)
{
	return metering_live_capture(w->source, place);
}

bool metering_uses_libpcap(const struct metering *w)
{
	return w->config.live && metering_live_uses_libpcap(w->source);
}

/* ---- polite mode */

void metering_take_counts(struct metering *w, bool all)
{
	struct meter_stats *m = &w->stats.meter;
	uint64_t link;

	if (!w->count)
		return;
	if (all)
		w->source->ops->get_totals(w->source, m);
	for (;;) {
		memset(w->count, 0, w->config.table.layout.record_size);
		if (!w->source->ops->take_count(w->source, all, w->count, &link))
			return;
		m->received_packets += w->count->packets;
		m->received_octets += link;
		m->metered_packets += w->count->packets;
		m->metered_octets += w->count->octets;
		m->metered_link_octets += link;
		m->selected_by[0] += w->count->packets;
		flow_table_hand_on(w->table, w->count, FLOW_END_ACTIVE);
	}
}

/* ---- the loop */

static void metering_update(struct metering *w, struct packet *packets, unsigned n)
{
	if (PITOT_TEST_HOOKS && n) {
		sandbox_test_call();
		sandbox_test_hang("metering");
	}
	flow_table_set_selector(w->table, w->source->selector);
	flow_table_set_slicing(w->table, w->source->slicing);
	account_count(&w->stats.meter, packets, w->packet_size, n);
	flow_table_prefetch(w->table, packets, n); /* touch every bucket first ... */
	flow_table_update(w->table, packets, n);   /* ... then use them */
}

static void metering_expire(struct metering *w)
{
	const struct ring_place *ring = &w->records.at;
	const struct source *s = w->source;
	uint64_t room;

	if (s->elapsed_ns - w->expired_ns < expire_every_ns)
		return;
	room = s->ops->room(s, w->table, ring_capacity(ring) - ring_used(ring));
	if (room == 0)
		return;
	w->expired_ns = s->elapsed_ns;
	flow_table_expire(w->table, s->elapsed_ns, s->now_ns, room);
}

/* Nothing came: until when nothing is to be done unless something does.  Polite mode looks often. */
static uint64_t metering_due_ns(const struct metering *w)
{
	return w->config.live && !w->config.polite ? flow_table_due_ns(w->table) : 0;
}

/*
 * A pipe that has nothing now is waited for where no command can wake us: while somebody looks through the
 * table, with a question for each few flows, we rather wait for these.
 */
static void metering_wait_for_commands(struct metering *w)
{
	struct pollfd p = {.fd = w->mailbox.receive_fd, .events = POLLIN};
	uint64_t end_ns = clock_monotonic_ns() + COMMANDS_MS * NS_PER_MSEC;

	while (w->walked && !w->stop && clock_monotonic_ns() < end_ns) {
		w->walked = false;
		if (mailbox_fall_asleep(&w->mailbox)) {
			poll(&p, 1, 5);
			mailbox_wake_up(&w->mailbox, p.revents);
		}
		mailbox_run(&w->mailbox, w);
	}
}

/* What comes meanwhile waits in the captures' buffers. */
static void metering_stay_frozen(struct metering *w)
{
	struct pollfd p = {.fd = w->mailbox.receive_fd, .events = POLLIN};

	if (!mailbox_fall_asleep(&w->mailbox))
		return;
	poll(&p, 1, COMMANDS_MS);
	mailbox_wake_up(&w->mailbox, p.revents != 0);
}

/* Until the source has nothing more, which COMMAND_STOP makes it say; 0, or why not. */
static int metering_loop(struct metering *w)
{
	for (;;) {
		struct packet *packets;
		unsigned n;
		int r;

		mailbox_run(&w->mailbox, w); /* commands, between two batches */
		atomic_fetch_add_explicit(&w->shared->turns, 1, memory_order_relaxed);
		if (w->let_go)
			return 0;
		if (w->frozen && !w->stop) {
			metering_stay_frozen(w);
			continue;
		}
		if (w->starved && w->walked)
			metering_wait_for_commands(w);
		r = w->source->ops->next(w->source, &packets, &n, &w->why); /* decoded, accounted for */
		if (r)
			return r < 0 ? r : 0;
		w->starved = n == 0 && !w->config.live;
		metering_update(w, packets, n);
		metering_expire(w);
		metering_take_counts(w, false);
		metering_publish(w); /* numbers, then records */
		w->source->due_ns = n ? 0 : metering_due_ns(w);
	}
}

static void *metering_main(void *arg)
{
	struct metering *w = arg;

	while (w->config.go && !atomic_load(w->config.go))
		poll(NULL, 0, 1);
	if (w->config.speaks)
		shared_speak(&w->speaker, w->config.shared, &w->shared->lines);
	atomic_store(&w->shared->thread, (int32_t)gettid());
	w->result = metering_loop(w);
	w->source->may_wait = true;
	w->dropping = w->drop_at_stop;
	if (w->let_go) {
		flow_table_let_go(w->table);
	} else {
		metering_take_counts(w, true);
		flow_table_flush(w->table, FLOW_END_FORCED);
	}
	metering_publish_numbers(w, true);
	selection_publish(&w->selection);
	ring_publish(&w->records);
	gate_wake(w->consumer);
	w->shared->why = w->why;
	atomic_store(&w->shared->result, w->result);
	atomic_store(&w->shared->done, true);
	return NULL;
}

/* The processor that it is to run on, before its thread may do nothing of the kind any more. */
static void metering_bind(struct metering *w)
{
	cpu_set_t set;
	int r;

	if (w->config.cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)w->config.cpu, &set);
	r = pthread_setaffinity_np(w->thread, sizeof(set), &set);
	if (r)
		log_warning("--cpus: metering thread %u cannot be bound to processor %d: %s",
			    w->config.number, w->config.cpu,
			    r == EINVAL ? "there is none of that number, or pitot may not use it"
					: strerror(r));
}

int metering_start(struct metering *w, struct diag *diag)
{
	int r = pthread_create(&w->thread, NULL, metering_main, w);

	if (r)
		return diag_set(diag, -r, "metering process: cannot start its thread: %s", strerror(r));
	w->started = true;
	metering_bind(w);
	return 0;
}

int metering_join(struct metering *w, struct diag *diag)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
	if (w->result < 0)
		*diag = w->why;
	return w->result;
}
