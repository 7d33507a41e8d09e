/*
 * selection: of what comes in, what is metered (--sample) and what is reported as packet samples (sFlow).
 *
 * It runs over a batch of frames before decoding. A hash selector needs the flow key, and so runs behind
 * decoding, over packets.  Packet samples are drawn of every frame that was received, whatever is metered.
 */
#ifndef SELECTION_H
#define SELECTION_H

#include "pitot/gate.h"
#include "pitot/packet.h"
#include "pitot/packet_sample.h"
#include "pitot/ring.h"
#include "pitot/sampler.h"
#include "pitot/stats.h"
#include "pitot/totals.h"

#define SELECTION_SOURCES 64

struct selection_config {
	struct sampler_config flows;   /* kind SAMPLER_NONE: every packet is metered */
	struct sampler_config samples; /* kind SAMPLER_NONE: no packet samples */
	unsigned header_max;	       /* octets of a packet sample's header */
};

struct selection_room {
	struct gate *gate;	   /* the consumer opens it */
	struct gate *consumer;	   /* it sleeps there */
	const _Atomic bool *ended; /* the consumer's end: nobody reads any more */
};

struct selection {
	struct selection_config config;
	struct sampler flows, draws;
	uint16_t mark;		  /* of the frames that are drawn now: selection_follow() */
	bool none;		  /* no frame is metered */
	bool counts;		  /* but all are counted here, until whoever reads takes that */
	struct totals counted;	  /* octets on the wire */
	struct ring_writer *ring; /* of struct packet_sample; NULL: none are drawn */
	struct selection_room room;
	unsigned n_sources;
	struct selection_source {
		uint32_t index, pool, drops; /* since its last sample */
	} sources[SELECTION_SOURCES];
};

/*
 * ring: NULL where no packet samples are drawn.  room: of savefiles, where nothing may be lost: the gate at
 * which room in the ring is waited for, until the consumer has ended; NULL: what finds no room is dropped and
 * counted.
 */
void selection_init(struct selection *s, const struct selection_config *config, struct ring_writer *ring,
		    const struct selection_room *room);

/* Polite mode: one frame of so many from now on, of this mark; 0: none, and whether these are counted. */
void selection_follow(struct selection *s, uint32_t interval, uint16_t mark, bool counts);
/* What whoever draws has left out of frames of this mark. */
void selection_count_left_out(struct meter_stats *meter, uint16_t mark, uint64_t packets, uint64_t octets);
/* The same for frames that came while none was drawn. */
void selection_count_paused(struct meter_stats *meter, uint64_t packets, uint64_t octets, uint64_t time_ns);

/* Draws packet samples of the batch; link_type is that of its frames (LINKTYPE_ value). */
void selection_draw(struct selection *s, const struct frame_batch *b, int link_type,
		    struct sample_stats *stats);
/* Leaves in the batch what is to be metered, and counts the rest. */
void selection_frames(struct selection *s, struct frame_batch *b, struct meter_stats *meter);
/* The same over decoded packets, for a hash selector; how many remain. */
unsigned selection_packets(struct selection *s, struct packet *packets, size_t size, unsigned n,
			   struct meter_stats *meter);
/* What was drawn can be read from here on. */
static inline void selection_publish(struct selection *s)
{
	if (s->ring && ring_has_news(s->ring))
		ring_publish(s->ring);
}

#endif
