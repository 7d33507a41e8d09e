/*
 * spool_file: the segment files of a spool, and the file "position" that says what is forgotten.
 *
 * A segment is written by one run only and never after it was read by another one: what an earlier run left
 * is read where it is and removed as a whole.  Files are made with O_EXCL, opened with O_NOFOLLOW and beneath
 * the descriptor of the directory; the directory is locked (flock) as long as it is open.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/path.h"
#include "pitot/wire.h"
#include "spool/spool_internal.h"

#define LOOK_NS	       NS_PER_SEC
#define POSITION_FILE  "position"
#define POSITION_SIZE  32u
#define POSITION_MAGIC "pitotpos"

/* Counts an error of the system; returns it. */
int spool_disk_error(struct spool_disk *d, int error)
{
	d->errors++;
	d->last_error = -error;
	return error;
}

void spool_disk_name(char *text, size_t size, uint64_t name)
{
	snprintf(text, size, "%020" PRIu64 ".ipfix", name);
}

static bool file_is_full_or_read_only(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EROFS || error == -EIO;
}

static int file_open_directory(struct spool_disk *d, const struct spool_config *c, struct stat *owner,
			       struct diag *diag)
{
	struct stat parent, st;
	struct path_at path;
	struct diag why;
	bool made;
	int r = path_find(&path, c->dir, geteuid(), &why),
	    at = r < 0 ? r : path_directory(&path, &made, &why);

	path_forget(&path);
	if (at < 0)
		return diag_set(diag, at, "spool %.400s: the directory cannot be made or opened", why.text);
	r = 0;
	made = mkdirat(at, c->name, 0700) == 0;
	if (!made && errno != EEXIST)
		r = -errno;
	if (r == 0 || r == -EROFS) {
		d->dir = openat(at, c->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = d->dir >= 0 ? 0 : r ? r : -errno;
	}
	if (r == 0 && (fstat(at, &parent) != 0 || fstat(d->dir, &st) != 0))
		r = -errno;
	close(at);
	if (r)
		return diag_set(diag, r, "spool %s/%s: the directory cannot be made or opened: %s", c->dir,
				c->name, strerror(-r));
	/* root will soon be the directory's owner, and what it makes until then has to be that user's */
	if (made && geteuid() == 0 && parent.st_uid != 0) {
		if (fchown(d->dir, parent.st_uid, parent.st_gid) != 0)
			spool_disk_error(d, -errno);
		st.st_uid = parent.st_uid;
		st.st_gid = parent.st_gid;
	}
	if ((geteuid() != 0 && st.st_uid != geteuid()) || (st.st_mode & 022))
		return diag_set(diag, -EPERM,
				"spool %s/%s: belongs to somebody else or can be written by others; "
				"give it to this user alone (mode 0700)",
				c->dir, c->name);
	*owner = st;
	return 0;
}

/* The file of the position; where it cannot be made the directory can only be read. */
static int file_open_position(struct spool_disk *d, const struct spool_config *c, const struct stat *owner,
			      struct diag *diag)
{
	struct stat st;
	int r;

	d->position =
		openat(d->dir, POSITION_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (d->position < 0 && file_is_full_or_read_only(-errno)) {
		r = spool_disk_error(d, -errno);
		d->read_only = r == -EROFS;
		d->position = openat(d->dir, POSITION_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (d->position < 0)
			return 0;
	}
	if (d->position < 0 && errno == ELOOP)
		return diag_set(diag, -ELOOP,
				"spool %.200s/%.100s: " POSITION_FILE " is a symbolic link; remove it",
				c->dir, c->name);
	if (d->position < 0 || fstat(d->position, &st) != 0)
		return diag_set(diag, -errno, "spool %s/%s: the file " POSITION_FILE " cannot be opened: %s",
				c->dir, c->name, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || (st.st_uid != 0 && st.st_uid != owner->st_uid))
		return diag_set(diag, -EPERM, "spool %.200s/%.100s: " POSITION_FILE " is %s; remove it",
				c->dir, c->name,
				!S_ISREG(st.st_mode) ? "no file"
				: st.st_nlink != 1 ? "a file with more than one name, which may be anybody's"
						   : "somebody else's");
	if (geteuid() == 0 && owner->st_uid != 0 && fchown(d->position, owner->st_uid, owner->st_gid) != 0)
		spool_disk_error(d, -errno);
	return 0;
}

int spool_disk_open(struct spool_disk *d, const struct spool_config *c, struct diag *diag)
{
	struct stat owner = {0};
	int r = file_open_directory(d, c, &owner, diag);

	if (r)
		return r;
	if (flock(d->dir, LOCK_EX | LOCK_NB) != 0) {
		r = -errno;
		if (r == -EWOULDBLOCK)
			return diag_set(diag, -EBUSY,
					"spool %s/%s: another process uses it; give each pitot a "
					"--spool of its own",
					c->dir, c->name);
		return diag_set(diag, r, "spool %s/%s: cannot be locked: %s", c->dir, c->name, strerror(-r));
	}
	d->max_octets = c->max_octets < SPOOL_LEAST ? SPOOL_LEAST : c->max_octets;
	d->segment_octets = d->max_octets / 32 < 65536 ? 65536 : d->max_octets / 32;
	d->buffer = malloc(DISK_BUFFER);
	if (!d->buffer)
		return diag_set(diag, -ENOMEM, "spool %s/%s: out of memory", c->dir, c->name);
	return file_open_position(d, c, &owner, diag);
}

void spool_disk_close(struct spool_disk *d)
{
	const int fds[] = {d->writing, d->reading, d->position, d->dir};

	for (unsigned i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(d->segments);
	free(d->buffer);
}

/* ---- the position: 8 octets "pitotpos", head, sent, CRC-32C, 4 zeros */

bool spool_disk_get_position(struct spool_disk *d, struct spool_position *position)
{
	uint8_t p[POSITION_SIZE];
	uint64_t v[2] = {0};
	uint32_t crc = 0;

	*position = (struct spool_position){.head = 1, .sent = BLOCK_NUMBER_MOST};
	if (d->position < 0 || pread(d->position, p, sizeof(p), 0) != (ssize_t)sizeof(p))
		return false;
	for (unsigned i = 0; i < 16; i++)
		v[i / 8] = v[i / 8] << 8 | p[8 + i];
	for (unsigned i = 0; i < 4; i++)
		crc = crc << 8 | p[24 + i];
	if (memcmp(p, POSITION_MAGIC, 8) != 0 || crc != spool_crc(d->crc, p, 24) || v[0] == 0 ||
	    v[0] > FOUND_NUMBER_MOST || v[1] > FOUND_NUMBER_MOST)
		return false;
	*position = (struct spool_position){.head = v[0], .sent = v[1]};
	return true;
}

void spool_disk_put_position(struct spool_disk *d, const struct spool_position *position)
{
	uint8_t p[POSITION_SIZE];
	struct wire w;
	ssize_t n;

	if (d->position < 0 || d->read_only)
		return;
	wire_init(&w, p, sizeof(p));
	wire_put_bytes(&w, POSITION_MAGIC, 8);
	wire_put_u64(&w, position->head);
	wire_put_u64(&w, position->sent);
	wire_put_u32(&w, spool_crc(d->crc, p, 24));
	wire_put_u32(&w, 0);
	n = pwrite(d->position, p, sizeof(p), 0);
	if (n != (ssize_t)sizeof(p))
		spool_disk_error(d, n < 0 ? -errno : -ENOSPC);
}

/* ---- writing */

static int file_write_at(struct spool_disk *d, uint64_t offset, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = pwrite(d->writing, data, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOSPC;
		data += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

uint64_t spool_disk_need(const struct spool_disk *d, size_t size, bool *new_segment)
{
	const struct spool_segment *s = d->n_segments ? &d->segments[d->n_segments - 1] : NULL;
	uint64_t need = BLOCK_HEAD + size;

	*new_segment = d->writing < 0 || !s || s->size + need > d->segment_octets;
	if (*new_segment)
		need += BLOCK_TEMPLATE + (d->preamble_size ? BLOCK_HEAD + d->preamble_size : 0);
	return need;
}

static int file_put_segment_start(struct spool_disk *d, struct spool_segment *s)
{
	uint8_t head[BLOCK_TEMPLATE + BLOCK_HEAD];
	struct spool_block b = {.size = d->preamble_size, .crc = d->preamble_crc};
	size_t size = BLOCK_TEMPLATE;
	int r;

	spool_block_put_template(head);
	if (d->preamble_size) {
		spool_block_put(head + size, d->crc, &b, s->blocks++, d->preamble);
		size += BLOCK_HEAD;
	}
	r = file_write_at(d, 0, head, size);
	if (r == 0 && d->preamble_size) {
		s->preamble_size = d->preamble_size;
		s->preamble_crc = d->preamble_crc;
		s->preamble_at = size;
		r = file_write_at(d, size, d->preamble, d->preamble_size);
		size += d->preamble_size;
	}
	s->size = s->start = size;
	return r;
}

static int file_begin_segment(struct spool_disk *d, uint64_t number)
{
	struct spool_segment s = {.name = number, .first = number, .last = number - 1};
	char name[40];
	int r;

	spool_disk_end_segment(d);
	spool_disk_name(name, sizeof(name), number);
	d->writing = openat(d->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->writing < 0)
		return -errno;
	r = file_put_segment_start(d, &s);
	if (r) {
		spool_disk_end_segment(d);
		unlinkat(d->dir, name, 0);
		return r;
	}
	d->segments[d->n_segments++] = s;
	d->octets += s.size;
	return 0;
}

int spool_disk_append(struct spool_disk *d, struct spool_ring_block *b)
{
	size_t size = BLOCK_HEAD + b->block.size;
	struct spool_segment *s;
	bool new_segment;
	int r;

	spool_disk_need(d, b->block.size, &new_segment);
	if (new_segment) {
		r = d->n_segments < d->segments_most ? file_begin_segment(d, b->block.number) : -ENOSPC;
		if (r)
			return spool_disk_error(d, r);
	}
	s = &d->segments[d->n_segments - 1];
	b->block.crc = spool_crc(d->crc, b->message, b->block.size);
	spool_block_put(b->head, d->crc, &b->block, s->blocks, b->message);
	r = file_write_at(d, s->size, b->head, size);
	if (r) {
		/* a tail that stays is found torn by the next run */
		if (ftruncate(d->writing, (off_t)s->size) != 0)
			spool_disk_error(d, -errno);
		spool_disk_end_segment(d);
		if (s->last < s->first)
			spool_disk_remove(d, d->n_segments - 1);
		return spool_disk_error(d, r);
	}
	b->segment = s->name;
	b->offset = s->size;
	s->last = b->block.number;
	s->blocks++;
	s->size += size;
	d->octets += size;
	d->dirty = true;
	return 0;
}

void spool_disk_sync(struct spool_disk *d)
{
	if (!d->dirty || d->writing < 0)
		return;
	d->dirty = false;
	/* begins to write, and waits for nothing */
	if (sync_file_range(d->writing, 0, 0, SYNC_FILE_RANGE_WRITE) != 0)
		spool_disk_error(d, -errno);
}

void spool_disk_end_segment(struct spool_disk *d)
{
	if (d->writing < 0)
		return;
	spool_disk_sync(d);
	if (close(d->writing) != 0 && errno != EINTR)
		spool_disk_error(d, -errno);
	d->writing = -1;
}

void spool_disk_remove(struct spool_disk *d, unsigned index)
{
	struct spool_segment *s = &d->segments[index];
	char name[40];

	if (index == d->n_segments - 1)
		spool_disk_end_segment(d);
	if (d->reading >= 0 && d->reading_name == s->name) {
		close(d->reading);
		d->reading = -1;
	}
	if (d->buffer_name == s->name)
		d->buffer_name = 0;
	spool_disk_name(name, sizeof(name), s->name);
	if (unlinkat(d->dir, name, 0) != 0 && errno != ENOENT)
		spool_disk_error(d, -errno);
	d->octets -= s->size;
	d->n_segments--;
	memmove(s, s + 1, (d->n_segments - index) * sizeof(*s));
}

/* ---- what others do in the directory */

bool spool_disk_has_changed(struct spool_disk *d, uint64_t now_ns)
{
	struct stat st;

	if (d->read_only || now_ns - d->looked_ns < LOOK_NS)
		return false;
	d->looked_ns = now_ns;
	if (fstat(d->dir, &st) != 0)
		return false;
	if (st.st_nlink > 0 && st.st_ctim.tv_sec == d->changed.tv_sec &&
	    st.st_ctim.tv_nsec == d->changed.tv_nsec)
		return false;
	d->changed = st.st_ctim;
	return true;
}

bool spool_disk_is_whole(struct spool_disk *d, const struct spool_segment *s)
{
	struct stat st;
	char name[40];

	spool_disk_name(name, sizeof(name), s->name);
	if (fstatat(d->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno != ENOENT; /* another error says nothing */
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size >= s->size;
}

bool spool_disk_renew_position(struct spool_disk *d)
{
	struct stat st;

	if (d->position < 0 || d->read_only || fstat(d->position, &st) != 0 || st.st_nlink > 0)
		return false;
	close(d->position);
	d->position = openat(d->dir, POSITION_FILE,
			     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (d->position < 0)
		spool_disk_error(d, -errno);
	return d->position >= 0;
}

/* ---- reading */

unsigned spool_disk_find(const struct spool_disk *d, uint64_t number)
{
	unsigned low = 0, high = d->n_segments;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (d->segments[middle].last < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool file_open_reading(struct spool_disk *d, const struct spool_segment *s)
{
	char name[40];

	if (d->reading >= 0 && d->reading_name == s->name)
		return true;
	if (d->reading >= 0)
		close(d->reading);
	spool_disk_name(name, sizeof(name), s->name);
	d->reading = openat(d->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	d->reading_name = s->name;
	if (d->reading < 0)
		spool_disk_error(d, -errno);
	return d->reading >= 0;
}

const uint8_t *spool_disk_peek(struct spool_disk *d, const struct spool_segment *s, uint64_t offset,
			       size_t size)
{
	size_t want = DISK_BUFFER;
	ssize_t n;

	if (offset > s->size || size > s->size - offset)
		return NULL;
	if (d->buffer_name == s->name && offset >= d->buffer_at &&
	    offset - d->buffer_at + size <= d->buffer_size)
		return d->buffer + (offset - d->buffer_at);
	if (!file_open_reading(d, s))
		return NULL;
	if (want > s->size - offset)
		want = (size_t)(s->size - offset);
	d->buffer_name = s->name;
	d->buffer_at = offset;
	d->buffer_size = 0;
	while (d->buffer_size < want) {
		n = pread(d->reading, d->buffer + d->buffer_size, want - d->buffer_size,
			  (off_t)(offset + d->buffer_size));
		if (n == 0)
			break;
		if (n > 0) {
			d->buffer_size += (size_t)n;
		} else if (errno != EINTR) {
			spool_disk_error(d, -errno);
			break;
		}
	}
	return d->buffer_size >= size ? d->buffer : NULL;
}

const uint8_t *spool_disk_read(struct spool_disk *d, const struct spool_segment *s, uint64_t *offset,
			       struct spool_block *b, uint64_t least, uint64_t most, uint64_t *skipped)
{
	const uint8_t *p;

	while ((p = spool_disk_peek(d, s, *offset, BLOCK_HEAD))) {
		if (!spool_block_get(p, d->crc, b)) {
			*offset += 1;
			*skipped += 1;
			continue;
		}
		p = spool_disk_peek(d, s, *offset, BLOCK_HEAD + b->size);
		if (p && spool_crc(d->crc, p + BLOCK_HEAD, b->size) == b->crc && b->number <= most) {
			if (b->number >= least)
				return p + BLOCK_HEAD;
			*offset += BLOCK_HEAD + b->size; /* whole, and not asked for */
			continue;
		}
		*offset +=
			BLOCK_HEAD; /* the message may be cut: look for the next head right behind this one */
		*skipped += BLOCK_HEAD;
	}
	return NULL;
}

const uint8_t *spool_disk_read_preamble(struct spool_disk *d, const struct spool_segment *s)
{
	const uint8_t *p = spool_disk_peek(d, s, s->preamble_at, s->preamble_size);

	return p && spool_crc(d->crc, p, s->preamble_size) == s->preamble_crc ? p : NULL;
}
