/*
 * file_reader: savefiles for one metering process or several.
 *
 * Reading and decoding go on in one place, in the order of the files, under a lock that whoever has nothing
 * else to do takes; so fragments find their first one whatever the number of readers is.  Packets are dealt
 * to readers by the hash of their flow key: all packets of a flow reach one reader, in order, and the records
 * are those that one reader alone would make.
 */
#ifndef FILE_READER_H
#define FILE_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"
#include "pitot/decode.h"
#include "pitot/diag.h"
#include "pitot/fragment.h"
#include "pitot/hash.h"
#include "pitot/stats.h"
#include "selection.h"
#include "shared.h"

struct file_reader_config {
	const struct capture_config *files;
	unsigned n_files;
	unsigned n_readers;
	struct decode_config decode;
	struct fragment_table *fragments; /* NULL: none are tracked; the feed's from now on */
	struct hash_seed seed;		  /* that of the readers' flow tables */
	struct selection_config selection;
	const struct shared *region; /* for samples */
	struct shared_files *shared; /* what is not the readers' is counted there: received and ignored
					packets, fragments */
};

struct file_reader;

/* Opens the files.  All of them must open. */
int file_reader_new(struct file_reader **fp, const struct file_reader_config *config, struct diag *diag);
void file_reader_free(struct file_reader *f);

const struct capture *file_reader_file(const struct file_reader *f, unsigned i);
/* Whether what is read now is an ordinary file, which will end. */
bool file_reader_is_file(const struct file_reader *f);

/* Whether packets are dealt to several readers: they have their hash then. */
bool file_reader_is_dealt(const struct file_reader *f);

/* Positive outcome of file_reader_next(). */
enum { FILE_READER_E_END = 1 };

/*
 * The next packets that are metered for a reader: n of them, 1 to BATCH_MAX, or 0 when none came within a
 * moment.  They are the reader's to use until its next call.  Negative errno and a sentence when a file is
 * bad; what was good of it has been handed out before.
 */
int file_reader_next(struct file_reader *f, unsigned reader, struct packet **packets, unsigned *n,
		     struct diag *diag);

#endif
