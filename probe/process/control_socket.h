/*
 * control_socket: clients of the control socket: who may, how many, and lines in and out.
 *
 * Nothing here ever waits.  A client that sends a line that is too long, or does not read its answers, is cut
 * off; of more clients than there is room for, the one that has been silent longest goes.
 */
#ifndef CONTROL_SOCKET_H
#define CONTROL_SOCKET_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pitot/diag.h"

enum { CONTROL_CLIENTS_MAX = 16, CONTROL_POLLS = CONTROL_CLIENTS_MAX + 1 };

struct control_socket_config {
	const char *path;  /* NULL: none; only who is added */
	const char *group; /* whose members may, too; NULL: none */
	uid_t user;	   /* who may besides root: whom pitot becomes */
	/* One request, without its line feed; the answer, allocated, which must be one line: NULL cuts the
	 * client off. */
	char *(*answer)(void *ctx, const char *line, size_t size);
	void *ctx;
};

struct control_socket_stats {
	uint64_t accepted, refused, cut_off, requests;
};

struct control_socket;

/* Listens.  A socket that nobody listens on any more is replaced; anything else at the path is left alone. */
int control_socket_open(struct control_socket **sp, const struct control_socket_config *config,
			struct diag *diag);
/* The path stays: removing it may need rights that are gone. */
void control_socket_close(struct control_socket *s); /* NULL is fine */
/* A conversation with somebody of our own, which is never cut off to make room.  fd is the socket's from here
 * on. */
void control_socket_add(struct control_socket *s, int fd);
void control_socket_get_stats(const struct control_socket *s, struct control_socket_stats *stats);

/* What to wait for; NULL: 0. */
nfds_t control_socket_polls(const struct control_socket *s, struct pollfd polls[CONTROL_POLLS]);
/* Accepts, answers, sends.  NULL: nothing. */
void control_socket_step(struct control_socket *s, uint64_t now_ns);

#endif
