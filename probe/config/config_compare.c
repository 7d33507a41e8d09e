/* config_compare: what differs between two configurations, and whether a running program can take it. */
#include <string.h>

#include "config/config_internal.h"

static bool compare_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool compare_interfaces(const struct config *a, const struct config *b)
{
	bool same = a->n_interfaces == b->n_interfaces;

	for (unsigned i = 0; same && i < a->n_interfaces; i++)
		same = compare_text(a->interfaces[i].name, b->interfaces[i].name) &&
		       a->interfaces[i].ifindex == b->interfaces[i].ifindex;
	return same;
}

static bool compare_files(const struct config *a, const struct config *b)
{
	bool same = a->n_files == b->n_files;

	for (unsigned i = 0; same && i < a->n_files; i++)
		same = compare_text(a->files[i], b->files[i]);
	return same;
}

static bool compare_collectors(const struct config *a, const struct config *b)
{
	bool same = a->n_collectors == b->n_collectors;

	for (unsigned i = 0; same && i < a->n_collectors; i++) {
		const struct collector_config *x = &a->collectors[i], *y = &b->collectors[i];

		same = compare_text(x->url, y->url) && x->format == y->format &&
		       x->transport == y->transport && compare_text(x->host, y->host) && x->port == y->port &&
		       compare_text(x->path, y->path);
	}
	return same;
}

static bool compare_value(const struct config_row *row, const struct config *a, const struct config *b)
{
	const char *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;

	switch (row->kind) {
	case KIND_GROUP:
		return true;
	case KIND_INTERFACE:
		return compare_interfaces(a, b);
	case KIND_FILES:
		return compare_files(a, b);
	case KIND_COLLECTOR:
		return compare_collectors(a, b);
	case KIND_SOURCE:
		return compare_text(a->source_host, b->source_host) && a->source_port == b->source_port;
	case KIND_DECAPSULATE:
		return a->decapsulate == b->decapsulate &&
		       memcmp(a->tunnel_ports, b->tunnel_ports, sizeof(a->tunnel_ports)) == 0;
	case KIND_TIMEOUT:
		return a->active_ns == b->active_ns && a->inactive_ns == b->inactive_ns &&
		       a->tcp_end_ns == b->tcp_end_ns;
	default:
		if (config_row_is_text(row))
			return compare_text(*(char *const *)x, *(char *const *)y);
		return memcmp(x, y, row->size) == 0;
	}
}

const char *config_needs_restart(const struct config *now, const struct config *next)
{
	for (unsigned i = 0; i < config_rows_count; i++)
		if (!(config_rows[i].flags & FLAG_RELOAD) && !compare_value(&config_rows[i], now, next))
			return config_rows[i].name;
	return NULL;
}
