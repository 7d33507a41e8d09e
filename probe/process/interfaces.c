/* interfaces: see interfaces.h. */
#include "interfaces.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/clock.h"
#include "pitot/log.h"
#include "take_over.h"

#define BUFFERS_SAID (UINT64_C(1) << 30)

static const uint64_t retry_ns = 200 * NS_PER_MSEC;

static void interfaces_hear(struct interfaces *r);

static_assert(sizeof(struct capture_facts) <= OPENER_FACTS, "the opener's answer holds them");

/* --buffer is of each interface: what that comes to is not everybody's first thought. */
static void interfaces_say_buffers(const struct capture_config *configs, unsigned n)
{
	uint64_t octets = configs[0].buffer_octets, sum = octets * n;

	if (sum > BUFFERS_SAID)
		log_info("capture buffers: %u interface%s with %llu MiB each, %llu MiB in all (--buffer)", n,
			 log_plural(n), (unsigned long long)octets >> 20, (unsigned long long)sum >> 20);
}

static int interfaces_init_one(const struct interfaces *r, struct interfaces_interface *i,
			       const struct capture_config *config, struct diag *diag)
{
	i->config = config;
	i->sockets = calloc(r->n_workers, sizeof(*i->sockets));
	if (!i->sockets)
		return diag_set(diag, -ENOMEM, "out of memory");
	for (unsigned w = 0; w < r->n_workers; w++)
		i->sockets[w].socket.fd = -1;
	return capture_plan_new(&i->plan, config, diag);
}

/* Once: the filter is the same for all. */
static void interfaces_say_uncounted(const struct interfaces *r)
{
	const char *why = r->n ? capture_plan_uncounted(r->plans[0]) : NULL;

	if (why)
		log_debug("--filter: what it rejects is not counted: %s", why);
}

int interfaces_init(struct interfaces *r, const struct capture_config *configs, unsigned n,
		    const struct shared *shared, struct opener *opener, struct diag *diag)
{
	int ret;

	*r = (struct interfaces){.opener = opener, .shared = shared, .n_workers = shared->config.n_metering};
	r->each = calloc(n, sizeof(*r->each));
	r->plans = calloc(n, sizeof(*r->plans));
	r->scratch = calloc(r->n_workers, sizeof(*r->scratch));
	if (!r->each || !r->plans || !r->scratch)
		return diag_set(diag, -ENOMEM, "out of memory");
	interfaces_say_buffers(configs, n);
	/* before anything is opened: what happens from then on is heard */
	ret = netif_watch_open(&r->watch, diag);
	for (; ret == 0 && r->n < n; r->n++)
		ret = interfaces_init_one(r, &r->each[r->n], &configs[r->n], diag);
	for (unsigned i = 0; i < r->n; i++)
		r->plans[i] = r->each[i].plan;
	if (ret == 0)
		interfaces_say_uncounted(r);
	return ret;
}

void interfaces_deinit(struct interfaces *r)
{
	for (unsigned n = 0; n < r->n; n++) {
		struct interfaces_interface *i = &r->each[n];

		for (unsigned w = 0; i->sockets && w < r->n_workers; w++)
			capture_descriptor_close(&i->sockets[w].socket);
		free(i->sockets);
		capture_plan_free(i->plan);
	}
	netif_watch_close(r->watch);
	free(r->each);
	free(r->plans);
	free(r->scratch);
	*r = (struct interfaces){0};
}

int interfaces_fd(const struct interfaces *r)
{
	return r->watch ? netif_watch_fd(r->watch) : -1;
}

static bool interfaces_is_any(const struct interfaces_interface *i)
{
	return !strcmp(i->config->interface, "any");
}

/* What it is called now, which is not what the command line says when it was renamed. */
static const char *interfaces_name(const struct interfaces_interface *i)
{
	return *i->link.name ? i->link.name : i->config->interface;
}

/* The other one that has this interface already, by another name or after a rename: packets would count
 * twice. */
static const struct interfaces_interface *interfaces_find_twin(const struct interfaces *r, unsigned n,
							       uint32_t index)
{
	for (unsigned m = 0; m < r->n; m++)
		if (m != n && index && r->each[m].link.index == index)
			return &r->each[m];
	return NULL;
}

static bool interfaces_is_absent(int r)
{
	return r == -ENODEV || r == -ENETDOWN || r == -ENXIO;
}

/* ---- gaps */

static uint64_t interfaces_link_dropped(const struct interfaces_interface *i)
{
	return i->link.dropped > i->dropped_base ? i->link.dropped - i->dropped_base : 0;
}

/* Every worker has a capture of it, and the link is up. */
static bool interfaces_is_measured(const struct interfaces *r, unsigned n)
{
	const struct interfaces_interface *i = &r->each[n];

	if (!i->link.up)
		return false;
	for (unsigned w = 0; w < r->n_workers; w++)
		if (!atomic_load(&shared_place_of(r->shared, w, n)->taken))
			return false;
	return true;
}

static void interfaces_judge(struct interfaces *r, unsigned n, uint64_t now_ns)
{
	struct interfaces_interface *i = &r->each[n];
	bool measured = interfaces_is_measured(r, n);

	if (measured == i->measured)
		return;
	i->measured = measured;
	if (!measured) {
		i->gaps++;
		i->since_ns = now_ns;
		if (!r->begins_again)
			log_warning("interface %s is down or gone: its flows are kept, and it is waited for",
				    interfaces_name(i));
		return;
	}
	i->gap_ns += now_ns - i->since_ns;
	i->refused = false;
	log_info("interface %s: capturing again after %.1f s", interfaces_name(i),
		 (double)(now_ns - i->since_ns) / 1e9);
}

void interfaces_get_numbers(struct interfaces *r, uint64_t now_ns, struct interfaces_numbers *numbers)
{
	struct diag diag;

	*numbers = (struct interfaces_numbers){0};
	for (unsigned n = 0; n < r->n; n++) {
		struct interfaces_interface *i = &r->each[n];
		struct netif now;

		numbers->gaps += i->gaps;
		numbers->gap_ns +=
			i->gap_ns + (i->measured || now_ns < i->since_ns ? 0 : now_ns - i->since_ns);
		if (i->link.index && netif_get_index(&now, i->link.index, &diag) == 0)
			i->link.dropped = now.dropped;
		numbers->dropped += i->dropped + interfaces_link_dropped(i);
	}
}

/* ---- opening */

int interfaces_open_capture(void *ctx, unsigned index, int group, struct opener_answer *answer,
			    struct diag *diag)
{
	const struct capture_config *configs = ctx;
	struct capture_config config = configs[index];
	struct capture_descriptor d;
	int r;

	config.cooked = true;
	r = capture_describe(&d, &config, group, diag);

	if (r < 0)
		return r;
	memcpy(answer->facts, &d.facts, sizeof(d.facts));
	answer->fds[answer->n_fds++] = d.fd;
	return 0;
}

struct interfaces_question {
	struct opener *opener;
	unsigned n;
};

static int interfaces_ask_opener(void *ctx, struct capture_descriptor *d, int group, struct diag *diag)
{
	const struct interfaces_question *q = ctx;
	struct opener_answer answer;
	int r = opener_capture(q->opener, q->n, group, &answer, diag);

	*d = (struct capture_descriptor){.fd = -1};
	if (r < 0)
		return r;
	memcpy(&d->facts, answer.facts, sizeof(d->facts));
	d->fd = answer.fds[0];
	return 0;
}

/* Cheaper to ask than to try. */
static bool interfaces_is_there(struct interfaces *r, unsigned n)
{
	struct interfaces_interface *i = &r->each[n];
	/* not by netif_get(), which lists all that there are when there is none */
	uint32_t index = if_nametoindex(i->config->interface);
	const struct interfaces_interface *twin = interfaces_find_twin(r, n, index);
	struct diag diag;
	struct netif now;

	if (twin && !i->refused)
		log_warning("interface %s is measured already, for --interface %s: another one is waited for",
			    i->config->interface, twin->config->interface);
	i->refused = i->refused || twin;
	return index && !twin && netif_get_index(&now, index, &diag) == 0 && now.up;
}

/*
 * This interface is open.  The end of an earlier one with the same index was told before: it is heard now, as
 * long as nothing of ours has that index.
 */
static void interfaces_begin(struct interfaces *r, struct interfaces_interface *i, uint32_t index)
{
	struct diag diag;

	i->dropped += interfaces_link_dropped(i);
	i->dropped_base = 0;
	i->link = (struct netif){0};
	interfaces_hear(r);
	if (netif_get_index(&i->link, index, &diag) < 0)
		i->link = (struct netif){0}; /* gone again, and its captures know */
	i->dropped_base = i->link.dropped;
}

/* ---- the start */

/* By another method than asked for, and so it is opened again. */
static int interfaces_change_method(struct interfaces *r, unsigned n, struct diag *diag)
{
	struct capture_config config = *r->each[n].config;
	struct capture_plan *plan;
	int ret;

	log_warning("%s", diag->text);
	config.method = CAPTURE_AUTO;
	ret = capture_plan_new(&plan, &config, diag);
	if (ret < 0)
		return ret;
	capture_plan_free(r->each[n].plan);
	r->plans[n] = r->each[n].plan = plan;
	return 0;
}

static int interfaces_hand_out(struct interfaces *r, unsigned n, struct metering *const *workers,
			       struct capture **captures, struct diag *diag)
{
	struct interfaces_interface *i = &r->each[n];
	int ret = 0;

	i->method = captures[0]->ops->name;
	if (captures[0]->system_ifindex)
		interfaces_begin(r, i, captures[0]->system_ifindex);
	else
		i->link.up = true; /* any */
	for (unsigned w = 0; w < r->n_workers; w++) {
		if (ret == 0)
			ret = metering_set_capture(workers[w], n, captures[w], diag);
		else
			capture_close(captures[w]);
	}
	if (ret < 0)
		return ret;
	i->measured = interfaces_is_measured(r, n);
	return 0;
}

static int interfaces_refuse_twin(const struct interfaces *r, unsigned n, struct capture **captures,
				  struct diag *diag)
{
	const struct interfaces_interface *twin = interfaces_find_twin(r, n, captures[0]->system_ifindex);

	if (!twin)
		return 0;
	for (unsigned w = 0; w < r->n_workers; w++)
		capture_close(captures[w]);
	return diag_set(diag, -EEXIST,
			"--interface %.80s is the same interface as %.80s, and every packet "
			"would count twice",
			r->each[n].config->interface, twin->config->interface);
}

/* 1: they are those of the process that is taken over from. */
static int interfaces_take_over(const struct interfaces *r, unsigned n, struct capture **captures,
				struct diag *diag)
{
	const struct interfaces_interface *i = &r->each[n];

	return take_over_captures(r->taking, i->config->interface, captures, i->plan, diag);
}

static int interfaces_open_one(struct interfaces *r, unsigned n, struct metering *const *workers,
			       struct diag *diag)
{
	struct interfaces_interface *i = &r->each[n];
	struct capture **captures = calloc(r->n_workers, sizeof(*captures));
	struct netif none;
	int ret;

	i->since_ns = clock_monotonic_ns();
	if (!captures)
		return diag_set(diag, -ENOMEM, "out of memory");
	ret = interfaces_take_over(r, n, captures, diag);
	if (ret == 0)
		ret = capture_open_interface(captures, i->plan, diag);
	else if (ret > 0)
		ret = 0;
	if (ret == CAPTURE_E_OTHER)
		ret = interfaces_change_method(r, n, diag);
	if (ret == 0)
		ret = interfaces_refuse_twin(r, n, captures, diag);
	if (ret == 0)
		ret = interfaces_hand_out(r, n, workers, captures, diag);
	else if (ret == -ENODEV && netif_get(&none, i->config->interface, diag) < 0)
		diag_prefix(diag, ret, "--interface %s: ", i->config->interface);
	free(captures);
	return ret;
}

int interfaces_open(struct interfaces *r, struct metering *const *workers, bool wait, struct diag *diag)
{
	struct diag why = {""};
	unsigned missing = 0;

	for (unsigned n = 0; n < r->n; n++) {
		int ret = interfaces_open_one(r, n, workers, &why);

		if (ret < 0 && !interfaces_is_absent(ret)) {
			*diag = why;
			return ret;
		}
		if (ret == 0)
			continue;
		if (++missing == r->n && !wait) {
			*diag = why;
			return ret;
		}
		r->each[n].gaps = 1;
		log_warning("%s: it is waited for", why.text);
	}
	return 0;
}

/* ---- and again */

/* When no worker has anything of the earlier interface any more. */
static bool interfaces_is_free(const struct interfaces *r, unsigned n)
{
	for (unsigned w = 0; w < r->n_workers; w++) {
		const struct interfaces_socket *s = &r->each[n].sockets[w];
		const struct shared_place *p = shared_place_of(r->shared, w, n);

		if (atomic_load(&p->answered) != s->given || atomic_load(&p->taken) || s->socket.fd >= 0)
			return false;
	}
	return true;
}

/* To each worker its socket; one whose mailbox is full gets it the next time. */
static void interfaces_give(struct interfaces *r, unsigned n)
{
	for (unsigned w = 0; w < r->n_workers; w++) {
		struct interfaces_socket *s = &r->each[n].sockets[w];
		struct command_adopt adopt = {.place = n, .facts = s->socket.facts};
		int ret;

		if (s->socket.fd < 0)
			continue;
		ret = command_send_adopt(&r->shared->to_metering[w], &adopt, &s->socket.fd, 1);
		s->given += ret == 0;
		if (ret == 0 || ret == MAILBOX_E_GONE)
			capture_descriptor_close(&s->socket);
	}
}

/* Whoever opens it was ended over the question, or has not answered yet: there is more to do at an end. */
static bool interfaces_is_unanswered(int r)
{
	return r == -ETIMEDOUT || r == -EBUSY || r == -EINTR;
}

static void interfaces_reopen(struct interfaces *r, unsigned n)
{
	struct interfaces_interface *i = &r->each[n];
	struct interfaces_question question = {.opener = r->opener, .n = n};
	struct diag diag;
	int ret;

	if (!interfaces_is_free(r, n) || (!interfaces_is_any(i) && !interfaces_is_there(r, n)))
		return;
	ret = r->opener ? capture_describe_all(r->scratch, r->n_workers, interfaces_ask_opener, &question,
					       &diag)
			: diag_set(&diag, -EPERM, "what may open it is missing: start pitot again");
	if (interfaces_is_unanswered(ret)) {
		if (ret != -EBUSY)
			log_warning("interface %s: %s; it is asked again", i->config->interface, diag.text);
		return;
	}
	if (ret < 0) {
		if (!interfaces_is_absent(ret) && !i->refused)
			log_error("interface %s cannot be opened again: %s", i->config->interface, diag.text);
		i->refused = i->refused || !interfaces_is_absent(ret);
		return;
	}
	if (interfaces_is_any(i))
		i->link.up = true;
	else
		interfaces_begin(r, i, r->scratch[0].facts.index);
	for (unsigned w = 0; w < r->n_workers; w++)
		i->sockets[w].socket = r->scratch[w];
	interfaces_give(r, n);
	if (i->method && strcmp(i->method, capture_afpacket_ops.name) != 0)
		log_info("interface %s: captured by %s from now on, instead of %s", i->config->interface,
			 capture_afpacket_ops.name, i->method);
	i->method = capture_afpacket_ops.name;
}

void interfaces_begin_again(struct interfaces *r)
{
	log_warning(
		"the process pitot-metering is another one: interfaces are opened again, and the flows that "
		"it had are lost");
	r->begins_again = true;
	for (unsigned n = 0; n < r->n; n++) {
		for (unsigned w = 0; w < r->n_workers; w++) {
			struct interfaces_socket *s = &r->each[n].sockets[w];
			struct shared_place *p = shared_place_of(r->shared, w, n);

			capture_descriptor_close(&s->socket);
			s->socket.fd = -1;
			atomic_store(&p->taken, false);
			atomic_store(&p->answered, s->given); /* what was on the way is gone with it */
		}
		interfaces_judge(r, n, clock_monotonic_ns());
	}
	r->begins_again = false;
	r->next_ns = 0;
}

bool interfaces_are_refused(const struct interfaces *r)
{
	for (unsigned n = 0; n < r->n; n++)
		if (r->each[n].refused && !r->each[n].measured)
			return true;
	return false;
}

/* ---- link events */

static void interfaces_say_name(const struct interfaces_interface *i, const struct netif *now)
{
	if (strcmp(now->name, i->link.name) != 0)
		log_info("interface %s is called %s now, and measured on", i->link.name, now->name);
}

/* The one place that hears of links.  An event about an interface of ours changes what is known; any other
 * may be what is waited for. */
static void interfaces_on_link(void *ctx, const struct netif *now, bool gone)
{
	struct interfaces *r = ctx;

	r->links_changed = true;
	if (gone && r->names)
		names_forget(r->names, now->index);
	for (unsigned n = 0; n < r->n; n++) {
		struct interfaces_interface *i = &r->each[n];

		if (!i->link.index || i->link.index != now->index)
			continue;
		if (gone) {
			i->link.dropped = now->dropped > i->link.dropped ? now->dropped : i->link.dropped;
			i->dropped += interfaces_link_dropped(i);
			i->link.index = 0; /* the name is still what we call it */
			i->link.dropped = 0;
			i->link.up = false;
			i->dropped_base = 0;
		} else {
			interfaces_say_name(i, now);
			i->link = *now;
		}
		interfaces_judge(r, n, clock_monotonic_ns());
	}
	r->next_ns = 0;
}

/* Events were lost. */
static void interfaces_ask_again(struct interfaces *r)
{
	struct diag diag;

	for (unsigned n = 0; n < r->n; n++) {
		struct netif now = {0};

		if (r->each[n].link.index && netif_get_index(&now, r->each[n].link.index, &diag) == 0)
			interfaces_on_link(r, &now, false);
		else if (r->each[n].link.index)
			interfaces_on_link(r, &(struct netif){.index = r->each[n].link.index}, true);
	}
}

/* What has happened to links since. */
static void interfaces_hear(struct interfaces *r)
{
	if (r->watch && netif_watch_read(r->watch, interfaces_on_link, r) == NETIF_E_LOST) {
		r->links_changed = true;
		interfaces_ask_again(r);
	}
}

void interfaces_step(struct interfaces *r, uint64_t now_ns)
{
	interfaces_hear(r);
	for (unsigned n = 0; n < r->n; n++)
		interfaces_judge(r, n, clock_monotonic_ns());
	if (now_ns < r->next_ns)
		return;
	r->next_ns = now_ns + retry_ns;
	for (unsigned n = 0; n < r->n; n++)
		if (!r->each[n].measured) {
			interfaces_give(r, n);
			interfaces_reopen(r, n);
		}
}

bool interfaces_are_measured(const struct interfaces *r)
{
	for (unsigned n = 0; n < r->n; n++)
		if (!r->each[n].measured)
			return false;
	return true;
}

bool interfaces_network_changed(struct interfaces *r)
{
	return r->watch && netif_watch_changed(r->watch);
}

bool interfaces_links_changed(struct interfaces *r)
{
	bool changed = r->links_changed;

	r->links_changed = false;
	return changed;
}
