/*
 * enrich_descriptions: what the administrator calls the interfaces of a record (ip link set alias), or their names.
 *
 * Of captured interfaces, whose descriptions collectors are told in options data, too; those that ignore these have
 * them in the record.
 */
#include <stddef.h>

#include "enricher.h"
#include "pitot/utf8.h"

static int enrich_descriptions_open(void **state, struct diag *diag)
{
	(void)diag;
	*state = NULL; /* the list of interfaces is all that it takes */
	return 0;
}

static void enrich_descriptions_copy(char *to, size_t size, const struct enrich_interfaces *interfaces,
				     uint32_t index)
{
	for (unsigned i = 0; index && i < interfaces->n; i++) {
		if (interfaces->list[i].ifindex == index) {
			utf8_copy(to, size, interfaces->list[i].description);
			return;
		}
	}
}

static void enrich_descriptions_look(void *state, const struct enrich_interfaces *interfaces,
				     struct flow_record *r, void *block)
{
	struct block_descriptions *b = block;

	(void)state;
	enrich_descriptions_copy(b->ingress, sizeof(b->ingress), interfaces, r->ingress);
	enrich_descriptions_copy(b->egress, sizeof(b->egress), interfaces, r->egress);
}

static void enrich_descriptions_changed(void *state)
{
	(void)state;
}

static void enrich_descriptions_close(void *state)
{
	(void)state;
}

const struct enricher_ops enrich_descriptions_ops = {
	.open = enrich_descriptions_open,
	.look = enrich_descriptions_look,
	.changed = enrich_descriptions_changed,
	.close = enrich_descriptions_close,
};
