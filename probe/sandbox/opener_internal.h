/* opener_internal: what the two ends of the socket say to each other. */
#ifndef OPENER_INTERNAL_H
#define OPENER_INTERNAL_H

#include <stdint.h>

#include "pitot/opener.h"

enum opener_kind { OPENER_READY, OPENER_CAPTURE, OPENER_FILE, OPENER_RENAME, OPENER_REMOVE, OPENER_KINDS };

struct opener_request {
	uint32_t number; /* the answer has it again */
	uint16_t kind;
	uint16_t index;
};

struct opener_reply {
	uint32_t number;
	int32_t result; /* 0 or negative errno */
	char text[256]; /* the sentence */
	uint8_t facts[OPENER_FACTS];
};

/* One message with descriptors: 0, negative errno, or 1 when the other end is gone. */
int opener_send(int fd, const struct opener_reply *reply, const int *fds, unsigned n_fds);
int opener_receive(int fd, struct opener_reply *reply, int *fds, unsigned *n_fds);

/* The opener's life; returns its exit status. */
int opener_serve(int fd, const struct opener_config *config);

/* What the opener does with files, and the caller itself when there is none. */
int opener_do_file(const char *path);
int opener_do_rename(const char *path);
int opener_do_remove(const char *path);

#endif
