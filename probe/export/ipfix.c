/* ipfix: IP Flow Information Export (RFC 7011).  Templates, options and data: templated.c. */
#include "templated.h"

/* RFC 7011 §3.1 */
static void ipfix_header(struct collector *c)
{
	struct export_clock_header now = export_clock_finish(&c->clock);
	struct message *m = &c->message;
	struct wire w;

	templated_count_message(c);
	wire_init(&w, m->wire.start, 16);
	wire_put_u16(&w, 10);
	wire_put_u16(&w, (uint16_t)wire_size(&m->wire));
	wire_put_u32(&w, now.seconds);
	wire_put_u32(&w, c->sequence);
	wire_put_u32(&w, c->exporter->config.domain);
	if (!c->transport->limits.spooled) /* else ipfix_restamp() does it */
		c->sequence += m->load.options +
			       m->load.flows.records; /* data records, templates not; lost ones as well */
}

static void ipfix_restamp(struct collector *c, uint8_t *message, uint32_t records)
{
	const struct exporter *e = c->exporter;
	uint64_t now_ns = e->config.offline ? e->latest_ns + NS_PER_SEC - 1 : e->now.realtime_ns;
	uint32_t seconds = (uint32_t)(now_ns / NS_PER_SEC), written = wire_load32(message + 4);

	if (!written && !e->latest_ns) /* templates of an earlier run's records */
		seconds = (uint32_t)(e->now.realtime_ns / NS_PER_SEC);
	if (seconds < written)
		seconds = written;
	if (seconds > c->stamp_s)
		c->stamp_s = seconds;
	wire_store(message + 4, c->stamp_s, 4);
	wire_store(message + 8, c->sequence, 4);
	c->sequence += records;
}

/* RFC 7011 §8.1: all templates, all options templates */
static size_t ipfix_withdraw(struct collector *c, uint8_t *message)
{
	struct wire w;

	wire_init(&w, message, TRANSPORT_WITHDRAWAL);
	wire_put_u16(&w, 10);
	wire_put_u16(&w, 32);
	wire_put_u64(&w, 0); /* restamped */
	wire_put_u32(&w, c->exporter->config.domain);
	for (uint16_t set = 2; set <= 3; set++) {
		wire_put_u16(&w, set);
		wire_put_u16(&w, 8);
		wire_put_u16(&w, set);
		wire_put_u16(&w, 0);
	}
	return wire_size(&w);
}

/* RFC 7011 §3.1, §3.3.2, §3.4.2.2 */
static const struct dialect ipfix_dialect = {
	.header_size = 16,
	.template_set = 2,
	.options_template_set = 3,
	.stamp_octets = 8,
};

const struct format_ops ipfix_ops = {
	.name = "ipfix",
	.protocol = PX,
	.clock = EXPORT_CLOCK_SECONDS,
	.has_fields = true,
	.dialect = &ipfix_dialect,
	.setup = templated_setup,
	.close = templated_close,
	.record = templated_record,
	.header = ipfix_header,
	.tick = templated_tick,
	.due_ns = templated_due_ns,
	.refresh = templated_refresh,
	.selector = templated_statistics,
	.periods = templated_statistics,
	.finish = templated_finish,
	.template = templated_template,
	.hand_over = templated_hand_over,
	.take_over = templated_take_over,
	.announce = templated_announce,
	.restamp = ipfix_restamp,
	.withdraw = ipfix_withdraw,
};
