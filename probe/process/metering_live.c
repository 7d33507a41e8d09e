/* metering_live: see metering_live.h. */
#include "metering_live.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "intake.h"
#include "pitot/clock.h"
#include "pitot/fragment.h"
#include "pitot/link_type.h"
#include "polite.h"
#include "pitot/log.h"
#include "take_over.h"

enum { WAIT_MS = 50, WAIT_MOST_MS = 200, POLL_MAX = 64, ETHERNET_HEADER = 14 };

static const uint64_t count_every_ns = NS_PER_SEC;

/* A ring of the kernel's hands out a block late: so much later than packet time runs the clock on a silent
 * link. */
static const uint64_t silence_lag_ns = 100 * NS_PER_MSEC;

/* A place for an interface. */
struct live_place {
	struct capture *capture;		/* NULL: the interface is waited for */
	struct decoder *decoder;		/* link types may differ */
	struct capture_stats before;		/* of captures that had this place earlier */
	bool refused;				/* a socket for it could not be used, which was said */
	bool ended;				/* after the stop: it has nothing left */
	uint64_t latest_ns;			/* time of its last packet, as long as packets come */
	uint32_t polite;			/* the word that its capture follows, if it draws by itself */
	uint64_t unselected, unselected_octets; /* by the kernel; counted already */
	struct totals counted;			/* polite mode: octets on the wire, in no record yet */
	uint64_t counted_ns;			/* since when; 0: for the first time */
	struct shared_place *shared;
};

struct metering_live {
	struct source source; /* first */
	struct metering_live_config config;
	struct live_place *places;
	unsigned turn; /* the place that is next */
	bool stopped;
	uint32_t polite; /* the word that is followed */
	bool is_behind;	 /* a capture does not follow it yet */
	struct intake intake;
	struct packet *packets; /* BATCH_MAX */
};

static void live_get_totals(struct source *s, struct meter_stats *m);

/* ---- places */

static struct capture_stats live_place_totals(const struct live_place *p)
{
	struct capture_stats sum = p->before, c = {0};

	if (p->capture && capture_get_stats(p->capture, &c) == 0) {
		sum.kernel_dropped += c.kernel_dropped;
		sum.filtered += c.filtered;
		sum.filtered_octets += c.filtered_octets;
		sum.filtered_unknown |= c.filtered_unknown;
		sum.unselected += c.unselected;
		sum.unselected_octets += c.unselected_octets;
		sum.fill_percent = c.fill_percent;
	}
	return sum;
}

/* The interface is gone, and nothing of it is left to be metered. */
static void live_let_go(struct live_place *p)
{
	p->before = live_place_totals(p);
	p->before.fill_percent = 0;
	capture_close(p->capture);
	decoder_free(p->decoder);
	p->capture = NULL;
	p->decoder = NULL;
	atomic_store(&p->shared->taken, false);
}

/* Polite mode: the capture draws as the word says; false: it cannot yet. */
static bool live_draw(const struct metering_live *l, struct live_place *p, uint32_t word)
{
	if (l->config.polite && p->capture->selects &&
	    !capture_draw(p->capture, polite_word_interval(word), (uint16_t)polite_word_step(word)))
		return false;
	p->polite = word;
	return true;
}

int metering_live_set_capture(struct source *s, unsigned place, struct capture *c, struct diag *diag)
{
	struct metering_live *l = (struct metering_live *)s;
	struct live_place *p = &l->places[place];
	int r = decoder_new(&p->decoder, c->link_type, l->config.decode, diag);

	if (r < 0) {
		diag_prefix(diag, r, "%s: ", c->name);
		capture_close(c);
		return r;
	}
	p->capture = c;
	(void)live_draw(l, p, l->polite); /* it is new, and has nothing in its buffer */
	atomic_store(&p->shared->taken, true);
	return 0;
}

const struct capture *metering_live_capture(const struct source *s, unsigned place)
{
	return ((const struct metering_live *)s)->places[place].capture;
}

/* Control asks only when the place was left; what it believes is checked all the same. */
static int live_fill(struct source *s, unsigned place, struct capture_descriptor *socket, struct diag *why)
{
	struct metering_live *l = (struct metering_live *)s;
	struct live_place *p = &l->places[place];
	struct capture *c;
	int r;

	if (p->capture || l->stopped) {
		capture_descriptor_close(socket);
		return -EBUSY;
	}
	r = capture_open_socket(&c, l->config.plans[place], socket, why);
	if (r == 0)
		r = metering_live_set_capture(s, place, c, why);
	if (r < 0 && !p->refused)
		log_error("%s", why->text);
	p->refused = r < 0;
	return r;
}

int metering_live_adopt(struct source *s, unsigned place, struct capture_descriptor *socket, struct diag *why)
{
	struct metering_live *l = (struct metering_live *)s;
	int r;

	if (place >= l->config.n_places) {
		capture_descriptor_close(socket);
		return -EINVAL;
	}
	r = live_fill(s, place, socket, why);
	/* last: until then it is given, and after it taken or left */
	atomic_fetch_add(&l->places[place].shared->answered, 1);
	return r;
}

bool metering_live_uses_libpcap(const struct source *s)
{
	const struct metering_live *l = (const struct metering_live *)s;

	for (unsigned i = 0; i < l->config.n_places; i++)
		if (l->places[i].capture && l->places[i].capture->ops == &capture_pcap_ops)
			return true;
	return false;
}

/* ---- handing over */

size_t metering_live_hand_over_octets(const struct source *s)
{
	const struct metering_live *l = (const struct metering_live *)s;

	return 4096 + l->config.n_places * sizeof(struct take_over_capture) +
	       (l->intake.fragments ? fragment_table_hand_over_octets(l->intake.fragments) : 0);
}

unsigned metering_live_hand_over(struct source *s, struct sections_writer *w, int *fds)
{
	struct metering_live *l = (struct metering_live *)s;
	unsigned n = 0;

	sections_begin(w, TAKE_OVER_CAPTURES, TAKE_OVER_VERSION);
	for (unsigned i = 0; i < l->config.n_places; i++) {
		struct capture *c = l->places[i].capture;
		struct take_over_capture handed = {.place = i, .has_capture = c != NULL};
		struct capture_descriptor d = {.fd = -1};

		if (c)
			snprintf(handed.method, sizeof(handed.method), "%s", c->ops->name);
		if (c && c->ops->hand_over) {
			c->ops->hand_over(c, &d, &handed.position);
			handed.facts = d.facts;
			handed.has_socket = true;
			fds[n++] = d.fd;
		}
		sections_put(w, &handed, sizeof(handed));
	}
	sections_end(w);
	if (l->intake.fragments)
		fragment_table_hand_over(l->intake.fragments, w);
	return n;
}

int metering_live_resume(struct source *s, struct diag *why)
{
	struct metering_live *l = (struct metering_live *)s;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < l->config.n_places; i++) {
		struct capture *c = l->places[i].capture;

		if (c && c->ops->resume)
			r = c->ops->resume(c, why);
	}
	return r;
}

void metering_live_let_go(struct source *s)
{
	struct metering_live *l = (struct metering_live *)s;

	for (unsigned i = 0; i < l->config.n_places; i++)
		if (l->places[i].capture)
			live_let_go(&l->places[i]);
}

int metering_live_take_fragments(struct source *s, struct section *from, const struct flow_points *points)
{
	struct metering_live *l = (struct metering_live *)s;

	return l->intake.fragments ? fragment_table_take_over(l->intake.fragments, from, points) : 0;
}

/* ---- the source */

/*
 * The time of the latest packet while packets come, of the interface that is behind; the host's clock when
 * the links are silent.
 */
static void live_set_clock(struct metering_live *l)
{
	struct clock_time host = clock_now();
	uint64_t latest_ns = 0;

	for (unsigned i = 0; i < l->config.n_places; i++) {
		uint64_t t = l->places[i].latest_ns;

		if (t && (latest_ns == 0 || t < latest_ns))
			latest_ns = t;
	}
	l->source.elapsed_ns = host.monotonic_ns;
	l->source.now_ns = host.realtime_ns - silence_lag_ns;
	if (latest_ns && latest_ns < host.realtime_ns)
		l->source.now_ns = latest_ns;
}

/* Until something is due; so long at most, for whoever watches is to see that we live. */
static int live_wait_ms(const struct metering_live *l)
{
	const struct source *s = &l->source;
	uint64_t ms = s->due_ns > s->elapsed_ns ? (s->due_ns - s->elapsed_ns) / NS_PER_MSEC + 1 : 0;

	return ms < WAIT_MS ? WAIT_MS : ms > WAIT_MOST_MS ? WAIT_MOST_MS : (int)ms;
}

/* Sleeps until an interface has frames, or a command has come. */
static void live_wait(const struct metering_live *l)
{
	struct pollfd fds[POLL_MAX + 1];
	nfds_t n = 0;
	bool all = l->config.n_places <= POLL_MAX;

	for (unsigned i = 0; i < l->config.n_places && n < POLL_MAX; i++) {
		const struct capture *c = l->places[i].capture;

		if (c && c->fd >= 0)
			fds[n++] = (struct pollfd){.fd = c->fd, .events = POLLIN};
		else
			all &= !c;
	}
	fds[n++] = (struct pollfd){.fd = l->config.mailbox->receive_fd, .events = POLLIN};
	if (!mailbox_fall_asleep(l->config.mailbox))
		return;
	poll(fds, n, all ? live_wait_ms(l) : WAIT_MS);
	mailbox_wake_up(l->config.mailbox, fds[n - 1].revents);
}

/* Control has chosen another rung.  What was left out until now belongs to the one before. */
static void live_follow(struct metering_live *l)
{
	uint32_t word = atomic_load_explicit(&l->config.shared->control->polite, memory_order_relaxed);

	if ((word == l->polite && !l->is_behind) || l->stopped)
		return;
	live_get_totals(&l->source, &l->config.stats->meter);
	l->is_behind = false;
	for (unsigned i = 0; i < l->config.n_places; i++)
		if (l->places[i].capture && l->places[i].polite != word)
			l->is_behind |= !live_draw(l, &l->places[i], word);
	l->polite = word;
	l->source.slicing = polite_word_row(word)->slicing;
	selection_follow(l->config.selection, polite_word_interval(word), (uint16_t)polite_word_step(word),
			 polite_word_row(word)->counts);
}

/* What was only counted of the batch is the place's. */
static unsigned live_take(struct metering_live *l, struct live_place *p)
{
	struct totals *counted = &l->config.selection->counted;
	unsigned n = intake_take(&l->intake, p->capture, p->decoder, l->packets, &p->latest_ns);

	if (counted->packets)
		totals_add(&p->counted, counted);
	*counted = (struct totals){0};
	return n;
}

/* A batch of one place, if it has any; after the stop it is waited for. */
static int live_read(struct metering_live *l, struct live_place *p, unsigned *n, struct diag *why)
{
	int r = capture_recv(p->capture, &l->intake.batch, l->stopped ? WAIT_MS : 0, why);

	p->latest_ns = 0;
	if (r < 0)
		return r;
	if (r == CAPTURE_E_GONE)
		live_let_go(p);
	if (r > 0)
		p->ended = l->stopped;
	else if (l->intake.batch.n)
		*n = live_take(l, p);
	l->source.selector = l->intake.mark;
	return 0;
}

/* One batch of the next place that has any; each has its turn. */
static int live_next(struct source *s, struct packet **packets, unsigned *n, struct diag *why)
{
	struct metering_live *l = (struct metering_live *)s;
	unsigned left = 0;
	int r = 0;

	*packets = l->packets;
	*n = 0;
	if (l->config.polite)
		live_follow(l);
	for (unsigned k = 0; r == 0 && k < l->config.n_places; k++) {
		struct live_place *p = &l->places[l->turn];

		l->turn = (l->turn + 1) % l->config.n_places;
		if (!p->capture || p->ended)
			continue;
		left++;
		r = live_read(l, p, n, why);
		if (r == 0 && p->latest_ns) { /* what came may all be ignored */
			live_set_clock(l);
			return 0;
		}
	}
	if (r < 0)
		return r;
	if (l->stopped)
		return left ? 0 : SOURCE_E_END;
	live_wait(l);
	live_set_clock(l);
	return 0;
}

/* A record that the exporting process has no room for is better kept in the table than lost. */
static uint64_t live_room(const struct source *s, const struct flow_table *t, uint64_t slots)
{
	(void)t;
	return s->may_wait ? UINT64_MAX : slots;
}

/* What the kernel holds for us is metered, and nothing of it is lost for want of room. */
static void live_stop(struct source *s)
{
	struct metering_live *l = (struct metering_live *)s;

	if (l->stopped)
		return;
	s->may_wait = l->stopped = true;
	for (unsigned i = 0; i < l->config.n_places; i++)
		if (l->places[i].capture)
			capture_stop(l->places[i].capture);
}

/* What the kernel left out was received and not selected; it is added to what was not selected here. */
static void live_count_unselected(struct live_place *p, const struct capture_stats *sum,
				  struct meter_stats *m)
{
	uint64_t packets = sum->unselected - p->unselected,
		 octets = sum->unselected_octets - p->unselected_octets;

	p->unselected += packets;
	p->unselected_octets += octets;
	if (polite_word_row(p->polite)->counts)
		totals_count(&p->counted, packets, octets);
	else if (packets && polite_word_interval(p->polite) == 0)
		selection_count_paused(m, packets, octets, clock_now().realtime_ns);
	else
		selection_count_left_out(m, (uint16_t)polite_word_step(p->polite), packets, octets);
}

static void live_get_totals(struct source *s, struct meter_stats *m)
{
	struct metering_live *l = (struct metering_live *)s;
	unsigned fill = 0;

	m->kernel_dropped = m->filtered_packets = m->filtered_octets = m->uncounted_filters = 0;
	for (unsigned i = 0; i < l->config.n_places; i++) {
		struct capture_stats c = live_place_totals(&l->places[i]);

		m->kernel_dropped += c.kernel_dropped;
		m->filtered_packets += c.filtered;
		m->filtered_octets += c.filtered_octets;
		m->uncounted_filters += c.filtered_unknown;
		live_count_unselected(&l->places[i], &c, m);
		fill = c.fill_percent > fill ? c.fill_percent : fill;
	}
	if (l->config.polite)
		atomic_store_explicit(&l->config.shared->metering[l->config.number].fill_percent, fill,
				      memory_order_relaxed);
}

/*
 * A record of no addresses, of what came by an interface: frames without the Ethernet header, whatever is in
 * them.
 */
static void live_fill_count(const struct metering_live *l, const struct live_place *p, uint64_t now_ns,
			    struct flow_record *r)
{
	unsigned header = p->capture && p->capture->link_type == LINKTYPE_ETHERNET ? ETHERNET_HEADER : 0;

	r->key.ip_version = 4;
	r->key.point = l->config.n_places > 1 ? (uint16_t)(p - l->places + 1) : 0;
	r->ingress = p->capture ? p->capture->ifindex : 0;
	r->direction = FLOW_DIRECTION_UNKNOWN;
	r->packets = p->counted.packets;
	r->octets = p->counted.octets - header * p->counted.packets;
	r->first_ns = p->counted_ns < now_ns ? p->counted_ns : now_ns;
	r->last_ns = now_ns;
}

static bool live_take_count(struct source *s, bool all, struct flow_record *r, uint64_t *link)
{
	struct metering_live *l = (struct metering_live *)s;
	bool counts = polite_word_row(l->polite)->counts;

	for (unsigned i = 0; i < l->config.n_places; i++) {
		struct live_place *p = &l->places[i];
		uint64_t now_ns = s->now_ns;

		if (!counts && !p->counted.packets)
			p->counted_ns = 0; /* the next time begins then */
		else if (!p->counted_ns)
			p->counted_ns = now_ns;
		if (!p->counted.packets || (counts && !all && now_ns - p->counted_ns < count_every_ns))
			continue;
		live_fill_count(l, p, now_ns, r);
		*link = p->counted.octets;
		p->counted = (struct totals){0};
		p->counted_ns = counts ? now_ns : 0;
		return true;
	}
	return false;
}

static void live_free(struct source *s)
{
	struct metering_live *l = (struct metering_live *)s;

	for (unsigned i = 0; l->places && i < l->config.n_places; i++) {
		capture_close(l->places[i].capture);
		decoder_free(l->places[i].decoder);
	}
	fragment_table_free(l->intake.fragments);
	free(l->places);
	free(l->packets);
	free(l);
}

static const struct source_ops live_ops = {.next = live_next,
					   .room = live_room,
					   .stop = live_stop,
					   .get_totals = live_get_totals,
					   .take_count = live_take_count,
					   .free = live_free};

int metering_live_new(struct source **sp, const struct metering_live_config *config, struct diag *diag)
{
	struct metering_live *l = calloc(1, sizeof(*l));

	if (!l)
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	*l = (struct metering_live){.source = {.ops = &live_ops},
				    .config = *config,
				    .intake = {.packet_size = config->packet_size,
					       .own = config->own,
					       .paused = config->paused,
					       .selection = config->selection,
					       .marks = config->polite,
					       .host_clock = true,
					       .stats = config->stats}};
	l->packets = aligned_alloc(64, BATCH_MAX * config->packet_size);
	l->places = calloc(config->n_places, sizeof(*l->places));
	if (!l->packets || !l->places) {
		live_free(&l->source);
		return diag_set(diag, -ENOMEM, "metering process: out of memory");
	}
	for (unsigned i = 0; i < config->n_places; i++)
		l->places[i].shared = shared_place_of(config->shared, config->number, i);
	l->intake.fragments = config->fragments;
	*sp = &l->source;
	return 0;
}
