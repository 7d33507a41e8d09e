/*
 * savefiles: capture files that are read one after the other, as if they were one, whatever their link types.
 *
 * One thread at a time reads: whoever shares them has a lock (dealing.h).
 */
#ifndef SAVEFILES_H
#define SAVEFILES_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"
#include "pitot/decode.h"
#include "pitot/diag.h"
#include "selection.h"
#include "shared.h"

struct savefiles_config {
	const struct capture_config *files;
	unsigned n_files;
	struct decode_config decode;
	struct selection_config selection;
	const struct shared *shared; /* samples go there; what is filtered or not selected is counted there */
};

struct savefiles;

/* Opens the files.  All of them must open. */
int savefiles_new(struct savefiles **sp, const struct savefiles_config *config, struct diag *diag);
void savefiles_free(struct savefiles *s);

const struct capture *savefiles_file(const struct savefiles *s, unsigned i);
/* Whether what is read now is an ordinary file, which will end.  Any thread may ask. */
bool savefiles_is_file(const struct savefiles *s);

/* Positive outcome of savefiles_recv(). */
enum { SAVEFILES_E_END = 1 };

/*
 * The next frames that are selected, all of one link type, and the decoder for it; none when there are none
 * within wait_ms, or in the next part of a file.  Negative errno and a sentence when a file is bad; what was
 * good of it has been lent before.
 */
int savefiles_recv(struct savefiles *s, struct frame_batch *b, const struct decoder **decoder, int wait_ms,
		   struct diag *diag);
void savefiles_release(struct savefiles *s, struct frame_batch *b);

/*
 * For who decodes frames while others read on: from here on frames stand in this memory, of
 * CAPTURE_MEMORY octets; about so many packets are read into it.  False: the file that is read now cannot,
 * and its frames are only lent until they are released.
 */
bool savefiles_move_to(struct savefiles *s, uint8_t *memory, unsigned packets);
/* After that: what was read along with the latest frames, which stay as they are; none when that was all. */
int savefiles_more(struct savefiles *s, struct frame_batch *b, const struct decoder **decoder,
		   struct diag *diag);

/* What was counted so far, for everybody to see. */
void savefiles_publish(struct savefiles *s);

#endif
