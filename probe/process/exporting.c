/* exporting: see exporting.h. */
#include "exporting_internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "losses.h"
#include "ledger.h"
#include "pitot/clock.h"
#include "polite.h"
#include "pitot/log.h"
#include "pitot/sandbox.h"

enum { DRAIN_MAX = 512, READER_MS = 1000 };

static const uint64_t tick_ns = 20 * NS_PER_MSEC;
static const uint64_t same_ns = 60 * NS_PER_SEC, other_ns = 5 * NS_PER_SEC; /* between lines about errors */
/* Polite mode: how often it looks round while records wait, and how long they wait at most. */
static const uint64_t deferred_tick_ns = 200 * NS_PER_MSEC, deferred_most_ns = 30 * NS_PER_SEC;
static const uint64_t caught_up_ns = 100 * NS_PER_MSEC;
static const uint64_t facts_every_ns = 200 * NS_PER_MSEC;
/* Without records it sleeps until something is due, and so long at most: collectors are listened to, and
 * whoever watches sees that it lives. */
static const uint64_t rest_most_ns = 200 * NS_PER_MSEC;

static struct gate *exporting_room(struct exporting *e, unsigned i)
{
	return &e->config.shared->metering[i].room;
}

static unsigned exporting_collectors(const struct exporting *e)
{
	unsigned n = exporter_collectors(e->exporter);

	return n < EXPORTING_COLLECTORS_MAX ? n : EXPORTING_COLLECTORS_MAX;
}

/* Without addresses, which say nothing in another process. */
static void exporting_get_collector(const struct exporting *e, unsigned i, struct collector_stats *c)
{
	exporter_get_collector_stats(e->exporter, i, c);
	c->url = NULL;
	c->has_cause = c->last_cause != NULL;
	if (c->last_cause && !c->reason[0])
		snprintf(c->reason, sizeof(c->reason), "%s", c->last_cause);
	c->last_cause = NULL;
}

/* The sizes are those of what there is: most programs have one collector. */
static void exporting_publish(struct exporting *e)
{
	unsigned n = exporting_collectors(e);

	exporter_get_stats(e->exporter, &e->stats.exporter);
	e->stats.n_collectors = n;
	for (unsigned i = 0; i < n; i++)
		exporting_get_collector(e, i, &e->stats.collectors[i]);
	if (e->config.base)
		losses_add_exporting(&e->stats, e->config.base);
	published_put_part(&e->shared->numbers, &e->stats,
			   offsetof(struct exporting_stats, collectors) + n * sizeof(*e->stats.collectors));
}

/* When they change, which control wants to hear of at once. */
static void exporting_publish_locals(struct exporting *e)
{
	unsigned n = exporting_collectors(e);
	bool changed = n != e->locals.n;

	e->locals.n = n;
	for (unsigned i = 0; i < n; i++) {
		const struct transport *t = exporter_transport(e->exporter, i);
		struct transport_local now = {0};

		if (t)
			now = t->self;
		changed |= memcmp(&e->locals.to[i], &now, sizeof(now)) != 0;
		e->locals.to[i] = now;
	}
	if (!changed)
		return;
	published_put(&e->shared->locals, &e->locals);
	shared_ring_bell(e->config.shared);
}

int exporting_new(struct exporting **ep, struct exporter *exporter, const struct exporting_config *config,
		  struct diag *diag)
{
	struct exporting *e = aligned_alloc(64, (sizeof(*e) + 63) & ~(size_t)63);
	unsigned n = config->shared->config.n_metering;

	if (!e)
		return diag_set(diag, -ENOMEM, "exporting process: out of memory");
	*e = (struct exporting){.exporter = exporter,
				.config = *config,
				.shared = config->shared->exporting,
				.mailbox = *config->mailbox,
				.rate = config->max_rate,
				.facts_ns = config->first_facts_ns};
	e->rings = aligned_alloc(64, n * sizeof(*e->rings));
	e->taken = calloc(n, sizeof(*e->taken));
	e->samples = aligned_alloc(64, (n + 1) * sizeof(*e->samples));
	if (!e->rings || !e->taken || !e->samples) {
		exporting_free(e);
		return diag_set(diag, -ENOMEM, "exporting process: out of memory");
	}
	e->n_rings = n;
	if (config->base) {
		struct metering_stats sum;

		shared_sum_metering(config->shared, &sum);
		e->lost_before = sum.lost;
	}
	for (unsigned i = 0; i < n; i++)
		shared_read_records(config->shared, i, &e->rings[i]);
	e->n_samples = config->shared->config.ring_samples ? n + 1 : 0;
	for (unsigned i = 0; i < e->n_samples; i++)
		shared_read_samples(config->shared, i, &e->samples[i]);
	exporting_publish(e);
	exporting_publish_locals(e);
	*ep = e;
	return 0;
}

void exporting_free(struct exporting *e)
{
	if (!e)
		return;
	free(e->samples);
	free(e->rings);
	free(e->taken);
	free(e);
}

/* How many of the oldest n are to be dropped instead: a queue that is nearly full would lose the next ones.
 */
static uint64_t exporting_excess(struct exporting *e, const struct ring_reader *o, uint64_t n,
				 const struct clock_time *now)
{
	uint64_t room = ring_capacity(&o->at) / 4 * 3, used = ring_used(&o->at); /* n may be of a while ago */

	if (now->monotonic_ns >= atomic_load_explicit(&e->shared->stop_by_ns, memory_order_relaxed))
		return n;
	if (!e->config.live || used <= room)
		return 0;
	return used - room < n ? used - room : n;
}

/* These n are taken in hand: whatever becomes of this process, they are not read again. */
static void exporting_take(struct exporting *e, unsigned i, uint64_t n)
{
	struct ring *ring = e->rings[i].at.ring;

	e->taken[i] = n;
	atomic_store_explicit(&e->config.shared->metering[i].taking,
			      atomic_load_explicit(&ring->tail, memory_order_relaxed) + n,
			      memory_order_release);
}

/* Numbers first: what is given back is counted. */
static void exporting_give_back(struct exporting *e)
{
	for (unsigned i = 0; i < e->n_rings; i++) {
		struct ring_reader *o = &e->rings[i];

		if (!e->taken[i])
			continue;
		ring_consume(o, e->taken[i]);
		e->taken[i] = 0;
		if (ring_used(&o->at) <= ring_capacity(&o->at) / 2)
			gate_wake(exporting_room(e, i));
	}
}

/* With a limit: the records that may go now, after those that cannot wait were dropped. */
static uint64_t exporting_limit(struct exporting *e, unsigned i, uint64_t n, const struct clock_time *now)
{
	uint64_t tokens = pace_tokens(&e->pace, e->rate, now->monotonic_ns), excess;
	struct ring_reader *o = &e->rings[i];

	if (tokens == 0) {
		excess = exporting_excess(e, o, n, now);
		exporting_take(e, i, excess);
		for (uint64_t k = 0; k < excess; k++)
			exporter_drop(e->exporter, ring_slot(o, k), now);
		return 0;
	}
	if (n > tokens)
		n = tokens;
	if (n > DRAIN_MAX)
		n = DRAIN_MAX;
	pace_take(&e->pace, n);
	return n;
}

static void exporting_export(struct exporting *e, const struct flow_record *r, const struct clock_time *now)
{
	if (e->config.enrich)
		r = enrich_record(e->config.enrich, r);
	exporter_record(e->exporter, r, now);
}

/*
 * Live the IPv4 records of a turn go before the IPv6 ones: messages with one set hold more, and are of one
 * size, which the kernel sends at a quarter of the cost.  Of savefiles the order is kept: it must not depend
 * on turns.
 */
static void exporting_hand_on(struct exporting *e, const struct ring_reader *o, unsigned n,
			      const struct clock_time *now)
{
	bool live = e->config.live;
	struct flow_record *later[DRAIN_MAX];
	unsigned n_later = 0;

	for (unsigned i = 0; i < n; i++) {
		struct flow_record *r = ring_slot(o, i);

		if (i + 4 < n) {
			const uint8_t *ahead = ring_slot(o, i + 4);

			__builtin_prefetch(ahead);
			__builtin_prefetch(ahead + 64);
		}
		if (live && r->key.ip_version == 6)
			later[n_later++] = r;
		else
			exporting_export(e, r, now);
	}
	for (unsigned i = 0; i < n_later; i++)
		exporting_export(e, later[i], now);
}

static bool exporting_waits(const struct exporting *e)
{
	return e->defers && !e->catches_up;
}

static unsigned exporting_drain(struct exporting *e, unsigned i, const struct clock_time *now)
{
	struct ring_reader *o = &e->rings[i];
	uint64_t n = exporting_waits(e) ? 0 : ring_peek(o);

	if (n && e->rate && !e->settle_by_ns)
		n = exporting_limit(e, i, n, now);
	if (n > DRAIN_MAX)
		n = DRAIN_MAX;
	if (n) {
		exporting_take(e, i, n);
		exporting_hand_on(e, o, (unsigned)n, now);
	}
	return (unsigned)e->taken[i];
}

/* Packet samples: there is no limit to their rate but that of their drawing. */
static unsigned exporting_drain_samples(struct exporting *e, unsigned i, const struct clock_time *now)
{
	struct ring_reader *r = &e->samples[i];
	uint64_t n = ring_peek(r);

	if (n > DRAIN_MAX)
		n = DRAIN_MAX;
	for (uint64_t k = 0; k < n; k++)
		exporter_sample(e->exporter, ring_slot(r, k), now);
	if (!n)
		return 0;
	ring_consume(r, n);
	if (i == e->n_rings)
		gate_wake(&e->config.shared->files->room);
	return (unsigned)n;
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

/* One line when it begins to fail, soon one for another error, and for the same one not more than one a
 * minute. */
static void exporting_tell_errors(struct exporting *e, unsigned i, const struct collector_stats *c,
				  uint64_t now_ns)
{
	bool begins = c->state == TRANSPORT_STATE_FAILED && e->last_state[i] != TRANSPORT_STATE_FAILED;
	bool other = strncmp(collector_cause(c), e->told[i], sizeof(e->told[i]) - 1) != 0;
	uint64_t least_ns = begins ? 0 : other ? other_ns : same_ns;

	if ((c->errors == e->last_errors[i] && !begins) ||
	    (e->told_ns[i] && now_ns - e->told_ns[i] < least_ns))
		return;
	e->told_ns[i] = now_ns;
	e->last_errors[i] = c->errors;
	snprintf(e->told[i], sizeof(e->told[i]), "%s", collector_cause(c));
	if (c->errors == 0)
		log_warning("--collector %s: cannot be reached; it is tried again", c->url);
	else
		log_warning("--collector %s: %s (%llu error%s, %llu flow record%s not sent so far)", c->url,
			    collector_cause(c), (unsigned long long)c->errors, log_plural(c->errors),
			    (unsigned long long)c->lost.records, log_plural(c->lost.records));
}

static void exporting_tell(struct exporting *e, const struct clock_time *now)
{
	/* a short savefile is over before anybody could do anything: the sentence at its end is enough */
	bool early = !e->config.live && now->monotonic_ns - e->start_ns < 3 * NS_PER_SEC;

	for (unsigned i = 0; i < exporting_collectors(e); i++) {
		struct collector_stats c;

		exporting_pass_on(e, i);
		if (early)
			continue;
		exporter_get_collector_stats(e->exporter, i, &c);
		exporting_tell_errors(e, i, &c, now->monotonic_ns);
		if (c.state == TRANSPORT_STATE_UP && e->last_state[i] == TRANSPORT_STATE_FAILED)
			log_info("collector %s: reached again", c.url);
		if (c.state != TRANSPORT_STATE_CONNECTING) /* an attempt is no news */
			e->last_state[i] = (int)c.state;
	}
}

/* What the metering processes have counted by now; it is in the next statistics that collectors get. */
static void exporting_take_facts(struct exporting *e)
{
	struct metering_stats sum;
	struct export_process_facts facts;

	shared_sum_metering(e->config.shared, &sum);
	facts = ledger_facts(&sum, e->config.polite);
	/* these count from the start of this process, and move the sequence numbers of its sessions */
	totals_subtract(&facts.lost, &e->lost_before);
	exporter_set_facts(e->exporter, &facts);
}

/* Something to be done now. */
static bool exporting_has_records(struct exporting *e)
{
	for (unsigned i = 0; i < e->n_rings && !exporting_waits(e); i++)
		if (ring_peek(&e->rings[i]))
			return true;
	for (unsigned i = 0; i < e->n_samples; i++)
		if (ring_peek(&e->samples[i]))
			return true;
	return false;
}

/* ---- the end */

struct exporting_paper {
	char *text;
	size_t size, n;
};

static void exporting_note_line(void *ctx, const char *line)
{
	struct exporting_paper *p = ctx;
	size_t n = strlen(line);

	if (p->n + n + 1 > p->size) {
		char *more = realloc(p->text, 2 * (p->n + n + 1));

		if (!more)
			return;
		p->text = more;
		p->size = 2 * (p->n + n + 1);
	}
	memcpy(p->text + p->n, line, n);
	p->text[p->n + n] = '\n';
	p->n += n + 1;
}

/* --top.  Whoever does not read is waited for as long as for a collector. */
static void exporting_print_top(struct exporting *e)
{
	struct exporting_paper p = {0};
	size_t at = 0;

	exporter_print_top(e->exporter, exporting_note_line, &p);
	while (at < p.n) {
		struct pollfd fd = {.fd = e->config.top_fd, .events = POLLOUT};
		size_t piece = p.n - at < PIPE_BUF ? p.n - at : PIPE_BUF;
		ssize_t n = poll(&fd, 1, READER_MS) > 0 ? write(fd.fd, p.text + at, piece) : -1;

		if (n < 0) {
			log_error("--top: cannot be written");
			break;
		}
		at += (size_t)n;
	}
	free(p.text);
}

/* ---- polite mode */

/* In eighths of the fullest. */
static unsigned exporting_fill(const struct exporting *e)
{
	unsigned most = 0;

	for (unsigned i = 0; i < e->n_rings; i++) {
		const struct ring_place *at = &e->rings[i].at;
		unsigned fill = (unsigned)(8 * ring_used(at) / ring_capacity(at));

		most = fill > most ? fill : most;
	}
	return most;
}

/* Control has chosen another rung: collectors are told, with numbers of now. */
static void exporting_take_rung(struct exporting *e, uint32_t word, const struct clock_time *now)
{
	exporting_take_facts(e);
	e->facts_ns = now->monotonic_ns + facts_every_ns;
	exporter_set_selector(e->exporter, polite_word_step(word), now);
	e->polite = word;
}

static void exporting_follow(struct exporting *e, const struct clock_time *now)
{
	uint32_t word = atomic_load_explicit(&e->config.shared->control->polite, memory_order_relaxed);
	bool ends =
		e->finish || atomic_load_explicit(&e->shared->stop_by_ns, memory_order_relaxed) != UINT64_MAX;
	bool defers = polite_word_row(word)->defers && !ends;
	unsigned fill;

	if (word != e->polite)
		exporting_take_rung(e, word, now);
	if (defers != e->defers) {
		e->defers = defers;
		e->catches_up = false;
		e->caught_up_ns = now->monotonic_ns;
	}
	if (!defers)
		return;
	fill = exporting_fill(e);
	if (fill >= EXPORTING_FULL_EIGHTHS || now->monotonic_ns - e->caught_up_ns >= deferred_most_ns) {
		e->catches_up = true;
		e->caught_up_ns = now->monotonic_ns;
	} else if (fill == 0 && now->monotonic_ns - e->caught_up_ns >= caught_up_ns) {
		e->catches_up = false; /* nearly empty, and long enough for the rest */
	}
}

/* ---- the loop */

/* Control has chosen another rung, which was not followed yet. */
static bool exporting_is_behind(const struct exporting *e)
{
	return e->config.polite && atomic_load(&e->config.shared->control->polite) != e->polite;
}

/* Live, when nothing has come for a tick: how long there is nothing to do unless somebody wakes it; else 0.
 */
static uint64_t exporting_rest_ns(const struct exporting *e, const struct clock_time *now)
{
	uint64_t now_ns = now->monotonic_ns, due_ns;

	if (!e->config.live || e->finish || e->frozen || e->settle_by_ns || e->defers ||
	    now_ns - e->busy_ns < tick_ns)
		return 0;
	due_ns = clock_sooner_ns(now_ns + rest_most_ns, e->facts_ns);
	due_ns = clock_sooner_ns(due_ns, exporter_due_ns(e->exporter));
	return due_ns > now_ns + tick_ns ? due_ns - now_ns : 0;
}

/* Until there is something to do. */
static void exporting_sleep(struct exporting *e, const struct clock_time *now)
{
	uint64_t rest_ns = exporting_has_records(e) ? 0 : exporting_rest_ns(e, now);
	uint64_t wait_ns = rest_ns ? rest_ns : exporting_waits(e) ? deferred_tick_ns : tick_ns;

	if (rest_ns)
		gate_arm_lightly(&e->shared->gate);
	else
		gate_arm(&e->shared->gate);
	if (e->settle_by_ns && !e->frozen) {
		wait_ns = NS_PER_MSEC; /* captures wait for it */
	} else if (exporting_has_records(e)) {
		wait_ns = e->rate ? pace_wait_ns(&e->pace, e->rate) : 0;
		if (wait_ns > tick_ns)
			wait_ns = tick_ns;
	} else if (e->finish) {
		wait_ns = 0;
	}
	if (wait_ns == 0 || mailbox_waiting(&e->mailbox) || exporting_is_behind(e))
		gate_disarm(&e->shared->gate);
	else
		gate_sleep(&e->shared->gate, wait_ns);
}

static void exporting_tick(struct exporting *e, const struct clock_time *now)
{
	if (now->monotonic_ns >= e->facts_ns) {
		exporting_take_facts(e);
		e->facts_ns = now->monotonic_ns + facts_every_ns;
	}
	exporter_tick(e->exporter, now);
	exporting_publish_locals(e);
	exporting_tell(e, now);
}

/* Everything that was read is out, and the numbers say so. */
static void exporting_settle(struct exporting *e, const struct clock_time *now)
{
	if (!exporter_settle(e->exporter, now) && now->monotonic_ns < e->settle_by_ns)
		return;
	exporting_take_facts(e);
	exporting_publish(e);
	e->frozen = true;
}

void exporting_run(struct exporting *e)
{
	struct clock_time now = clock_now();
	uint64_t next_tick_ns = 0;

	e->start_ns = now.monotonic_ns;
	atomic_store(&e->shared->thread, (int32_t)gettid());
	for (;;) {
		bool finish, due;
		unsigned n = 0;

		if (PITOT_TEST_HOOKS)
			sandbox_test_hang("exporting");
		atomic_fetch_add_explicit(&e->shared->turns, 1, memory_order_relaxed);
		mailbox_run(&e->mailbox, e);
		if (e->frozen) {
			exporting_sleep(e, &now);
			continue;
		}
		if (e->config.polite)
			exporting_follow(e, &now);
		finish = e->finish; /* before the last look at the rings */
		for (unsigned i = 0; i < e->n_rings; i++)
			n += exporting_drain(e, (e->turn + i) % e->n_rings, &now);
		for (unsigned i = 0; i < e->n_samples; i++)
			n += exporting_drain_samples(e, i, &now);
		e->turn++;
		now = clock_now();
		due = now.monotonic_ns >= next_tick_ns;
		if (due) {
			exporting_tick(e, &now);
			next_tick_ns = now.monotonic_ns + tick_ns;
		}
		if (n || due)
			exporting_publish(e);
		exporting_give_back(e);
		if (e->settle_by_ns && n == 0 && !exporting_has_records(e))
			exporting_settle(e, &now);
		if (n == 0 && finish && !exporting_has_records(e))
			break;
		if (n == 0) {
			exporting_sleep(e, &now);
			now = clock_now();
		} else {
			e->busy_ns = now.monotonic_ns;
		}
	}
	exporting_take_facts(e);
	exporter_finish(e->exporter, &now);
	exporting_print_top(e);
	exporting_publish(e);
	atomic_store(&e->shared->ended, true);
}
