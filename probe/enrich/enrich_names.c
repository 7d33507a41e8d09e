/*
 * enrich_names: what the system calls the interface that a record's packets leave by.
 *
 * Captured interfaces are in the list that collectors are told, too.  Others are asked for, and remembered
 * until something changes: a host has few of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "enricher.h"
#include "pitot/netif.h"
#include "pitot/utf8.h"

enum { ENRICH_NAMES_KEPT = 256 };

struct enrich_names {
	struct enrich_name {
		uint32_t index; /* 0: none */
		char name[sizeof(((struct block_names *)0)->egress)];
	} entries[ENRICH_NAMES_KEPT];
};

static int enrich_names_open(void **state, struct diag *diag)
{
	*state = calloc(1, sizeof(struct enrich_names));
	return *state ? 0 : diag_set(diag, -ENOMEM, "names of interfaces: out of memory");
}

/* "" when there is no such interface: that is remembered, too. */
static const char *enrich_names_ask(struct enrich_names *k, uint32_t index)
{
	struct enrich_name *entry = &k->entries[index % ENRICH_NAMES_KEPT];
	struct netif n;
	struct diag none;

	if (entry->index != index) {
		*entry = (struct enrich_name){.index = index};
		if (netif_get_index(&n, index, &none) == 0)
			snprintf(entry->name, sizeof(entry->name), "%s", n.name);
	}
	return entry->name;
}

static void enrich_names_look(void *state, const struct enrich_interfaces *interfaces, struct flow_record *r,
			      void *block)
{
	struct block_names *b = block;
	const char *name = NULL;

	if (!r->egress)
		return;
	for (unsigned i = 0; !name && i < interfaces->n; i++)
		if (interfaces->list[i].ifindex == r->egress)
			name = interfaces->list[i].name;
	utf8_copy(b->egress, sizeof(b->egress), name ? name : enrich_names_ask(state, r->egress));
}

static void enrich_names_changed(void *state)
{
	*(struct enrich_names *)state = (struct enrich_names){0};
}

const struct enricher_ops enrich_names_ops = {
	.open = enrich_names_open,
	.look = enrich_names_look,
	.changed = enrich_names_changed,
	.close = free,
};
