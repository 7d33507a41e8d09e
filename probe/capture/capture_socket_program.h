/*
 * capture_socket_program: what the kernel does with each packet of a socket before it copies it: the filter
 * of the user, and then a draw.  What either of them leaves out costs next to nothing, and is counted.
 *
 * A socket filter in eBPF (capture_socket_code.h).  The counters are in memory that is shared with whoever
 * opened it: reading needs no system call, and processes that are forked later read the same.  What the
 * direction leaves out is counted nowhere.
 *
 * Opening needs CAP_BPF or CAP_SYS_ADMIN; attaching needs nothing.
 */
#ifndef CAPTURE_SOCKET_PROGRAM_H
#define CAPTURE_SOCKET_PROGRAM_H

#include "capture/capture_filter.h"

struct capture_socket_program;

struct capture_socket_program_config {
	const struct capture_filter *filter;
	uint32_t header; /* octets in front of a frame that the socket does not see, and that count */
	bool draws;
	uint32_t interval; /* then: one packet of so many is drawn, each by itself; 1: all, 0: none */
};

/* Octets are as the socket sees them, with the tag that is beside the frame, and the header. */
struct capture_left_out {
	uint64_t filtered, filtered_octets;
	uint64_t unselected, unselected_octets; /* they passed the filter */
};

/* 0, or negative errno and why; -EOPNOTSUPP also where pitot was built without libbpf. */
int capture_socket_program_new(struct capture_socket_program **pp,
			       const struct capture_socket_program_config *config, struct diag *why);
void capture_socket_program_free(struct capture_socket_program *p); /* NULL is fine */

/* Sets the program of a packet socket, in place of the one before.  0 or negative errno. */
int capture_socket_program_attach(const struct capture_socket_program *p, int fd);
/* Another interval from the next packet on; by memory, so it needs nothing. */
void capture_socket_program_draw(struct capture_socket_program *p, uint32_t interval);
bool capture_socket_program_draws(const struct capture_socket_program *p);
/* Since it is there, of all sockets that it was attached to. */
struct capture_left_out capture_socket_program_left_out(const struct capture_socket_program *p);

#endif
