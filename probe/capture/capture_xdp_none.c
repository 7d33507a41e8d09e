/* capture_xdp_none: in place of capture_xdp.c where the program is built without libxdp. */
#include <errno.h>

#include "capture/capture_plan.h"

static int xdp_none_open(struct capture **cp, const struct capture_plan *plan, struct diag *diag)
{
	(void)cp;
	return diag_set(diag, -EOPNOTSUPP, "%s: this pitot was built without XDP (libxdp)",
			plan->config.interface);
}

/* Nothing was opened: the rest is never called. */
const struct capture_ops capture_xdp_ops = {.name = "xdp", .open = xdp_none_open};
