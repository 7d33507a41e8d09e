/*
 * decode_walk: from layer to layer until there is an IP header, or none can come.
 *
 * It ends because every decoder moves the cursor forward or ends the walk, and because the number of layers
 * is limited.
 */
#include "decode/decode_internal.h"

static decode_fn *const layers[LAYERS] = {
#define LAYER(name, function) [LAYER_##name] = decode_##function,
#include "decode/layers.def"
};

enum decode_layer decode_walk(struct cursor *c, enum decode_layer layer, bool inside)
{
	struct packet *p = c->packet;

	while (layer < LAYERS) {
		/* an EtherType is part of the header that it ends */
		if (layer != LAYER_ETHERTYPE) {
			if (p->layers >= c->decoder->max_layers && (inside || layer < LAYER_IP))
				return decode_stop(c, PACKET_TOO_DEEP);
			p->layers += p->layers < UINT8_MAX;
		}
		layer = layers[layer](c);
	}
	return layer;
}
