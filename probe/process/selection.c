/* selection: see selection.h. */
#include "selection.h"

#include <string.h>

#include "pitot/clock.h"
#include "pitot/cooked.h"
#include "pitot/link_type.h"
#include "pitot/tag.h"

/* How a link type's frame becomes a header that sFlow has a name for. */
static const struct link_header {
	int link_type;
	uint16_t strip;	   /* octets in front of the IP header that nobody could read */
	uint16_t protocol; /* 0: IPv4 or IPv6, by the first four bits behind them */
} link_headers[] = {
	{LINKTYPE_ETHERNET, 0, PACKET_SAMPLE_ETHERNET},
	{LINKTYPE_PPP, 0, PACKET_SAMPLE_PPP},
	{LINKTYPE_PPP_HDLC, 0, PACKET_SAMPLE_PPP},
	{LINKTYPE_FRELAY, 0, PACKET_SAMPLE_FRAME_RELAY},
	{LINKTYPE_NULL, 4, 0},
	{LINKTYPE_LOOP, 4, 0},
	{LINKTYPE_RAW_OF_BSD, 0, 0},
	{LINKTYPE_RAW_OF_OPENBSD, 0, 0},
	{LINKTYPE_RAW, 0, 0},
	{LINKTYPE_IPV4, 0, 0},
	{LINKTYPE_IPV6, 0, 0},
};

/* Cooked captures: where their header says what follows it, and whence the frame is. */
static const struct cooked_header {
	int link_type;
	uint8_t size, type_at, hardware_at, way_at, index_at; /* index_at 0: it has none */
} cooked_headers[] = {
	{LINKTYPE_LINUX_SLL, 16, 14, 2, 1, 0},
	{LINKTYPE_LINUX_SLL2, 20, 0, 8, 10, 4},
};

enum { COOKED_NETLINK = 824, COOKED_OUTGOING = 4 };

void selection_init(struct selection *s, const struct selection_config *config, struct ring_writer *ring,
		    const struct selection_room *room)
{
	*s = (struct selection){.config = *config, .ring = ring};
	sampler_init(&s->flows, &config->flows);
	sampler_init(&s->draws, &config->samples);
	if (config->samples.kind == SAMPLER_NONE)
		s->ring = NULL;
	if (room)
		s->room = *room;
}

/* ---- packet samples */

/* Of more sources than there is room for, the last place has the rest: its pool is theirs, too. */
static struct selection_source *selection_source(struct selection *s, uint32_t index)
{
	for (unsigned i = 0; i < s->n_sources; i++)
		if (s->sources[i].index == index)
			return &s->sources[i];
	if (s->n_sources < SELECTION_SOURCES)
		s->sources[s->n_sources++] = (struct selection_source){.index = index};
	return &s->sources[s->n_sources - 1];
}

/* A tag that the kernel took out of the frame goes back to where it was. */
static void selection_put_header(const struct selection *s, struct packet_sample *p, const struct frame *f)
{
	unsigned room = s->config.header_max, n = f->cap_len < room ? f->cap_len : room;

	if (!(f->flags & FRAME_VLAN) || p->protocol != PACKET_SAMPLE_ETHERNET || n < 12) {
		memcpy(p->header, f->data, n);
		p->header_len = (uint16_t)n;
		return;
	}
	if (n + 4 > room)
		n = room > 16 ? room - 4 : 12;
	memcpy(p->header, f->data, 12);
	p->header[12] = (uint8_t)(f->vlan_tpid >> 8);
	p->header[13] = (uint8_t)f->vlan_tpid;
	p->header[14] = (uint8_t)(f->vlan_tci >> 8);
	p->header[15] = (uint8_t)f->vlan_tci;
	memcpy(p->header + 16, f->data + 12, n - 12);
	p->header_len = (uint16_t)(n + 4);
	p->frame_len += 4;
}

/* The outermost tag, as it stands in the header now. */
static void selection_put_vlan(struct packet_sample *p)
{
	unsigned type = p->header_len >= 16 ? (unsigned)p->header[12] << 8 | p->header[13] : 0;

	p->vlan = p->priority = 0;
	if (p->protocol != PACKET_SAMPLE_ETHERNET || p->header_len < 14) {
		p->vlan = PACKET_SAMPLE_NO_VLAN;
	} else if (tag_is_type((uint16_t)type)) {
		p->vlan = (uint16_t)((p->header[14] & 15) << 8 | p->header[15]);
		p->priority = p->header[14] >> 5;
	}
}

static const struct cooked_header *selection_cooked(const struct frame *f, int link_type)
{
	for (unsigned i = 0; i < sizeof(cooked_headers) / sizeof(cooked_headers[0]); i++)
		if (cooked_headers[i].link_type == link_type)
			return f->cap_len >= cooked_headers[i].size ? &cooked_headers[i] : NULL;
	return NULL;
}

/* A cooked header tells what other frames are told with: the interface's index, and which way they went. */
static uint32_t selection_index(const struct frame *f, int link_type)
{
	const struct cooked_header *h = selection_cooked(f, link_type);

	if (!h || !h->index_at)
		return f->ifindex;
	return (uint32_t)cooked_u16(f->data + h->index_at) << 16 | cooked_u16(f->data + h->index_at + 2);
}

static void selection_put_origin(struct packet_sample *p, const struct frame *f, int link_type)
{
	const struct cooked_header *h = selection_cooked(f, link_type);
	uint32_t index = selection_index(f, link_type);
	bool out = h ? f->data[h->way_at] == COOKED_OUTGOING : (f->flags & FRAME_EGRESS) != 0;

	p->source = index ? index : 1;
	if (h && f->data[h->way_at] > COOKED_OUTGOING)
		return;
	p->input = out ? 0 : index;
	p->output = out ? index : 0;
}

static uint16_t selection_protocol_of_type(uint16_t type)
{
	switch (type) {
	case 0x0800:
		return PACKET_SAMPLE_IP4;
	case 0x86dd:
		return PACKET_SAMPLE_IP6;
	case 0x8847:
	case 0x8848:
		return PACKET_SAMPLE_MPLS;
	default:
		return 0;
	}
}

/* What is behind the header of a cooked frame and the tags that are there; 0: nothing that has a name. */
static uint16_t selection_uncook(struct frame *f, const struct cooked_header *h)
{
	uint16_t type = cooked_u16(f->data + h->type_at);
	uint32_t at = h->size;

	if (cooked_u16(f->data + h->hardware_at) == COOKED_NETLINK)
		return 0;
	for (unsigned i = 0; i <= COOKED_TAGS_MAX; i++) {
		at += cooked_rest_of_tags(type, f->data + at, f->cap_len - at, f->wire_len - at);
		if (!tag_is_type(type) || f->cap_len - at < 4)
			break;
		type = cooked_u16(f->data + at + 2);
		at += 4;
	}
	f->data += at;
	f->cap_len -= at;
	f->wire_len -= at;
	return selection_protocol_of_type(type);
}

/* The frame without what nobody could read, and what it begins with then; 0: sFlow has no name for that. */
static uint16_t selection_peel(struct frame *f, int link_type)
{
	const struct cooked_header *cooked = selection_cooked(f, link_type);
	const struct link_header *h = NULL;

	if (cooked)
		return selection_uncook(f, cooked);
	for (unsigned i = 0; i < sizeof(link_headers) / sizeof(link_headers[0]) && !h; i++)
		if (link_headers[i].link_type == link_type)
			h = &link_headers[i];
	if (!h || f->cap_len <= h->strip)
		return 0;
	f->data += h->strip;
	f->cap_len -= h->strip;
	f->wire_len -= h->strip;
	if (h->protocol)
		return h->protocol;
	return f->data[0] >> 4 == 4 ? PACKET_SAMPLE_IP4 : f->data[0] >> 4 == 6 ? PACKET_SAMPLE_IP6 : 0;
}

static bool selection_fill(const struct selection *s, struct packet_sample *p, const struct frame *f,
			   int link_type)
{
	struct frame inner = *f;
	uint16_t protocol;

	if (inner.cap_len > f->wire_len) /* a savefile may have more than it says the frame had */
		inner.cap_len = f->wire_len;
	protocol = selection_peel(&inner, link_type);
	if (!protocol || inner.cap_len == 0)
		return false;
	*p = (struct packet_sample){
		.time_ns = f->time_ns,
		.rate = s->config.samples.interval,
		.frame_len = inner.wire_len,
		.protocol = protocol,
	};
	selection_put_origin(p, f, link_type);
	selection_put_header(s, p, &inner);
	selection_put_vlan(p);
	return true;
}

/* Of a savefile every sample is handed on, as long as somebody reads them. */
static struct packet_sample *selection_reserve(struct selection *s)
{
	struct packet_sample *slot = ring_reserve(s->ring);

	while (!slot && s->room.gate && !atomic_load(s->room.ended)) {
		ring_publish(s->ring);
		gate_wake(s->room.consumer);
		gate_arm(s->room.gate);
		slot = ring_reserve(s->ring);
		if (slot)
			gate_disarm(s->room.gate);
		else
			gate_sleep(s->room.gate, NS_PER_MSEC);
	}
	return slot;
}

void selection_draw(struct selection *s, const struct frame_batch *b, int link_type,
		    struct sample_stats *stats)
{
	for (unsigned i = 0; s->ring && i < b->n; i++) {
		const struct frame *f = &b->frames[i];
		struct selection_source *source = selection_source(s, selection_index(f, link_type));
		struct packet_sample *slot;

		stats->pool++;
		source->pool++;
		if (!sampler_take(&s->draws))
			continue;
		slot = selection_reserve(s);
		if (!slot) {
			stats->dropped++;
			source->drops++;
			continue;
		}
		if (!selection_fill(s, slot, f, link_type)) {
			s->ring->filled--; /* not lent after all */
			stats->dropped++;
			source->drops++;
			continue;
		}
		slot->pool = source->pool;
		slot->drops = source->drops;
		source->pool = source->drops = 0;
		stats->taken++;
	}
}

/* ---- metering */

void selection_follow(struct selection *s, uint32_t interval, uint16_t mark, bool counts)
{
	s->counts = counts;
	s->none = interval == 0;
	s->mark = mark;
	s->flows.config.kind = interval > 1 ? SAMPLER_RANDOM : SAMPLER_NONE;
	s->flows.config.interval = interval ? interval : 1;
}

void selection_count_left_out(struct meter_stats *meter, uint16_t mark, uint64_t packets, uint64_t octets)
{
	meter->received_packets += packets;
	meter->unselected_packets += packets;
	meter->unselected_by[mark < STATS_SELECTORS ? mark : 0] += packets;
	meter->received_octets += octets;
	meter->unselected_octets += octets;
}

void selection_count_paused(struct meter_stats *meter, uint64_t packets, uint64_t octets, uint64_t time_ns)
{
	if (!packets)
		return;
	meter->received_packets += packets;
	meter->received_octets += octets;
	meter->ignored[PACKET_POLITE] += packets;
	meter->ignored_octets += octets;
	if (meter->first_ignored_ns == 0 || time_ns < meter->first_ignored_ns)
		meter->first_ignored_ns = time_ns;
	if (time_ns > meter->last_ignored_ns)
		meter->last_ignored_ns = time_ns;
}

static uint32_t selection_octets(const struct frame *f)
{
	return f->wire_len + (f->flags & FRAME_VLAN ? 4 : 0);
}

/* All of them. */
static void selection_leave_out(struct selection *s, struct frame_batch *b, struct meter_stats *meter)
{
	for (unsigned i = 0; i < b->n; i++) {
		const struct frame *f = &b->frames[i];

		if (s->counts)
			totals_count(&s->counted, 1, selection_octets(f));
		else
			selection_count_paused(meter, 1, selection_octets(f), f->time_ns);
	}
	b->n = 0;
}

void selection_frames(struct selection *s, struct frame_batch *b, struct meter_stats *meter)
{
	unsigned kept = 0;

	if (s->none) {
		selection_leave_out(s, b, meter);
		return;
	}
	if (s->flows.config.kind != SAMPLER_RANDOM && s->flows.config.kind != SAMPLER_SYSTEMATIC)
		return;
	for (unsigned i = 0; i < b->n; i++) {
		const struct frame *f = &b->frames[i];

		if (sampler_take(&s->flows)) {
			if (kept != i)
				b->frames[kept] = *f;
			kept++;
			continue;
		}
		selection_count_left_out(meter, s->mark, 1, selection_octets(f));
	}
	b->n = kept;
}

unsigned selection_packets(struct selection *s, struct packet *packets, size_t size, unsigned n,
			   struct meter_stats *meter)
{
	unsigned kept = 0;

	if (s->config.flows.kind != SAMPLER_HASH)
		return n;
	for (unsigned i = 0; i < n; i++) {
		struct packet *p = packet_of(packets, size, i);

		if (sampler_take_key(&s->flows, &p->key)) {
			if (kept != i)
				packet_copy(packet_of(packets, size, kept), p, size);
			kept++;
			continue;
		}
		selection_count_left_out(meter, s->mark, 1, p->link_octets);
	}
	return kept;
}
