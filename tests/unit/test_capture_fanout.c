/*
 * capture_fanout: all packets of two hosts reach one worker, whichever way they go and whatever is around and
 * behind the IP header; the hosts are spread over the workers.
 */
#include "cm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture/capture_fanout.h"
#include "capture_contract.h"
#include "netns.h"

enum { WORKERS = 3, PAIRS = 24, SEEN = 4096 };

static struct fb b;
static struct seen seen[SEEN];
static uint32_t n_sent;

static void inner_ip(const char *src, const char *dst)
{
	fb_udp(&b, 7, (uint16_t)(1000 + n_sent));
	fb_ip4(&b, src, dst);
}

/* ---- what is behind the IP header: the marked payload, and in front of it ... */

static void inside_udp(void)
{
	fb_udp(&b, (uint16_t)(1000 + n_sent), 53);
}

static void inside_tcp(void)
{
	fb_tcp(&b, (uint16_t)(1000 + n_sent), 443, 2);
}

static void inside_ipip(void)
{
	char src[32];

	snprintf(src, sizeof(src), "172.16.%u.1", n_sent % 250);
	inner_ip(src, "172.17.0.1");
	b.protocol = 4;
}

static void inside_6in4(void)
{
	char src[32];

	snprintf(src, sizeof(src), "2001:db8:%x::1", n_sent);
	fb_udp(&b, 7, 9);
	fb_ip6(&b, src, "2001:db8::2");
	b.protocol = 41;
}

static void inside_gre(void)
{
	inside_ipip();
	fb_put16(fb_push(&b, 4) + 2, 0x0800);
	b.protocol = 47;
}

static void inside_nothing(void)
{
	b.protocol = 17; /* a later fragment */
}

static void (*const insides[])(void) = {inside_udp,  inside_tcp, inside_ipip,
					inside_6in4, inside_gre, inside_nothing};

/* ---- and what is around it */

static void around_nothing(void)
{
}

static void around_tag(void)
{
	fb_vlan(&b, 0x8100, 5);
}

static void around_tags(void)
{
	fb_vlan(&b, 0x8100, 5);
	fb_vlan(&b, 0x88a8, 6);
}

static void around_many_tags(void)
{
	around_tags();
	fb_vlan(&b, 0x9100, 7);
	fb_vlan(&b, 0x8100, 8);
}

static void around_labels(void)
{
	fb_mpls(&b, 100, 1);
	fb_mpls(&b, 101, 0);
	fb_mpls(&b, 102, 0);
}

static void around_pppoe(void)
{
	fb_pppoe(&b);
	fb_vlan(&b, 0x8100, 5);
}

static void around_snap(void)
{
	fb_snap(&b);
}

static void (*const arounds[])(void) = {around_nothing, around_tag,   around_tags, around_many_tags,
					around_labels,	around_pppoe, around_snap};

/* ---- */

static void open_workers(struct capture **c)
{
	struct capture_config config = contract_config();
	struct capture_plan *plan;
	struct diag diag = {""};

	config.workers = WORKERS;
	config.snap_len = 1024;
	config.fanout_seed = 99;
	assert_int_equal(capture_plan_new(&plan, &config, &diag), 0);
	if (capture_open_interface(c, plan, &diag) < 0)
		fail_msg("%s", diag.text);
	capture_plan_free(plan);
}

/* One packet between the two hosts of a pair, marked with the pair's number. */
static void send_one(const int tx[2], unsigned pair, unsigned inside, unsigned around, bool v6, bool back)
{
	char host[2][32];
	uint8_t *ip;

	for (unsigned i = 0; i < 2; i++)
		snprintf(host[i], sizeof(host[i]), v6 ? "2001:db8:%x::%x" : "10.%u.0.%u", pair, 1 + i);
	n_sent++;
	contract_payload(&b, pair, 40);
	insides[inside]();
	if (v6) {
		fb_ip6(&b, host[back], host[!back]);
	} else {
		ip = fb_ip4(&b, host[back], host[!back]);
		if (insides[inside] == inside_nothing)
			fb_ip4_fragment(ip, (uint16_t)n_sent, 800, 1);
	}
	arounds[around]();
	fb_ether(&b);
	netns_send(tx[n_sent & 1], b.at, b.len); /* received, and sent */
}

static void expect_one_worker(bool v6)
{
	int tx[2] = {netns_sender(CONTRACT_A), netns_sender(CONTRACT_B)};
	unsigned worker_of[PAIRS] = {0}, workers = 0, before = n_sent;
	struct capture *c[WORKERS];
	size_t sum = 0;

	open_workers(c);
	for (unsigned pair = 0; pair < PAIRS; pair++)
		for (unsigned inside = 0; inside < ARRAY_SIZE(insides); inside++)
			for (unsigned around = 0; around < ARRAY_SIZE(arounds); around++)
				for (unsigned ways = 0; ways < 4; ways++) {
					n_sent += ways == 2; /* the other way on the other side, too */
					before += ways == 2;
					send_one(tx, pair, inside, around, v6, ways & 1);
				}
	for (unsigned w = 0; w < WORKERS; w++) {
		size_t n = contract_collect(c[w], seen, SEEN);

		sum += n;
		for (size_t i = 0; i < n; i++)
			worker_of[seen[i].seq] |= 1u << w;
		capture_close(c[w]);
	}
	assert_int_equal(sum, n_sent - before);
	for (unsigned pair = 0; pair < PAIRS; pair++) {
		if (worker_of[pair] & (worker_of[pair] - 1))
			fail_msg("pair %u has workers %x", pair, worker_of[pair]);
		workers |= worker_of[pair];
	}
	assert_int_equal(workers, (1 << WORKERS) - 1);
	close(tx[0]);
	close(tx[1]);
}

static void fanout_ip4(void **state)
{
	(void)state;
	expect_one_worker(false);
}

static void fanout_ip6(void **state)
{
	(void)state;
	expect_one_worker(true);
}

/* A pseudowire's inner address that begins as an IP header would is none: its frames go to one worker. */
static void fanout_pseudowire(void **state)
{
	int tx = netns_sender(CONTRACT_B);
	struct capture *c[WORKERS];
	char src[32];

	(void)state;
	open_workers(c);
	for (uint32_t i = 0; i < 200; i++) {
		contract_payload(&b, i, 40);
		fb_udp(&b, 1000, 53);
		snprintf(src, sizeof(src), "10.0.%u.1", i);
		fb_ip4(&b, src, "10.1.0.2");
		fb_ether(&b);
		b.at[0] = i & 1 ? 0x45 : 0x60;
		fb_mpls(&b, 100, 1);
		fb_ether(&b);
		netns_send(tx, b.at, b.len);
	}
	assert_int_equal(contract_collect(c[0], seen, SEEN), 200);
	for (unsigned w = 0; w < WORKERS; w++)
		capture_close(c[w]);
	close(tx);
}

static void fanout_program_fits(void **state)
{
	struct sock_filter program[CAPTURE_FANOUT_MAX];

	(void)state;
	assert_in_range(capture_fanout_program(program, 1, 1), 1, CAPTURE_FANOUT_MAX - 1);
	assert_in_range(capture_fanout_program(program, 101, 1), 1, CAPTURE_FANOUT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fanout_program_fits),
		cmocka_unit_test_setup_teardown(fanout_ip4, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(fanout_ip6, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(fanout_pseudowire, contract_set_up, contract_tear_down),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
