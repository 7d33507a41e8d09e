/*
 * Golden datagrams: what NetFlow v5, v9 and IPFIX look like, octet by octet, with a fixed clock.
 *
 * netflow5.hex, netflow9.hex and ipfix.hex beside this file are annotated and were reviewed against Cisco's
 * v5 format, RFC 3954 and RFC 7011; flows.csv, flows.json and flows.txt are what formats of lines write.
 * After a wanted change: PITOT_GOLDEN_OUT=FOLDER writes what is made now as FOLDER/NAME.bin; annotate it anew
 * and review every octet that differs.
 */
#include <ctype.h>
#include <stdio.h>

#include "sink.h"

#define MOST 4096u

/* TCP over IPv4, ICMP over IPv4, UDP over IPv6, ICMPv6: what differs between them is what formats get wrong.
 */
static void make_records(struct flow_record r[4])
{
	static const uint8_t a4[4] = {192, 0, 2, 1}, b4[4] = {198, 51, 100, 2};
	static const uint8_t a6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
			     b6[16] = {0x20, 0x01, 0x0d, 0xb8, 1, [15] = 2};
	static const uint8_t macs[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};

	for (unsigned i = 0; i < 4; i++) {
		r[i] = (struct flow_record){
			.packets = 3 + i,
			.octets = UINT64_C(0x100) * (i + 1),
			.id = i + 1,
			.ingress = 1,
			.egress = 2,
			.first_ns = (SINK_EPOCH - 5 + i) * NS_PER_SEC + 123456789,
			.last_ns = (SINK_EPOCH - 2) * NS_PER_SEC + 987654321 + i,
			.tos = 0xb8,
			.min_ttl = 62,
			.max_ttl = 64,
			.direction = FLOW_DIRECTION_INGRESS,
			.end_reason = (uint8_t)(1 + i),
		};
		sink_link(&r[i])->vlan = 100;
		memcpy(sink_link(&r[i])->src_mac, macs[0], 6);
		memcpy(sink_link(&r[i])->dst_mac, macs[1], 6);
		r[i].key.ip_version = i < 2 ? 4 : 6;
		memcpy(r[i].key.src, i < 2 ? a4 : a6, i < 2 ? 4 : 16);
		memcpy(r[i].key.dst, i < 2 ? b4 : b6, i < 2 ? 4 : 16);
	}
	r[0].key.protocol = 6;
	r[0].key.src_port = 49152;
	r[0].key.dst_port = 443;
	r[0].tcp_flags = 0x11b; /* AE ACK PSH SYN FIN */
	r[1].key.protocol = 1;
	r[1].key.dst_port = 3 << 8 | 3; /* port unreachable */
	r[2].key.protocol = 17;
	r[2].key.src_port = 5353;
	r[2].key.dst_port = 53;
	r[3].key.protocol = 58;
	r[3].key.dst_port = 128 << 8; /* echo request */
}

static size_t make(enum export_format format, uint8_t out[MOST])
{
	struct sink *sink = sink_new(1472, true); /* reliable: templates once */
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	struct flow_record r[4];
	struct exporter *e;
	size_t n = 0;

	config.offline = true; /* no process id, no start time */
	e = sink_exporter(config, 1, &format, &sink);
	make_records(r);
	for (unsigned i = 0; i < 4; i++)
		exporter_record(e, &r[i], &now);
	message_flush(&e->collectors[0]);
	for (unsigned i = 0; i < sink->n; i++) {
		assert_true(n + sink->messages[i].size <= MOST);
		memcpy(out + n, sink->messages[i].data, sink->messages[i].size);
		n += sink->messages[i].size;
	}
	exporter_free(e);
	sink_free(sink);
	return n;
}

/* Hex digits up to # on each line. */
static size_t read_hex(const char *name, uint8_t out[MOST])
{
	const char *root = getenv("PITOT_SOURCE_ROOT");
	char path[512], line[512];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/golden/%s.hex", root ? root : ".", name);
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s: cannot be read", path);
	while (fgets(line, sizeof(line), f))
		for (const char *p = line; *p && *p != '#'; p++) {
			char digits[3] = {p[0], p[1], '\0'};

			if (isspace((unsigned char)*p))
				continue;
			assert_true(isxdigit((unsigned char)p[0]) && isxdigit((unsigned char)p[1]) &&
				    n < MOST);
			out[n++] = (uint8_t)strtoul(digits, NULL, 16);
			p++;
		}
	fclose(f);
	return n;
}

static void check(enum export_format format, const char *name)
{
	static uint8_t made[MOST], want[MOST];
	const char *folder = getenv("PITOT_GOLDEN_OUT");
	size_t n = make(format, made), m;

	if (folder) {
		char path[512];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s.bin", folder, name);
		f = fopen(path, "wb");
		assert_non_null(f);
		fwrite(made, 1, n, f);
		fclose(f);
	}
	m = read_hex(name, want);
	for (size_t i = 0; i < n && i < m; i++)
		if (made[i] != want[i])
			fail_msg("%s: octet %zu is %02x, the golden one is %02x", name, i, made[i], want[i]);
	assert_int_equal(n, m);
}

static void test_netflow5(void **state)
{
	(void)state;
	check(FORMAT_NETFLOW5, "netflow5");
}

static void test_netflow9(void **state)
{
	(void)state;
	check(FORMAT_NETFLOW9, "netflow9");
}

static void test_ipfix(void **state)
{
	(void)state;
	check(FORMAT_IPFIX, "ipfix");
}

/* Lines are compared as they are. */
static void check_lines(enum export_format format, const char *name)
{
	static uint8_t made[MOST], want[MOST];
	const char *root = getenv("PITOT_SOURCE_ROOT"), *folder = getenv("PITOT_GOLDEN_OUT");
	size_t n = make(format, made), m;
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder ? folder : "/dev", folder ? name : "null");
	f = fopen(path, "wb");
	assert_non_null(f);
	fwrite(made, 1, n, f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/tests/golden/%s", root ? root : ".", name);
	f = fopen(path, "rb");
	if (!f)
		fail_msg("%s: cannot be read", path);
	m = fread(want, 1, sizeof(want), f);
	fclose(f);
	assert_int_equal(n, m);
	assert_memory_equal(made, want, n);
}

static void test_lines(void **state)
{
	(void)state;
	check_lines(FORMAT_CSV, "flows.csv");
	check_lines(FORMAT_JSON, "flows.json");
	check_lines(FORMAT_TEXT, "flows.txt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_netflow5), cmocka_unit_test(test_netflow9),
					   cmocka_unit_test(test_ipfix), cmocka_unit_test(test_lines)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
