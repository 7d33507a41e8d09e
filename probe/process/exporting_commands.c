/* exporting_commands: what control asks of the exporting process: commands.def. */
#include "exporting_internal.h"

#include <errno.h>
#include <stdlib.h>

int exporting_on_refresh(struct exporting *e, const struct command_none *a, struct command_none *reply)
{
	struct clock_time now = clock_now();

	(void)a;
	(void)reply;
	exporter_refresh(e->exporter, &now);
	return 0;
}

int exporting_on_periods(struct exporting *e, const struct exporter_periods *a, struct command_none *reply)
{
	struct clock_time now = clock_now();

	(void)reply;
	exporter_set_periods(e->exporter, a, &now);
	return 0;
}

int exporting_on_rate(struct exporting *e, const struct command_rate *a, struct command_none *reply)
{
	(void)reply;
	e->rate = a->records;
	return 0;
}

int exporting_on_network(struct exporting *e, const struct command_none *a, struct command_none *reply)
{
	(void)a;
	(void)reply;
	exporter_network_changed(e->exporter);
	enrich_network_changed(e->config.enrich);
	return 0;
}

int exporting_on_interfaces(struct exporting *e, const struct command_none *a, struct command_none *reply)
{
	struct exporting_interfaces *now = calloc(1, sizeof(*now));
	unsigned n;
	int r = -ENOMEM;

	(void)a;
	(void)reply;
	if (now) {
		published_get(&e->shared->interfaces, now);
		n = now->n < EXPORTING_INTERFACES_MAX ? (unsigned)now->n : EXPORTING_INTERFACES_MAX;
		r = exporter_set_interfaces(e->exporter, now->list, n);
		if (r == 0 && e->config.enrich)
			r = enrich_set_interfaces(e->config.enrich, now->list, n);
	}
	free(now);
	return r;
}

int exporting_on_counters(struct exporting *e, const struct interface_counters *a, struct command_none *reply)
{
	struct clock_time now = clock_now();

	(void)reply;
	exporter_counters(e->exporter, a, &now);
	return 0;
}

int exporting_on_template(struct exporting *e, const struct command_template *a,
			  struct export_template *reply)
{
	exporter_get_template(e->exporter, a->collector, a->number, reply);
	return 0;
}

int exporting_on_finish(struct exporting *e, const struct command_none *a, struct command_none *reply)
{
	(void)a;
	(void)reply;
	e->finish = true;
	return 0;
}
