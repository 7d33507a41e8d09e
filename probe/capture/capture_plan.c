/*
 * capture_plan: see capture_plan.h.
 *
 * The filter is compiled for both link types that a ring of an interface can have: which one it has is known
 * when it is there, and then a sandbox may be around that compiling does not fit into.  "any" has its own.
 */
#include "capture/capture_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture_interface.h"
#include "pitot/link_type.h"

/* XDP does not see what goes out, and so what takes its place does not. */
static enum capture_direction plan_direction(const struct capture_plan *p)
{
	enum capture_direction direction = p->config.direction;
	/* loopback shows each frame twice */
	bool twice = p->loopback || p->config.method == CAPTURE_XDP;

	return twice && direction == CAPTURE_BOTH ? CAPTURE_IN : direction;
}

/* A filter of the user's is a program of the other kind: then the packets are drawn where they are metered.
 */
static void plan_add_samplings(struct capture_plan *p)
{
	const struct capture_config *config = &p->config;
	uint32_t interval = config->select_interval ? config->select_interval : 1;
	const struct capture_sampling_config sampling = {
		.interval = interval, .snap_len = config->snap_len, .direction = plan_direction(p)};
	unsigned n = capture_workers(config);

	if ((interval < 2 && !config->select_varies) || (config->filter && *config->filter) ||
	    (config->method != CAPTURE_AUTO && config->method != CAPTURE_AFPACKET))
		return;
	p->samplings = calloc(n, sizeof(*p->samplings));
	for (; p->samplings && p->n_samplings < n; p->n_samplings++) {
		struct capture_plan_sampling *s = calloc(1, sizeof(*s));

		if (!s || capture_sampling_new(&s->sampling, &sampling) < 0) {
			free(s);
			return;
		}
		s->holders = 1;
		p->samplings[p->n_samplings] = s;
	}
}

struct capture_plan_sampling *capture_plan_take_sampling(const struct capture_plan *p)
{
	for (unsigned i = 0; i < p->n_samplings; i++) {
		unsigned plan_alone = 1;

		if (atomic_compare_exchange_strong(&p->samplings[i]->holders, &plan_alone, 2))
			return p->samplings[i];
	}
	return NULL;
}

void capture_plan_release_sampling(struct capture_plan_sampling *s)
{
	if (!s || atomic_fetch_sub(&s->holders, 1) > 1)
		return;
	capture_sampling_free(s->sampling);
	free(s);
}

int capture_plan_new(struct capture_plan **pp, const struct capture_config *config, struct diag *diag)
{
	static const int link_types[] = {LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL2};
	unsigned any = strcmp(config->interface, "any") == 0;
	struct capture_plan *p = calloc(1, sizeof(*p));
	struct capture_interface itf;
	struct diag none;

	if (!p)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	p->config = *config;
	(void)capture_interface_get(&itf, config->interface, &none);
	p->loopback = itf.loopback;
	for (unsigned i = any ? CAPTURE_PLAN_COOKED : 0; i < CAPTURE_PLAN_COOKED + any; i++) {
		const struct capture_filter_config filter_config = {
			.expression = config->filter,
			.place = any ? FILTER_COOKED : FILTER_SOCKET,
			.link_type = link_types[i],
			.snap_len = config->snap_len,
			.direction = plan_direction(p),
		};
		struct capture_plan_filter *f = &p->filters[i];

		f->result = capture_filter_compile(&f->filter, &filter_config, &f->why);
		/* libpcap's back end can run it itself */
		if (f->result == CAPTURE_FILTER_E_KERNEL)
			f->result = -EPROTONOSUPPORT;
	}
	plan_add_samplings(p);
	*pp = p;
	return 0;
}

void capture_plan_free(struct capture_plan *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < CAPTURE_PLAN_LINKS; i++)
		capture_filter_deinit(&p->filters[i].filter);
	for (unsigned i = 0; i < p->n_samplings; i++)
		capture_plan_release_sampling(p->samplings[i]);
	free(p->samplings);
	free(p);
}

int capture_plan_filter(const struct capture_plan *p, const struct capture_facts *facts,
			const struct capture_filter **filter, struct diag *diag)
{
	enum capture_plan_link link = facts->link_type == LINKTYPE_RAW		? CAPTURE_PLAN_RAW
				      : facts->link_type == LINKTYPE_LINUX_SLL2 ? CAPTURE_PLAN_COOKED
										: CAPTURE_PLAN_ETHERNET;
	const struct capture_plan_filter *f = &p->filters[link];

	*filter = &f->filter;
	if (f->result < 0)
		*diag = f->why;
	return f->result < 0 ? f->result : 0;
}
