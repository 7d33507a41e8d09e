/*
 * metering: see metering.h.  metering_main() is the loop: packets in, records out.
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

enum {
	WAIT_MS = 50,
	FOLLOWING_IDS = 1 << 20,
	AGREEING_PACKETS =
		64, /* how many packets must have reached a time before the clock of a savefile does */
	POLL_MAX = 64,
};

/* A ring of the kernel's hands out a block late: so much later than packet time runs the clock on a silent
 * link. */
static const uint64_t silence_lag_ns = 100 * NS_PER_MSEC;
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
	if (!slot && w->may_wait)
		slot = metering_wait_for_room(w);
	if (!slot) {
		totals_count(&w->stats.lost, record->packets, record->octets);
		return;
	}
	flow_record_copy(slot, record, w->config.table.layout.record_size);
}

/* Numbers first: who sees a record sees what was counted with it. */
static void metering_publish(struct metering *w)
{
	metering_publish_numbers(w, false);
	if (!ring_has_news(&w->records))
		return;
	ring_publish(&w->records);
	if (ring_pending(&w->records, w->wake_at))
		gate_wake(w->consumer);
}

/* ---- set-up */

int metering_set_capture(struct metering *w, unsigned place, struct capture *c, struct diag *diag)
{
	struct metering_place *p = &w->places[place];
	int r = decoder_new(&p->decoder, c->link_type, &w->config.decode, diag);

	if (r < 0) {
		struct diag why = *diag;

		diag_set(diag, r, "%s: %.400s", c->name, why.text);
		capture_close(c);
		return r;
	}
	p->capture = c;
	atomic_store(&p->shared->taken, true);
	return 0;
}

int metering_new(struct metering **wp, const struct metering_config *config, struct diag *diag)
{
	struct metering *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	int r = 0;

	if (!w)
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	*w = (struct metering){.config = *config,
			       .window_min_ns = UINT64_MAX,
			       .may_wait = !config->live,
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
	if (config->follows) { /* with room for records that were never published */
		published_get(&w->shared->numbers, &w->base);
		w->config.table.first_id += w->base.flows.created + FOLLOWING_IDS;
	}
	record_layout_complete(&w->config.table.layout);
	w->config.decode.layout = w->config.table.layout; /* what is decoded is what is metered */
	w->packet_size = w->config.table.layout.packet_size;
	w->packets = aligned_alloc(64, BATCH_MAX * w->packet_size);
	w->places = calloc(config->n_places + 1, sizeof(*w->places));
	if (!w->packets || !w->places)
		r = diag_set(diag, -ENOMEM, "metering process: out of memory");
	for (; r == 0 && w->n_places < config->n_places; w->n_places++)
		w->places[w->n_places].shared = shared_place_of(config->shared, config->number, w->n_places);
	if (r == 0)
		r = flow_table_new(&w->table, &w->config.table, diag);
	if (r == 0 && config->track_fragments)
		r = fragment_table_new(&w->fragments, config->max_fragments, config->fragment_timeout_ns,
				       &config->table.seed, diag);
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
	for (unsigned i = 0; i < w->n_places; i++) {
		capture_close(w->places[i].capture);
		decoder_free(w->places[i].decoder);
	}
	free(w->packets);
	free(w->places);
	flow_table_free(w->table);
	fragment_table_free(w->fragments);
	free(w);
}

const struct capture *metering_capture(const struct metering *w, unsigned place)
{
	return w->places[place].capture;
}

/* ---- the metering clock */

/*
 * Savefiles: the clock is the earliest time among the last AGREEING_PACKETS packets, so a packet dated far in
 * the future moves nothing.  It may step back with the packets; only elapsed_ns never does.
 */
static void metering_clock_offline(struct metering *w, const struct packet *packets, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t time_ns = packet_of_const(packets, w->packet_size, i)->time_ns;

		if (time_ns < w->window_min_ns)
			w->window_min_ns = time_ns;
	}
	w->window_packets += n;
	if (w->window_packets < AGREEING_PACKETS)
		return;
	if (w->window_min_ns > w->now_ns)
		w->elapsed_ns += w->now_ns ? w->window_min_ns - w->now_ns : 0;
	w->now_ns = w->window_min_ns;
	w->window_packets = 0;
	w->window_min_ns = UINT64_MAX;
}

/* Live: the time of the latest packet while packets come, the host's clock when the links are silent. */
static void metering_clock_live(struct metering *w, uint64_t latest_ns)
{
	struct clock_time host = clock_now();

	w->elapsed_ns = host.monotonic_ns;
	w->now_ns = host.realtime_ns - silence_lag_ns;
	if (latest_ns && latest_ns < host.realtime_ns)
		w->now_ns = latest_ns;
}

/*
 * An ordinary file will end: records of silent keys are held back while there is room for them, so that
 * packets that a file has out of order still find their record.
 */
static bool metering_holds_back(const struct metering *w)
{
	return w->config.feed && file_reader_is_file(w->config.feed) &&
	       flow_table_stats(w->table)->in_table.records < flow_table_capacity(w->table) / 2;
}

static void metering_expire(struct metering *w)
{
	const struct ring_place *ring = &w->records.at;
	uint64_t room;

	if (w->elapsed_ns - w->expired_ns < expire_every_ns || metering_holds_back(w))
		return;
	w->expired_ns = w->elapsed_ns;
	/* a record that the exporting process has no room for is better kept in the table than lost */
	room = w->may_wait ? UINT64_MAX : ring_capacity(ring) - ring_used(ring);
	flow_table_expire(w->table, w->elapsed_ns, w->now_ns, room);
}

/* ---- the loop */

static void metering_update(struct metering *w, struct packet *packets, unsigned n)
{
	account_count(&w->stats.meter, packets, w->packet_size, n);
	if (w->config.feed && file_reader_is_dealt(w->config.feed))
		flow_table_prefetch_hashed(w->table, packets, n);
	else
		flow_table_prefetch(w->table, packets, n); /* touch every bucket first ... */
	flow_table_update(w->table, packets, n);	   /* ... then use them */
}

/* A batch from an interface; the time of its last packet. */
static uint64_t metering_meter(struct metering *w, struct capture *c, const struct decoder *d)
{
	unsigned n = w->batch.n;
	uint64_t latest_ns;

	selection_draw(&w->selection, &w->batch, c->link_type, &w->stats.samples);
	selection_frames(&w->selection, &w->batch, &w->stats.meter);
	n = w->batch.n;
	decode_batch(d, &w->batch, w->packets);
	if (PITOT_TEST_HOOKS) {
		uint64_t shift_ns = clock_planned_shift_ns();

		sandbox_test_call();
		sandbox_test_hang("metering");
		for (unsigned i = 0; i < n; i++)
			packet_of(w->packets, w->packet_size, i)->time_ns += shift_ns;
	}
	capture_release(c, &w->batch); /* after this nobody points into frames */
	for (unsigned i = 0; w->paused && i < n; i++)
		packet_of(w->packets, w->packet_size, i)->verdict = PACKET_PAUSED;
	latest_ns = n ? packet_of(w->packets, w->packet_size, n - 1)->time_ns : 0;
	n = account_sort(&w->stats.meter, &w->stats.flows, w->fragments, &w->own, w->packets, w->packet_size,
			 n, c->mtu);
	n = selection_packets(&w->selection, w->packets, w->packet_size, n, &w->stats.meter);
	metering_update(w, w->packets, n);
	return latest_ns;
}

/* A batch from the savefiles.  0 to go on, positive when there is no more, negative errno. */
static int metering_read_feed(struct metering *w)
{
	struct packet *packets;
	unsigned n;
	int r = file_reader_next(w->config.feed, w->config.number, &packets, &n, &w->why);

	w->starved = r == 0 && n == 0;
	if (r || n == 0)
		return r;
	if (PITOT_TEST_HOOKS) {
		sandbox_test_call();
		sandbox_test_hang("metering");
	}
	metering_clock_offline(w, packets, n);
	metering_update(w, packets, n);
	return 0;
}

/* Sleeps until an interface has frames, or a command has come with descriptors. */
static void metering_wait(struct metering *w)
{
	struct pollfd fds[POLL_MAX + 1];
	nfds_t n = 0;

	for (unsigned i = 0; i < w->n_places && n < POLL_MAX; i++) {
		const struct capture *c = w->places[i].capture;

		if (c && c->fd >= 0)
			fds[n++] = (struct pollfd){.fd = c->fd, .events = POLLIN};
	}
	fds[n++] = (struct pollfd){.fd = w->mailbox.receive_fd, .events = POLLIN};
	if (!mailbox_fall_asleep(&w->mailbox))
		return;
	poll(fds, n, WAIT_MS);
	mailbox_wake_up(&w->mailbox);
}

struct capture_stats metering_place_totals(const struct metering_place *p)
{
	struct capture_stats sum = p->before, c = {0};

	if (p->capture && capture_get_stats(p->capture, &c) == 0) {
		sum.kernel_dropped += c.kernel_dropped;
		sum.filtered += c.filtered;
		sum.filtered_octets += c.filtered_octets;
		sum.filtered_unknown |= c.filtered_unknown;
	}
	return sum;
}

/* The interface is gone, and nothing of it is left to be metered. */
static void metering_let_go(struct metering_place *p)
{
	p->before = metering_place_totals(p);
	capture_close(p->capture);
	decoder_free(p->decoder);
	p->capture = NULL;
	p->decoder = NULL;
	atomic_store(&p->shared->taken, false);
}

/* One batch from every interface. */
static int metering_read_interfaces(struct metering *w)
{
	uint64_t latest_ns = 0;
	unsigned frames = 0;

	for (unsigned i = 0; i < w->n_places; i++) {
		struct metering_place *p = &w->places[i];
		uint64_t t;
		int r;

		if (!p->capture)
			continue;
		r = capture_recv(p->capture, &w->batch, 0, &w->why);
		if (r < 0)
			return r;
		if (r == CAPTURE_E_GONE)
			metering_let_go(p);
		if (r > 0 || w->batch.n == 0)
			continue;
		frames += w->batch.n;
		t = metering_meter(w, p->capture, p->decoder);
		if (latest_ns == 0 || t < latest_ns)
			latest_ns = t;
	}
	if (frames == 0) {
		metering_publish(w);
		metering_wait(w);
	}
	metering_clock_live(w, frames ? latest_ns : 0);
	return 0;
}

/*
 * Nothing new comes in; what the kernel holds for us is metered, and nothing of it is lost for want of room.
 * Savefiles have no entrance to shut and are simply left.
 */
static int metering_drain(struct metering *w)
{
	int r = 0;

	w->may_wait = true;
	if (!w->config.live)
		return 0;
	for (unsigned i = 0; i < w->n_places; i++)
		if (w->places[i].capture)
			capture_stop(w->places[i].capture);
	for (unsigned i = 0; i < w->n_places && r >= 0; i++) {
		const struct metering_place *p = &w->places[i];

		while (p->capture && (r = capture_recv(p->capture, &w->batch, WAIT_MS, &w->why)) == 0) {
			atomic_fetch_add_explicit(&w->shared->turns, 1, memory_order_relaxed);
			metering_meter(w, p->capture, p->decoder);
			metering_publish(w);
		}
	}
	return r < 0 ? r : 0;
}

bool metering_uses_libpcap(const struct metering *w)
{
	for (unsigned i = 0; i < w->n_places; i++)
		if (w->places[i].capture && w->places[i].capture->ops == &capture_pcap_ops)
			return true;
	return false;
}

/*
 * A pipe that has nothing now is waited for where no command can wake us: while somebody looks through the
 * table, with a question for each few flows, we rather wait for these.
 */
static void metering_wait_for_commands(struct metering *w)
{
	struct pollfd p = {.fd = w->mailbox.receive_fd, .events = POLLIN};
	uint64_t end_ns = clock_monotonic_ns() + WAIT_MS * NS_PER_MSEC;

	while (w->walked && !w->stop && clock_monotonic_ns() < end_ns) {
		w->walked = false;
		if (mailbox_fall_asleep(&w->mailbox)) {
			poll(&p, 1, 5);
			mailbox_wake_up(&w->mailbox);
		}
		mailbox_run(&w->mailbox, w);
	}
}

static void *metering_main(void *arg)
{
	struct metering *w = arg;
	int r = 0;

	while (w->config.go && !atomic_load(w->config.go))
		poll(NULL, 0, 1);
	if (w->config.speaks)
		shared_speak(&w->speaker, &w->shared->lines);
	atomic_store(&w->shared->thread, (int32_t)gettid());
	while (r == 0 && !w->stop) {
		mailbox_run(&w->mailbox, w);
		atomic_fetch_add_explicit(&w->shared->turns, 1, memory_order_relaxed);
		if (w->starved && w->walked)
			metering_wait_for_commands(w);
		r = w->config.live ? metering_read_interfaces(w) : metering_read_feed(w);
		metering_expire(w);
		metering_publish(w);
	}
	if (r == 0)
		r = metering_drain(w);
	w->may_wait = true;
	w->dropping = w->drop_at_stop;
	flow_table_flush(w->table, FLOW_END_FORCED);
	metering_publish_numbers(w, true);
	selection_publish(&w->selection);
	ring_publish(&w->records);
	gate_wake(w->consumer);
	w->result = r < 0 ? r : 0;
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
			    w->config.number, w->config.cpu, strerror(r));
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
