/* ipfix: IP Flow Information Export (RFC 7011).  Templates, options and data: templated.c. */
#include "templated.h"

/* RFC 7011 §3.1 */
static void ipfix_header(struct collector *c)
{
	struct export_clock_header now = export_clock_finish(&c->clock);
	struct message *m = &c->message;
	struct wire w;

	wire_init(&w, m->wire.start, 16);
	wire_put_u16(&w, 10);
	wire_put_u16(&w, (uint16_t)wire_size(&m->wire));
	wire_put_u32(&w, now.seconds);
	wire_put_u32(&w, c->sequence);
	wire_put_u32(&w, c->exporter->config.domain);
	c->sequence += m->load.options + m->load.records; /* data records, templates not; lost ones as well */
}

const struct format_ops ipfix_ops = {
	.name = "ipfix",
	.protocol = PX,
	.clock = EXPORT_CLOCK_SECONDS,
	.setup = templated_setup,
	.record = templated_record,
	.header = ipfix_header,
	.tick = templated_tick,
	.refresh = templated_refresh,
	.finish = templated_finish,
};
