/* capture_afpacket: the contract of a live back end, and what only this one does. */
#include "cm.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture_contract.h"
#include "lacking.h"
#include "netns.h"
#include "pitot/clock.h"

static struct fb b;
static struct seen seen[4096];

/* A network layer interface: frames begin at the IP header. */
static void afpacket_tun_is_raw(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c;
	int tun = netns_tun("ptun0");

	(void)state;
	if (tun < 0)
		lacking_here("no /dev/net/tun here");
	config.interface = "ptun0";
	config.filter = "udp port 2000 and host 192.0.2.1";
	c = contract_open(&capture_afpacket_ops, &config);
	assert_int_equal(c->link_type, 101);
	for (uint32_t i = 0; i < 2; i++) {
		contract_payload(&b, i, 40);
		fb_udp(&b, 1000, i ? 2001 : 2000);
		fb_ip4(&b, "192.0.2.1", "192.0.2.2");
		assert_int_equal(write(tun, b.at, b.len), b.len);
	}
	assert_int_equal(contract_collect(c, seen, 2), 1);
	assert_int_equal(seen[0].data[0], 0x45);
	assert_int_equal(seen[0].wire_len, b.len);
	assert_int_equal(seen[0].flags, FRAME_INGRESS);
	capture_close(c);
	config.filter = "vlan 5"; /* has no meaning here, and is told */
	struct diag diag = {""};

	assert_true(contract_open_error(&capture_afpacket_ops, &config, &diag) < 0);
	assert_non_null(strstr(diag.text, "vlan 5"));
	close(tun);
}

static void afpacket_leaves_any_to_libpcap(void **state)
{
	struct capture_config config = contract_config();
	struct diag diag = {""};

	(void)state;
	config.interface = "any";
	assert_int_equal(contract_open_error(&capture_afpacket_ops, &config, &diag), -EPROTONOSUPPORT);
}

static void open_members(struct capture **members, unsigned n, enum capture_fanout mode)
{
	struct capture_config config = contract_config();
	struct capture_plan *plan;
	struct diag diag = {""};

	config.workers = n;
	config.fanout_mode = mode;
	config.fanout_seed = 4711;
	assert_int_equal(capture_plan_new(&plan, &config, &diag), 0);
	if (capture_open_interface(members, plan, &diag) < 0)
		fail_msg("%s", diag.text);
	capture_plan_free(plan);
}

/*
 * Both directions of a connection meet in one member, each frame is in one, and every member gets some.
 * Another group on the same interface, made by a process of the same id, gets everything once more.
 */
static void afpacket_fans_out(void **state)
{
	struct capture *members[2], *others[2];
	int tx = netns_sender(CONTRACT_B);
	uint8_t member_of[256] = {0};
	size_t n[2];
	char src[32], dst[32];

	(void)state;
	open_members(members, 2, CAPTURE_FANOUT_HASH);
	open_members(others, 2, CAPTURE_FANOUT_HASH);
	for (uint32_t i = 0; i < 512; i++) {
		unsigned flow = i / 2;

		snprintf(src, sizeof(src), "10.0.%u.1", flow);
		snprintf(dst, sizeof(dst), "10.1.%u.2", flow);
		contract_payload(&b, i, 40);
		fb_udp(&b, i & 1 ? 53 : (uint16_t)(2000 + flow), i & 1 ? (uint16_t)(2000 + flow) : 53);
		fb_ip4(&b, i & 1 ? dst : src, i & 1 ? src : dst);
		fb_ether(&b);
		netns_send(tx, b.at, b.len);
	}
	for (unsigned m = 0; m < 2; m++) {
		n[m] = contract_collect(members[m], seen, 513);
		for (size_t i = 0; i < n[m]; i++)
			member_of[seen[i].seq / 2] |= (uint8_t)(1 << m);
	}
	assert_int_equal(n[0] + n[1], 512);
	assert_true(n[0] > 50 && n[1] > 50);
	for (unsigned i = 0; i < 256; i++)
		assert_in_range(member_of[i], 1, 2);
	assert_int_equal(contract_collect(others[0], seen, 513) + contract_collect(others[1], seen, 513),
			 512);
	for (unsigned i = 0; i < 2; i++) {
		capture_close(members[i]);
		capture_close(others[i]);
	}
	close(tx);
}

/* What a member gets, all together: each frame is one member's, whatever the mode. */
static void afpacket_shares_in_every_mode(void **state)
{
	(void)state;
	for (enum capture_fanout mode = CAPTURE_FANOUT_HASH; mode <= CAPTURE_FANOUT_ROLLOVER; mode++) {
		struct capture *members[3];
		int tx = netns_sender(CONTRACT_B);
		size_t n = 0;

		open_members(members, 3, mode);
		for (uint32_t i = 0; i < 300; i++) {
			contract_frame(&b, i, 40);
			netns_send(tx, b.at, b.len);
		}
		for (unsigned m = 0; m < 3; m++)
			n += contract_collect(members[m], seen, 301);
		assert_int_equal(n, 300);
		for (unsigned m = 0; m < 3; m++)
			capture_close(members[m]);
		close(tx);
	}
}

static void afpacket_busy_polls(void **state)
{
	struct capture_config config = contract_config();
	struct frame_batch batch = {0};
	int tx = netns_sender(CONTRACT_B);
	struct capture *c;
	struct diag diag;

	(void)state;
	config.busy_poll_us = 60000;
	c = contract_open(&capture_afpacket_ops, &config);
	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	/* within the time of spinning: the frame comes in the first call */
	assert_int_equal(capture_recv(c, &batch, 1, &diag), 0);
	assert_int_equal(batch.n, 1);
	capture_release(c, &batch);
	capture_close(c);
	close(tx);
}

/* The descriptor is what a loop over several captures polls. */
static void afpacket_descriptor_wakes(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = contract_open(&capture_afpacket_ops, &config);
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	int tx = netns_sender(CONTRACT_B);

	(void)state;
	assert_int_equal(poll(&pfd, 1, 50), 0);
	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(poll(&pfd, 1, 500), 1);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(poll(&pfd, 1, 50), 0);
	netns_set_up(CONTRACT_A, false);
	assert_int_equal(poll(&pfd, 1, 500), 1);
	assert_int_equal(contract_outcome(c), 0);
	netns_delete(CONTRACT_A);
	assert_int_equal(contract_outcome(c), CAPTURE_E_GONE);
	capture_close(c);
	close(tx);
}

/* A batch is full when there is enough, and never more than full. */
static void afpacket_fills_batches(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = contract_open(&capture_afpacket_ops, &config);
	int tx = netns_sender(CONTRACT_B);
	struct frame_batch batch;
	unsigned total = 0, full = 0;
	struct diag diag;

	(void)state;
	for (uint32_t i = 0; i < 640; i++) {
		contract_frame(&b, i, 40);
		netns_send(tx, b.at, b.len);
	}
	for (unsigned i = 0; i < 40 && total < 640; i++) {
		assert_int_equal(capture_recv(c, &batch, 50, &diag), 0);
		total += batch.n;
		full += batch.n == BATCH_MAX;
		capture_release(c, &batch);
	}
	assert_int_equal(total, 640);
	assert_true(full >= 8);
	capture_close(c);
	close(tx);
}

int main(void)
{
	static const struct contract contract = {.ops = &capture_afpacket_ops, .knows_direction = true};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(afpacket_tun_is_raw),
		cmocka_unit_test(afpacket_leaves_any_to_libpcap),
		cmocka_unit_test_setup_teardown(afpacket_fans_out, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(afpacket_shares_in_every_mode, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(afpacket_busy_polls, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(afpacket_descriptor_wakes, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(afpacket_fills_batches, contract_set_up, contract_tear_down),
	};
	int r = netns_enter();

	if (r)
		return r;
	return contract_run(&contract) + cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
