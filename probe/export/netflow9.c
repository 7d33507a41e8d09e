/* netflow9: NetFlow version 9 (RFC 3954).  Templates, options and data: templated.c. */
#include "templated.h"

/* RFC 3954 §5.1 */
static void netflow9_header(struct collector *c)
{
	struct export_clock_header now = export_clock_finish(&c->clock);
	struct message *m = &c->message;
	struct wire w;

	templated_count_message(c);
	wire_init(&w, m->wire.start, 20);
	wire_put_u16(&w, 9);
	wire_put_u16(&w, (uint16_t)(m->load.templates + m->load.options + m->load.flows.records));
	wire_put_u32(&w, now.uptime_ms);
	wire_put_u32(&w, now.seconds);
	wire_put_u32(&w, c->sequence);
	wire_put_u32(&w, c->exporter->config.domain);
	if (!c->transport->limits.spooled) /* else netflow9_restamp() does it */
		c->sequence++;		   /* counts messages, those that get lost as well */
}

/* Times stay: First and Last of the records hang on them. */
static void netflow9_restamp(struct collector *c, uint8_t *message, uint32_t records)
{
	const struct clock_time *now = &c->exporter->now;
	uint64_t none = 0;

	(void)records;
	if (memcmp(message + 4, &none, 8) == 0) { /* by templated_announce() */
		int64_t ms = (int64_t)(now->realtime_ns / NS_PER_MSEC);

		wire_store(message + 4, (uint64_t)(ms - (c->clock.has_line ? c->clock.boot_ms : ms)), 4);
		wire_store(message + 8, (uint64_t)(ms / 1000), 4);
	}
	wire_store(message + 12, c->sequence++, 4);
}

/* RFC 3954 §5.1, §5.2, §6.1 */
static const struct dialect netflow9_dialect = {
	.header_size = 20,
	.reserve = 3,
	.template_set = 0,
	.options_template_set = 1,
	.scope_in_octets = true,
	.scope_is_system = true,
	.stamp_octets = 12,
};

const struct format_ops netflow9_ops = {
	.name = "netflow9",
	.protocol = P9,
	.clock = EXPORT_CLOCK_UPTIME_SECONDS,
	.has_fields = true,
	.counts_messages = true,
	.dialect = &netflow9_dialect,
	.setup = templated_setup,
	.close = templated_close,
	.record = templated_record,
	.header = netflow9_header,
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
	.restamp = netflow9_restamp,
};
