/*
 * decode: bytes -> keys and facts.
 *
 * One header family per file, one shape for every decoder: guard, fields, next.  Offsets only grow, every
 * octet is checked against what was captured, and the number of headers is limited, so no input loops.
 */
#ifndef PITOT_DECODE_H
#define PITOT_DECODE_H

#include "pitot/diag.h"
#include "pitot/packet.h"
#include "pitot/tunnel.h"

struct decode_config {
	bool key_tos;
	bool key_vlan;
	unsigned max_layers; /* headers before the first IP header; beyond: PACKET_TOO_DEEP; inside tunnels:
				all */
	uint32_t tunnels;    /* 1 << enum tunnel: those to open; 0: the first IP header is the flow's */
	struct record_layout layout;	     /* of the packets; all zero: the core alone */
	uint16_t tunnel_ports[TUNNEL_COUNT]; /* UDP ports that are not the registered ones; 0: that one */
};

struct decoder;

/*
 * A decoder for frames of one link type (a LINKTYPE_ or DLT_ number).
 * -EPROTONOSUPPORT with a sentence naming the number when there is none for it.
 */
int decoder_new(struct decoder **dp, int link_type, const struct decode_config *config, struct diag *diag);
/* A decoder for frames of link types that there is none for: it ignores them all, PACKET_UNKNOWN_LINK. */
int decoder_new_unknown(struct decoder **dp, const struct decode_config *config, struct diag *diag);
void decoder_free(struct decoder *d);

/* What decoder_new() knows: n of them. */
const int *decode_link_types(unsigned *n);
bool decode_knows_link_type(int link_type);

/* Fills *p; the answer is p->verdict. */
void decode_frame(const struct decoder *d, const struct frame *f, struct packet *p);
void decode_batch(const struct decoder *d, const struct frame_batch *b, struct packet *packets);

#endif
