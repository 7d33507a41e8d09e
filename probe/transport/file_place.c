/* file_place: see file_place.h. */
#include "transport/file_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/opener.h"
#include "pitot/transport.h"
#include "transport/compress.h"

static const char *const place_libraries[COMPRESSION_COUNT] = {
#define COMPRESSION(NAME, name, library) [COMPRESSION_##NAME] = (library),
#include "pitot/compressions.def"
};

int file_place_compress(struct file_place *p, enum compression compression, struct diag *diag)
{
	struct compress *c = NULL;
	const uint8_t *empty = NULL;
	int r;

	if (compression == COMPRESSION_NONE)
		return 0;
	if (p->kind != FILE_SERIES && p->kind != FILE_RESULT)
		return diag_set(diag, -EINVAL, "%.300s: only a file that gets complete is compressed",
				p->path);
	r = compress_new(&c, compression, 0);
	if (r == -EOPNOTSUPP)
		return diag_set(diag, r, "%.300s: this build has no %s to compress with", p->path,
				place_libraries[compression]);
	if (r == 0)
		empty = compress_member(c, p->head, 0, &p->head_size);
	if (!empty || p->head_size > sizeof(p->head))
		r = diag_set(diag, -ENOMEM, "%.300s: out of memory", p->path);
	else
		memcpy(p->head, empty, p->head_size);
	compress_free(c);
	p->compression = compression;
	return r;
}

void file_place_begin(const struct file_place *p, int fd)
{
	/* on a full disk records are lost and counted, and this is no worse */
	if (p->head_size && write(fd, p->head, p->head_size) != (ssize_t)p->head_size && ftruncate(fd, 0) < 0)
		return;
}

static bool place_is_same(int a, int b)
{
	struct stat x, y;

	return a >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* Of lines with the same heading more can be written.  size: of the file. */
static bool place_fits(const struct file_place *p, int fd, off_t size)
{
	size_t n = p->heading ? strlen(p->heading) : 0;
	char *text = p->heading ? malloc(n + 1) : NULL;
	bool fits = text && (size_t)size >= n && pread(fd, text, n, 0) == (ssize_t)n &&
		    memcmp(text, p->heading, n) == 0;

	free(text);
	return fits;
}

/* What was killed in the middle of a line leaves that alone. */
static int place_end_line(int fd, off_t size)
{
	char last;

	if (pread(fd, &last, 1, size - 1) != 1)
		return -EIO;
	return last == '\n' || write(fd, "\n", 1) == 1 ? 0 : -errno;
}

/* 0; 1: it was put aside. */
static int place_prepare(const struct file_place *p, struct file_piece *piece, struct diag *diag)
{
	char name[PATH_NAME_SIZE];
	struct diag why;
	struct stat st;
	int r;

	if (fstat(piece->fd, &st) < 0 || !S_ISREG(st.st_mode) || fcntl(piece->fd, F_SETFL, O_APPEND) < 0)
		return diag_set(diag, -EINVAL, "%.300s: is no file any more", p->path);
	piece->continues = st.st_size > 0;
	if (st.st_size == 0)
		return 0;
	if (place_fits(p, piece->fd, st.st_size)) {
		r = place_end_line(piece->fd, st.st_size);
		return r < 0 ? diag_set(diag, r, "%.300s: %s", p->path, strerror(-r)) : 0;
	}
	r = opener_set_aside(p->opener, p->path, name, &why);
	if (r < 0) {
		*diag = why;
		return r;
	}
	return diag_set(
		diag, 1,
		"%.200s: what was there begins otherwise, or cannot be continued; it is called %.200s now",
		p->path, name);
}

static int place_continue(const struct file_place *p, int now_fd, struct file_piece *piece, struct diag *diag)
{
	struct diag why;

	for (unsigned tries = 0; tries < 3; tries++) {
		int r;

		piece->fd = opener_continue(p->opener, p->path, &why);
		if (piece->fd < 0) {
			*diag = why;
			return piece->fd;
		}
		if (place_is_same(now_fd, piece->fd)) {
			close(piece->fd);
			return FILE_E_SAME;
		}
		r = place_prepare(p, piece, diag);
		if (r == 0)
			return 0;
		close(piece->fd);
		if (r < 0)
			return r;
	}
	return diag_set(diag, -EEXIST, "%.300s: other files take its place again and again", p->path);
}

int file_place_next(const struct file_place *p, int now_fd, uint64_t seconds, struct file_piece *piece,
		    struct diag *diag)
{

	*piece = (struct file_piece){.fd = -1, .time = {.seconds = seconds, .local = p->local_time}};
	diag->text[0] = '\0';
	if (p->kind == FILE_CONTINUED)
		return place_continue(p, now_fd, piece, diag);
	piece->fd = opener_begin(p->opener, p->path, &piece->time, diag);
	if (piece->fd < 0)
		return piece->fd;
	file_place_begin(p, piece->fd);
	return 0;
}

static bool place_is_marked(const struct transport_mark *m, int fd, uint64_t octets)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_dev == atomic_load(&m->device) &&
	       (uint64_t)st.st_ino == atomic_load(&m->inode) && (uint64_t)st.st_size >= octets;
}

int file_place_resume(const struct file_place *p, struct file_piece *piece, struct diag *diag)
{
	const struct transport_mark *m = p->mark;
	uint64_t octets = m ? atomic_load(&m->octets) : 0;

	*piece = (struct file_piece){.fd = -1};
	if (!m || !atomic_load(&m->inode))
		return FILE_E_OTHER;
	piece->time = (struct path_time){.seconds = atomic_load(&m->seconds),
					 .number = atomic_load(&m->number),
					 .local = p->local_time};
	piece->fd = p->kind == FILE_SERIES ? opener_resume(p->opener, p->path, &piece->time, diag)
					   : opener_continue(p->opener, p->path, diag);
	if (piece->fd < 0)
		return p->kind == FILE_SERIES ? FILE_E_OTHER : piece->fd;
	if (!place_is_marked(m, piece->fd, octets)) {
		close(piece->fd);
		return FILE_E_OTHER;
	}
	piece->continues = octets > p->head_size;
	if (ftruncate(piece->fd, (off_t)octets) == 0 && fcntl(piece->fd, F_SETFL, O_APPEND) == 0)
		return 0;
	diag_set(diag, -errno, "%.300s: %s", p->path, strerror(errno));
	close(piece->fd);
	return -EIO;
}

void file_place_mark(const struct file_place *p, const struct file_piece *piece)
{
	struct transport_mark *m = p->mark;
	struct stat st;

	if (!m)
		return;
	atomic_store(&m->inode, 0); /* until all of it holds */
	if (fstat(piece->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	atomic_store(&m->device, (uint64_t)st.st_dev);
	atomic_store(&m->octets, (uint64_t)st.st_size);
	atomic_store(&m->seconds, piece->time.seconds);
	atomic_store(&m->number, piece->time.number);
	atomic_store(&m->inode, (uint64_t)st.st_ino);
}

int file_place_complete(const struct file_place *p, const struct file_piece *piece, struct diag *diag)
{
	return p->kind == FILE_SERIES ? opener_complete(p->opener, p->path, &piece->time, diag) : 0;
}
