/*
 * capture_pcapng: pcapng files, walked in place (draft-ietf-opsawg-pcapng).
 *
 * Packets are read from Enhanced, Simple and the obsolete Packet Blocks; interfaces and sections are kept;
 * every other block is passed over, and needs no memory whatever its size.  What a section says of its own
 * length is not needed: it ends where the next one begins.
 *
 * Blocks have numbers here, from 1, where there is no packet to name.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_pcapng_interface.h"
#include "capture/capture_walk.h"
#include "pitot/link_type.h"

enum {
	BLOCK_LEAST = 12, /* type, length, and the length again at its end */
	BLOCK_HEAD = 8,
	BLOCK_TAIL = 4,
	SECTION_HEAD = 16, /* as far as the version */
	SECTION_LEAST = 28,
	SIMPLE_HEAD = 12, /* of the block, up to the packet's octets */
	PACKET_HEAD = 28,
	PREFACE_CHUNK = 4096,
};

enum block_type {
	BLOCK_SECTION = 0x0a0d0d0a, /* the same in either byte order */
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 2,
	BLOCK_SIMPLE = 3,
	BLOCK_ENHANCED = 6,
};

/* Positive outcome: the walk stops here for now, with nothing changed. */
enum { PCAPNG_E_STOP = 1 };

struct capture_pcapng {
	struct capture_walk walk;
	struct pcapng_interfaces interfaces;
	bool swapped;
	uint64_t block; /* number of the last one that was walked over */
	uint32_t rest;	/* octets of the next one that are still to come behind the cursor */
	uint32_t total; /* and its length */
};

/* The block at the cursor. */
struct block {
	const uint8_t *at;
	size_t have; /* octets of it and behind it that are in the buffer */
	uint32_t type, total;
};

static bool pcapng_block_is_packet(uint32_t type)
{
	return type == BLOCK_ENHANCED || type == BLOCK_SIMPLE || type == BLOCK_PACKET;
}

__attribute__((format(printf, 4, 5), cold)) static int pcapng_damaged(const struct capture_pcapng *f,
								      const struct block *k,
								      struct diag *diag, const char *format,
								      ...)
{
	bool is_packet = k && pcapng_block_is_packet(k->type);
	char why[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	return diag_set(diag, -EBADMSG, "--read %s: %s %llu %s: the file is damaged", f->walk.base.name,
			is_packet ? "packet" : "block",
			(unsigned long long)(is_packet ? f->walk.packet : f->block) + 1, why);
}

/* ---- blocks */

static int pcapng_check_tail(const struct capture_pcapng *f, const struct block *k, const uint8_t *tail,
			     uint32_t total, struct diag *diag)
{
	uint32_t again = pcapng_u32(tail, f->swapped);

	return again == total ? 0
			      : pcapng_damaged(f, k, diag,
					       "has a length of %u octets at its start and of %u at its end",
					       total, again);
}

/* Goes on through a block of which not all was there. */
static int pcapng_pass_rest(struct capture_pcapng *f, struct diag *diag)
{
	struct capture_walk *w = &f->walk;
	size_t have = w->have - w->at, take = f->rest - BLOCK_TAIL < have ? f->rest - BLOCK_TAIL : have;
	int r;

	w->at += take;
	f->rest -= (uint32_t)take;
	if (f->rest > BLOCK_TAIL || w->have - w->at < BLOCK_TAIL)
		return PCAPNG_E_STOP;
	r = pcapng_check_tail(f, NULL, w->buffer + w->at, f->total, diag);
	if (r < 0)
		return r;
	w->at += BLOCK_TAIL;
	f->rest = 0;
	f->block++;
	return 0;
}

/* To the end of the block, whether it is there yet or not. */
static void pcapng_leave(struct capture_pcapng *f, const struct block *k)
{
	if (k->have >= k->total) { /* its tail was looked at */
		f->walk.at += k->total;
		f->block++;
		return;
	}
	f->rest = f->total = k->total;
}

static int pcapng_read_section(struct capture_pcapng *f, const struct block *k, struct diag *diag)
{
	unsigned major, minor;

	if (k->have < SECTION_HEAD)
		return PCAPNG_E_STOP;
	if (k->total < SECTION_LEAST)
		return pcapng_damaged(f, k, diag, "is too short for a section header");
	major = pcapng_u16(k->at + 12, f->swapped);
	minor = pcapng_u16(k->at + 14, f->swapped);
	if (major != 1 || (minor != 0 && minor != 2))
		return diag_set(diag, -EBADMSG,
				"--read %s: block %llu: pcapng version %u.%u is not one that pitot can read",
				f->walk.base.name, (unsigned long long)f->block + 1, major, minor);
	pcapng_interfaces_clear(&f->interfaces);
	return 0;
}

static int pcapng_read_interface(struct capture_pcapng *f, const struct block *k, struct diag *diag)
{
	struct diag why;
	int r;

	if (k->total > WALK_ROOM)
		return pcapng_damaged(f, k, diag, "is an interface in %u octets (at most %u)", k->total,
				      WALK_ROOM);
	if (k->have < k->total)
		return PCAPNG_E_STOP;
	r = pcapng_interfaces_add(&f->interfaces, k->at + BLOCK_HEAD, k->total - BLOCK_LEAST, f->swapped,
				  &why);
	if (r == -EBADMSG)
		return pcapng_damaged(f, k, diag, "%s", why.text);
	if (r < 0)
		*diag = why;
	return r;
}

/* Whatever is no packet. */
static int pcapng_read_other(struct capture_pcapng *f, const struct block *k, struct diag *diag)
{
	int r = 0;

	if (k->have >= k->total)
		r = pcapng_check_tail(f, k, k->at + k->total - BLOCK_TAIL, k->total, diag);
	if (r == 0 && k->type == BLOCK_SECTION)
		r = pcapng_read_section(f, k, diag);
	else if (r == 0 && k->type == BLOCK_INTERFACE)
		r = pcapng_read_interface(f, k, diag);
	if (r == 0)
		pcapng_leave(f, k);
	return r;
}

/* What stands at the cursor; it is not passed over. */
static inline int pcapng_peek(struct capture_pcapng *f, struct block *k, struct diag *diag)
{
	struct capture_walk *w = &f->walk;

	while (f->rest) {
		int r = pcapng_pass_rest(f, diag);

		if (r)
			return r;
	}
	k->at = w->buffer + w->at;
	k->have = w->have - w->at;
	if (k->have < BLOCK_LEAST)
		return PCAPNG_E_STOP;
	k->type = pcapng_u32(k->at, f->swapped);
	if (k->type == BLOCK_SECTION) {
		uint32_t magic = pcapng_u32(k->at + 8, false);

		if (magic != 0x1a2b3c4d && magic != 0x4d3c2b1a)
			return pcapng_damaged(f, k, diag, "is a section of no byte order");
		f->swapped = magic != 0x1a2b3c4d;
	}
	k->total = pcapng_u32(k->at + 4, f->swapped);
	if (k->total < BLOCK_LEAST || k->total % 4)
		return pcapng_damaged(f, k, diag, "claims a length of %u octets", k->total);
	return 0;
}

/* ---- packets */

struct pcapng_packet {
	const struct pcapng_interface *interface;
	const struct pcapng_interface *clock; /* the interface, or no_clock */
	const uint8_t *data;
	uint32_t cap_len, wire_len;
	uint64_t ticks;
};

static const struct pcapng_interface no_clock = {.multiply = 1, .plain_end = UINT64_MAX};

static inline int pcapng_find_interface(const struct capture_pcapng *f, const struct block *k,
					uint32_t number, struct pcapng_packet *p, struct diag *diag)
{
	if (number >= f->interfaces.n)
		return pcapng_damaged(f, k, diag, "is of interface %u, and its section has %u", number,
				      f->interfaces.n);
	p->interface = p->clock = &f->interfaces.all[number];
	return 0;
}

/* The captured length is not in the block, and there is no time: it is 1970, whatever the interface adds. */
static int pcapng_read_simple(const struct capture_pcapng *f, const struct block *k, struct pcapng_packet *p,
			      struct diag *diag)
{
	uint32_t limit;
	int r = pcapng_find_interface(f, k, 0, p, diag);

	if (r < 0)
		return r;
	limit = p->interface->snap_len;
	if (limit == 0 || limit > WALK_FRAME_MAX)
		limit = WALK_FRAME_MAX;
	p->wire_len = pcapng_u32(k->at + 8, f->swapped);
	p->cap_len = p->wire_len < limit ? p->wire_len : limit;
	p->data = k->at + SIMPLE_HEAD;
	p->clock = &no_clock;
	p->ticks = 0;
	return 0;
}

static inline int pcapng_read_enhanced(const struct capture_pcapng *f, const struct block *k,
				       struct pcapng_packet *p, struct diag *diag)
{
	bool swapped = f->swapped;

	if (k->total < PACKET_HEAD + BLOCK_TAIL)
		return pcapng_damaged(f, k, diag, "is in a block of %u octets", k->total);
	if (k->have < PACKET_HEAD)
		return PCAPNG_E_STOP;
	p->ticks = (uint64_t)pcapng_u32(k->at + 12, swapped) << 32 | pcapng_u32(k->at + 16, swapped);
	p->cap_len = pcapng_u32(k->at + 20, swapped);
	p->wire_len = pcapng_u32(k->at + 24, swapped);
	p->data = k->at + PACKET_HEAD;
	/* the obsolete block: 16 bits, in front of a count of drops */
	return pcapng_find_interface(f, k,
				     k->type == BLOCK_PACKET ? pcapng_u16(k->at + 8, swapped)
							     : pcapng_u32(k->at + 8, swapped),
				     p, diag);
}

/* Finds the packet in its block; all of its octets are there. */
static inline int pcapng_read_packet(const struct capture_pcapng *f, const struct block *k,
				     struct pcapng_packet *p, struct diag *diag)
{
	int r = k->type == BLOCK_SIMPLE ? pcapng_read_simple(f, k, p, diag)
					: pcapng_read_enhanced(f, k, p, diag);
	size_t need;

	if (r)
		return r;
	if (p->cap_len > WALK_FRAME_MAX)
		return pcapng_damaged(f, k, diag, "claims %u captured octets (at most %u)", p->cap_len,
				      WALK_FRAME_MAX);
	need = (size_t)(p->data - k->at) + p->cap_len;
	if (need + BLOCK_TAIL > k->total)
		return pcapng_damaged(f, k, diag, "claims %u captured octets in a block of %u", p->cap_len,
				      k->total);
	if (k->have >= k->total)
		return pcapng_check_tail(f, k, k->at + k->total - BLOCK_TAIL, k->total, diag);
	/* a block with options that have no room is not waited for: they are passed over */
	return k->total > WALK_ROOM && k->have >= need ? 0 : PCAPNG_E_STOP;
}

static inline int pcapng_lend(struct capture_pcapng *f, const struct block *k, struct frame_batch *b,
			      struct diag *diag)
{
	struct capture_walk *w = &f->walk;
	struct pcapng_filter *filter;
	struct pcapng_packet p = {0};
	int r = pcapng_read_packet(f, k, &p, diag);

	if (r)
		return r;
	filter = p.interface->filter;
	if (filter && !filter->compiled) {
		*diag = filter->why;
		return -EINVAL;
	}
	if (filter && !capture_filter_passes(&filter->program, p.data, p.wire_len, p.cap_len)) {
		w->stats.filtered++;
		w->stats.filtered_octets += p.wire_len;
	} else {
		if (b->n && p.interface->link_type != w->base.link_type)
			return PCAPNG_E_STOP; /* a batch is of one link type */
		w->base.link_type = p.interface->link_type;
		b->frames[b->n++] = (struct frame){
			.data = p.data,
			.cap_len = p.cap_len,
			.wire_len = p.wire_len,
			.time_ns = pcapng_interface_time(p.clock, p.ticks),
			.point = w->config.point,
			.flags = p.ticks < p.clock->plain_end || !pcapng_interface_moves(p.clock, p.ticks)
					 ? 0
					 : FRAME_MOVED,
		};
	}
	w->packet++;
	pcapng_leave(f, k);
	return 0;
}

/* ---- the walk */

static int capture_pcapng_walk(struct capture_walk *w, struct frame_batch *b, struct diag *diag)
{
	struct capture_pcapng *f = (struct capture_pcapng *)w;
	struct block k;
	int r = 0;

	while (r == 0 && b->n < BATCH_MAX) {
		r = pcapng_peek(f, &k, diag);
		if (r == 0)
			r = pcapng_block_is_packet(k.type) ? pcapng_lend(f, &k, b, diag)
							   : pcapng_read_other(f, &k, diag);
	}
	return r < 0 && b->n == 0 ? r : 0; /* first what is good: the next walk comes to the same place */
}

static int capture_pcapng_ended(struct capture_walk *w, struct diag *diag)
{
	struct capture_pcapng *f = (struct capture_pcapng *)w;
	size_t left = w->have - w->at;

	if (left == 0 && f->rest == 0)
		return CAPTURE_E_END;
	if (f->rest == 0 && left >= 4 && pcapng_block_is_packet(pcapng_u32(w->buffer + w->at, f->swapped)))
		return capture_walk_cut(w, "packet", w->packet + 1, diag);
	f->rest = 0;
	return capture_walk_cut(w, "block", f->block + 1, diag);
}

static const struct capture_walk_format capture_pcapng_format = {
	.walk = capture_pcapng_walk,
	.ended = capture_pcapng_ended,
};

/* ---- opening */

/*
 * What is in front of the first packet.  At a pipe that may be a while off: an interface that can be decoded
 * is enough, and what has come with it.
 */
static int pcapng_read_preface(struct capture_pcapng *f, struct diag *diag)
{
	struct capture_walk *w = &f->walk;
	struct block k;
	int r = 0;

	while (r >= 0) {
		const struct pcapng_interface *i;

		r = pcapng_peek(f, &k, diag);
		if (r == 0 && pcapng_block_is_packet(k.type))
			return 0;
		if (r == 0)
			r = pcapng_read_other(f, &k, diag);
		if (r != PCAPNG_E_STOP)
			continue;
		i = pcapng_interfaces_main(&f->interfaces);
		if (!w->base.is_file && i && pcapng_interfaces_decodes(&f->interfaces, i->link_type))
			return 0;
		if (w->end) {
			r = capture_pcapng_ended(w, diag);
			return r == CAPTURE_E_END ? 0 : r;
		}
		r = capture_walk_fill(w, PREFACE_CHUNK, -1, diag);
	}
	return r;
}

static int pcapng_open(struct capture_pcapng *f, const struct capture_source *s, struct diag *diag)
{
	struct capture_walk *w = &f->walk;
	const struct pcapng_interface *i;
	int r = pcapng_interfaces_init(&f->interfaces, &w->config, diag);

	memcpy(w->buffer, s->head, s->n_head);
	w->have = s->n_head;
	if (r == 0)
		r = pcapng_read_preface(f, diag);
	if (r < 0)
		return r;
	i = pcapng_interfaces_main(&f->interfaces);
	w->base.link_type = i ? i->link_type : -1;
	w->base.also_ethernet = pcapng_interfaces_have(&f->interfaces, LINKTYPE_ETHERNET);
	if (!i || !i->filter || i->filter->compiled)
		return 0;
	*diag = i->filter->why;
	return -EINVAL;
}

static void capture_pcapng_close(struct capture *c)
{
	struct capture_pcapng *f = (struct capture_pcapng *)c;

	pcapng_interfaces_deinit(&f->interfaces);
	capture_walk_deinit(&f->walk);
	free(f);
}

int capture_pcapng_open(struct capture **cp, struct capture_source *s, const struct capture_config *config,
			struct diag *diag)
{
	struct capture_pcapng *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(s->fd);
		return diag_set(diag, -ENOMEM, "--read %s: out of memory", s->path);
	}
	r = capture_walk_init(&f->walk, &capture_pcapng_ops, &capture_pcapng_format, s, config, diag);
	if (r < 0) {
		free(f);
		return r;
	}
	r = pcapng_open(f, s, diag);
	if (r < 0) {
		capture_pcapng_close(&f->walk.base);
		return r;
	}
	*cp = &f->walk.base;
	return 0;
}

const struct capture_ops capture_pcapng_ops = {
	.name = "pcapng",
	.recv = capture_walk_recv,
	.release = capture_walk_release,
	.move_to = capture_walk_move_to,
	.more = capture_walk_more,
	.get_stats = capture_walk_get_stats,
	.close = capture_pcapng_close,
};
