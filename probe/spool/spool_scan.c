/*
 * spool_scan: what an earlier run left in a spool's directory.
 *
 * Every block is read and its checksum verified, so that what is counted here can be sent later.  Octets that
 * are no whole block are skipped wherever they are and counted; at the end of a file they are cut off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/spool_internal.h"

#define FILES_MOST     65536u
#define SEGMENTS_SPARE 160u /* a full spool is 64 segments at most, if they are written by one run */
#define NAME_DIGITS    20u
#define NOT_A_FILE     UINT64_MAX

/* The number of a segment's file name; 0: it is something else. */
static uint64_t scan_parse_name(const char *text)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < NAME_DIGITS; i++) {
		if (text[i] < '0' || text[i] > '9' || v > (FOUND_NUMBER_MOST - 9) / 10)
			return 0;
		v = v * 10 + (uint64_t)(text[i] - '0');
	}
	return strcmp(text + NAME_DIGITS, ".ipfix") == 0 ? v : 0;
}

static int scan_compare_names(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The names of all segments in their order; negative errno. */
static int scan_list_names(struct spool_disk *d, uint64_t **names, size_t *n)
{
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	size_t room = 0;
	struct dirent *e;
	int r = dir ? 0 : -errno;

	if (!dir && fd >= 0)
		close(fd);
	while (r == 0 && *n < FILES_MOST && (e = readdir(dir))) {
		uint64_t name = scan_parse_name(e->d_name);

		if (!name)
			continue;
		if (*n == room) {
			uint64_t *more = realloc(*names, (room += 256) * sizeof(*more));

			if (!more) {
				r = -ENOMEM;
				break;
			}
			*names = more;
		}
		(*names)[(*n)++] = name;
	}
	if (dir)
		closedir(dir);
	if (r == 0 && *n)
		qsort(*names, *n, sizeof(**names), scan_compare_names);
	return r;
}

static bool scan_file_size(struct spool_disk *d, uint64_t name, uint64_t *size)
{
	char text[40];
	struct stat st;

	*size = NOT_A_FILE;
	spool_disk_name(text, sizeof(text), name);
	if (fstatat(d->dir, text, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		spool_disk_error(d, -errno);
		return false;
	}
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1) /* with another name it may be anybody's */
		return false;
	*size = (uint64_t)st.st_size;
	return true;
}

static void scan_cut_file(struct spool_disk *d, uint64_t name, uint64_t size)
{
	char text[40];
	int fd;

	if (d->read_only)
		return;
	spool_disk_name(text, sizeof(text), name);
	fd = openat(d->dir, text, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
		spool_disk_error(d, -errno);
	if (fd >= 0)
		close(fd);
}

/* Reads all blocks, and counts those with numbers of at least least; returns how many octets are none. */
static uint64_t scan_segment(struct spool_disk *d, struct spool_segment *s, uint64_t least, uint64_t head,
			     struct spool_totals *found)
{
	uint8_t template[BLOCK_TEMPLATE];
	const uint8_t *p = spool_disk_peek(d, s, 0, sizeof(template));
	uint64_t offset, end, torn = 0, errors = d->errors;
	struct spool_block b;

	spool_block_put_template(template);
	offset = end = p && memcmp(p, template, sizeof(template)) == 0 ? sizeof(template) : 0;
	while (spool_disk_read(d, s, &offset, &b, 0, FOUND_NUMBER_MOST, &torn)) {
		struct spool_totals totals = spool_block_totals(&b);

		if (b.number == 0 && !s->blocks && !s->preamble_size) {
			s->preamble_at = offset + BLOCK_HEAD;
			s->preamble_size = b.size;
			s->preamble_crc = b.crc;
		} else if (b.number < least) { /* doubled, or of another place */
			torn += BLOCK_HEAD + b.size;
		} else {
			if (s->blocks++ == 0) {
				s->first = b.number;
				s->start = offset;
			}
			s->last = b.number;
			least = b.number + 1;
			if (b.number >= head) {
				spool_totals_add(&s->unsent, &totals);
				spool_totals_add(found, &totals);
			}
		}
		end = offset += BLOCK_HEAD + b.size;
	}
	torn += s->size - offset; /* less than a head */
	if (s->blocks && end < s->size && d->errors == errors) {
		scan_cut_file(d, s->name, end);
		s->size = end;
	}
	return torn;
}

static int scan_files(struct spool_disk *d, const uint64_t *names, size_t n, uint64_t head,
		      struct spool_totals *found, uint64_t *last)
{
	uint64_t least = 1;
	bool failed = false;

	for (size_t i = 0; i < n; i++) {
		struct spool_segment *s = &d->segments[d->n_segments];

		for (unsigned tries = 0; tries < 2; tries++) { /* an error may be gone the next time */
			struct spool_totals before = *found;
			uint64_t errors = d->errors, torn;

			*s = (struct spool_segment){.name = names[i]};
			torn = scan_file_size(d, s->name, &s->size) ? scan_segment(d, s, least, head, found)
								    : 0;
			failed = d->errors != errors;
			if (!failed || tries == 1)
				d->torn_octets += torn;
			else
				*found = before;
			if (!failed)
				break;
			d->buffer_name = 0;
		}
		if (failed && (d->last_error == EMFILE || d->last_error == ENFILE || d->last_error == ENOMEM))
			return -d->last_error;
		if (failed && s->size != NOT_A_FILE && names[i] + s->size / BLOCK_HEAD > *last)
			*last = names[i] + s->size / BLOCK_HEAD; /* as many as there may be in it */
		if (!s->blocks && (failed || s->size == NOT_A_FILE))
			continue; /* not ours to remove */
		d->n_segments++;
		d->octets += s->size;
		if (s->blocks)
			least = s->last + 1;
		if (!s->blocks || s->last < head) /* nothing, or all of it is forgotten */
			spool_disk_remove(d, d->n_segments - 1);
	}
	return 0;
}

int spool_disk_scan(struct spool_disk *d, uint64_t head, struct spool_totals *found, uint64_t *last)
{
	uint64_t *names = NULL;
	size_t n = 0;
	int r = scan_list_names(d, &names, &n);

	d->segments_most = (unsigned)n + SEGMENTS_SPARE;
	if (r == 0) {
		d->segments = calloc(d->segments_most, sizeof(*d->segments));
		r = d->segments ? 0 : -ENOMEM;
	}
	*last = n ? names[n - 1] : 0;
	if (r == 0)
		r = scan_files(d, names, n, head, found, last);
	if (d->n_segments && d->segments[d->n_segments - 1].last > *last)
		*last = d->segments[d->n_segments - 1].last;
	free(names);
	return r;
}
