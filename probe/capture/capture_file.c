/*
 * capture_file: ordinary pcap files, walked in place.
 *
 * Large reads into one buffer; frames are lent straight out of it, nothing is copied per packet.  (mmap costs
 * the same and counts every page of the file as this process's memory.)
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_source.h"
#include "pitot/clock.h"

enum {
	RECORD_HEADER = 16,
	CHUNK = 256 << 10,          /* stays in the second level cache */
	FRAME_MAX = 262144,         /* as libpcap: MAXIMUM_SNAPLEN */
	BUFFER = CHUNK + FRAME_MAX + RECORD_HEADER,
};

struct capture_file {
	struct capture base;
	struct capture_config config;
	bool swapped;
	bool end;
	uint32_t fraction_ns; /* 1 or 1000 */
	uint64_t packet;      /* number of the last one lent */
	size_t at, have;
	struct bpf_program filter;
	bool has_filter;
	struct capture_stats stats;
	uint8_t *buffer;
};

static inline uint32_t file_u32(const struct capture_file *f, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return f->swapped ? __builtin_bswap32(v) : v;
}

static void capture_file_close(struct capture *c)
{
	struct capture_file *f = (struct capture_file *)c;

	if (f->base.fd >= 0)
		close(f->base.fd);
	if (f->has_filter)
		pcap_freecode(&f->filter);
	free(f->buffer);
	free(f);
}

int capture_file_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
		      struct diag *diag)
{
	struct capture_file *f = calloc(1, sizeof(*f));
	uint32_t magic;
	int r = 0;

	if (!f) {
		close(s->fd);
		return diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	}
	memcpy(&magic, s->head, sizeof(magic));
	*f = (struct capture_file){
		.base = { .ops = &capture_file_ops, .is_file = s->is_file, .fd = s->fd, .name = s->path },
		.config = *config,
		.swapped = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d,
	};
	if (f->swapped)
		magic = __builtin_bswap32(magic);
	f->fraction_ns = magic == 0xa1b23c4d ? 1 : 1000;
	/* the upper bits tell of a frame check sequence */
	f->base.link_type = (int)(file_u32(f, s->head + 20) & 0x03ffffff);
	f->buffer = malloc(BUFFER);
	if (!f->buffer)
		r = diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	if (r == 0 && config->filter && config->filter[0]) {
		r = capture_source_filter(&f->filter, f->base.link_type, config->filter, diag);
		f->has_filter = r == 0;
	}
	if (r < 0) {
		capture_file_close(&f->base);
		return r;
	}
	*cp = &f->base;
	return 0;
}

/* More octets behind those that are left.  0, CAPTURE_E_END, or negative errno. */
static int capture_file_fill(struct capture_file *f, int wait_ms, struct diag *diag)
{
	ssize_t n;

	memmove(f->buffer, f->buffer + f->at, f->have - f->at);
	f->have -= f->at;
	f->at = 0;
	if (!f->base.is_file) {
		struct pollfd p = { .fd = f->base.fd, .events = POLLIN };

		if (poll(&p, 1, wait_ms) == 0)
			return 0;
	}
	n = read(f->base.fd, f->buffer + f->have, f->base.is_file ? CHUNK : (size_t)(BUFFER) - f->have);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0
							 : diag_set(diag, -errno, "--read %s: %s", f->base.name,
								    strerror(errno));
	f->end = n == 0;
	f->have += (size_t)n;
	return 0;
}

/* Why no whole record is at the cursor although the file has ended. */
static int capture_file_ended(struct capture_file *f, struct diag *diag)
{
	size_t left = f->have - f->at;

	if (left == 0)
		return CAPTURE_E_END;
	f->at = f->have;
	return diag_set(diag, -EBADMSG, "--read %s: the file is cut short: it ends inside packet %llu", f->base.name,
			(unsigned long long)f->packet + 1);
}

/* Lends whole records until the batch is full or the buffer has no more. */
static int capture_file_walk(struct capture_file *f, struct frame_batch *b, struct diag *diag)
{
	const uint8_t *p = f->buffer + f->at, *end = f->buffer + f->have;

	while (b->n < BATCH_MAX && end - p >= RECORD_HEADER) {
		uint32_t cap_len = file_u32(f, p + 8), wire_len = file_u32(f, p + 12);

		if (cap_len > FRAME_MAX) {
			if (b->n) /* first what is good */
				break;
			return diag_set(diag, -EBADMSG,
					"--read %s: packet %llu claims %u captured octets (at most %u): the file is damaged",
					f->base.name, (unsigned long long)f->packet + 1, cap_len, FRAME_MAX);
		}
		if ((size_t)(end - p) < RECORD_HEADER + (size_t)cap_len)
			break;
		f->packet++;
		if (f->has_filter && !bpf_filter(f->filter.bf_insns, p + RECORD_HEADER, wire_len, cap_len)) {
			f->stats.filtered++;
			f->stats.filtered_octets += wire_len;
		} else {
			b->frames[b->n++] = (struct frame){
				.data = p + RECORD_HEADER,
				.cap_len = cap_len,
				.wire_len = wire_len,
				.time_ns = file_u32(f, p) * NS_PER_SEC + (uint64_t)file_u32(f, p + 4) * f->fraction_ns,
				.point = f->config.point,
				.segments = 1,
			};
		}
		p += RECORD_HEADER + cap_len;
	}
	f->at = (size_t)(p - f->buffer);
	return 0;
}

static int capture_file_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct capture_file *f = (struct capture_file *)c;
	int r;

	b->n = 0;
	r = capture_file_walk(f, b, diag);
	while (r == 0 && b->n == 0) { /* a fill moves the buffer: only when nothing is lent */
		size_t had = f->have - f->at;

		if (f->end)
			return capture_file_ended(f, diag);
		r = capture_file_fill(f, wait_ms, diag);
		if (r == 0)
			r = capture_file_walk(f, b, diag);
		if (!f->base.is_file && !f->end && f->have - f->at == had)
			break; /* nothing came in time */
	}
	return r;
}

static void capture_file_release(struct capture *c, struct frame_batch *b)
{
	(void)c;
	b->n = 0;
}

static int capture_file_get_stats(struct capture *c, struct capture_stats *stats)
{
	*stats = ((struct capture_file *)c)->stats;
	return 0;
}

const struct capture_ops capture_file_ops = {
	.name = "file",
	.open = capture_open,
	.recv = capture_file_recv,
	.release = capture_file_release,
	.get_stats = capture_file_get_stats,
	.close = capture_file_close,
};
