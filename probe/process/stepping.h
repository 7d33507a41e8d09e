/* stepping: control's part of polite mode: what it sees of the host and of pitot becomes a rung of polite.h.
 */
#ifndef STEPPING_H
#define STEPPING_H

#include "control_internal.h"

enum { POLITE_NICE = 19 };

/* What is read later is opened; without --polite nothing. */
int stepping_open(struct control *r, struct diag *diag);
void stepping_close(struct control *r);
/* How long control may sleep, at most so long. */
int stepping_wait_ms(const struct control *r, uint64_t now_ns, int most);
/* Every POLITE_EVERY_NS, if it is time: looks, and tells everybody of another rung. */
void stepping_step(struct control *r, uint64_t now_ns);

#endif
