/* orders: see orders.h. */
#include "orders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pitot/log.h"

void orders_own_flows(struct control *r)
{
	struct exporting_locals locals;
	struct own_flows own = {0};
	bool told = true;

	if (!r->live || r->config->include_own)
		return;
	published_get(&r->shared.exporting->locals, &locals);
	for (unsigned i = 0; i < locals.n && i < EXPORTING_COLLECTORS_MAX && own.n < OWN_FLOWS_MAX; i++) {
		const struct transport_local *self = &locals.to[i];
		struct flow_key *k = &own.flows[own.n];

		if (!self->family)
			continue;
		memcpy(k->src, self->local, sizeof(k->src));
		memcpy(k->dst, self->remote, sizeof(k->dst));
		k->src_port = self->local_port;
		k->dst_port = self->remote_port;
		k->protocol = self->protocol;
		own.n++;
	}
	if (!memcmp(&own, &r->own, sizeof(own)))
		return;
	for (unsigned i = 0; i < r->n_workers; i++)
		told &= command_tell_own_flows(&r->shared.to_metering[i], &own) == 0;
	if (told) /* else once more */
		r->own = own;
}

/* A process that is late takes it over when it goes on. */
static void orders_say_late(int outcome, const char *process)
{
	if (outcome == MAILBOX_E_LATE)
		log_warning("the %s process does not answer; it takes the configuration over later", process);
}

void orders_set_timeouts(struct control *r, const struct metering_timeouts *timeouts)
{
	struct command_none done;

	r->timeouts = *timeouts;
	for (unsigned i = 0; i < r->n_workers; i++)
		orders_say_late(command_ask_timeouts(&r->shared.to_metering[i], timeouts, &done), "metering");
}

void orders_set_gather(struct control *r, bool on)
{
	struct command_none done;

	r->paused = !on;
	for (unsigned i = 0; i < r->n_workers; i++)
		orders_say_late(
			command_ask_gather(&r->shared.to_metering[i], &(struct command_gather){on}, &done),
			"metering");
}

void orders_set_rate(struct control *r, uint32_t records)
{
	r->max_rate = records;
	command_tell_rate(&r->shared.to_exporting, &(struct command_rate){records});
}

void orders_follow_network(struct control *r, bool asked)
{
	struct exporting_interfaces *now;
	bool links;

	if (!r->live)
		return;
	links = interfaces_links_changed(&r->interfaces) || asked;
	command_tell_network(&r->shared.to_exporting, &(struct command_none){0});
	if (!(links && names_look(&r->names)) && !r->names_untold)
		return;
	r->names_untold = true;
	now = calloc(1, sizeof(*now));
	if (!now)
		return; /* they are called as before until there is memory */
	now->n = r->names.n_list;
	if (now->n)
		memcpy(now->list, r->names.list, now->n * sizeof(*now->list));
	published_put(&r->shared.exporting->interfaces, now);
	free(now);
	r->names_untold = command_tell_interfaces(&r->shared.to_exporting, &(struct command_none){0}) != 0;
}

void orders_refresh(struct control *r)
{
	orders_follow_network(r, true);
	command_tell_refresh(&r->shared.to_exporting, &(struct command_none){0});
}

int orders_reload(struct control *r, struct diag *diag)
{
	struct exporter_periods periods;
	struct command_none done;
	const struct config *c;
	int ret;

	if (!r->config->config_path) {
		orders_refresh(r);
		log_info("reload: templates are sent again, and names of collectors are looked up again");
		return 0;
	}
	ret = reload_read(&r->reload, &r->config, diag);
	if (ret) {
		log_error("reload: %s; nothing was changed", diag->text);
		orders_refresh(r); /* files may have been moved away all the same */
		return ret < 0 ? ret : -EINVAL;
	}
	orders_follow_network(r, true);
	c = r->config;
	log_set_level(c->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	orders_set_timeouts(r, &(struct metering_timeouts){c->active_ns, c->inactive_ns, c->tcp_end_ns});
	periods = (struct exporter_periods){.template_ns = c->template_ns,
					    .template_messages = c->template_messages,
					    .stats_ns = c->stats_ns,
					    .flush_ns = c->flush_ns,
					    .active_ns = c->active_ns,
					    .inactive_ns = c->inactive_ns};
	orders_set_rate(r, c->max_export_rate);
	orders_say_late(command_ask_periods(&r->shared.to_exporting, &periods, &done), "exporting");
	log_info("reload: %s is in force", c->config_path);
	return 0;
}
