/* reload: see reload.h. */
#include "reload.h"

#include <errno.h>

int reload_read(struct reload *r, const struct config **config, struct diag *diag)
{
	struct config next;
	const char *name;
	int ret = config_parse_again(&next, r->argc, r->argv, diag);

	if (ret)
		return ret;
	name = config_needs_restart(*config, &next);
	if (name) {
		config_deinit(&next);
		return diag_set(diag, -EBUSY, "--%s needs a restart", name);
	}
	reload_deinit(r);
	r->config = next;
	r->held = true;
	*config = &r->config;
	return 0;
}

void reload_deinit(struct reload *r)
{
	if (r->held)
		config_deinit(&r->config);
	r->held = false;
}
