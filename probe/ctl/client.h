/*
 * client: one conversation with a pitot over its control socket.
 */
#ifndef CTL_CLIENT_H
#define CTL_CLIENT_H

#include <jansson.h>

#include "pitot/diag.h"

struct client {
	int fd;
	unsigned wait_ms; /* for each line of an answer */
	char *in;	  /* what came and is not taken yet */
	size_t n_in, size;
};

/* On a socket that is connected, or -1. */
void client_init(struct client *c, int fd);
/*
 * path, or NULL: the only socket in the directory where pitot puts them.  Negative errno and a sentence when
 * there is none, or several.
 */
int client_open(struct client *c, const char *path, struct diag *diag);
void client_close(struct client *c);

/*
 * Sends the request and waits for its answer, 10 s at most for each of its lines: part() has the result of
 * each but the last.  *result is the caller's.  -EREMOTEIO: the sentence is pitot's own.
 */
int client_ask_parts(struct client *c, const json_t *request, void (*part)(void *ctx, const json_t *result),
		     void *ctx, json_t **result, struct diag *diag);
/* The same of a command without arguments, whose answer is one line. */
int client_ask(struct client *c, const char *command, json_t **result, struct diag *diag);

#endif
