/*
 * capture_walk: what the readers of savefiles that are walked in place have in common.
 *
 * Large reads into one buffer; frames are lent straight out of it, nothing is copied per packet.  (mmap costs
 * the same and counts every page of the file as this process's memory.)
 */
#ifndef CAPTURE_WALK_H
#define CAPTURE_WALK_H

#include "capture/capture_source.h"

enum {
	WALK_CHUNK = 256 << 10,		   /* stays in the second level cache */
	WALK_FRAME_MAX = 262144,	   /* as libpcap: MAXIMUM_SNAPLEN */
	WALK_ROOM = WALK_FRAME_MAX + 4096, /* a record of so many octets can be had in one piece */
	WALK_BUFFER = WALK_ROOM + WALK_CHUNK,
};
static_assert((int)WALK_BUFFER <= (int)CAPTURE_MEMORY, "it can be the caller's");

struct capture_walk;

struct capture_walk_format {
	/*
	 * Lends whole records until the batch is full or the buffer has no more.  Negative errno and a
	 * sentence where the file is damaged, but what is good is lent first.
	 */
	int (*walk)(struct capture_walk *w, struct frame_batch *b, struct diag *diag);
	/* The file has ended, and there is no whole record at the cursor: CAPTURE_E_END, or why it ends
	 * there. */
	int (*ended)(struct capture_walk *w, struct diag *diag);
};

/* Each reader's struct begins with this. */
struct capture_walk {
	struct capture base;
	struct capture_config config;
	const struct capture_walk_format *format;
	uint64_t packet; /* number of the last one that was walked over */
	size_t at, have; /* the cursor, and where the octets in the buffer end */
	bool end;	 /* of the file: nothing comes after what is in the buffer */
	struct capture_stats stats;
	uint8_t *buffer; /* that is used: own, or memory of the caller's */
	uint8_t *own;
	size_t chunk;	      /* octets to read at once */
	uint64_t moved_after; /* packets that had been walked over when the memory was given */
};

/* Takes over source->fd, also when it fails; then deinit is not to be called. */
int capture_walk_init(struct capture_walk *w, const struct capture_ops *ops,
		      const struct capture_walk_format *format, const struct capture_source *s,
		      const struct capture_config *config, struct diag *diag);
void capture_walk_deinit(struct capture_walk *w);

/* Moves what is left to the front and reads at most that many octets behind it; at a pipe none may come. */
int capture_walk_fill(struct capture_walk *w, size_t most, int wait_ms, struct diag *diag);
/* For ended(): what the file ends inside of. */
int capture_walk_cut(struct capture_walk *w, const char *what, uint64_t number, struct diag *diag);

/* For the tables of operations. */
int capture_walk_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag);
void capture_walk_release(struct capture *c, struct frame_batch *b);
void capture_walk_move_to(struct capture *c, uint8_t *memory, unsigned packets);
int capture_walk_more(struct capture *c, struct frame_batch *b, struct diag *diag);
int capture_walk_get_stats(struct capture *c, struct capture_stats *stats);

#endif
