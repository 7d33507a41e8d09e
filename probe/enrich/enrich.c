/* enrich: see include/pitot/enrich.h.  Here: the enrichers that are needed, and the record that they
 * complete. */
#include "pitot/enrich.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "enricher.h"

#define ENRICHER(name, BLOCK) extern const struct enricher_ops enrich_##name##_ops;
#include "enrichers.def"

static const struct enrich_row {
	const struct enricher_ops *ops;
	enum record_block block;
} enrich_rows[] = {
#define ENRICHER(name, BLOCK) {&enrich_##name##_ops, BLOCK_##BLOCK},
#include "enrichers.def"
};
#define ENRICHERS (sizeof(enrich_rows) / sizeof(enrich_rows[0]))

struct enrich {
	struct enrich_interfaces interfaces;
	uint16_t size; /* of records as they come */
	struct enrich_open {
		const struct enricher_ops *ops;
		void *state;
		uint16_t at, octets; /* of its block */
	} open[ENRICHERS];
	unsigned n_open;
	struct flow_record *record; /* the copy */
};

static const uint16_t enrich_sizes[BLOCKS] = {
#define BLOCK(...)
#define BLOCK_OF_HOST(name, record) [BLOCK_##name] = sizeof(record),
#include "pitot/blocks.def"
};

uint32_t enrich_system_index(const struct enrich_interfaces *i, uint32_t exported)
{
	for (unsigned k = 0; k < i->n; k++)
		if (i->list[k].ifindex == exported && !i->list[k].gone)
			return i->list[k].system ? i->list[k].system : exported;
	return exported;
}

uint32_t enrich_exported_index(const struct enrich_interfaces *i, uint32_t system)
{
	for (unsigned k = 0; k < i->n; k++)
		if (i->list[k].system == system && !i->list[k].gone)
			return i->list[k].ifindex;
	return system;
}

static int enrich_open(struct enrich *e, const struct enrich_config *config, struct diag *diag)
{
	for (unsigned i = 0; i < ENRICHERS; i++) {
		const struct enrich_row *row = &enrich_rows[i];
		struct enrich_open *o = &e->open[e->n_open];
		int r;

		if (!config->to->record_at[row->block])
			continue;
		*o = (struct enrich_open){.ops = row->ops,
					  .at = config->to->record_at[row->block],
					  .octets = enrich_sizes[row->block]};
		r = row->ops->open(&o->state, diag);
		if (r < 0)
			return r;
		e->n_open++;
	}
	return 0;
}

int enrich_new(struct enrich **ep, const struct enrich_config *config, struct diag *diag)
{
	struct enrich *e;
	int r;

	*ep = NULL;
	if (!(config->to->blocks & BLOCKS_OF_HOST))
		return 0;
	e = calloc(1, sizeof(*e));
	if (!e)
		return diag_set(diag, -ENOMEM, "fields of the host: out of memory");
	e->size = config->from->record_size;
	e->record = aligned_alloc(64, config->to->record_size);
	if (!e->record || enrich_set_interfaces(e, config->interfaces, config->n_interfaces) < 0) {
		enrich_free(e);
		return diag_set(diag, -ENOMEM, "fields of the host: out of memory");
	}
	r = enrich_open(e, config, diag);
	if (r < 0) {
		enrich_free(e);
		return r;
	}
	*ep = e;
	return 0;
}

void enrich_free(struct enrich *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->n_open; i++)
		e->open[i].ops->close(e->open[i].state);
	free(e->interfaces.list);
	free(e->record);
	free(e);
}

const struct flow_record *enrich_record(struct enrich *e, const struct flow_record *r)
{
	flow_record_copy(e->record, r, e->size);
	for (unsigned i = 0; i < e->n_open; i++)
		memset((uint8_t *)e->record + e->open[i].at, 0, e->open[i].octets);
	for (unsigned i = 0; i < e->n_open; i++)
		e->open[i].ops->look(e->open[i].state, &e->interfaces, e->record,
				     (uint8_t *)e->record + e->open[i].at);
	return e->record;
}

void enrich_network_changed(struct enrich *e)
{
	for (unsigned i = 0; e && i < e->n_open; i++)
		if (e->open[i].ops->changed)
			e->open[i].ops->changed(e->open[i].state);
}

int enrich_set_interfaces(struct enrich *e, const struct export_interface *interfaces, unsigned n)
{
	struct export_interface *list = calloc(n ? n : 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	if (n)
		memcpy(list, interfaces, n * sizeof(*list));
	free(e->interfaces.list);
	e->interfaces = (struct enrich_interfaces){list, n};
	enrich_network_changed(e);
	return 0;
}
