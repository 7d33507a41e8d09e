/*
 * intake: a batch that a capture lends becomes packets that are metered: selected, decoded, released, and
 * what is not metered accounted for.
 */
#ifndef INTAKE_H
#define INTAKE_H

#include "account.h"
#include "pitot/capture.h"
#include "pitot/decode.h"
#include "selection.h"

struct intake {
	size_t packet_size;
	struct fragment_table *fragments; /* NULL: they are not tracked */
	const struct own_flows *own;	  /* NULL: nothing is left out */
	bool host_clock;		  /* packet times are of the host's clock */
	const bool *paused;		  /* NULL: never */
	bool marks;			  /* polite mode: what is selected is counted for each mark */
	uint16_t mark;			  /* of the batch that was taken */
	struct selection *selection;
	struct metering_stats *stats; /* of flows the fragments only */
	struct frame_batch batch;     /* as capture_recv() filled it */
};

/* The three steps, for who takes them at different places; first: draws samples, leaves what is to be
 * metered. */
static inline void intake_select(struct selection *s, struct frame_batch *b, int link_type,
				 struct metering_stats *stats)
{
	selection_draw(s, b, link_type, &stats->samples);
	selection_frames(s, b, &stats->meter);
}
/* Last, after decoding: how many of n packets are metered; they are moved together. */
unsigned intake_account(struct intake *in, struct packet *packets, unsigned n, uint32_t mtu);

/* All of them: how many of the batch's packets are metered; *last_ns is the time of its last frame, 0 if
 * there is none. */
unsigned intake_take(struct intake *in, struct capture *c, const struct decoder *d, struct packet *packets,
		     uint64_t *last_ns);

#endif
