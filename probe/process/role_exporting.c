/*
 * role_exporting: see role.h.  The exporting process opens the collectors itself, so that keys, sessions and
 * files are never anybody else's.
 */
#include "role.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "pitot/log.h"

#define SPOOL_MARGIN_NS (3 * NS_PER_SEC) /* beside what the other process's sessions may take to end */

/* A savefile's records do not depend on how fast it is read: no facts before the first statistics. */
static uint64_t role_first_facts_ns(const struct control *r)
{
	return r->live ? 0 : clock_monotonic_ns() + r->config->stats_ns - NS_PER_SEC / 4;
}

/* Standard output, unless a program is to read what is written there. */
static int role_top_fd(const struct config *c)
{
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (collector_is_stdout(&c->collectors[i]) && c->collectors[i].format != FORMAT_TEXT)
			return STDERR_FILENO;
	return STDOUT_FILENO;
}

static bool role_is_any(const struct config *c)
{
	return c->n_interfaces == 1 && !strcmp(c->interfaces[0].name, "any");
}

static struct transport_config role_transport(const struct control *r, bool again)
{
	const struct config *c = r->config;

	return (struct transport_config){.source_host = c->source_host,
					 .source_port = c->source_port,
					 .bind_device = c->bind_device,
					 .ttl = c->ttl,
					 .mtu = c->mtu,
					 .tls_ca = c->tls_ca,
					 .tls_cert = c->tls_cert,
					 .tls_key = c->tls_key,
					 .tls_name = c->tls_name,
					 .reconnect_ns = c->reconnect_ns,
					 .dtls_renew_ns = c->dtls_renew_ns,
					 .buffer_octets = c->send_buffer_octets,
					 .spool_dir = r->tries ? NULL : c->spool_dir,
					 .spool_octets = c->spool_octets,
					 .replay_octets = c->replay_octets,
					 .replay_ns = c->replay_ns,
					 .offline = !r->live,
					 .again = again,
					 .opener = r->confine.output_opener,
					 .user = r->confine.user};
}

static int role_open_exporter(struct control *r, const struct exporting_stats *earlier,
			      struct exporter **exporter, struct diag *diag)
{
	const struct config *c = r->config;
	struct exporter_config e = {
		.collectors = c->collectors,
		.n_collectors = c->n_collectors,
		.transport = role_transport(r, earlier != NULL),
		.marks = r->live ? r->shared.exporting->marks : NULL,
		.earlier = earlier ? earlier->collectors : NULL,
		.domain = c->domain,
		.sampling = r->sampling,
		.agent = r->agent,
		.template_ns = c->template_ns,
		.template_messages = c->template_messages,
		.stats_ns = c->stats_ns,
		.flush_ns = c->flush_ns,
		.group = (enum collector_group)c->collector_group,
		.stop_ns = c->stop_ns,
		.stop_by_ns = &r->shared.exporting->stop_by_ns,
		.cut_short = &r->shared.exporting->cut_short,
		.active_ns = c->active_ns,
		.inactive_ns = c->inactive_ns,
		.layout = r->export_layout,
		.opens_tunnels = c->decapsulate != 0,
		.fields = c->fields,
		.top = c->top,
		.flow_key = c->flow_key,
		.key_interface = c->n_interfaces > 1 || role_is_any(c),
		.has_ethernet = r->has_ethernet,
		.has_direction = r->tells_direction,
		.offline = !r->live,
		.interfaces = r->names.list,
		.n_interfaces = r->names.n_list,
		.start_ns = r->boot.realtime_ns,
		.start_monotonic_ns = r->boot.monotonic_ns,
	};

	return exporter_new(exporter, &e, diag);
}

static int role_open_enrich(struct control *r, struct enrich **enrich, struct diag *diag)
{
	struct enrich_config e = {.from = &r->layout,
				  .to = &r->export_layout,
				  .interfaces = r->names.list,
				  .n_interfaces = r->names.n_list};

	return enrich_new(enrich, &e, diag);
}

static int role_set_up_exporting(struct control *r, struct exporter **exporter, struct enrich **enrich,
				 struct exporting **e, struct diag *diag)
{
	struct exporting_config config = {.shared = &r->shared,
					  .mailbox = &r->shared.to_exporting,
					  .live = r->live,
					  .top_fd = role_top_fd(r->config),
					  .max_rate = r->max_rate,
					  .polite = control_is_polite(r),
					  .first_facts_ns = role_first_facts_ns(r)};
	static struct exporting_stats base; /* it is large, and one in a process */
	bool again = r->of_exporting.restarts > 0;
	int ret;

	if (again) {
		published_get(&r->shared.exporting->numbers, &base);
		config.base = &base;
	}
	ret = role_open_exporter(r, config.base, exporter, diag);
	if (ret == 0)
		atomic_store(&r->shared.exporting->taken, take_over_sessions(r->taking, *exporter));
	if (ret == 0)
		ret = role_open_enrich(r, enrich, diag);
	config.enrich = *enrich;
	return ret < 0 ? ret : exporting_new(e, *exporter, &config, diag);
}

/* Everything is open. */
static int role_confine_exporting(struct control *r, struct diag *diag)
{
	return r->of_exporting.restarts > 0 ? sandbox_enter_calls(r->confine.sandbox, SANDBOX_EXPORTING, diag)
					    : confine_enter(&r->confine, r->config, SANDBOX_EXPORTING, diag);
}

/*
 * --takeover: the other process has let go.  The spool it had until its sessions ended: what was tried
 * without is made anew with it.
 */
static int role_take_over_exporting(struct control *r, struct exporter **exporter, struct enrich **enrich,
				    struct exporting **e, struct diag *diag)
{
	uint64_t end_ns;
	int ret;

	while (!atomic_load(&r->shared.control->go))
		poll(NULL, 0, 1);
	if (!r->config->spool_dir)
		return 0;
	r->tries = false;
	end_ns = clock_monotonic_ns() + 2 * r->config->stop_ns + SPOOL_MARGIN_NS;
	do {
		exporting_free(*e);
		exporter_free(*exporter);
		enrich_free(*enrich);
		*e = NULL;
		*exporter = NULL;
		*enrich = NULL;
		ret = role_set_up_exporting(r, exporter, enrich, e, diag);
		if (ret == -EBUSY)
			poll(NULL, 0, 10);
	} while (ret == -EBUSY && clock_monotonic_ns() < end_ns);
	return ret < 0 ? ret : role_confine_exporting(r, diag);
}

_Noreturn void role_export(struct control *r, struct child *self)
{
	struct exporter *exporter = NULL;
	struct enrich *enrich = NULL;
	struct exporting *e = NULL;
	struct shared_speaker speaker;
	struct diag diag = {""};
	int ret;

	shared_speak(&speaker, &r->shared, &r->shared.exporting->lines);
	role_give_way(r);
	role_let_captures_go(r);
	role_leave_control(r);
	for (unsigned i = 0; i < r->n_workers; i++)
		role_close(&r->shared.to_metering[i].receive_fd);
	r->tries = r->taking && r->config->spool_dir;
	ret = role_set_up_exporting(r, &exporter, &enrich, &e, &diag);
	daemon_may_end(false);
	if (ret == 0 && !r->tries)
		ret = role_confine_exporting(r, &diag);
	if (r->config->daemon) /* a collector on standard output has its own descriptor by now */
		sandbox_leave_terminal();
	child_hold_on(self);
	opener_hurry(r->confine.output_opener, -1, &r->shared.exporting->stop_by_ns);
	child_tell(self, ret, &diag);
	if (ret == 0 && r->taking) {
		ret = role_take_over_exporting(r, &exporter, &enrich, &e, &diag);
		if (ret < 0)
			log_error("%s", diag.text);
	}
	take_over_free(r->taking);
	r->taking = NULL;
	if (ret == 0)
		exporting_run(e);
	exporting_free(e);
	exporter_free(exporter);
	enrich_free(enrich);
	daemon_abandon(ret < 0);
}
