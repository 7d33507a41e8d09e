/*
 * Templates and what is encoded by them: export/template.c, export/ie.c, export/fields.c, export/options.c.
 *
 * Agreement: for every format, family and many field lists the octets of a record are those that the template
 * announces, and each value is what the record says, computed here without ie.def's encode kinds.
 */
#include <errno.h>
#include <stdio.h>

#include "export/flow_templates.h"
#include "reader.h"
#include "sink.h"

#define NTP UINT64_C(2208988800)

static struct template v4, v6;
static struct diag diag;

static int both(enum ie_protocol protocol, const struct exporter_config *config)
{
	int r = fields_template(&v4, 0, protocol, false, config, &diag);

	return r ? r : fields_template(&v6, FLOW_MASK_IP6, protocol, false, config, &diag);
}

static int build(enum ie_protocol protocol, const char *fields)
{
	struct exporter_config config = sink_config();

	config.fields = fields;
	config.opens_tunnels = true;
	return both(protocol, &config);
}

static uint64_t be(const uint8_t *p, unsigned n)
{
	return reader_uint(p, n);
}

/* What the octets of one field must be. */
static void check_value(const struct flow_record *r, const struct template_field *f, const uint8_t *p,
			const struct template_context *ctx)
{
	uint64_t ms1 = r->first_ns / 1000000, ms2 = r->last_ns / 1000000;
	uint64_t v = be(p, f->length <= 8 ? f->length : 8), want;

	switch (f->id) {
	case 8:
	case 27:
		assert_memory_equal(p, r->key.src, f->length);
		return;
	case 12:
	case 28:
		assert_memory_equal(p, r->key.dst, f->length);
		return;
	case 56:
		assert_memory_equal(p, sink_link_of(r)->src_mac, 6);
		return;
	case 80:
		assert_memory_equal(p, sink_link_of(r)->dst_mac, 6);
		return;
	case 82: {
		const char *name = r->ingress == 1 ? "eth0" : "eth1";

		if (f->length == 16)
			assert_memory_equal(p, name, 5);
		else
			assert_memory_equal(p, name, 4);
		return;
	}
	case 154:
	case 155: {
		uint64_t ns = f->id == 154 ? r->first_ns : r->last_ns;

		assert_int_equal(be(p, 4), ns / 1000000000 + NTP);
		assert_int_equal(be(p + 4, 4) & 0x7ff, 0);
		assert_int_equal((be(p + 4, 4) * 1000000) >> 32, ns % 1000000000 / 1000); /* cut off */
		return;
	}
	case 156:
	case 157: {
		uint64_t ns = f->id == 156 ? r->first_ns : r->last_ns;

		assert_int_equal(be(p, 4), ns / 1000000000 + NTP);
		assert_int_equal((be(p + 4, 4) * 1000000000) >> 32, ns % 1000000000);
		return;
	}
	case 10:
		want = r->ingress;
		break;
	case 14:
		want = r->egress;
		break;
	case 7:
		want = r->key.src_port;
		break;
	case 11:
		want = r->key.dst_port;
		break;
	case 1:
		want = r->octets;
		break;
	case 2:
		want = r->packets;
		break;
	case 22:
		want = (uint32_t)(ms1 - (uint64_t)ctx->boot_ms);
		break;
	case 21:
		want = (uint32_t)(ms2 - (uint64_t)ctx->boot_ms);
		break;
	case 150:
		want = r->first_ns / 1000000000;
		break;
	case 151:
		want = r->last_ns / 1000000000;
		break;
	case 152:
		want = ms1;
		break;
	case 153:
		want = ms2;
		break;
	case 161:
		want = ms2 - ms1;
		break;
	case 4:
		want = r->key.protocol;
		break;
	case 5:
		want = r->tos;
		break;
	case 6:
		want = f->length == 1 ? r->tcp_flags & 0xff : r->tcp_flags;
		break;
	case 60:
		want = r->key.ip_version;
		break;
	case 61:
		want = r->direction;
		break;
	case 136:
		want = r->end_reason;
		break;
	case 52:
		want = r->min_ttl;
		break;
	case 53:
		want = r->max_ttl;
		break;
	case 32:
	case 139:
		want = r->key.protocol == 1 || r->key.protocol == 58 ? r->key.dst_port : 0;
		break;
	case 58:
	case 243:
		want = sink_link_of(r)->vlan;
		break;
	case 25:
		want = r->min_octets;
		break;
	case 26:
		want = r->max_octets;
		break;
	case 31:
		want = r->flow_label;
		break;
	case 148:
		want = r->id;
		break;
	case 34:
		want = 1;
		break;
	default:
		fail_msg("element %u is not checked here", f->id);
		return;
	}
	if (v != want)
		fail_msg("element %u: %llu, not %llu", f->id, (unsigned long long)v,
			 (unsigned long long)want);
}

static void check_agreement(const struct template *t, unsigned family)
{
	struct exporter_config config = sink_config();

	for (unsigned i = 0; i < 60; i++) {
		struct flow_record r = sink_record(i, SINK_EPOCH * NS_PER_SEC + i * 1234567891);
		struct template_context ctx = {.boot_ms = (int64_t)(SINK_EPOCH - 3600) * 1000,
					       .earliest_ms = (int64_t)(SINK_EPOCH - 3600) * 1000,
					       .latest_ms = (int64_t)(SINK_EPOCH + 3600) * 1000,
					       .interfaces = config.interfaces,
					       .n_interfaces = config.n_interfaces};
		uint8_t *out = malloc(t->max_size), *at = out, *end;

		assert_non_null(out);
		if (r.key.ip_version != family) {
			free(out);
			continue;
		}
		end = template_encode(t, &r, &ctx, out);
		assert_in_range(end - out, t->min_size, t->max_size);
		for (unsigned k = 0; k < t->n_fields; k++) {
			unsigned length = t->fields[k].length;

			if (length == IE_VARIABLE)
				length = *at++;
			check_value(&r, &t->fields[k], at, &ctx);
			at += length;
		}
		assert_ptr_equal(at, end);
		assert_int_equal(ctx.saturated, 0);
		free(out);
	}
}

static void test_standard(void **state)
{
	(void)state;
	assert_int_equal(build(P9, NULL), 0);
	assert_int_equal(v4.min_size, 68);
	assert_int_equal(v6.min_size, 92);
	assert_int_equal(v4.id, 256);
	assert_int_equal(v6.id, 257);
	check_agreement(&v4, 4);
	check_agreement(&v6, 6);
	assert_int_equal(build(PX, NULL), 0);
	assert_int_equal(v4.min_size, 77);
	assert_int_equal(v6.min_size, 101);
	check_agreement(&v4, 4);
	check_agreement(&v6, 6);
}

static void test_groups(void **state)
{
	struct exporter_config config = sink_config();

	(void)state;
	config.has_ethernet = config.has_direction = false;
	assert_int_equal(both(PX, &config), 0);
	assert_int_equal(v4.min_size, 77 - 1 - 2 - 6 - 6);
	for (unsigned i = 0; i < v4.n_fields; i++)
		assert_true(v4.fields[i].id != 61 && v4.fields[i].id != 58 && v4.fields[i].id != 56);
}

/* Any list: template and data agree in every format and family. */
static void test_lists(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		char list[2048];
		size_t n = 0;
		unsigned want = 1 + (unsigned)(test_random(&seed) % 30);

		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s", "protocolIdentifier");
		for (unsigned k = 0; k < want; k++) {
			const struct ie *ie = &ie_table[test_random(&seed) % IE_COUNT];

			if (!(ie->protocols & (P9 | PX)))
				continue;
			if (test_random(&seed) & 1)
				n += (size_t)snprintf(list + n, sizeof(list) - n, ",%s", ie->name);
			else
				n += (size_t)snprintf(list + n, sizeof(list) - n, ", %u", ie->id);
		}
		for (unsigned p = P9; p <= PX; p += PX - P9) {
			if (build((enum ie_protocol)p, list))
				fail_msg("%s: %s", list, diag.text);
			check_agreement(&v4, 4);
			check_agreement(&v6, 6);
		}
	}
}

static void test_counterparts(void **state)
{
	(void)state;
	assert_int_equal(build(PX, "8,destinationIPv6Address,icmpTypeCodeIPv4,flowStartSysUpTime,21"), 0);
	assert_int_equal(v4.n_fields, 5);
	assert_int_equal(v6.n_fields, 5);
	assert_int_equal(v4.fields[1].id, 12);
	assert_int_equal(v6.fields[0].id, 27);
	assert_int_equal(v6.fields[2].id, 139);
	assert_int_equal(v4.fields[3].id, 152);
	assert_int_equal(v4.fields[4].id, 153);
	assert_int_equal(build(P9, "27,28,139,22,152"), 0);
	assert_int_equal(v4.fields[0].id, 8);
	assert_int_equal(v6.fields[2].id, 32); /* what v9 collectors read */
	assert_int_equal(v6.fields[3].id, 22);
	assert_int_equal(v6.fields[4].id, 152);
	assert_int_equal(build(PX, "standard,148"), 0);
	assert_int_equal(v4.min_size, 85);
}

static void test_bad_lists(void **state)
{
	static const struct {
		const char *list, *says;
	} bad[] = {{"8,nonsense", "\"nonsense\""}, {"", "missing"},
		   {"8,,12", "missing"},	   {"8,", "missing"},
		   {"99999", "\"99999\""},	   {"paddingOctets", "paddingOctets"},
		   {"flowLabelIPv6", "IPv4"}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		diag.text[0] = '\0';
		assert_int_equal(exporter_check_fields(bad[i].list, false, &diag), -EINVAL);
		if (!strstr(diag.text, bad[i].says) || !strstr(diag.text, "--fields"))
			fail_msg("'%s': %s", bad[i].list, diag.text);
	}
	assert_int_equal(exporter_check_fields("8,12", false, &diag), 0);
}

static void test_saturation(void **state)
{
	struct flow_record r = sink_record(0, SINK_EPOCH * NS_PER_SEC);
	struct template_context ctx = {0};
	struct template t;
	uint8_t out[64];

	(void)state;
	template_init(&t, 0, P5, NULL);
	assert_int_equal(template_add(&t, &ie_table[IE_octetDeltaCount], 4), 0);
	assert_int_equal(template_add(&t, &ie_table[IE_ingressInterface], 2), 0);
	assert_int_equal(template_add(&t, &ie_table[IE_packetDeltaCount], 3), 0);
	r.octets = UINT64_C(6) << 30;
	r.ingress = 65536;
	r.packets = 0xabcdef;
	assert_ptr_equal(template_encode(&t, &r, &ctx, out), out + 9);
	assert_int_equal(be(out, 4), 0xffffffff);
	assert_int_equal(be(out + 4, 2), 0); /* never another interface */
	assert_int_equal(be(out + 6, 3), 0xabcdef);
	assert_int_equal(ctx.saturated, 2);
}

/* Times that cannot be are moved to what can. */
static void test_uptime_bounds(void **state)
{
	struct flow_record r = {.first_ns = 5 * NS_PER_SEC, .last_ns = 500 * NS_PER_SEC};
	struct template_context ctx = {.boot_ms = 6000, .earliest_ms = 10000, .latest_ms = 400000};
	struct template t;
	uint8_t out[8];

	(void)state;
	template_init(&t, 0, P9, NULL);
	template_add(&t, &ie_table[IE_flowStartSysUpTime], 0);
	template_add(&t, &ie_table[IE_flowEndSysUpTime], 0);
	template_encode(&t, &r, &ctx, out);
	assert_int_equal(be(out, 4), 4000);
	assert_int_equal(be(out + 4, 4), 394000);
	assert_int_equal(ctx.saturated, 2);
	r.first_ns = 10 * NS_PER_SEC;
	r.last_ns = 400 * NS_PER_SEC;
	template_encode(&t, &r, &ctx, out);
	assert_int_equal(ctx.saturated, 2);
}

/* Each microsecond of a second survives collectors that cut the NTP fraction off, and those that round it. */
static void test_microseconds(void **state)
{
	struct template_context ctx = {0};
	struct template t;
	uint8_t out[8];

	(void)state;
	template_init(&t, 256, PX, NULL);
	template_add(&t, &ie_table[IE_flowStartMicroseconds], 0);
	for (uint64_t us = 0; us < 1000000; us++) {
		struct flow_record r = {.first_ns = SINK_EPOCH * NS_PER_SEC + us * 1000 + us % 1000};
		uint64_t fraction;

		template_encode(&t, &r, &ctx, out);
		fraction = be(out + 4, 4);
		if (be(out, 4) != SINK_EPOCH + NTP || fraction & 0x7ff || (fraction * 1000000) >> 32 != us ||
		    (fraction * 1000000 + (UINT64_C(1) << 31)) >> 32 != us)
			fail_msg("%llu us", (unsigned long long)us);
	}
}

static void test_strings(void **state)
{
	struct export_facts facts = {.ifindex = 1};
	struct template_context ctx = {0};
	struct template t;
	uint8_t out[512];

	(void)state;
	template_init(&t, 512, P9, NULL);
	template_add_scope(&t, &ie_facts[FACT_ifindex], 2);
	template_add(&t, &ie_facts[FACT_ifname], 0);
	assert_int_equal(t.fields[0].id, 2); /* the scope type, not the element */
	memcpy(facts.ifname, "123456789012345\xc3\xa4x", 18);
	template_encode(&t, &facts, &ctx, out);
	assert_memory_equal(out + 4, "123456789012345\0", 16); /* not half of a character */
	template_init(&t, 512, PX, NULL);
	template_add(&t, &ie_facts[FACT_ifname], 0);
	assert_ptr_equal(template_encode(&t, &facts, &ctx, out), out + 19);
	assert_int_equal(out[0], 18 - 0);
	memset(facts.ifdescription, 'x', sizeof(facts.ifdescription)); /* not terminated */
	template_init(&t, 512, PX, NULL);
	template_add(&t, &ie_facts[FACT_ifdescription], 0);
	assert_ptr_equal(template_encode(&t, &facts, &ctx, out), out + 129);
	assert_int_equal(t.max_size, 129);
}

/* A packet that was sent has the name of the interface that it left by. */
static void test_name_of_egress(void **state)
{
	struct template_context ctx = {.interfaces = sink_config().interfaces, .n_interfaces = 2};
	struct flow_record r = {.egress = 2};

	(void)state;
	assert_string_equal(template_interface_name(&ctx, &r), "eth1");
	r.ingress = 1;
	assert_string_equal(template_interface_name(&ctx, &r), "eth0");
	r.ingress = 9;
	assert_string_equal(template_interface_name(&ctx, &r), "");
}

static void test_flow_keys(void **state)
{
	struct exporter_config config = sink_config();
	uint64_t bits;

	(void)state;
	assert_int_equal(build(PX, "1,8,12,4,7,11,5,10,58,56,14"), 0);
	config.key_interface = false;
	assert_int_equal(options_flow_keys(&v4, &config), 0x3e);
	assert_int_equal(options_flow_keys(&v6, &config), 0x3e);
	config.key_interface = true;
	config.flow_key = FLOW_KEY_TOS | FLOW_KEY_VLAN | FLOW_KEY_MAC;
	bits = options_flow_keys(&v4, &config);
	assert_int_equal(bits, 0x7fe); /* egress: the only interface that a packet sent there has */
}

static void count_line(void *ctx, const char *line)
{
	unsigned *n = ctx;

	assert_null(strchr(line, '\n'));
	++*n;
}

static void test_lists_for_people(void **state)
{
	struct collector_config c = {.url = "u", .format = FORMAT_IPFIX};
	struct exporter_config config = sink_config();
	unsigned n = 0, rows = 0;

	(void)state;
	for (unsigned i = 0; i < IE_COUNT; i++)
		rows += (ie_table[i].protocols & (P9 | PX)) != 0;
	exporter_list_fields(count_line, &n);
	assert_int_equal(n, rows + 1);
	n = 0;
	config.collectors = &c;
	config.n_collectors = 1;
	assert_int_equal(exporter_print_templates(&config, count_line, &n, &diag), 0);
	assert_int_equal(n, 1 + 2 * 23);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard),      cmocka_unit_test(test_groups),
		cmocka_unit_test(test_lists),	      cmocka_unit_test(test_counterparts),
		cmocka_unit_test(test_bad_lists),     cmocka_unit_test(test_saturation),
		cmocka_unit_test(test_uptime_bounds), cmocka_unit_test(test_microseconds),
		cmocka_unit_test(test_strings),	      cmocka_unit_test(test_name_of_egress),
		cmocka_unit_test(test_flow_keys),     cmocka_unit_test(test_lists_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
