/* statistics: reports as text, for the files of --stats and --metrics-file, standard error and clients. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdint.h>
#include <stdio.h>

#include "ledger.h"
#include "pitot/diag.h"
#include "pitot/opener.h"

/* The text of a report, to be freed; NULL: no memory. */
char *statistics_text(void (*report)(FILE *out, const struct ledger *l), const struct ledger *l);

/*
 * Writes the ledger as report() has it: whoever opens the file finds the old statistics or the new ones,
 * never a half. A pipe whose reader does not read is not waited for.  0, or negative errno and a sentence.
 */
int statistics_write(struct opener *o, const char *path, void (*report)(FILE *out, const struct ledger *l),
		     const struct ledger *l, struct diag *diag);
/* On standard error; whoever reads it may take that long. */
void statistics_print(void (*report)(FILE *out, const struct ledger *l), const struct ledger *l,
		      uint64_t wait_ns);

#endif
