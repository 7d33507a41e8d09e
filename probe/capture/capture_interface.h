/*
 * capture_interface: what a capture must know of its interface before and while it is open.
 */
#ifndef PITOT_CAPTURE_INTERFACE_H
#define PITOT_CAPTURE_INTERFACE_H

#include <stdbool.h>
#include <stdint.h>
#include <net/if.h>

#include "pitot/diag.h"

struct capture_interface {
	char name[IFNAMSIZ];
	unsigned index;
	unsigned arphrd; /* ARPHRD_ link type */
	uint32_t mtu;
	bool up;
	bool loopback;
};

/* By name.  -ENODEV when there is none, -ENETDOWN when it is down (with its facts filled in). */
int capture_interface_get(struct capture_interface *itf, const char *name, struct diag *diag);

/* By index, because the name may have changed: is it there and up?  fd is any socket of its namespace. */
bool capture_interface_is_up(int fd, unsigned index);

/* The sentence for a capture that was refused for want of privileges; returns err. */
int capture_interface_refused(const char *name, int err, struct diag *diag);

#endif
