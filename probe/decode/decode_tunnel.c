/*
 * decode_tunnel: from an IP header to the one inside the tunnel that it carries (--decapsulate).
 *
 * What lies between is reached by the rows of tunnels.def and then walked like what lies before the first IP
 * header.  An IP header that is reached takes the place of the one before it; where none is, because there is
 * none, it is broken or was not captured, the packet stays that of the header before, with a note why.
 */
#include <string.h>

#include "decode/decode_hot.h"

enum { UDP_HEADER = 8 };

enum edge_kind { EDGE_PROTOCOL, EDGE_UDP_PORT };
enum { OUTER_IP4 = 1 << 4, OUTER_IP6 = 1 << 6, OUTER_ANY = OUTER_IP4 | OUTER_IP6 };

static const struct edge_row {
	uint8_t tunnel; /* enum tunnel */
	uint8_t kind;
	uint16_t number;
	struct edge edge;
} edge_rows[] = {
#define TUNNEL(...)
#define IP_EDGE(name, outer, kind_, number_, layer_)                                                         \
	{TUNNEL_##name, EDGE_##kind_, number_, {LAYER_##layer_, OUTER_##outer}},
#include "pitot/tunnels.def"
};

static const uint16_t registered_ports[TUNNEL_COUNT] = {
#define TUNNEL(name, text, port, help) port,
#define IP_EDGE(...)
#include "pitot/tunnels.def"
};

static_assert(TUNNEL_COUNT <= 32, "a bit for each");

void decode_tunnel_choose(struct decoder *d, const struct decode_config *config)
{
	d->tunnels = config->tunnels;
	for (size_t i = 0; i < sizeof(edge_rows) / sizeof(edge_rows[0]); i++) {
		const struct edge_row *row = &edge_rows[i];
		uint16_t port = config->tunnel_ports[row->tunnel];

		if (!(config->tunnels >> row->tunnel & 1))
			continue;
		if (row->kind == EDGE_PROTOCOL) {
			for (unsigned v6 = 0; v6 < 2; v6++)
				if (row->edge.outers & (v6 ? OUTER_IP6 : OUTER_IP4))
					d->protocols[row->number][v6] = row->edge;
		} else if (d->n_ports < PORT_EDGES_MAX) {
			if (!port)
				port = row->number ? row->number : registered_ports[row->tunnel];
			d->ports[d->n_ports++] = (struct port_edge){port, row->edge};
			d->port_bits[port / 64] |= UINT64_C(1) << port % 64;
		}
	}
}

/* The destination tells; answers of some tunnels have their port as the source. */
static const struct edge *tunnel_by_port(const struct decoder *d, const struct packet *p)
{
	const struct edge *answer = NULL;

	for (unsigned i = 0; i < d->n_ports; i++) {
		const struct port_edge *port = &d->ports[i];

		if (!(port->edge.outers & 1 << p->key.ip_version))
			continue;
		if (port->port == p->key.dst_port)
			return &port->edge;
		if (port->port == p->key.src_port && !answer)
			answer = &port->edge;
	}
	return answer;
}

/* The datagram ends where UDP says.  Packets longer than UDP can say are several in one (offload). */
static void tunnel_enter_udp(struct cursor *c)
{
	uint64_t left = cursor_wire_left(c);
	size_t length = load16(c->at + 4);

	if (length >= UDP_HEADER && length < left && left <= UINT16_MAX) {
		c->wire_end -= left - length;
		if (length < cursor_left(c))
			c->end = c->at + length;
	}
	c->at += UDP_HEADER;
}

/* The header that the payload of the packet's IP header begins with, or LAYER_DONE. */
static enum decode_layer tunnel_first(struct cursor *c)
{
	const struct decoder *d = c->decoder;
	const struct packet *p = c->packet;
	const struct edge *edge = &d->protocols[p->key.protocol][p->key.ip_version == 6];

	if (edge->outers)
		return (enum decode_layer)edge->layer;
	if (p->key.protocol != PROTO_UDP || cursor_left(c) < UDP_HEADER)
		return LAYER_DONE;
	edge = tunnel_by_port(d, p);
	if (!edge)
		return LAYER_DONE;
	tunnel_enter_udp(c);
	return (enum decode_layer)edge->layer;
}

/* What the IP header before it left is gone; what the frame told stays. */
static void tunnel_forget(struct packet *p)
{
	memset(&p->key, 0, offsetof(struct flow_key, vlan));
	p->octets = 0;
	p->flow_label = 0;
	p->fragment_id = 0;
	p->tcp_flags = 0;
	p->tos = 0;
	p->ttl = 0;
	p->fragment = PACKET_FRAGMENT_NONE;
	p->notes = 0;
	p->verdict = PACKET_NOT_IP;
}

static uint16_t tunnel_note(uint8_t verdict)
{
	switch (verdict) {
	case PACKET_CUT_LINK:
	case PACKET_CUT_IP:
		return PACKET_NOTE_TUNNEL_CUT;
	case PACKET_TOO_DEEP:
		return PACKET_NOTE_TUNNEL_DEEP;
	case PACKET_NOT_IP:
		return PACKET_NOTE_TUNNEL_NOT_IP;
	default:
		return PACKET_NOTE_TUNNEL_BAD;
	}
}

/* Of several tunnels one in the other the outermost; numbers are those of the first that has one. */
static void tunnel_tell(const struct cursor *c, const struct packet *outer)
{
	struct block_tunnel *t = decode_tunnel_block(c->decoder, c->packet);

	if (!t->ip_version) {
		memcpy(t->src, outer->key.src, sizeof(t->src));
		memcpy(t->dst, outer->key.dst, sizeof(t->dst));
		t->src_port = outer->key.src_port;
		t->dst_port = outer->key.dst_port;
		t->protocol = outer->key.protocol;
		t->ip_version = outer->key.ip_version;
	}
	if (!t->segment)
		t->segment = c->segment;
	if (!t->gre_key)
		t->gre_key = c->gre_key;
}

void decode_tunnels(struct cursor *c)
{
	struct packet *p = c->packet;
	enum decode_layer layer;

	do {
		struct packet outer;

		layer = tunnel_first(c);
		if (layer == LAYER_DONE)
			return;
		outer = *p;
		tunnel_forget(p);
		c->segment = 0;
		c->gre_key = 0;
		layer = decode_walk(c, layer, true);
		if (p->verdict == PACKET_METERED) {
			p->notes |= outer.notes | PACKET_NOTE_DECAPSULATED;
			if (c->decoder->tunnel_at)
				tunnel_tell(c, &outer);
			continue;
		}
		outer.notes |= tunnel_note(p->verdict);
		*p = outer;
		return;
	} while (layer == LAYER_INSIDE);
}
