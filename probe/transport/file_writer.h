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

#define FILE_MESSAGE_MOST 65535u

struct file_writer;

/* Takes over fd.  regular: what could not be written whole is cut off again.  octets: of the queue, at least
 * 2 MiB. */
int file_writer_new(struct file_writer **wp, int fd, bool regular, uint64_t octets);
/* To be polled: readable when something was written. */
int file_writer_fd(const struct file_writer *w);

/* Room for one message, or NULL: the queue is full.  Room that was not committed is lent again. */
uint8_t *file_writer_reserve(struct file_writer *w);
void file_writer_commit(struct file_writer *w, size_t size, const struct transport_load *load);
/* What was committed is to be written now. */
void file_writer_flush(struct file_writer *w);

/* How full the queue is: all of it waits for a reader, if anything.  Cheap. */
bool file_writer_is_crowded(const struct file_writer *w);
bool file_writer_is_empty(const struct file_writer *w);

/* Messages that have been written, or could not be, are told; their room is free then. */
struct file_writer_news {
	uint64_t errors;
	int error;	/* the last one; 0 none */
	bool well;	/* the last write went well */
	uint64_t taken; /* octets, since it was made */
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
