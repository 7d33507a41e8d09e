/*
 * sections: named pieces of state, one behind the other in memory: what one process hands over to another
 * one, which may be of another version.
 *
 * A section has a name, a version and a length.  Whoever reads takes those that it knows, in the version that
 * it knows, and passes over the others.  Nothing that stands there is believed: every length is checked
 * against what there is, and a section lends its octets only as far as it has them.  Numbers are of this
 * machine, for both processes are on it.
 */
#ifndef PITOT_SECTIONS_H
#define PITOT_SECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECTION_NAME = 24 };

struct sections_writer {
	uint8_t *memory;
	size_t size, used;
	size_t open; /* where the section that is being written began; 0: none is */
	bool overflow;
};

/* memory: of size octets, aligned to 8. */
void sections_write_init(struct sections_writer *w, void *memory, size_t size);
void sections_begin(struct sections_writer *w, const char *name, uint32_t version);
void sections_put(struct sections_writer *w, const void *data, size_t size);
void sections_end(struct sections_writer *w);
/* Octets that were written; 0: there was no room for all. */
size_t sections_finish(struct sections_writer *w);

struct sections_reader {
	const uint8_t *at, *end;
	bool broken; /* what came next was no section */
};

/* The octets of a section that were not taken yet. */
struct section {
	char name[SECTION_NAME + 1];
	uint32_t version;
	const uint8_t *at;
	size_t left;
};

/* 0, or -EBADMSG: these are no sections. */
int sections_read_init(struct sections_reader *r, const void *memory, size_t size);
/* The next one; false: there is none, or what is there is broken. */
bool sections_next(struct sections_reader *r, struct section *s);
/* The first one of this name and version from the reader on, which stays where it is. */
bool sections_find(const struct sections_reader *r, const char *name, uint32_t version, struct section *s);
/* The next size octets, not aligned; NULL: there are not so many. */
const void *section_take(struct section *s, size_t size);
/* The same, copied; false: nothing was. */
bool section_get(struct section *s, void *to, size_t size);

#endif
