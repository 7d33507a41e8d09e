/*
 * sflow: sFlow version 5 (sflow.org, "sFlow Version 5", July 2004).  XDR: words of four octets, big-endian.
 *
 * It is not made of flow records: packet samples and counters come through doors of their own.  A datagram
 * holds whole samples.  Compact samples are sent unless an interface's index needs the expanded form (§5):
 * one agent never mixes both, so an index that turns up later and does not fit is 0, unknown, and counted as
 * saturated.
 */
#include <errno.h>
#include <stdlib.h>

#include "format.h"

#define SFLOW_MAX     1400	       /* octets of a datagram */
#define SFLOW_WAIT_NS (NS_PER_SEC / 2) /* "no more than one second" (§4.1.1): sent after this long */
#define COMPACT_BITS  24
#define SOURCES_MAX   4096
#define FCS	      4
#define HEADER_LEAST  64 /* of a sampled packet: shorter ones are not made shorter */
#define HEADER_IP4    28
#define HEADER_IP6    40

enum { SAMPLE_FLOW = 1, SAMPLE_COUNTERS = 2, SAMPLE_FLOW_EXPANDED = 3, SAMPLE_COUNTERS_EXPANDED = 4 };
enum { FLOW_RAW_HEADER = 1, FLOW_EXTENDED_SWITCH = 1001 };
enum { COUNTERS_GENERIC = 1, COUNTERS_ETHERNET = 2 };

/* Sequence numbers of a data source (§5: each counts by itself). */
struct sflow_source {
	uint32_t index;
	uint32_t samples;
	uint32_t counters;
	uint32_t pool, drops; /* of all producers */
};

struct sflow {
	bool expanded;
	uint32_t n_samples; /* of the open datagram */
	unsigned n_sources;
	struct sflow_source *sources;
};

static struct sflow *sflow_of(struct collector *c)
{
	return c->state;
}

static unsigned sflow_header_size(const struct collector *c)
{
	return c->exporter->config.agent.family == 6 ? HEADER_IP6 : HEADER_IP4;
}

static int sflow_setup(struct collector *c, struct diag *diag)
{
	const struct exporter_config *config = &c->exporter->config;
	struct sflow *s = calloc(1, sizeof(*s));

	if (!s)
		return diag_set(diag, -ENOMEM, "sflow: out of memory");
	c->state = s;
	for (unsigned i = 0; i < config->n_interfaces; i++)
		if (config->interfaces[i].ifindex >> COMPACT_BITS)
			s->expanded = true;
	return 0;
}

static void sflow_close(struct collector *c)
{
	struct sflow *s = sflow_of(c);

	if (s)
		free(s->sources);
	free(s);
	c->state = NULL;
}

/* NULL when there is no memory for one more. */
static struct sflow_source *sflow_source(struct sflow *s, uint32_t index)
{
	struct sflow_source *grown;

	for (unsigned i = 0; i < s->n_sources; i++)
		if (s->sources[i].index == index)
			return &s->sources[i];
	if (s->n_sources == SOURCES_MAX)
		return NULL;
	grown = reallocarray(s->sources, s->n_sources + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	s->sources = grown;
	grown[s->n_sources] = (struct sflow_source){.index = index};
	return &grown[s->n_sources++];
}

/* ---- the datagram */

static void sflow_begin(struct collector *c)
{
	sflow_of(c)->n_samples = 0;
	c->session = c->transport->session; /* datagrams stand alone: nothing is announced in a new one */
	message_begin(c, sflow_header_size(c), 0);
}

/* §5: sample_datagram_v5 */
static void sflow_header(struct collector *c)
{
	const struct exporter_config *config = &c->exporter->config;
	uint64_t uptime_ns = c->exporter->now.monotonic_ns - config->start_monotonic_ns;
	struct wire w;

	wire_init(&w, c->message.wire.start, sflow_header_size(c));
	wire_put_u32(&w, 5);
	wire_put_u32(&w, config->agent.family == 6 ? 2 : 1);
	wire_put_bytes(&w, config->agent.address, config->agent.family == 6 ? 16 : 4);
	wire_put_u32(&w, config->domain); /* sub-agent id */
	wire_put_u32(&w, c->sequence++);
	wire_put_u32(&w, (uint32_t)(uptime_ns / NS_PER_MSEC));
	wire_put_u32(&w, sflow_of(c)->n_samples);
}

/*
 * A sample that put() writes into this datagram or, where it has no room, into the next one.  False: not even
 * an empty one has it, or the collector cannot be sent to: its datagram will be lost.
 */
static bool sflow_put(struct collector *c, void (*put)(struct collector *c, struct wire *w, const void *what),
		      const void *what)
{
	struct message *m = &c->message;

	for (int tries = 0; tries < 2; tries++) {
		uint8_t *mark;

		if (!m->open)
			sflow_begin(c);
		if (m->wire.end > m->wire.start + SFLOW_MAX)
			m->wire.end = m->wire.start + SFLOW_MAX;
		mark = wire_mark(&m->wire);
		put(c, &m->wire, what);
		if (!wire_overflowed(&m->wire)) {
			sflow_of(c)->n_samples++;
			m->load.samples++;
			m->touched_ns = c->exporter->now.monotonic_ns;
			return true;
		}
		wire_rewind(&m->wire, mark);
		if (!sflow_of(c)->n_samples)
			return false;
		message_finish(c);
	}
	return false;
}

/* ---- pieces */

/* A length that is known once what it is of was written. */
static uint8_t *sflow_open_length(struct wire *w)
{
	return wire_take(w, 4);
}

static void sflow_close_length(struct wire *w, uint8_t *length)
{
	if (length && !wire_overflowed(w))
		wire_store(length, (uint64_t)(w->at - length - 4), 4);
}

static uint32_t sflow_index(struct collector *c, uint32_t index)
{
	if (sflow_of(c)->expanded || index < (1u << COMPACT_BITS))
		return index;
	c->stats.saturated++;
	return 0;
}

/* sflow_data_source: ifIndex */
static void sflow_put_source(struct collector *c, struct wire *w, uint32_t index)
{
	if (sflow_of(c)->expanded)
		wire_put_u32(w, 0);
	wire_put_u32(w, sflow_index(c, index));
}

static void sflow_put_interface(struct collector *c, struct wire *w, uint32_t index)
{
	if (sflow_of(c)->expanded)
		wire_put_u32(w, 0); /* format: single interface */
	wire_put_u32(w, sflow_index(c, index));
}

static bool sflow_has_fcs(const struct packet_sample *s)
{
	return s->protocol == PACKET_SAMPLE_ETHERNET;
}

/* sampled_header: the frame's length has its frame check sequence, which is stripped */
static void sflow_put_raw_header(struct wire *w, const struct packet_sample *s)
{
	unsigned stripped = sflow_has_fcs(s) ? FCS : 0;
	uint8_t *length;

	wire_put_u32(w, FLOW_RAW_HEADER);
	length = sflow_open_length(w);
	wire_put_u32(w, s->protocol);
	wire_put_u32(w, s->frame_len + stripped);
	wire_put_u32(w, stripped);
	wire_put_u32(w, s->header_len);
	wire_put_bytes(w, s->header, s->header_len);
	wire_put_zeros(w, (4 - s->header_len % 4) % 4);
	sflow_close_length(w, length);
}

/* extended_switch: a probe forwards nothing, so what comes in goes out with the same tag */
static void sflow_put_switch(struct wire *w, const struct packet_sample *s)
{
	if (s->vlan == PACKET_SAMPLE_NO_VLAN)
		return;
	wire_put_u32(w, FLOW_EXTENDED_SWITCH);
	wire_put_u32(w, 16);
	for (unsigned i = 0; i < 2; i++) {
		wire_put_u32(w, s->vlan);
		wire_put_u32(w, s->priority);
	}
}

/* flow_sample, flow_sample_expanded */
static void sflow_put_sample(struct collector *c, struct wire *w, const void *what)
{
	const struct packet_sample *s = what;
	struct sflow *f = sflow_of(c);
	struct sflow_source *source = sflow_source(f, s->source);
	uint8_t *length;

	wire_put_u32(w, f->expanded ? SAMPLE_FLOW_EXPANDED : SAMPLE_FLOW);
	length = sflow_open_length(w);
	wire_put_u32(w, source ? source->samples + 1 : 0);
	sflow_put_source(c, w, s->source);
	wire_put_u32(w, s->rate);
	wire_put_u32(w, (source ? source->pool : 0) + s->pool);
	wire_put_u32(w, (source ? source->drops : 0) + s->drops);
	sflow_put_interface(c, w, s->input);
	sflow_put_interface(c, w, s->output);
	wire_put_u32(w, s->vlan == PACKET_SAMPLE_NO_VLAN ? 1 : 2);
	sflow_put_raw_header(w, s);
	sflow_put_switch(w, s);
	sflow_close_length(w, length);
	if (!source || wire_overflowed(w))
		return;
	source->samples++;
	source->pool += s->pool;
	source->drops += s->drops;
}

static void sflow_put_counter(struct wire *w, uint64_t value)
{
	wire_put_u32(w, value == COUNTER_UNKNOWN ? UINT32_MAX : (uint32_t)value);
}

/* if_counters: 32-bit counters wrap as those of the interfaces MIB do */
static void sflow_put_generic(struct wire *w, const struct interface_counters *n)
{
	const struct interface_traffic *ways[2] = {&n->in, &n->out};

	wire_put_u32(w, COUNTERS_GENERIC);
	wire_put_u32(w, 88);
	wire_put_u32(w, n->index);
	wire_put_u32(w, n->type);
	wire_put_u64(w, n->speed);
	wire_put_u32(w, n->direction);
	wire_put_u32(w, (n->admin_up ? 1u : 0u) | (n->oper_up ? 2u : 0u));
	for (unsigned i = 0; i < 2; i++) {
		wire_put_u64(w, ways[i]->octets);
		sflow_put_counter(w, ways[i]->unicast);
		sflow_put_counter(w, ways[i]->multicast);
		sflow_put_counter(w, ways[i]->broadcast);
		sflow_put_counter(w, ways[i]->discards);
		sflow_put_counter(w, ways[i]->errors);
		if (i == 0)
			sflow_put_counter(w, n->in_unknown_protocols);
	}
	wire_put_u32(w, n->promiscuous ? 1 : 2); /* TruthValue */
}

static void sflow_put_ethernet(struct wire *w, const struct interface_ethernet *e)
{
	const uint64_t values[] = {
		e->alignment_errors,	 e->fcs_errors,		  e->single_collisions,
		e->multiple_collisions,	 e->sqe_errors,		  e->deferred,
		e->late_collisions,	 e->excessive_collisions, e->internal_transmit_errors,
		e->carrier_sense_errors, e->frames_too_long,	  e->internal_receive_errors,
		e->symbol_errors};

	wire_put_u32(w, COUNTERS_ETHERNET);
	wire_put_u32(w, sizeof(values) / sizeof(values[0]) * 4);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		sflow_put_counter(w, values[i]);
}

/* counters_sample, counters_sample_expanded */
static void sflow_put_counters(struct collector *c, struct wire *w, const void *what)
{
	const struct interface_counters *n = what;
	struct sflow *f = sflow_of(c);
	struct sflow_source *source = sflow_source(f, n->index);
	uint8_t *length;

	wire_put_u32(w, f->expanded ? SAMPLE_COUNTERS_EXPANDED : SAMPLE_COUNTERS);
	length = sflow_open_length(w);
	if (source && n->anew)
		source->counters = 0; /* §5: reset only together with its counters */
	wire_put_u32(w, source ? source->counters + 1 : 0);
	sflow_put_source(c, w, n->index);
	wire_put_u32(w, n->ethernet ? 2 : 1);
	sflow_put_generic(w, n);
	if (n->ethernet)
		sflow_put_ethernet(w, &n->ether);
	sflow_close_length(w, length);
	if (source && !wire_overflowed(w))
		source->counters++;
}

/* ---- the doors */

/* With as many octets of its header as a datagram has room for. */
static void sflow_sample(struct collector *c, const struct packet_sample *s)
{
	struct packet_sample shorter;
	struct sflow_source *source;

	if (sflow_put(c, sflow_put_sample, s))
		return;
	for (shorter = *s; shorter.header_len >= HEADER_LEAST * 2;) {
		shorter.header_len /= 2;
		if (sflow_put(c, sflow_put_sample, &shorter))
			return;
	}
	c->stats.unfit_samples++;
	source = sflow_source(sflow_of(c), s->source);
	if (!source)
		return;
	source->pool += s->pool; /* what comes next tells of it */
	source->drops += s->drops + 1;
}

static void sflow_counters(struct collector *c, const struct interface_counters *n)
{
	if (!sflow_put(c, sflow_put_counters, n))
		c->stats.unfit_samples++;
}

static void sflow_tick(struct collector *c, const struct clock_time *now)
{
	if (c->message.open && now->monotonic_ns - c->message.begun_ns >= SFLOW_WAIT_NS)
		message_finish(c);
}

static uint64_t sflow_due_ns(const struct collector *c)
{
	return c->message.open ? c->message.begun_ns + SFLOW_WAIT_NS : UINT64_MAX;
}

static void sflow_finish(struct collector *c, const struct clock_time *now)
{
	(void)now;
	message_finish(c);
}

/* ---- handing over */

static void sflow_hand_over(const struct collector *c, struct sections_writer *w)
{
	const struct sflow *s = c->state;
	uint32_t expanded = s->expanded, size = sizeof(*s->sources);

	sections_put(w, &expanded, sizeof(expanded));
	sections_put(w, &size, sizeof(size));
	sections_put(w, s->sources, s->n_sources * sizeof(*s->sources));
}

static const char *sflow_take_over(struct collector *c, struct section *from)
{
	struct sflow *s = sflow_of(c);
	struct sflow_source handed, *to;
	uint32_t expanded, size;

	if (!section_get(from, &expanded, sizeof(expanded)) || !section_get(from, &size, sizeof(size)) ||
	    size != sizeof(handed))
		return "its sequence numbers cannot be read";
	while (section_get(from, &handed, sizeof(handed))) {
		to = sflow_source(s, handed.index);
		if (to)
			*to = handed;
	}
	s->expanded |= expanded != 0; /* an agent never goes back */
	return NULL;
}

const struct format_ops sflow_ops = {
	.name = "sflow",
	.protocol = 0, /* no information elements */
	.setup = sflow_setup,
	.close = sflow_close,
	.hand_over = sflow_hand_over,
	.take_over = sflow_take_over,
	.sample = sflow_sample,
	.counters = sflow_counters,
	.header = sflow_header,
	.tick = sflow_tick,
	.due_ns = sflow_due_ns,
	.finish = sflow_finish,
};
