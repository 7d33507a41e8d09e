/* take_over_offer: what the older process answers to the line that asks whether it may be taken over from. */
#ifndef TAKE_OVER_OFFER_H
#define TAKE_OVER_OFFER_H

#include <stdbool.h>

#include "pitot/diag.h"

/* Whether this build understands the answer. */
bool take_over_offers_exist(void);
/* 0 and the number of metering threads, or negative errno and the sentence. */
int take_over_read_offer(const char *line, unsigned *workers, struct diag *diag);

#endif
