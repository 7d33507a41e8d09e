/*
 * capture_socket: an AF_PACKET socket with a ring, bound to its interface and closed to all frames.
 *
 * It is what takes a privilege; mapping the ring and letting frames in do not.  The contract is in
 * include/pitot/capture.h (struct capture_descriptor).
 */
#ifndef CAPTURE_SOCKET_H
#define CAPTURE_SOCKET_H

#include "pitot/capture.h"

enum { CAPTURE_BLOCK_MS = 20 }; /* the longest that a block with a frame in it is held back */

#endif
