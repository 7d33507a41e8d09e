/* metrics: see metrics.h.  This build has no HTTP library. */
#include "metrics.h"

#include <errno.h>

int metrics_check(const char *listen, char address[METRICS_ADDRESS], struct diag *diag)
{
	(void)listen;
	(void)address;
	return diag_set(diag, -EINVAL, "--metrics: this build has no HTTP library (libmicrohttpd)");
}

int metrics_start(struct metrics *m, const struct metrics_config *config, int *client, struct diag *diag)
{
	char address[METRICS_ADDRESS];

	(void)m;
	(void)client;
	return metrics_check(config->listen, address, diag);
}

int metrics_restart(struct metrics *m, const struct sandbox *s, int *client, struct diag *diag)
{
	(void)m;
	(void)s;
	(void)client;
	return diag_set(diag, -ENOTSUP, "--metrics: this build has no HTTP library (libmicrohttpd)");
}

void metrics_stop(struct metrics *m)
{
	(void)m;
}
