/*
 * diagnosis: pitotctl doctor: asks a pitot that runs and looks at the host, and says which side is wrong.
 */
#ifndef CTL_DIAGNOSIS_H
#define CTL_DIAGNOSIS_H

#include <stdbool.h>
#include <stdio.h>

#include "client.h"

/* How many things are wrong, or negative and a sentence. */
int diagnosis_run(struct client *c, FILE *out, bool as_json, struct diag *diag);

#endif
