/*
 * capture_filter_user: the program of a packet socket, run in this process.
 *
 * For a back end whose frames no socket filter sees.  An expression selects what it selects on a packet
 * socket: the outermost VLAN tag is a fact beside the frame, not octets in it.
 */
#ifndef CAPTURE_FILTER_USER_H
#define CAPTURE_FILTER_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "capture/capture_filter.h"

/*
 * Makes f, which capture_filter_compile() made with CAPTURE_BOTH, a program for capture_filter_passes()
 * alone. -EOPNOTSUPP and a sentence when it asks for what only the kernel knows; f is as it was then.
 */
int capture_filter_localize(struct capture_filter *f, const char *expression, struct diag *diag);

/* The frame is without the tag; has_tag and tci are that.  Not from two threads at once: f has the tag
 * meanwhile. */
bool capture_filter_passes(struct capture_filter *f, const uint8_t *data, uint32_t wire_len, uint32_t cap_len,
			   bool has_tag, uint16_t tci);

#endif
