/* names: see names.h. */
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/netif.h"

struct names_list {
	struct export_interface *interfaces;
	unsigned n, most;
};

int names_init(struct names *n, unsigned n_interfaces, unsigned most)
{
	*n = (struct names){.most = most};
	n->interfaces = calloc(n_interfaces ? n_interfaces : 1, sizeof(*n->interfaces));
	return n->interfaces ? 0 : -ENOMEM;
}

void names_add(struct names *n, const char *name, uint32_t shown)
{
	if (strcmp(name, "any") == 0)
		n->any = true;
	else
		n->interfaces[n->n_interfaces++] = (struct names_interface){.name = name, .shown = shown};
}

void names_deinit(struct names *n)
{
	free(n->interfaces);
	free(n->list);
	*n = (struct names){0};
}

void names_forget(struct names *n, uint32_t index)
{
	for (unsigned i = 0; i < n->n_interfaces; i++)
		if (n->interfaces[i].index == index)
			n->interfaces[i].index = 0;
}

static bool names_has(const struct names_list *list, uint32_t ifindex)
{
	for (unsigned i = 0; i < list->n; i++)
		if (list->interfaces[i].ifindex == ifindex)
			return true;
	return false;
}

static void names_put(struct names_list *list, const struct netif *netif, uint32_t shown)
{
	struct export_interface *e = &list->interfaces[list->n];
	uint32_t index = shown ? shown : netif->index;

	if (list->n == list->most || names_has(list, index))
		return;
	*e = (struct export_interface){.ifindex = index, .system = netif->index};
	snprintf(e->name, sizeof(e->name), "%s", netif->name);
	snprintf(e->description, sizeof(e->description), "%s", netif->alias[0] ? netif->alias : netif->name);
	list->n++;
}

static void names_put_any(void *ctx, const struct netif *netif)
{
	names_put(ctx, netif, 0);
}

static bool names_find(struct names_interface *i, struct netif *netif)
{
	struct diag diag;

	if (i->index && netif_get_index(netif, i->index, &diag) == 0)
		return true;
	i->index = 0;
	if (netif_get(netif, i->name, &diag) < 0)
		return false;
	i->index = netif->index;
	return true;
}

static void names_drop(struct names *n, unsigned at)
{
	n->n_gone--;
	memmove(&n->gone[at], &n->gone[at + 1], (n->n_gone - at) * sizeof(n->gone[0]));
}

/* What was in the list and is not any more; an index that is used again is not gone. */
static void names_bury(struct names *n, const struct names_list *now)
{
	for (unsigned i = n->n_gone; i-- > 0;)
		if (names_has(now, n->gone[i].ifindex))
			names_drop(n, i);
	for (unsigned i = 0; i < n->n_list; i++) {
		if (n->list[i].gone || names_has(now, n->list[i].ifindex))
			continue;
		if (n->n_gone == NAMES_GONE)
			names_drop(n, 0);
		n->gone[n->n_gone] = n->list[i];
		n->gone[n->n_gone++].gone = true;
	}
}

bool names_look(struct names *n)
{
	struct names_list now = {.interfaces = calloc(n->most, sizeof(*now.interfaces)),
				 .most = n->most - NAMES_GONE};
	struct netif netif;
	struct diag diag;
	bool changed;

	if (!now.interfaces)
		return false; /* the old list is better than none */
	for (unsigned i = 0; i < n->n_interfaces; i++)
		if (names_find(&n->interfaces[i], &netif))
			names_put(&now, &netif, n->interfaces[i].shown);
	if (n->any)
		(void)netif_each(names_put_any, &now, &diag);
	names_bury(n, &now);
	memcpy(now.interfaces + now.n, n->gone, n->n_gone * sizeof(n->gone[0]));
	now.n += n->n_gone;
	changed = now.n != n->n_list ||
		  (now.n && memcmp(now.interfaces, n->list, now.n * sizeof(*n->list)) != 0);
	if (!changed) {
		free(now.interfaces);
		return false;
	}
	free(n->list);
	n->list = now.interfaces;
	n->n_list = now.n;
	return true;
}
