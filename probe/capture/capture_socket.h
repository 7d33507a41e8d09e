/*
 * capture_socket: an AF_PACKET socket with a ring, bound to its interface and closed to all frames.
 *
 * It is what takes a privilege; mapping the ring and letting frames in do not.  The contract is in
 * include/pitot/capture.h (struct capture_descriptor).
 */
#ifndef CAPTURE_SOCKET_H
#define CAPTURE_SOCKET_H

#include "pitot/capture.h"

/*
 * capture_afpacket.c: a capture by the ring, ready but for its socket, which it has to be given by
 * capture_adopt().  The filter is compiled here and not then, when a sandbox is around.
 */
int capture_afpacket_prepare(struct capture **cp, const struct capture_config *config, int link_type,
			     struct diag *diag);

enum { CAPTURE_BLOCK_MS = 20 }; /* the longest that a block with a frame in it is held back */

#endif
