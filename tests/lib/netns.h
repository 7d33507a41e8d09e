/*
 * netns: a network namespace of the test's own, with virtual interfaces in it and a way to send frames.
 *
 * Needs root or user namespaces.  Everything here aborts when it fails: a test bed is no test.
 */
#ifndef TEST_NETNS_H
#define TEST_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* To be called first in main().  0, or the exit status to leave with when there is no way: lacking()'s. */
int netns_enter(void);

void netns_veth(const char *a, const char *b);			     /* both up */
void netns_veth_index(const char *a, const char *b, unsigned index); /* the same; a has this index */
void netns_set_up(const char *name, bool up);
/* Until frames pass: the kernel sees to the carrier some time after the interface is up. */
void netns_wait_running(const char *name);
void netns_delete(const char *name);
void netns_set_alias(const char *name, const char *alias);
bool netns_has(const char *name);

/* A tun device; reads and writes of the descriptor are IP packets.  -1 where the system has none. */
int netns_tun(const char *name);

/* NULL, or why there can be no AF_XDP here: the kernel lacks it, or lets nobody here use it. */
const char *netns_xdp_missing(void);

/* A socket that sends frames out of an interface (and receives none). */
int netns_sender(const char *name);
void netns_send(int fd, const void *data, size_t len);

#endif
