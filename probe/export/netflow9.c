/* netflow9: NetFlow version 9 (RFC 3954).  Templates, options and data: templated.c. */
#include "templated.h"

/* RFC 3954 §5.1 */
static void netflow9_header(struct collector *c)
{
	struct export_clock_header now = export_clock_finish(&c->clock);
	struct message *m = &c->message;
	struct wire w;

	wire_init(&w, m->wire.start, 20);
	wire_put_u16(&w, 9);
	wire_put_u16(&w, (uint16_t)(m->load.templates + m->load.options + m->load.records));
	wire_put_u32(&w, now.uptime_ms);
	wire_put_u32(&w, now.seconds);
	wire_put_u32(&w, c->sequence);
	wire_put_u32(&w, c->exporter->config.domain);
	c->sequence++; /* counts messages, those that get lost as well */
}

const struct format_ops netflow9_ops = {
	.name = "netflow9",
	.protocol = P9,
	.clock = EXPORT_CLOCK_UPTIME_SECONDS,
	.setup = templated_setup,
	.record = templated_record,
	.header = netflow9_header,
	.tick = templated_tick,
	.refresh = templated_refresh,
	.finish = templated_finish,
};
