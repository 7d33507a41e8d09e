/* roles: see roles.h. */
#include "roles.h"

#include "role.h"

static int roles_fork_exporting(struct control *r, struct diag *diag)
{
	int ret = child_fork(&r->exporting, "pitot-exporting", &r->shared.control->exporting, diag);

	if (ret == 1)
		role_export(r, &r->exporting);
	return ret < 0 ? ret : child_await(&r->exporting, diag);
}

static int roles_fork_metering(struct control *r, struct diag *diag)
{
	int ret = child_fork(&r->metering, "pitot-metering", &r->shared.control->metering, diag);

	if (ret == 1)
		role_meter(r, &r->metering);
	return ret < 0 ? ret : child_await(&r->metering, diag);
}

int roles_start(struct control *r, struct diag *diag)
{
	int ret = roles_fork_exporting(r, diag);

	if (ret == 0)
		ret = roles_fork_metering(r, diag);
	shared_hear(&r->shared);
	role_let_captures_go(r);
	return ret;
}

/* What was asked of one that is gone is not done by the other. */
static void roles_empty_mailbox(struct shared_mailbox *m)
{
	atomic_store(&m->answered, atomic_load(&m->asked));
}

int roles_restart_exporting(struct control *r, struct diag *diag)
{
	int ret;

	r->of_exporting.restarts++;
	roles_empty_mailbox(&r->shared.exporting->mailbox);
	ret = roles_fork_exporting(r, diag);
	if (ret < 0)
		return ret;
	atomic_store(&r->shared.exporting->ended, false);
	watch_begin(&r->watch, r->n_workers, clock_monotonic_ns());
	r->names_untold = true;
	return 0;
}

int roles_restart_metering(struct control *r, struct diag *diag)
{
	int ret;

	r->of_metering.restarts++;
	r->metering_config.follows = true;
	r->metering_config.paused = r->paused;
	r->metering_config.table.active_ns = r->timeouts.active_ns;
	r->metering_config.table.inactive_ns = r->timeouts.inactive_ns;
	r->metering_config.table.tcp_end_ns = r->timeouts.tcp_end_ns;
	atomic_store(&r->shared.control->go, false);
	for (unsigned i = 0; i < r->n_workers; i++)
		roles_empty_mailbox(&r->shared.metering[i].mailbox);
	interfaces_begin_again(&r->interfaces);
	ret = roles_fork_metering(r, diag);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < r->n_workers; i++) {
		atomic_store(&r->shared.metering[i].done, false);
		watch_begin(&r->watch, i, clock_monotonic_ns());
	}
	r->own = (struct own_flows){0}; /* it is to be told of them */
	roles_go(r);
	return 0;
}

void roles_go(struct control *r)
{
	atomic_store(&r->shared.control->go, true);
}
