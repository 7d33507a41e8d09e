/*
 * file_writer: a thread that writes messages to a file, a pipe or a terminal, which may take its time.
 *
 * Whoever has messages lends memory from a queue, commits it and goes on; what became of a message is known
 * later. Writing waits as long as it takes, and nobody else does: the queue has a size, and is full when it
 * is full.
 */
#ifndef FILE_WRITER_H
#define FILE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/transport.h"
#include "transport/file_place.h"

#define FILE_MESSAGE_MOST 65535u

struct file_writer;

/*
 * Takes over piece->fd.  regular: what could not be written whole is cut off again.  octets: of the queue, at
 * least 2 MiB.
 */
int file_writer_new(struct file_writer **wp, const struct file_place *place, const struct file_piece *piece,
		    bool regular, uint64_t octets);
/* To be polled: readable when something was written. */
int file_writer_fd(const struct file_writer *w);

/* Room for one message, or NULL: the queue is full.  Room that was not committed is lent again. */
uint8_t *file_writer_reserve(struct file_writer *w);
void file_writer_commit(struct file_writer *w, size_t size, const struct transport_load *load);
/* What was committed is to be written now. */
void file_writer_flush(struct file_writer *w);

/*
 * Another file after this one, which may take its time, too: it is looked for by the thread.  seconds: for
 * its name.  file_writer_found() is FILE_WRITER_E_WAIT until there is an answer, and then once what
 * file_place_next() said.
 */
enum { FILE_WRITER_E_WAIT = 2 };
void file_writer_look(struct file_writer *w, uint64_t seconds);
int file_writer_found(struct file_writer *w, struct file_piece *piece, struct diag *diag);
/* What is committed from now on goes there; what was before is completed.  Takes over next->fd.  -EAGAIN: too
 * many wait for that. */
int file_writer_switch(struct file_writer *w, const struct file_piece *next);

/* How full the queue is: all of it waits for a reader, if anything.  Cheap. */
bool file_writer_is_crowded(const struct file_writer *w);
bool file_writer_is_empty(const struct file_writer *w);

/* Messages that have been written, or could not be, are told; their room is free then. */
struct file_writer_news {
	uint64_t errors;
	int error;	/* the last one; 0 none */
	bool well;	/* the last write went well */
	uint64_t taken; /* octets, since it was made */
	bool damaged;	/* something for the file in work could not be written */
	bool removed;	/* nobody can read the file in work any more: another one is wanted */
	bool unnamed;	/* a file was complete, and did not get its name, or was not */
	char reason[192];
};
void file_writer_collect(struct file_writer *w, struct file_writer_news *news,
			 void (*tell)(void *ctx, const struct transport_load *load, size_t size,
				      bool written),
			 void *ctx);

/*
 * Writes what is left until deadline_ns (monotonic); what is not written by then is given up.  All messages
 * are told of.  Closes the descriptor; 0 or the negative errno of that.
 */
int file_writer_end(struct file_writer *w, uint64_t deadline_ns, struct file_writer_news *news,
		    void (*tell)(void *ctx, const struct transport_load *load, size_t size, bool written),
		    void *ctx);

#endif
