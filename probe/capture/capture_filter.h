/*
 * capture_filter: a tcpdump expression as a program for a packet socket.
 */
#ifndef PITOT_CAPTURE_FILTER_H
#define PITOT_CAPTURE_FILTER_H

#include <stdint.h>
#include <linux/filter.h>

#include "pitot/capture.h"

struct capture_filter {
	struct sock_filter *insns;
	unsigned n;
};

struct capture_filter_config {
	const char *expression; /* NULL or "" lets everything pass */
	const char *interface;	/* live, as the system knows it */
	int link_type;		/* LINKTYPE_ that the program will see */
	uint32_t snap_len;	/* what the program returns for a frame that passes */
	enum capture_direction direction;
};

int capture_filter_compile(struct capture_filter *f, const struct capture_filter_config *config,
			   struct diag *diag);
void capture_filter_deinit(struct capture_filter *f);

/* Sets the program of a packet socket, in place of the one before.  0 or negative errno. */
int capture_filter_attach(int fd, const struct capture_filter *f);
/* From now on nothing more gets in. */
int capture_filter_attach_closed(int fd);

#endif
