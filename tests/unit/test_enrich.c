/*
 * What the host knows of a record: enrich/enrich.c, enrich/enrich_names.c, enrich/enrich_descriptions.c,
 * enrich/enrich_route.c, and whom
 * they ask, netif/netif_routes.c.  In a namespace with two links, of which the tests change the routes.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm.h"
#include "lacking.h"
#include "netns.h"
#include "pitot/enrich.h"
#include "pitot/netif.h"

static struct record_layout from, to;

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static struct enrich *open_enrich(uint32_t blocks, const struct export_interface *interfaces, unsigned n)
{
	struct enrich_config config = {.from = &from, .to = &to, .interfaces = interfaces, .n_interfaces = n};
	struct enrich *e = NULL;
	struct diag diag = {""};

	record_layout_init(&from, blocks & BLOCKS_OF_PACKETS, 0);
	record_layout_init(&to, blocks, 0);
	if (enrich_new(&e, &config, &diag) < 0)
		fail_msg("%s", diag.text);
	return e;
}

static struct flow_record *record(const char *src, const char *dst, uint32_t ingress, uint32_t egress)
{
	struct flow_record *r = calloc(1, from.record_size);

	assert_non_null(r);
	r->key.ip_version = strchr(src, ':') ? 6 : 4;
	r->key.protocol = 17;
	r->key.src_port = 1000;
	r->key.dst_port = 53;
	inet_pton(r->key.ip_version == 6 ? AF_INET6 : AF_INET, src, r->key.src);
	inet_pton(r->key.ip_version == 6 ? AF_INET6 : AF_INET, dst, r->key.dst);
	r->ingress = ingress;
	r->egress = egress;
	r->packets = 7;
	return r;
}

/* "egress next-hop/source prefix/destination prefix" */
static const char *way(struct enrich *e, const char *src, const char *dst, uint32_t ingress, uint32_t egress)
{
	static char text[128];
	char hop[INET6_ADDRSTRLEN];
	struct flow_record *r = record(src, dst, ingress, egress);
	const struct flow_record *got = enrich_record(e, r);
	const struct block_route *b = flow_record_block(&to, got, BLOCK_ROUTE);

	assert_memory_equal(&got->key, &r->key, sizeof(r->key));
	assert_int_equal(got->packets, 7);
	inet_ntop(r->key.ip_version == 6 ? AF_INET6 : AF_INET, b->next_hop, hop, sizeof(hop));
	snprintf(text, sizeof(text), "%u %s/%u/%u", got->egress, hop, b->src_prefix, b->dst_prefix);
	free(r);
	return text;
}

#define ROUTE (UINT32_C(1) << BLOCK_ROUTE)
#define NAMES (UINT32_C(1) << BLOCK_NAMES)

/* Nothing is opened for what nobody asked for, and blocks of packets stand where they stood. */
static void test_layouts(void **state)
{
	(void)state;
	assert_null(open_enrich(0, NULL, 0));
	assert_null(open_enrich(BLOCKS_OF_PACKETS, NULL, 0));
	enrich_free(NULL);
	enrich_network_changed(NULL);
	for (uint32_t blocks = 0; blocks <= (BLOCKS_OF_PACKETS | BLOCKS_OF_HOST); blocks++) {
		record_layout_init(&from, blocks & BLOCKS_OF_PACKETS, 0);
		record_layout_init(&to, blocks, 0);
		for (unsigned i = 0; i < BLOCKS_METERED; i++)
			assert_int_equal(from.record_at[i], to.record_at[i]);
		for (unsigned i = BLOCKS_METERED; i < BLOCKS; i++)
			assert_int_equal(to.record_at[i] != 0, blocks >> i & 1);
	}
}

static void test_blocks_of_packets_stay(void **state)
{
	struct enrich *e = open_enrich(BLOCKS_OF_PACKETS | NAMES, NULL, 0);
	struct flow_record *r = record("10.1.0.2", "10.9.0.1", 0, 0);
	const struct flow_record *got;

	(void)state;
	memset((uint8_t *)r + sizeof(*r), 0x5a, from.record_size - sizeof(*r));
	memset(r->blocks, 0x5b, sizeof(r->blocks));
	got = enrich_record(e, r);
	for (unsigned i = 0; i < BLOCKS_METERED; i++)
		assert_memory_equal((const uint8_t *)got + to.record_at[i], (uint8_t *)r + from.record_at[i],
				    8);
	assert_string_equal(((const struct block_names *)flow_record_block(&to, got, BLOCK_NAMES))->egress,
			    "");
	free(r);
	enrich_free(e);
}

static const char *name(struct enrich *e, uint32_t egress)
{
	static char text[64];
	struct flow_record *r = record("10.1.0.2", "10.9.0.1", 0, egress);
	const struct flow_record *got = enrich_record(e, r);
	const struct block_names *b = flow_record_block(&to, got, BLOCK_NAMES);

	snprintf(text, sizeof(text), "%s", b->egress);
	free(r);
	return text;
}

static void test_names(void **state)
{
	static const struct export_interface known[] = {{.ifindex = 501, .name = "uplink", .system = 1},
							{.ifindex = 502, .name = "bad\xff"}};
	struct enrich *e = open_enrich(NAMES, known, 2);
	unsigned index = if_nametoindex("enb0");

	(void)state;
	assert_string_equal(name(e, 0), "");
	assert_string_equal(name(e, 501), "uplink");
	assert_string_equal(name(e, 502), "bad?"); /* UTF-8 */
	assert_string_equal(name(e, 999999), "");
	assert_string_equal(name(e, index), "enb0");   /* not captured: the system is asked */
	assert_string_equal(name(e, index + 256), ""); /* in the same place of what is kept */
	assert_string_equal(name(e, index), "enb0");
	run("ip link set enb0 down; ip link set enb0 name enc0");
	assert_string_equal(name(e, index), "enb0"); /* remembered */
	enrich_network_changed(e);
	assert_string_equal(name(e, index), "enc0");
	run("ip link set enc0 name enb0; ip link set enb0 up");
	assert_int_equal(enrich_set_interfaces(e, known, 1), 0);
	assert_string_equal(name(e, 502), "");
	assert_string_equal(name(e, index), "enb0"); /* other names: asked again */
	enrich_free(e);
}

static void test_descriptions(void **state)
{
	static const struct export_interface known[] = {
		{.ifindex = 501, .name = "up", .description = "uplink, AS 64500", .system = 1},
		{.ifindex = 502, .name = "in", .description = "in"}};
	struct enrich *e = open_enrich(UINT32_C(1) << BLOCK_DESCRIPTIONS, known, 2);
	struct flow_record *r = record("10.1.0.2", "10.9.0.1", 502, 501);
	const struct block_descriptions *b;

	(void)state;
	b = flow_record_block(&to, enrich_record(e, r), BLOCK_DESCRIPTIONS);
	assert_string_equal(b->ingress, "in");
	assert_string_equal(b->egress, "uplink, AS 64500");
	r->egress = 7; /* one that is not captured; and one that was not seen */
	r->ingress = 0;
	b = flow_record_block(&to, enrich_record(e, r), BLOCK_DESCRIPTIONS);
	assert_string_equal(b->ingress, "");
	assert_string_equal(b->egress, "");
	free(r);
	enrich_free(e);
}

static void routes_begin(void)
{
	run("ip addr replace 10.1.0.1/24 dev ena0; ip addr replace 10.2.0.1/24 dev enb0");
	run("ip -6 addr replace fd01::1/64 dev ena0 nodad; ip -6 addr replace fd02::1/64 dev enb0 nodad");
	run("ip route replace 10.9.0.0/16 via 10.2.0.2; ip -6 route replace fd09::/48 via fd02::2");
}

static void test_routes(void **state)
{
	struct enrich *e = open_enrich(ROUTE, NULL, 0);
	unsigned a = if_nametoindex("ena0"), b = if_nametoindex("enb0");
	char want[128];

	(void)state;
	routes_begin();
	snprintf(want, sizeof(want), "%u 10.2.0.2/24/16", b);
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", a, 0), want);
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", 0, b), want); /* seen on its way out */
	assert_string_equal(way(e, "10.2.0.1", "10.9.0.1", 0, b) + strlen(want) - 14, "10.2.0.2/32/16");
	snprintf(want, sizeof(want), "%u 0.0.0.0/24/24", b);
	assert_string_equal(way(e, "10.1.0.2", "10.2.0.9", a, 0), want);	      /* on the link */
	assert_string_equal(way(e, "10.1.0.2", "10.1.0.1", a, 0), "0 0.0.0.0/24/32"); /* to the host itself */
	assert_string_equal(way(e, "10.1.0.2", "10.77.0.1", a, 0), "0 0.0.0.0/24/0"); /* there is no route */
	assert_string_equal(way(e, "10.1.0.2", "224.0.0.1", a, 0) + 1, " 0.0.0.0/24/0");
	snprintf(want, sizeof(want), "%u fd02::2/64/48", b);
	assert_string_equal(way(e, "fd01::2", "fd09::1", a, 0), want);
	assert_string_equal(way(e, "fd01::2", "fd77::1", a, 0), "0 ::/64/0");
	/* an interface that there is not, and addresses that no packet of another host has */
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", 999999, 0) + 1, " 0.0.0.0/24/0");
	(void)way(e, "0.0.0.0", "255.255.255.255", a, 0);
	(void)way(e, "127.0.0.1", "127.0.0.1", a, 0);
	(void)way(e, "::", "ff02::1", a, 0);
	enrich_free(e);
}

/* What was asked for is remembered until something changes, and its place is given to another pair. */
static void test_routes_change(void **state)
{
	struct enrich *e = open_enrich(ROUTE, NULL, 0);
	unsigned a = if_nametoindex("ena0"), b = if_nametoindex("enb0");
	char before[128], after[128];

	(void)state;
	routes_begin();
	snprintf(before, sizeof(before), "%u 10.2.0.2/24/16", b);
	snprintf(after, sizeof(after), "%u 10.2.0.3/24/24", b);
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", a, 0), before);
	run("ip route add 10.9.0.0/24 via 10.2.0.3");
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", a, 0), before);
	enrich_network_changed(e);
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", a, 0), after);
	for (unsigned i = 0; i < 20000; i++) { /* more than are remembered */
		char dst[32];

		snprintf(dst, sizeof(dst), "10.9.%u.%u", i >> 8, i & 255);
		assert_string_equal(way(e, "10.1.0.2", dst, a, 0), i >> 8 ? before : after);
	}
	run("ip route del 10.9.0.0/24");
	enrich_free(e);
}

/* The interface by the user's number in the record, and by the system's in the question. */
static void test_numbers_of_the_user(void **state)
{
	struct export_interface known[] = {
		{.ifindex = 501, .name = "ena0", .system = if_nametoindex("ena0")},
		{.ifindex = 502, .name = "enb0", .system = if_nametoindex("enb0")}};
	struct enrich *e = open_enrich(ROUTE | NAMES, known, 2);

	(void)state;
	routes_begin();
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", 501, 0), "502 10.2.0.2/24/16");
	assert_string_equal(way(e, "10.1.0.2", "10.9.0.1", 0, 502), "502 10.2.0.2/24/16");
	enrich_free(e);
}

/* Each packet of a route with several next hops is asked for: the ports choose. */
static void test_several_next_hops(void **state)
{
	struct enrich *e = open_enrich(ROUTE, NULL, 0);
	unsigned a = if_nametoindex("ena0"), hops[2] = {0};

	(void)state;
	routes_begin();
	run("echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy");
	run("ip route replace 10.9.0.0/16 nexthop via 10.2.0.2 nexthop via 10.2.0.3");
	for (unsigned i = 0; i < 64; i++) {
		struct flow_record *r = record("10.1.0.2", "10.9.0.1", a, 0);
		const struct block_route *b;

		r->key.src_port = (uint16_t)(1000 + i);
		b = flow_record_block(&to, enrich_record(e, r), BLOCK_ROUTE);
		assert_int_equal(b->dst_prefix, 16);
		assert_in_range(b->next_hop[3], 2, 3);
		hops[b->next_hop[3] - 2]++;
		free(r);
	}
	assert_true(hops[0] && hops[1]);
	run("ip route replace 10.9.0.0/16 via 10.2.0.2");
	enrich_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_blocks_of_packets_stay),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_descriptions),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_routes_change),
		cmocka_unit_test(test_numbers_of_the_user),
		cmocka_unit_test(test_several_next_hops),
	};
	int r = netns_enter();

	if (r)
		return r;
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (system("ip -V >/dev/null") != 0)
		return lacking("ip (iproute2) is needed");
	netns_veth("ena0", "ena1");
	netns_veth("enb0", "enb1");
	if (system("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding;"
		   "echo 0 > /proc/sys/net/ipv6/conf/ena0/disable_ipv6;"
		   "echo 0 > /proc/sys/net/ipv6/conf/enb0/disable_ipv6") != 0)
		return lacking("/proc/sys cannot be written: forwarding and IPv6 are needed");
	netns_wait_running("ena0");
	netns_wait_running("enb0");
	return cmocka_run_group_tests_name("enrich", tests, NULL, NULL);
}
