/*
 * capture_file: ordinary pcap files, walked in place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_filter.h"
#include "capture/capture_walk.h"
#include "pitot/clock.h"

enum { RECORD_HEADER = 16 };

struct capture_file {
	struct capture_walk walk;
	bool swapped;
	uint32_t fraction_ns; /* 1 or 1000 */
	struct capture_filter filter;
	bool has_filter;
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

	capture_filter_deinit(&f->filter);
	capture_walk_deinit(&f->walk);
	free(f);
}

/* Lends whole records until the batch is full or the buffer has no more. */
static int capture_file_walk(struct capture_walk *w, struct frame_batch *b, struct diag *diag)
{
	struct capture_file *f = (struct capture_file *)w;
	const uint8_t *p = w->buffer + w->at, *end = w->buffer + w->have;

	while (b->n < BATCH_MAX && end - p >= RECORD_HEADER) {
		uint32_t cap_len = file_u32(f, p + 8), wire_len = file_u32(f, p + 12);

		if (cap_len > WALK_FRAME_MAX) {
			if (b->n) /* first what is good */
				break;
			return diag_set(diag, -EBADMSG,
					"--read %s: packet %llu claims %u captured octets (at most %u): the "
					"file is damaged",
					w->base.name, (unsigned long long)w->packet + 1, cap_len,
					WALK_FRAME_MAX);
		}
		if ((size_t)(end - p) < RECORD_HEADER + (size_t)cap_len)
			break;
		w->packet++;
		if (f->has_filter &&
		    !capture_filter_passes(&f->filter, p + RECORD_HEADER, wire_len, cap_len)) {
			w->stats.filtered++;
			w->stats.filtered_octets += wire_len;
		} else {
			b->frames[b->n++] = (struct frame){
				.data = p + RECORD_HEADER,
				.cap_len = cap_len,
				.wire_len = wire_len,
				.time_ns = file_u32(f, p) * NS_PER_SEC +
					   (uint64_t)file_u32(f, p + 4) * f->fraction_ns,
				.point = w->config.point,
			};
		}
		p += RECORD_HEADER + cap_len;
	}
	w->at = (size_t)(p - w->buffer);
	return 0;
}

static int capture_file_ended(struct capture_walk *w, struct diag *diag)
{
	return w->have == w->at ? CAPTURE_E_END : capture_walk_cut(w, "packet", w->packet + 1, diag);
}

static const struct capture_walk_format capture_file_format = {
	.walk = capture_file_walk,
	.ended = capture_file_ended,
};

int capture_file_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
		      struct diag *diag)
{
	struct capture_file *f = calloc(1, sizeof(*f));
	uint32_t magic;
	int r;

	if (!f) {
		close(s->fd);
		return diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	}
	r = capture_walk_init(&f->walk, &capture_file_ops, &capture_file_format, s, config, diag);
	if (r < 0) {
		free(f);
		return r;
	}
	memcpy(&magic, s->head, sizeof(magic));
	f->swapped = magic != 0xa1b2c3d4 && magic != 0xa1b23c4d;
	f->fraction_ns = capture_source_fraction_ns(s);
	r = capture_source_link_type(s, &f->walk.base.link_type, diag);
	if (r == 0 && config->filter && config->filter[0]) {
		r = capture_filter_compile_frames(&f->filter, config->filter, f->walk.base.link_type, diag);
		f->has_filter = r == 0;
	}
	if (r < 0) {
		capture_file_close(&f->walk.base);
		return r;
	}
	*cp = &f->walk.base;
	return 0;
}

const struct capture_ops capture_file_ops = {
	.name = "file",
	.recv = capture_walk_recv,
	.release = capture_walk_release,
	.move_to = capture_walk_move_to,
	.more = capture_walk_more,
	.get_stats = capture_walk_get_stats,
	.close = capture_file_close,
};
