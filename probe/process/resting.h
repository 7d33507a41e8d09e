/*
 * resting: how long control may sleep when nobody wakes it.
 *
 * It is woken by what it polls: signals, the end or stop of a child among them, clients, links, and the bell
 * of the exporting process.  What is left it has to look for: whether everybody comes round, and what is due
 * by the clock.
 */
#ifndef RESTING_H
#define RESTING_H

#include "control_internal.h"

int resting_wait_ms(const struct control *r, uint64_t now_ns);

#endif
