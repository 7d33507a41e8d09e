/*
 * capture_savefile: savefiles that no reader of our own knows, by libpcap: modified and old pcap.
 *
 * libpcap wants a FILE; the octets that were read to tell the kinds apart are handed to it first, so that
 * pipes work.  libpcap's packet is only valid until its next one, so the batch is copied.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_filter.h"
#include "capture/capture_source.h"
#include "pitot/clock.h"

enum {
	ARENA = 1 << 20,
	LOOK_MS = 50,	     /* between two looks at whether a silent pipe is still wanted */
	PACKETS_MOST = 4096, /* that the filter may reject before the caller can do other things */
};

struct capture_savefile {
	struct capture base;
	struct capture_config config;
	struct capture_source source;
	size_t head_read;
	pcap_t *pcap;
	uint32_t fraction_ns; /* 1 or 1000 */
	struct capture_filter filter;
	bool has_filter;
	uint64_t packet;
	_Atomic bool stopped; /* by any thread: a pipe that is waited for has ended */
	struct capture_stats stats;
	struct pcap_pkthdr *kept; /* read, but the arena had no room for it */
	const u_char *kept_data;
	int ended; /* what the last call of libpcap said: asked again it would not say the same */
	struct diag why;
	uint8_t *arena;
	size_t arena_size;
};

static bool savefile_is_stopped(const struct capture_savefile *f)
{
	return atomic_load(&f->stopped) || (f->config.stopped && atomic_load(f->config.stopped));
}

/* libpcap cannot be called again after a short read: a pipe is waited for until it is no longer wanted. */
static bool savefile_wait(struct capture_savefile *f)
{
	struct pollfd p = {.fd = f->source.fd, .events = POLLIN};

	while (!f->source.is_file && poll(&p, 1, LOOK_MS) == 0)
		if (savefile_is_stopped(f))
			return false;
	return true;
}

static ssize_t savefile_cookie_read(void *cookie, char *buf, size_t size)
{
	struct capture_savefile *f = cookie;
	size_t left = f->source.n_head - f->head_read;
	ssize_t n;

	if (left) {
		size_t take = left < size ? left : size;

		memcpy(buf, f->source.head + f->head_read, take);
		f->head_read += take;
		return (ssize_t)take;
	}
	if (!savefile_wait(f))
		return 0;
	do {
		n = read(f->source.fd, buf, size);
	} while (n < 0 && errno == EINTR);
	return n;
}

static int savefile_cookie_close(void *cookie)
{
	struct capture_savefile *f = cookie;

	return close(f->source.fd);
}

static void capture_savefile_close(struct capture *c)
{
	struct capture_savefile *f = (struct capture_savefile *)c;

	capture_filter_deinit(&f->filter);
	if (f->pcap)
		pcap_close(f->pcap); /* closes the FILE, and that the descriptor */
	free(f->arena);
	free(f);
}

static int savefile_open_pcap(struct capture_savefile *f, struct diag *diag)
{
	cookie_io_functions_t io = {.read = savefile_cookie_read, .close = savefile_cookie_close};
	char error[PCAP_ERRBUF_SIZE] = "";
	FILE *file = fopencookie(f, "r", io);

	if (!file) {
		close(f->source.fd);
		return diag_set(diag, -ENOMEM, "--read %s: out of memory", f->source.path);
	}
	/* unscaled, as they stand in the file: libpcap would scale a fraction that it takes for negative */
	f->pcap = pcap_fopen_offline_with_tstamp_precision(
		file, f->fraction_ns == 1 ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO, error);
	if (!f->pcap) {
		fclose(file);
		return diag_set(diag, -EBADMSG, "--read %s: not a capture file that can be read: %s",
				f->source.path, error);
	}
	return 0;
}

int capture_savefile_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
			  struct diag *diag)
{
	struct capture_savefile *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(s->fd);
		return diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	}
	*f = (struct capture_savefile){
		.base = {.ops = &capture_savefile_ops,
			 .is_file = s->is_file,
			 .fd = -1,
			 .offset_fd = s->fd,
			 .name = s->path},
		.config = *config,
		.source = *s,
		.fraction_ns = capture_source_fraction_ns(s),
		.arena_size = ARENA,
	};
	r = savefile_open_pcap(f, diag);
	if (r == 0) {
		int number;

		f->base.link_type = pcap_datalink(f->pcap); /* raw IP has a number of its own there */
		r = capture_source_link_type(s, &number, diag);
	}
	if (r == 0) {
		f->arena = malloc(f->arena_size);
		if (!f->arena)
			r = diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	}
	if (r == 0 && config->filter && config->filter[0]) {
		r = capture_filter_compile_frames(&f->filter, config->filter, f->base.link_type, diag);
		f->has_filter = r == 0;
	}
	if (r < 0) {
		capture_savefile_close(&f->base);
		return r;
	}
	*cp = &f->base;
	return 0;
}

/* Copies libpcap's packet into the batch; false when the arena has no room left. */
static bool savefile_lend(struct capture_savefile *f, struct frame_batch *b, size_t *used)
{
	const struct pcap_pkthdr *h = f->kept;

	if (*used + h->caplen > f->arena_size && b->n)
		return false;
	if (h->caplen > f->arena_size) { /* one frame larger than the arena */
		uint8_t *larger = realloc(f->arena, h->caplen);

		if (!larger) {
			f->ended = diag_set(&f->why, -ENOMEM, "--read %s: out of memory", f->base.name);
			return false;
		}
		f->arena = larger;
		f->arena_size = h->caplen;
	}
	memcpy(f->arena + *used, f->kept_data, h->caplen);
	b->frames[b->n++] = (struct frame){
		.data = f->arena + *used,
		.cap_len = h->caplen,
		.wire_len = h->len,
		/* 32 bits without a sign, which libpcap hands on as signed ones */
		.time_ns = (uint32_t)h->ts.tv_sec * NS_PER_SEC +
			   (uint64_t)(uint32_t)h->ts.tv_usec * f->fraction_ns,
		.point = f->config.point,
	};
	*used += h->caplen;
	f->kept = NULL;
	return true;
}

/* Reads one more packet into f->kept; false when there is none, and f->ended says why. */
static bool savefile_next(struct capture_savefile *f)
{
	int r = f->ended ? 0 : pcap_next_ex(f->pcap, &f->kept, &f->kept_data);

	if (r == 1) {
		f->packet++;
		return true;
	}
	f->kept = NULL;
	if (r == PCAP_ERROR_BREAK || savefile_is_stopped(f))
		f->ended = CAPTURE_E_END;
	else if (!f->ended)
		f->ended = diag_set(&f->why, -EBADMSG, "--read %s: after packet %llu: %s", f->base.name,
				    (unsigned long long)f->packet, pcap_geterr(f->pcap));
	return false;
}

static int capture_savefile_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	struct capture_savefile *f = (struct capture_savefile *)c;
	unsigned rejected = 0;
	size_t used = 0;

	(void)wait_ms; /* libpcap's savefile calls wait for a pipe */
	b->n = 0;
	while (b->n < BATCH_MAX) {
		if (!f->kept) {
			if (!savefile_next(f))
				break;
			if (f->has_filter &&
			    !capture_filter_passes(&f->filter, f->kept_data, f->kept->len, f->kept->caplen)) {
				f->stats.filtered++;
				f->stats.filtered_octets += f->kept->len;
				f->kept = NULL;
				if (++rejected == PACKETS_MOST)
					break;
				continue;
			}
		}
		if (!savefile_lend(f, b, &used))
			break;
	}
	if (b->n == 0) { /* what is good was lent first */
		*diag = f->why;
		return f->ended;
	}
	return 0;
}

static void capture_savefile_release(struct capture *c, struct frame_batch *b)
{
	(void)c;
	b->n = 0;
}

static void capture_savefile_stop(struct capture *c)
{
	atomic_store(&((struct capture_savefile *)c)->stopped, true);
}

static int capture_savefile_get_stats(struct capture *c, struct capture_stats *stats)
{
	*stats = ((struct capture_savefile *)c)->stats;
	return 0;
}

const struct capture_ops capture_savefile_ops = {
	.name = "savefile",
	.recv = capture_savefile_recv,
	.release = capture_savefile_release,
	.stop = capture_savefile_stop,
	.get_stats = capture_savefile_get_stats,
	.close = capture_savefile_close,
};
