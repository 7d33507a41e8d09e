/*
 * decode: which layer a link type begins with, and a frame's way from there to its IP header, or, where
 * tunnels are to be opened (decode_tunnel.c), to the innermost one.
 *
 * Calls go down: decode -> decode_tunnel -> decode_walk -> a file for each family of headers -> decode_hot.h,
 * which the usual packet meets alone.
 */
#include <errno.h>
#include <stdlib.h>

#include "decode/decode_hot.h"
#include "pitot/link_type.h"

/* clang-format off */
#define LINK_TYPES(X) \
	X(LINKTYPE_NULL, LAYER_NULL) \
	X(LINKTYPE_ETHERNET, LAYER_ETHERNET) \
	X(LINKTYPE_PPP, LAYER_PPP_HDLC) \
	X(LINKTYPE_RAW_OF_BSD, LAYER_IP) \
	X(LINKTYPE_RAW_OF_OPENBSD, LAYER_IP) \
	X(LINKTYPE_PPP_HDLC, LAYER_PPP_HDLC) \
	X(LINKTYPE_PPP_ETHER, LAYER_PPPOE) \
	X(LINKTYPE_RAW, LAYER_IP) \
	X(LINKTYPE_C_HDLC, LAYER_CHDLC) \
	X(LINKTYPE_IEEE802_11, LAYER_80211) \
	X(LINKTYPE_FRELAY, LAYER_FRELAY) \
	X(LINKTYPE_LOOP, LAYER_LOOP) \
	X(LINKTYPE_LINUX_SLL, LAYER_SLL) \
	X(LINKTYPE_IEEE802_11_RADIOTAP, LAYER_RADIOTAP) \
	X(LINKTYPE_IPV4, LAYER_IP4) \
	X(LINKTYPE_IPV6, LAYER_IP6) \
	X(LINKTYPE_NFLOG, LAYER_NFLOG) \
	X(LINKTYPE_LINUX_SLL2, LAYER_SLL2)
/* clang-format on */
#define NUMBER(number, first) number,
#define FIRST(number, first)  first,
static const int link_types[] = {LINK_TYPES(NUMBER)};
static const enum decode_layer first_layers[] = {LINK_TYPES(FIRST)};
enum { N_LINK_TYPES = sizeof(link_types) / sizeof(link_types[0]) };

static int decode_find_link_type(int number)
{
	for (int i = 0; i < N_LINK_TYPES; i++)
		if (link_types[i] == number)
			return i;
	return -1;
}

const int *decode_link_types(unsigned *n)
{
	*n = N_LINK_TYPES;
	return link_types;
}

bool decode_knows_link_type(int link_type)
{
	return decode_find_link_type(link_type) >= 0;
}

static int decoder_make(struct decoder **dp, enum decode_layer first, const struct decode_config *config,
			struct diag *diag)
{
	struct decoder *d = aligned_alloc(64, (sizeof(*d) + 63) & ~(size_t)63);

	if (!d)
		return diag_set(diag, -ENOMEM, "decoder: out of memory");
	*d = (struct decoder){.first = first,
			      .key_tos_mask = config->key_tos ? 0xff : 0,
			      .key_vlan_mask = config->key_vlan ? 0xffff : 0,
			      .link_at = config->layout.packet_at[BLOCK_LINK],
			      .tunnel_at = config->layout.packet_at[BLOCK_TUNNEL],
			      .packet_size = config->layout.packet_size ? config->layout.packet_size
									: sizeof(struct packet),
			      .max_layers = config->max_layers};
	decode_tunnel_choose(d, config);
	d->opens_tunnels = d->tunnels || d->tunnel_at;
	*dp = d;
	return 0;
}

int decoder_new(struct decoder **dp, int link_type, const struct decode_config *config, struct diag *diag)
{
	int i = decode_find_link_type(link_type);

	if (i < 0)
		return diag_set(
			diag, -EPROTONOSUPPORT,
			"link type %d is not one that pitot can decode (pitot(8), MEASUREMENT, lists them)",
			link_type);
	return decoder_make(dp, first_layers[i], config, diag);
}

int decoder_new_unknown(struct decoder **dp, const struct decode_config *config, struct diag *diag)
{
	return decoder_make(dp, LAYER_UNKNOWN, config, diag);
}

void decoder_free(struct decoder *d)
{
	free(d);
}

/* What is no plain IP in Ethernet. */
__attribute__((noinline)) static void decode_layers(struct cursor c, enum decode_layer layer)
{
	if (layer < LAYERS)
		layer = decode_walk(&c, layer, false);
	if (layer == LAYER_INSIDE)
		decode_tunnels(&c);
}

static inline __attribute__((always_inline)) void decode_one(const struct decoder *restrict d,
							     const struct frame *restrict f,
							     struct packet *restrict p, bool opens_tunnels)
{
	struct cursor c = {.at = f->data,
			   .end = f->data + f->cap_len,
			   .frame = f,
			   .decoder = d,
			   .opens_tunnels = opens_tunnels,
			   .packet = p,
			   .wire_end = f->wire_len};
	enum decode_layer layer = d->first;

	packet_clear(p);
	if (opens_tunnels && d->tunnel_at)
		decode_tunnel_clear(d, p);
	p->time_ns = f->time_ns;
	p->link_octets = f->wire_len;
	p->key.point = f->point;
	p->direction = FLOW_DIRECTION_UNKNOWN;
	if (f->flags) {
		if (f->flags & FRAME_INGRESS) {
			p->direction = FLOW_DIRECTION_INGRESS;
			p->ingress = f->ifindex;
		} else if (f->flags & FRAME_EGRESS) {
			p->direction = FLOW_DIRECTION_EGRESS;
			p->egress = f->ifindex;
		}
		if (f->flags & FRAME_MOVED)
			p->notes |= PACKET_NOTE_TIME_MOVED;
		if (f->flags & FRAME_VLAN) { /* the kernel took the outermost tag out */
			p->vlan = f->vlan_tci & 0xfff;
			p->link_octets += 4;
			c.outermost_vlan_seen = true;
		}
	}
	if (layer == LAYER_ETHERNET) {
		p->layers = 1;
		layer = decode_ethernet_header(&c);
	}
	if (layer == LAYER_IP4) {
		p->layers++;
		layer = decode_ip4_header(&c);
	} else if (layer == LAYER_IP6) {
		p->layers++;
		layer = decode_ip6_header(&c);
	}
	if (layer != LAYER_DONE)
		decode_layers(c, layer);
	p->key.tos = p->tos & d->key_tos_mask;
	p->key.vlan = p->vlan & d->key_vlan_mask;
	if (d->link_at)
		decode_link_block(d, p)->vlan = p->vlan;
}

void decode_frame(const struct decoder *d, const struct frame *f, struct packet *p)
{
	decode_one(d, f, p, d->opens_tunnels);
}

static inline __attribute__((always_inline)) void decode_frames(const struct decoder *d,
								const struct frame_batch *b,
								struct packet *packets, bool opens_tunnels)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (i + 4 < b->n) {
			__builtin_prefetch(b->frames[i + 4].data);
			__builtin_prefetch(b->frames[i + 4].data + 64);
		}
		decode_one(d, &b->frames[i], packet_of(packets, d->packet_size, i), opens_tunnels);
	}
}

void decode_batch(const struct decoder *d, const struct frame_batch *b, struct packet *packets)
{
	/* two loops, so that who opens no tunnels does not ask for them at every packet */
	if (d->opens_tunnels)
		decode_frames(d, b, packets, true);
	else
		decode_frames(d, b, packets, false);
}
