/*
 * control_socket: clients of the control socket: who may, how many, and lines in and out.
 *
 * An answer may be many lines (struct control_stream).  They are asked for while the client has room for
 * them, so an answer of any length takes little memory, and for a quarter of the time at most: the rest is
 * for others on the same processor.
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

/* An answer of several lines that is under way. */
struct control_stream {
	/*
	 * A little work, and the next line, allocated; NULL: there is none yet.  *ended: it was the last one,
	 * and NULL then cuts the client off.
	 */
	char *(*next)(struct control_stream *s, bool *ended);
	void (*free)(struct control_stream *s);
};

struct control_socket_config {
	const char *path; /* NULL: none; only who is added */
	/* that another process had opened there; 0: it is made.  It serves whatever is returned, but no group
	 * then. */
	int listener;
	const char *group; /* whose members may, too; NULL: none */
	uid_t user;	   /* who may besides root: whom pitot becomes */
	/* One request, without its line feed; the answer, allocated, which must be one line.  NULL cuts the
	 * client off, unless *stream was set, whose lines are the answer. */
	char *(*answer)(void *ctx, const char *line, size_t size, struct control_stream **stream);
	void *ctx;
};

struct control_socket_stats {
	uint64_t accepted, refused, cut_off, requests;
};

struct control_socket;

/* 0, or -ENOENT: there is no such group. */
int control_socket_find_group(const char *name, gid_t *gid, struct diag *diag);
/* Listens.  A socket that nobody listens on any more is replaced; anything else at the path is left alone. */
int control_socket_open(struct control_socket **sp, const struct control_socket_config *config,
			struct diag *diag);
/* The path stays: removing it may need rights that are gone. */
void control_socket_close(struct control_socket *s); /* NULL is fine */
/* A conversation with somebody of our own, which is never cut off to make room.  fd is the socket's from here
 * on. */
void control_socket_add(struct control_socket *s, int fd);
/* Within answer(): a copy of the client's connection; the answer is the last that it hears of us here.  -1:
 * none. */
int control_socket_detach(struct control_socket *s);
int control_socket_listener(const struct control_socket *s); /* -1: none; NULL is fine */
/* Another process listens from here on; those who have come are still answered, our own are let go. */
void control_socket_let_go(struct control_socket *s); /* NULL is fine */
void control_socket_get_stats(const struct control_socket *s, struct control_socket_stats *stats);

/* What to wait for; NULL: 0. */
nfds_t control_socket_polls(const struct control_socket *s, struct pollfd polls[CONTROL_POLLS]);
/* How long poll() may wait, at most as long as the caller wants. */
int control_socket_wait_ms(const struct control_socket *s, uint64_t now_ns, int most_ms);
/* Accepts, answers, sends.  NULL: nothing. */
void control_socket_step(struct control_socket *s, uint64_t now_ns);

#endif
