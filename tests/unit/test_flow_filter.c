/* flow_filter: expressions, what they select, what is wrong with those that are none, and programs of
 * nobody's. */
#include "cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pitot/flow_filter.h"

static struct flow_key flow(const char *src, uint16_t src_port, const char *dst, uint16_t dst_port,
			    uint8_t protocol)
{
	struct flow_key r = {.src_port = src_port, .dst_port = dst_port, .protocol = protocol};
	int family = strchr(src, ':') ? AF_INET6 : AF_INET;

	r.ip_version = family == AF_INET ? 4 : 6;
	assert_int_equal(inet_pton(family, src, r.src), 1);
	assert_int_equal(inet_pton(family, dst, r.dst), 1);
	return r;
}

/* Which of the five flows an expression selects, as "abc". */
static const char *selects(const char *text)
{
	static char which[8];
	const struct flow_key flows[] = {
		flow("10.0.0.1", 40000, "192.0.2.7", 80, 6),	     /* a */
		flow("10.0.1.2", 5353, "10.0.0.1", 53, 17),	     /* b */
		flow("2001:db8::1", 50000, "2001:db8:1::9", 443, 6), /* c */
		flow("192.0.2.7", 0, "10.0.0.1", 0x0800, 1),	     /* d: its code is no port */
		flow("fe80::1", 0, "ff02::1", 0x8600, 58),	     /* e */
	};
	struct flow_filter f;
	struct diag diag = {""};
	unsigned n = 0;

	if (flow_filter_parse(&f, text, &diag) != 0)
		fail_msg("%s: %s", text, diag.text);
	for (unsigned i = 0; i < ARRAY_SIZE(flows); i++)
		if (flow_filter_match(&f, &flows[i], 7))
			which[n++] = (char)('a' + i);
	which[n] = '\0';
	return which;
}

static void test_selects(void **state)
{
	static const struct {
		const char *text, *which;
	} rows[] = {
		{"", "abcde"},
		{"  ", "abcde"},
		{"tcp", "ac"},
		{"udp", "b"},
		{"icmp", "d"},
		{"icmp6", "e"},
		{"ip", "abd"},
		{"ip6", "ce"},
		{"host 10.0.0.1", "abd"},
		{"10.0.0.1", "abd"},
		{"src host 10.0.0.1", "a"},
		{"src 10.0.0.1", "a"},
		{"dst 10.0.0.1", "bd"},
		{"src or dst 10.0.0.1", "abd"},
		{"src and dst net 10.0.0.0/8", "b"},
		{"net 10.0.0.0/23", "abd"},
		{"src net 10.0.1.0/24", "b"},
		{"10.0.1.0/24", "b"},
		{"net 0.0.0.0/0", "abd"},
		{"net ::/0", "ce"},
		{"host 2001:db8::1", "c"},
		{"net 2001:db8::/47", "c"},
		{"dst net 2001:db8::/48", ""},
		{"port 53", "b"},
		{"port domain", "b"},
		{"dst port 80 or 443", "ac"},
		{"port 80 or domain", "ab"},
		{"src port 80", ""},
		{"portrange 400-500", "c"},
		{"port 2048", ""}, /* of icmp */
		{"tcp port 443", "c"},
		{"ip tcp dst port 80", "a"},
		{"udp src port 5353", "b"},
		{"proto 17", "b"},
		{"ip proto tcp", "a"},
		{"ip6 proto 58", "e"},
		{"vlan 7", "abcde"},
		{"vlan 8", ""},
		{"not tcp", "bde"},
		{"!tcp", "bde"},
		{"not not tcp", "ac"},
		{"tcp and ip6", "c"},
		{"tcp && ip6 || udp", "bc"},
		{"udp or tcp and ip6", "c"}, /* from left to right */
		{"udp or (tcp and ip6)", "bc"},
		{"not (tcp or udp)", "de"},
		{"!(tcp || udp)", "de"},
		{"host 10.0.0.1 and not port 53", "ad"},
		{"src 10.0.0.1 or dst 10.0.0.1", "abd"},
		{"((((tcp))))", "ac"},
		{"host ::ffff:10.0.0.1", ""},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(selects(rows[i].text), rows[i].which) != 0)
			fail_msg("%s: %s, wanted %s", rows[i].text, selects(rows[i].text), rows[i].which);
	assert_string_equal(selects(NULL), "abcde");
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"tpc", "word 1, 'tpc': is no word"},
		{"tcp or", "ends where a test is wanted"},
		{"host", "ends where an address"},
		{"host www.example.com", "names are not looked up"},
		{"host 10.0.0.0/8", "'net' says a network"},
		{"net 10.0.0.0", "ADDRESS/BITS"},
		{"net 10.0.0.0/33", "larger than"},
		{"net 10.0.0.0/x", "larger than"},
		{"net ::/129", "larger than"},
		{"port 65536", "from 0 to 65535"},
		{"port -1", "from 0 to 65535"},
		{"port", "ends where"},
		{"portrange 5-1", "FIRST-LAST"},
		{"portrange 5", "FIRST-LAST"},
		{"proto 256", "from 0 to 255"},
		{"vlan 4096", "from 0 to 4095"},
		{"(tcp", "')' is wanted"},
		{"tcp)", "no '('"},
		{"tcp udp port", "ends where"},
		{"tcp 80", "is no word"},
		{"and tcp", "is no word"},
		{"port 53 or hots 1.2.3.4", "'hots'"},
		{"host 1.2.3.4 port 5", "'and' or 'or' is wanted"},
		{"()", "is no word"},
		{"not", "ends where a test"},
		{"!(((((((((((((((((((((tcp", "nested too deeply"},
	};
	char many[FLOW_FILTER_TEXT + 2] = "tcp";
	struct flow_filter f;
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		diag.text[0] = '\0';
		if (flow_filter_parse(&f, rows[i].text, &diag) != -EINVAL)
			fail_msg("%s is taken for a filter", rows[i].text);
		if (!strstr(diag.text, rows[i].words) || strncmp(diag.text, "flow filter: ", 13) != 0)
			fail_msg("%s: %s, wanted %s", rows[i].text, diag.text, rows[i].words);
	}
	for (unsigned i = 0; i < 30; i++)
		strcat(many, " or tcp");
	assert_int_equal(flow_filter_parse(&f, many, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "more than 48"));
	memset(many, 'x', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(flow_filter_parse(&f, many, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "longer than"));
	many[100] = '\0';
	assert_int_equal(flow_filter_parse(&f, many, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "longer than"));
}

/* Whoever applies a filter may have got it from a process that is no longer ours. */
static void test_any_program(void **state)
{
	const struct flow_key r = flow("10.0.0.1", 1, "10.0.0.2", 2, 6);
	struct flow_filter f;
	uint64_t x = 1;

	(void)state;
	for (unsigned turn = 0; turn < 20000; turn++) {
		uint8_t *octets = (uint8_t *)&f;

		for (size_t i = 0; i < sizeof(f); i++) {
			x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			octets[i] = (uint8_t)(x >> 56);
		}
		for (unsigned i = 0; i < FLOW_FILTER_OPS; i++)
			f.ops[i].kind %= 9;
		(void)flow_filter_match(&f, &r, 1);
		f.n %= 64;
		(void)flow_filter_match(&f, &r, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_selects), cmocka_unit_test(test_mistakes),
					   cmocka_unit_test(test_any_program)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
