/* poller: see poller.h. */
#include "poller.h"

#include <errno.h>
#include <stdlib.h>

#include "pitot/clock.h"

int poller_init(struct poller *p, uint64_t interval_ns, struct diag *diag)
{
	*p = (struct poller){.interval_ns = interval_ns};
	if (!interval_ns)
		return 0;
	p->interfaces = calloc(POLLER_MOST, sizeof(*p->interfaces));
	if (!p->interfaces)
		return diag_set(diag, -ENOMEM, "--sflow-polling: out of memory");
	return netif_counters_open(&p->counters, diag);
}

void poller_deinit(struct poller *p)
{
	netif_counters_close(p->counters);
	free(p->interfaces);
	*p = (struct poller){0};
}

/* As many as there are now; those that are new get their instant. */
static void poller_count(struct poller *p, unsigned n, uint64_t now_ns)
{
	if (n > POLLER_MOST)
		n = POLLER_MOST;
	for (unsigned i = p->n; i < n; i++)
		p->interfaces[i] = (struct poller_interface){.due_ns = now_ns + p->interval_ns * i / n};
	p->n = n;
}

static void poller_read(struct poller *p, struct poller_interface *i, uint32_t index, uint32_t shown,
			void (*tell)(void *ctx, const struct interface_counters *c), void *ctx)
{
	struct interface_counters c;

	if (!index || netif_counters_read(p->counters, index, &c) < 0) {
		i->index = 0; /* when it is there again it begins anew */
		return;
	}
	c.anew = i->index != index || c.in.octets < i->in_octets || c.out.octets < i->out_octets;
	c.index = shown ? shown : index;
	i->index = index;
	i->in_octets = c.in.octets;
	i->out_octets = c.out.octets;
	tell(ctx, &c);
}

uint64_t poller_due_ns(const struct poller *p)
{
	uint64_t due_ns = UINT64_MAX;

	for (unsigned i = 0; i < p->n; i++)
		due_ns = clock_sooner_ns(due_ns, p->interfaces[i].due_ns);
	return due_ns;
}

void poller_step(struct poller *p, const struct names *names, uint64_t now_ns,
		 void (*tell)(void *ctx, const struct interface_counters *c), void *ctx)
{
	if (!p->counters)
		return;
	poller_count(p, names->any ? names->n_list : names->n_interfaces, now_ns);
	for (unsigned i = 0; i < p->n; i++) {
		struct poller_interface *one = &p->interfaces[i];

		if (now_ns < one->due_ns)
			continue;
		one->due_ns += p->interval_ns;
		if (one->due_ns <=
		    now_ns) /* late by more than an interval: what was missed is not made up for */
			one->due_ns = now_ns + p->interval_ns;
		if (names->any)
			poller_read(p, one, names->list[i].ifindex, 0, tell, ctx);
		else
			poller_read(p, one, names->interfaces[i].index, names->interfaces[i].shown, tell,
				    ctx);
	}
}
