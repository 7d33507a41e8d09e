/* opener_internal: what the two ends of the socket say to each other. */
#ifndef OPENER_INTERNAL_H
#define OPENER_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "pitot/opener.h"
#include "pitot/path.h"

enum opener_kind {
	OPENER_READY,
	OPENER_CAPTURE,
	OPENER_REWRITE,
	OPENER_FINISH,
	OPENER_REMOVE,
	OPENER_CONTINUE,
	OPENER_SET_ASIDE,
	OPENER_BEGIN,
	OPENER_COMPLETE,
	OPENER_RESUME,
	OPENER_READ,
	OPENER_ALONE, /* by control: the elder process is stopped; there is no answer */
};

struct opener_request {
	uint32_t number; /* the answer has it again */
	uint16_t kind;
	uint16_t index;
	int32_t group;	       /* OPENER_CAPTURE */
	struct path_time time; /* OPENER_BEGIN, OPENER_COMPLETE, OPENER_RESUME */
};

/* What was done with a file: the facts of the answer. */
struct opener_done {
	uint32_t part;	 /* OPENER_REWRITE */
	uint32_t number; /* OPENER_BEGIN: of the name's time */
};

struct opener_reply {
	uint32_t number;
	int32_t result; /* 0 or negative errno */
	char text[256]; /* the sentence */
	uint8_t facts[OPENER_FACTS];
};

/* As descriptors_receive(). */
int opener_receive(int fd, struct opener_reply *reply, int *fds, unsigned *n_fds);

enum { OPENER_ENDS = 8 };

/* What the two processes of an opener and whoever started them know of each other; nobody else has it. */
struct opener_life {
	_Atomic uint32_t elders; /* that there were: children of whoever started them; the last one is */
	_Atomic int32_t elder[OPENER_ENDS]; /* number i at i % OPENER_ENDS */
	_Atomic int32_t younger;	    /* who answers */
	_Atomic uint32_t at;		    /* the question that is being answered; 0: none */
	_Atomic uint32_t exits; /* of the younger one; how the last ones were, as waitpid() says it: */
	_Atomic int32_t ends[OPENER_ENDS]; /* exit number i at i % OPENER_ENDS */
};

/* The elder one is this process now; it is who calls opener_keep(). */
void opener_step_up(struct opener_life *life);

static inline pid_t opener_elder(const struct opener_life *life)
{
	return atomic_load(&life->elder[(atomic_load(&life->elders) - 1) % OPENER_ENDS]);
}

/*
 * opener_keep.c: two processes from one.  work() is done by the younger one and returns its exit status, or
 * OPENER_E_ALONE when elder_fd is at its end.  Returns, in both of them, when there is nobody left to ask.
 */
enum { OPENER_E_ALONE = 256 };
int opener_keep(struct opener_life *life, int fd, int (*work)(void *ctx, int fd, int elder_fd), void *ctx);

/* The opener's life; returns its exit status. */
int opener_serve(int fd, const struct opener_config *config, struct opener_life *life);

/*
 * What is asked, done: by the opener, and by the caller itself when there is none.  *fd is -1 but for what
 * opens.  OPENER_SET_ASIDE leaves the new name where sentences are: in diag.
 */
int opener_do(const struct opener_request *request, const struct path_at *at, int *fd,
	      struct opener_done *done, struct diag *diag);
/* Whether it is a descriptor that is asked for. */
bool opener_opens(unsigned kind);

#endif
