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
#include "capture/capture_socket.h"
#include "pitot/link_type.h"

/* XDP does not see what goes out, and so what takes its place does not. */
static enum capture_direction plan_direction(const struct capture_plan *p)
{
	enum capture_direction direction = p->config.direction;
	/* loopback shows each frame twice */
	bool twice = p->loopback || p->config.method == CAPTURE_XDP;

	return twice && direction == CAPTURE_BOTH ? CAPTURE_IN : direction;
}

/* Captures by another method do not draw. */
static bool plan_draws(const struct capture_config *config)
{
	return (config->select_interval > 1 || config->select_varies) &&
	       (config->method == CAPTURE_AUTO || config->method == CAPTURE_AFPACKET);
}

static bool plan_has_filter(const struct capture_config *config)
{
	return config->filter && *config->filter;
}

static int plan_add_program(struct capture_plan *p, enum capture_plan_link link)
{
	const struct capture_config *config = &p->config;
	const struct capture_socket_program_config program = {
		.filter = &p->filters[link].filter,
		.header = link == CAPTURE_PLAN_COOKED ? CAPTURE_COOKED_HEADER : 0,
		.draws = plan_draws(config),
		.interval = config->select_interval ? config->select_interval : 1,
	};
	struct capture_plan_program *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return diag_set(&p->no_program, -ENOMEM, "out of memory");
	r = capture_socket_program_new(&a->program, &program, &p->no_program);
	if (r < 0) {
		free(a);
		return r;
	}
	a->link = link;
	a->holders = 1;
	p->programs[p->n_programs++] = a;
	return 0;
}

/* Where one is refused the others of its link type would be, too. */
static void plan_add_programs(struct capture_plan *p, unsigned first, unsigned end)
{
	unsigned n = capture_workers(&p->config);
	int r;

	if (!plan_has_filter(&p->config) && !plan_draws(&p->config))
		return;
	p->programs = calloc((size_t)n * (end - first), sizeof(*p->programs));
	for (unsigned link = first; p->programs && link < end; link++) {
		r = p->filters[link].result;
		for (unsigned i = 0; r == 0 && i < n; i++)
			r = plan_add_program(p, (enum capture_plan_link)link);
	}
}

static enum capture_plan_link plan_link(const struct capture_facts *facts)
{
	return facts->link_type == LINKTYPE_RAW		 ? CAPTURE_PLAN_RAW
	       : facts->link_type == LINKTYPE_LINUX_SLL2 ? CAPTURE_PLAN_COOKED
							 : CAPTURE_PLAN_ETHERNET;
}

struct capture_plan_program *capture_plan_take_program(const struct capture_plan *p,
						       const struct capture_facts *facts)
{
	for (unsigned i = 0; i < p->n_programs; i++) {
		unsigned plan_alone = 1;

		if (p->programs[i]->link == plan_link(facts) &&
		    atomic_compare_exchange_strong(&p->programs[i]->holders, &plan_alone, 2))
			return p->programs[i];
	}
	return NULL;
}

void capture_plan_release_program(struct capture_plan_program *program)
{
	if (!program || atomic_fetch_sub(&program->holders, 1) > 1)
		return;
	capture_socket_program_free(program->program);
	free(program);
}

const char *capture_plan_uncounted(const struct capture_plan *p)
{
	return plan_has_filter(&p->config) && p->no_program.text[0] ? p->no_program.text : NULL;
}

int capture_plan_new(struct capture_plan **pp, const struct capture_config *config, struct diag *diag)
{
	static const int link_types[] = {LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_LINUX_SLL2};
	unsigned any = strcmp(config->interface, "any") == 0, first = any ? CAPTURE_PLAN_COOKED : 0,
		 end = CAPTURE_PLAN_COOKED + any;
	struct capture_plan *p = calloc(1, sizeof(*p));
	struct capture_interface itf;
	struct diag none;

	if (!p)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	p->config = *config;
	(void)capture_interface_get(&itf, config->interface, &none);
	p->loopback = itf.loopback;
	for (unsigned i = first; i < end; i++) {
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
	plan_add_programs(p, first, end);
	*pp = p;
	return 0;
}

void capture_plan_free(struct capture_plan *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < CAPTURE_PLAN_LINKS; i++)
		capture_filter_deinit(&p->filters[i].filter);
	for (unsigned i = 0; i < p->n_programs; i++)
		capture_plan_release_program(p->programs[i]);
	free(p->programs);
	free(p);
}

int capture_plan_filter(const struct capture_plan *p, const struct capture_facts *facts,
			const struct capture_filter **filter, struct diag *diag)
{
	const struct capture_plan_filter *f = &p->filters[plan_link(facts)];

	*filter = &f->filter;
	if (f->result < 0)
		*diag = f->why;
	return f->result < 0 ? f->result : 0;
}
