/*
 * verdict: what a person must hear of collectors at the end.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include "control_internal.h"

/* Says it; 1 when a collector got nothing of a savefile, or not all, or when a file is not what it should be.
 */
int verdict_tell(const struct control *r);

#endif
