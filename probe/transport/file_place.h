/*
 * file_place: where the messages of a file collector go, one file after the other.
 *
 *   SPECIAL    standard output, a pipe, a device: one for all
 *   RESULT     of a savefile: NAME.part, which becomes NAME when all of it is there
 *   CONTINUED  NAME from the beginning; what stands there stays.  Another one when NAME is not that file any
 * more SERIES     names with a time in them: NAME.part while it is written, then NAME; none replaces another
 */
#ifndef FILE_PLACE_H
#define FILE_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/collector.h"
#include "pitot/diag.h"
#include "pitot/path.h"

struct opener;
struct transport_mark;

enum file_kind { FILE_SPECIAL, FILE_RESULT, FILE_CONTINUED, FILE_SERIES };

struct file_place {
	enum file_kind kind;
	bool local_time;
	struct opener *opener;
	struct transport_mark *mark; /* NULL: nobody follows */
	/* what a file of lines begins with, "" for nothing; NULL: messages, and each file is one stream of
	 * them */
	const char *heading;
	enum compression compression; /* of SERIES and RESULT */
	uint8_t head[32]; /* what a compressed file begins with: so one without records can be read, too */
	size_t head_size;
	char path[4096];
};

struct file_piece {
	int fd;
	bool continues; /* it has a beginning already */
	struct path_time time;
};

/* 0, or negative errno and a sentence: this build, or this kind of file, cannot be compressed. */
int file_place_compress(struct file_place *p, enum compression compression, struct diag *diag);
/* A new file: what it begins with, where there is room. */
void file_place_begin(const struct file_place *p, int fd);
/*
 * CONTINUED or SERIES.  now_fd: what is written now, -1 nothing; FILE_E_SAME: that is still the one.  One
 * that cannot be continued is put aside, and diag says so.
 */
enum { FILE_E_SAME = 1 };
int file_place_next(const struct file_place *p, int now_fd, uint64_t seconds, struct file_piece *piece,
		    struct diag *diag);
/*
 * What the process before this one had in work, without what is not whole.  FILE_E_OTHER: it is not there any
 * more, or was moved away.
 */
enum { FILE_E_OTHER = 2 };
int file_place_resume(const struct file_place *p, struct file_piece *piece, struct diag *diag);
/* This piece is in work from now on, and all that it has is whole. */
void file_place_mark(const struct file_place *p, const struct file_piece *piece);
/* SERIES: it is closed, and all that was for it is there. */
int file_place_complete(const struct file_place *p, const struct file_piece *piece, struct diag *diag);

#endif
