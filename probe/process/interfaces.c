/* interfaces: see interfaces.h. */
#include "interfaces.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/log.h"

static const uint64_t retry_ns = 200 * NS_PER_MSEC;

static_assert(sizeof(struct capture_facts) <= OPENER_FACTS, "the opener's answer holds them");

int interfaces_init(struct interfaces *r, struct metering *const *workers, const struct shared *shared,
		    struct opener *opener, struct diag *diag)
{
	unsigned n_workers = shared->config.n_metering, n = shared->config.n_captures;

	*r = (struct interfaces){.opener = opener, .shared = shared, .n_workers = n_workers, .n_captures = n};
	r->captures = calloc((size_t)n_workers * n + 1, sizeof(*r->captures));
	if (!r->captures)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (unsigned w = 0; w < n_workers; w++) {
		for (unsigned i = 0; i < n; i++) {
			const struct capture *c = metering_capture(workers[w], i);

			r->captures[w * n + i].index = c->system_ifindex;
			r->captures[w * n + i].fixed = !capture_may_adopt(c);
			snprintf(r->captures[w * n + i].name, sizeof(r->captures->name), "%s", c->name);
		}
	}
	return netif_watch_open(&r->watch, diag);
}

void interfaces_deinit(struct interfaces *r)
{
	netif_watch_close(r->watch);
	free(r->captures);
	*r = (struct interfaces){0};
}

int interfaces_fd(const struct interfaces *r)
{
	return r->watch ? netif_watch_fd(r->watch) : -1;
}

int interfaces_open_capture(void *ctx, unsigned index, struct opener_answer *answer, struct diag *diag)
{
	const struct capture_config *configs = ctx;
	struct capture_descriptor d;
	int r = capture_describe(&d, &configs[index], diag);

	if (r < 0)
		return r;
	memcpy(answer->facts, &d.facts, sizeof(d.facts));
	answer->fds[answer->n_fds++] = d.fd;
	for (unsigned i = 0; i < 2; i++)
		if (d.counter_fds[i] >= 0)
			answer->fds[answer->n_fds++] = d.counter_fds[i];
	return 0;
}

/* Down, or another interface by now?  Only the latter is opened again. */
static void interfaces_reopen(struct interfaces *r, unsigned w, unsigned i, struct interfaces_capture *c)
{
	struct command_adopt adopt = {.capture = i};
	uint32_t index = if_nametoindex(c->name);
	struct opener_answer answer;
	struct diag diag;
	int ret;

	if (!c->index || index == 0 || index == c->index)
		return;
	ret = r->opener && !c->fixed
		      ? opener_capture(r->opener, i, &answer, &diag)
		      : diag_set(&diag, -EPROTONOSUPPORT,
				 "it is another interface now, and its capture has the old one: "
				 "start pitot again");
	if (ret == -ENODEV || ret == -ENETDOWN || ret == -ENXIO)
		return; /* not yet */
	if (ret < 0) {
		if (!c->refused)
			log_error("interface %s cannot be opened again: %s", c->name, diag.text);
		c->refused = true;
		return;
	}
	memcpy(&adopt.facts, answer.facts, sizeof(adopt.facts));
	if (command_send_adopt(&r->shared->to_metering[w], &adopt, answer.fds, answer.n_fds) == 0)
		c->index = adopt.facts.index; /* else once more */
	for (unsigned k = 0; k < answer.n_fds; k++)
		close(answer.fds[k]);
}

static void interfaces_say_lost(const struct interfaces_capture *c)
{
	log_warning("interface %s is down or gone: its flows are kept, and it is waited for", c->name);
}

/* What happened since the last look, in its order; of several gaps in between the last is told, all are
 * counted. */
static void interfaces_tell(struct interfaces_capture *c, const struct metering_gaps *g)
{
	bool new = g->begun != c->begun;

	if (new && !c->down)
		interfaces_say_lost(c);
	if (c->down ? new || !g->down : new && !g->down)
		log_info("interface %s: capturing again after %.1f s", c->name, (double)g->last_ns / 1e9);
	if (new && c->down && g->down)
		interfaces_say_lost(c);
	if (new || !g->down)
		c->refused = false;
	c->begun = g->begun;
	c->down = g->down;
}

static void interfaces_look(struct interfaces *r, unsigned w, unsigned i, struct interfaces_capture *c)
{
	struct metering_gaps gaps;

	published_get(&shared_gaps_of(r->shared, w, i)->gaps, &gaps);
	interfaces_tell(c, &gaps);
	if (gaps.down)
		interfaces_reopen(r, w, i, c);
}

/* An event tells only that it is worth looking now, and what an index does not mean any more. */
static void interfaces_on_link(void *ctx, const struct netif *n, bool gone)
{
	struct interfaces *r = ctx;

	if (gone && r->names)
		names_forget(r->names, n->index);
	r->next_ns = 0;
}

void interfaces_get_gaps(const struct interfaces *r, uint64_t now_ns, uint64_t *gaps, uint64_t *gap_ns)
{
	*gaps = *gap_ns = 0;
	for (unsigned w = 0; w < r->n_workers; w++) {
		for (unsigned i = 0; i < r->n_captures; i++) {
			struct metering_gaps g;

			published_get(&shared_gaps_of(r->shared, w, i)->gaps, &g);
			*gaps += g.begun;
			*gap_ns += g.total_ns + (g.down && now_ns > g.since_ns ? now_ns - g.since_ns : 0);
		}
	}
}

void interfaces_step(struct interfaces *r, uint64_t now_ns)
{
	if (r->watch && netif_watch_read(r->watch, interfaces_on_link, r) == NETIF_E_LOST)
		r->next_ns = 0;
	if (now_ns < r->next_ns)
		return;
	r->next_ns = now_ns + retry_ns;
	for (unsigned w = 0; w < r->n_workers; w++)
		for (unsigned i = 0; i < r->n_captures; i++)
			interfaces_look(r, w, i, &r->captures[w * r->n_captures + i]);
}

bool interfaces_network_changed(struct interfaces *r)
{
	return r->watch && netif_watch_changed(r->watch);
}
