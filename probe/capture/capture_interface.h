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

/* Frames that the interface itself had no room for, since open; the files are held so that a sandbox may
 * close. */
struct capture_interface_drops {
	int fds[2];
	uint64_t base;
	uint64_t last;
};
void capture_interface_drops_open(struct capture_interface_drops *d, const char *name);
/* The files were opened elsewhere; from now on they are d's. */
void capture_interface_drops_adopt(struct capture_interface_drops *d, const int fds[2]);
uint64_t capture_interface_drops_read(struct capture_interface_drops *d);
void capture_interface_drops_close(struct capture_interface_drops *d);

#endif
