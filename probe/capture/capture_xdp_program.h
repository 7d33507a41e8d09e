/*
 * capture_xdp_program: the few instructions in the driver's receive path that hand frames to our sockets.
 */
#ifndef CAPTURE_XDP_PROGRAM_H
#define CAPTURE_XDP_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"

/* Shared with the program; a page of its own. */
struct capture_xdp_gate {
	uint32_t open; /* 0: frames go to the host as if nobody captured */
	uint32_t unused;
	uint64_t missed; /* frames of queues that have no socket of ours; they went to the host */
};

struct capture_xdp_program {
	int sockets_fd; /* the map of sockets, by queue */
	int gate_fd;
	int program_fd;
	int link_fd; /* the program is detached when this is closed, and so when the process dies */
	struct capture_xdp_gate *gate;
	bool generic; /* attached behind the driver, not in it */
};

/* Loads and attaches it, with the gate closed: in the driver, or where that has no such place behind it. */
int capture_xdp_program_open(struct capture_xdp_program *p, const char *interface, unsigned ifindex,
			     unsigned n_queues, struct diag *diag);
int capture_xdp_program_add(struct capture_xdp_program *p, unsigned queue, int socket);
void capture_xdp_program_set_gate(struct capture_xdp_program *p, bool open);
uint64_t capture_xdp_program_missed(const struct capture_xdp_program *p);
void capture_xdp_program_close(struct capture_xdp_program *p);

#endif
