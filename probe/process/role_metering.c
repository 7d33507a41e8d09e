/*
 * role_metering: see role.h.  The metering process: threads that share nothing but what they read savefiles
 * from.
 */
#include "role.h"

#include "daemon.h"

int role_new_workers(struct control *r, struct diag *diag)
{
	struct metering_config w = r->metering_config;
	int ret = 0;

	for (w.number = 0; ret == 0 && w.number < r->n_workers; w.number++) {
		w.cpu = config_cpu(r->config->cpus, w.number);
		ret = metering_new(&r->workers[w.number], &w, diag);
	}
	return ret;
}

static enum sandbox_role role_sandbox(const struct control *r)
{
	for (unsigned i = 0; i < r->n_workers; i++)
		if (metering_uses_libpcap(r->workers[i]))
			return SANDBOX_METERING_LIBPCAP;
	return SANDBOX_METERING;
}

static int role_set_up_metering(struct control *r, const struct child *self, struct diag *diag)
{
	bool again = r->of_metering.restarts > 0;
	enum sandbox_role role;
	/* flows of another process: here, where their memory is used */
	int ret = again ? role_new_workers(r, diag) : take_over_flows(r->taking, r, diag);

	take_over_free(r->taking);
	r->taking = NULL;
	if (ret < 0)
		return ret;
	role = role_sandbox(r);
	if (!again)
		ret = confine_enter(&r->confine, r->config, role, diag);
	child_hold_on(self);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++)
		ret = metering_start(r->workers[i], diag);
	return ret < 0 ? ret : sandbox_enter_calls(r->confine.sandbox, role, diag);
}

_Noreturn void role_meter(struct control *r, struct child *self)
{
	struct shared_speaker speaker;
	struct diag diag = {""};
	int ret;

	role_close(&r->shared.bell_fd); /* it may not write */
	shared_speak(&speaker, &r->shared, &r->shared.metering[0].lines);
	role_give_way(r);
	daemon_may_end(false);
	role_leave_control(r);
	role_close(&r->shared.to_exporting.receive_fd);
	opener_forget(r->confine.output_opener);
	r->confine.output_opener = NULL;
	if (r->config->daemon)
		sandbox_leave_terminal();
	ret = role_set_up_metering(r, self, &diag);
	child_tell(self, ret, &diag);
	for (unsigned i = 0; ret == 0 && i < r->n_workers; i++)
		(void)metering_join(r->workers[i], &diag);
	daemon_abandon(ret < 0);
}
