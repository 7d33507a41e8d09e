/*
 * capture_fanout: which worker of an interface gets a frame.
 */
#ifndef CAPTURE_FANOUT_H
#define CAPTURE_FANOUT_H

#include <linux/filter.h>
#include <stdint.h>

enum { CAPTURE_FANOUT_MAX = 640 }; /* instructions */

/* The program for frames of a link type (Ethernet or raw IP); its length. */
unsigned capture_fanout_program(struct sock_filter program[CAPTURE_FANOUT_MAX], int link_type, uint32_t seed);

/* Gives it to the group of a socket, for all members.  0 or negative errno. */
int capture_fanout_attach(int fd, int link_type, uint32_t seed);

#endif
