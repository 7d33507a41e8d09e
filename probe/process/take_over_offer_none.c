/* take_over_offer_none: see take_over_offer.h.  This build has no JSON library. */
#include <errno.h>

#include "take_over_offer.h"

bool take_over_offers_exist(void)
{
	return false;
}

int take_over_read_offer(const char *line, unsigned *workers, struct diag *diag)
{
	(void)line;
	(void)workers;
	return diag_set(diag, -ENOTSUP, "this build has no JSON library");
}
