/*
 * overload: when frames find the capture buffer full, somebody is to hear of it, and what can be done; not
 * more than once a minute, however long it lasts.
 */
#ifndef OVERLOAD_H
#define OVERLOAD_H

#include <stdint.h>

struct overload {
	uint64_t told;	  /* of the drops */
	uint64_t next_ns; /* no line before; 0: there was none yet */
};

/* dropped: in all, so far.  How many there were since the last line, when one is due; else 0. */
uint64_t overload_look(struct overload *o, uint64_t dropped, uint64_t now_ns);

#endif
