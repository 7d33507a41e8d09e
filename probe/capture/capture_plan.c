/*
 * capture_plan: see capture_plan.h.
 *
 * The filter is compiled for both link types that a ring can have: which one an interface has is known when
 * it is there, and then a sandbox may be around that compiling does not fit into.
 */
#include "capture/capture_plan.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/capture_interface.h"

#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW	  101

/* XDP does not see what goes out, and so what takes its place does not. */
static enum capture_direction plan_direction(const struct capture_plan *p)
{
	enum capture_direction direction = p->config.direction;
	/* loopback shows each frame twice */
	bool twice = p->loopback || p->config.method == CAPTURE_XDP;

	return twice && direction == CAPTURE_BOTH ? CAPTURE_IN : direction;
}

int capture_plan_new(struct capture_plan **pp, const struct capture_config *config, struct diag *diag)
{
	static const int link_types[] = {LINKTYPE_ETHERNET, LINKTYPE_RAW};
	struct capture_plan *p = calloc(1, sizeof(*p));
	struct capture_interface itf;
	struct diag none;

	if (!p)
		return diag_set(diag, -ENOMEM, "%s: out of memory", config->interface);
	p->config = *config;
	(void)capture_interface_get(&itf, config->interface, &none);
	p->loopback = itf.loopback;
	for (unsigned i = 0; i < CAPTURE_PLAN_LINKS; i++) {
		const struct capture_filter_config filter_config = {
			.expression = config->filter,
			.place = FILTER_SOCKET,
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
	*pp = p;
	return 0;
}

void capture_plan_free(struct capture_plan *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < CAPTURE_PLAN_LINKS; i++)
		capture_filter_deinit(&p->filters[i].filter);
	free(p);
}

int capture_plan_filter(const struct capture_plan *p, const struct capture_facts *facts,
			const struct capture_filter **filter, struct diag *diag)
{
	const struct capture_plan_filter *f =
		&p->filters[facts->link_type == LINKTYPE_RAW ? CAPTURE_PLAN_RAW : CAPTURE_PLAN_ETHERNET];

	*filter = &f->filter;
	return f->result < 0 ? diag_set(diag, f->result, "%s", f->why.text) : 0;
}
