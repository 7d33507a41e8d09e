/* descriptors: a message of a socket of messages (SOCK_SEQPACKET), and descriptors that go with it; and the
 * standard ones. */
#ifndef PITOT_DESCRIPTORS_H
#define PITOT_DESCRIPTORS_H

#include <stddef.h>

enum { DESCRIPTORS_MAX = 64 };

/* 0 or negative errno.  flags are those of sendmsg(), beside MSG_NOSIGNAL. */
int descriptors_send(int fd, const void *message, size_t size, const int *fds, unsigned n, int flags);
/*
 * 0; 1 when the other end is gone; -EPROTO for a message of another size, one that was cut off, or one with
 * more than max descriptors; or negative errno.  But for 0 *n is 0 and no descriptor is left open.  Those
 * that are received are closed by exec.
 */
int descriptors_receive(int fd, void *message, size_t size, int *fds, unsigned max, unsigned *n, int flags);
void descriptors_close(const int *fds, unsigned n);

/*
 * Descriptors 0 to 2 that the caller has closed are opened, before anything else can get their numbers: else
 * log text would go into a socket, or --daemon would replace one by /dev/null.  Using them fails, as it does
 * for a closed one.  0 or negative errno.
 */
int descriptors_open_standard(void);

#endif
