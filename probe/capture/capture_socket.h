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
 * Whether a packet socket's interface was deleted, or moved to another network namespace: the kernel unbinds
 * it then, once and for all.  That cannot be missed as an event can, and holds whatever has the index by now.
 */
bool capture_socket_is_gone(int fd);

enum { CAPTURE_COOKED_HEADER = 20 }; /* of LINKTYPE_LINUX_SLL2 */
enum { CAPTURE_BLOCK_MS = 20 };	     /* the longest that a block with a frame in it is held back */

#endif
