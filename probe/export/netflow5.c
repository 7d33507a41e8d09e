/*
 * netflow5: NetFlow version 5.  A template that nobody announces; at most 30 records of 48 octets.
 *
 * IPv6 does not fit the format.  Counters have 32 bits: a record with more is split into several whose sums
 * are exact and of which none is empty.  An ifIndex above 65535 is 0, unknown.
 */
#include <errno.h>
#include <stdlib.h>

#include "format.h"

#define HEADER_SIZE 24
#define RECORD_SIZE 48
#define MAX_RECORDS 30
#define MOST	    (UINT64_C(0xffffffff) - 1) /* all ones would look saturated */

static const struct {
	enum ie_index ie;
	uint16_t length;
} netflow5_fields[] = {
	{IE_sourceIPv4Address, 4},   {IE_destinationIPv4Address, 4},   {IE_paddingOctets, 4}, /* next hop */
	{IE_ingressInterface, 2},    {IE_egressInterface, 2},	       {IE_packetDeltaCount, 4},
	{IE_octetDeltaCount, 4},     {IE_flowStartSysUpTime, 4},       {IE_flowEndSysUpTime, 4},
	{IE_sourceTransportPort, 2}, {IE_destinationTransportPort, 2}, {IE_paddingOctets, 1},
	{IE_tcpControlBits, 1},	     {IE_protocolIdentifier, 1},       {IE_ipClassOfService, 1},
	{IE_paddingOctets, 8}, /* AS numbers, prefix lengths, padding */
};

static int netflow5_setup(struct collector *c, struct diag *diag)
{
	struct template *t = calloc(1, sizeof(*t));

	c->state = t;
	if (!t)
		return diag_set(diag, -ENOMEM, "%s: no memory for a template", c->config.url);
	template_init(t, 0, P5, NULL);
	for (unsigned i = 0; i < sizeof(netflow5_fields) / sizeof(netflow5_fields[0]); i++)
		template_add(t, &ie_table[netflow5_fields[i].ie], netflow5_fields[i].length);
	return 0;
}

static void netflow5_close(struct collector *c)
{
	free(c->state);
}

static bool netflow5_fits(const struct flow_record *r)
{
	return r->key.ip_version == 4;
}

static void netflow5_enter_session(struct collector *c)
{
	if (c->session == c->transport->session)
		return;
	message_abandon(c);
	c->session = c->transport->session;
	c->sequence = collector_first_sequence(c);
}

/* Room for one more record, with the clock on its line. */
static bool netflow5_make_room(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	struct message *m = &c->message;

	if (m->open && (m->set_records == MAX_RECORDS || wire_room(&m->wire) < RECORD_SIZE ||
			c->selector != r->selector || !export_clock_fits(&c->clock, r, now)))
		message_finish(c);
	if (!m->open) {
		netflow5_enter_session(c);
		message_begin(c, HEADER_SIZE, 0);
		export_clock_begin(&c->clock, r, now);
	}
	c->selector = r->selector;
	export_clock_add(&c->clock, r, now);
	return wire_room(&m->wire) >= RECORD_SIZE;
}

static bool netflow5_put_part(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	struct message *m = &c->message;

	if (!netflow5_make_room(c, r, now))
		return false;
	c->context.boot_ms = c->clock.boot_ms;
	c->context.latest_ms = c->clock.header_ms;
	c->context.earliest_ms = export_clock_earliest(&c->clock);
	m->wire.at = template_encode(c->state, r, &c->context, m->wire.at);
	m->set_records++;
	m->touched_ns = now->monotonic_ns;
	return true;
}

/* a * b / c without overflow */
static uint64_t netflow5_share(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)(__extension__(unsigned __int128) a * b / c);
}

static void netflow5_record(struct collector *c, const struct flow_record *r, const struct clock_time *now)
{
	uint64_t most = r->octets > r->packets ? r->octets : r->packets;
	uint64_t parts =
		most > MOST ? most / (MOST / 2) + 1 : 1; /* half full: rounding cannot overflow one */
	struct flow_record part = *r;
	uint64_t packets = 0, octets = 0;

	if (parts > r->packets)
		parts = r->packets ? r->packets : 1;
	for (uint64_t i = 1; i <= parts; i++) {
		uint64_t p = netflow5_share(r->packets, i, parts),
			 o = r->packets ? netflow5_share(r->octets, p, r->packets) : r->octets;

		part.packets = p - packets;
		part.octets = o - octets;
		packets = p;
		octets = o;
		if (!netflow5_put_part(c, &part, now)) {
			collector_unfit(c, r);
			return;
		}
		if (i == parts) {
			message_count(c, part.packets, part.octets, now->monotonic_ns);
		} else { /* the record counts where its last part is */
			c->message.load.flows.packets += part.packets;
			c->message.load.flows.octets += part.octets;
		}
	}
}

/* Two bits of mode (1 every N-th, 2 at random), and N; what has no room is refused at the start. */
static uint16_t netflow5_sampling(const struct export_sampling *s, uint16_t selector)
{
	uint32_t interval = s->n_selectors == 0		? s->interval
			    : selector < s->n_selectors ? 1u << selector
							: 1;

	if (interval <= 1)
		return 0;
	return (uint16_t)((s->algorithm == 1 ? 1u : 2u) << 14 | (interval & 0x3fff));
}

static void netflow5_header(struct collector *c)
{
	struct export_clock_header now = export_clock_finish(&c->clock);
	struct message *m = &c->message;
	struct wire w;

	wire_init(&w, m->wire.start, HEADER_SIZE);
	wire_put_u16(&w, 5);
	wire_put_u16(&w, m->set_records);
	wire_put_u32(&w, now.uptime_ms);
	wire_put_u32(&w, now.seconds);
	wire_put_u32(&w, now.nanoseconds);
	wire_put_u32(&w, c->sequence);
	wire_put_u16(&w, (uint16_t)c->exporter->config.domain); /* engine type and id */
	wire_put_u16(&w, netflow5_sampling(&c->exporter->config.sampling, c->selector));
	c->sequence += m->set_records; /* counts records, those that get lost as well */
}

static void netflow5_tick(struct collector *c, const struct clock_time *now)
{
	netflow5_enter_session(c); /* first: what is open belongs to the session before */
	if (c->message.open && !export_clock_fits(&c->clock, NULL, now))
		message_finish(c);
}

const struct format_ops netflow5_ops = {
	.name = "netflow5",
	.protocol = P5,
	.clock = EXPORT_CLOCK_UPTIME,
	.setup = netflow5_setup,
	.close = netflow5_close,
	.fits = netflow5_fits,
	.record = netflow5_record,
	.header = netflow5_header,
	.tick = netflow5_tick,
};
