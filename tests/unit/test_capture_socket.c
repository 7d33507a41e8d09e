/*
 * capture_socket: the privileged half of a capture, and the half that goes with it (capture/capture_plan.c):
 * an interface that was made anew is opened by both as it was the first time.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_socket.h"
#include "capture_contract.h"
#include "netns.h"

static struct fb b;
static struct seen seen[64];

static void send_one(const char *name, uint32_t seq, const char *dst)
{
	int tx = netns_sender(name);

	contract_payload(&b, seq, 40);
	fb_udp(&b, 1000, 2000);
	fb_ip4(&b, "192.0.2.1", dst);
	fb_ether(&b);
	netns_send(tx, b.at, b.len);
	close(tx);
}

static void socket_is_shut(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag;
	char byte;

	(void)state;
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), 0);
	assert_string_equal(d.facts.name, CONTRACT_A);
	assert_int_equal(d.facts.link_type, 1);
	assert_int_equal(d.facts.mtu, 1500);
	assert_true(d.facts.index > 0 && d.facts.n_blocks >= 2 && d.facts.block_octets >= 65536);
	assert_false(d.facts.loopback);
	assert_int_not_equal(fcntl(d.fd, F_GETFD) & FD_CLOEXEC, 0);
	send_one(CONTRACT_B, 1, "192.0.2.2");
	assert_true(recv(d.fd, &byte, 1, MSG_DONTWAIT) < 0);
	capture_descriptor_close(&d);
	assert_int_equal(d.fd, -1);
}

static void socket_tells_why(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag = {""};

	(void)state;
	config.interface = "any";
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), -EPROTONOSUPPORT);
	config.interface = "nosuch0";
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "nosuch0"));
	assert_int_equal(d.fd, -1);
	config.interface = CONTRACT_A;
	netns_set_up(CONTRACT_A, false);
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), -ENETDOWN);
	config.buffer_octets = UINT64_MAX / 4;
	netns_set_up(CONTRACT_A, true);
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), -E2BIG);
	assert_int_equal(d.fd, -1);
}

/* Of two frames the one that "dst host 192.0.2.2" lets pass, and once among all. */
static void expect_filtered(struct capture **c, unsigned n, uint32_t seq)
{
	unsigned got = 0;

	send_one(CONTRACT_B, 200, "192.0.2.3");
	send_one(CONTRACT_B, seq, "192.0.2.2");
	for (unsigned i = 0; i < n; i++) {
		if (contract_collect(c[i], seen, 2) == 0)
			continue;
		got++;
		assert_int_equal(seen[0].seq, seq);
	}
	assert_int_equal(got, 1);
}

static int describe(void *ctx, struct capture_descriptor *d, int group, struct diag *diag)
{
	return capture_describe(d, ctx, group, diag);
}

/* Two workers share it, with its filter, also after it was made anew with another index or with the same. */
static void made_anew_is_as_at_first(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d[2];
	struct capture_plan *plan;
	struct diag diag = {""};
	struct capture *c[2];

	(void)state;
	config.filter = "dst host 192.0.2.2";
	config.workers = 2;
	assert_int_equal(capture_plan_new(&plan, &config, &diag), 0);
	assert_int_equal(capture_open_interface(c, plan, &diag), 0);
	expect_filtered(c, 2, 1);
	for (uint32_t round = 2; round < 6; round++) {
		uint32_t index = c[0]->system_ifindex;

		netns_delete(CONTRACT_A);
		netns_veth_index(CONTRACT_A, CONTRACT_B, round & 1 ? index : 0);
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(contract_outcome(c[i]), CAPTURE_E_GONE);
			capture_close(c[i]);
		}
		assert_int_equal(capture_describe_all(d, 2, describe, &config, &diag), 0);
		assert_int_equal(d[0].facts.group, d[1].facts.group);
		send_one(CONTRACT_B, 100, "192.0.2.2"); /* shut: nobody maps it yet */
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(capture_open_socket(&c[i], plan, &d[i], &diag), 0);
			assert_int_equal(d[i].fd, -1);
			assert_int_equal(c[i]->system_ifindex == index, round & 1);
			assert_int_equal(c[i]->ifindex, c[i]->system_ifindex);
			assert_string_equal(c[i]->name, CONTRACT_A);
		}
		expect_filtered(c, 2, round);
	}
	for (unsigned i = 0; i < 2; i++)
		capture_close(c[i]);
	capture_plan_free(plan);
}

/* A socket for each worker or none at all. */
static void all_or_none(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d[3];
	struct diag diag = {""};

	(void)state;
	netns_delete(CONTRACT_A);
	assert_int_equal(capture_describe_all(d, 3, describe, &config, &diag), -ENODEV);
	netns_veth(CONTRACT_A, CONTRACT_B);
	assert_int_equal(capture_describe_all(d, 3, describe, &config, &diag), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(d[i].facts.group >= 0);
		assert_false(capture_socket_is_gone(d[i].fd));
		netns_set_up(CONTRACT_A, i & 1);
	}
	netns_delete(CONTRACT_A);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(capture_socket_is_gone(d[i].fd));
		capture_descriptor_close(&d[i]);
	}
}

/* The buffer is the interface's: its workers share it. */
static void buffer_is_shared(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag = {""};

	(void)state;
	for (unsigned workers = 1; workers <= 4; workers *= 2) {
		config.buffer_octets = 64 << 20;
		config.workers = workers;
		assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), 0);
		assert_int_equal((uint64_t)d.facts.n_blocks * d.facts.block_octets * workers, 64 << 20);
		/* light traffic takes a block each time, whatever its size: drops begin after so many */
		assert_true(d.facts.n_blocks * CAPTURE_BLOCK_MS >= 5000);
		capture_descriptor_close(&d);
	}
}

/* An expression that has no meaning for raw IP is told where it matters: when such an interface is opened. */
static void filter_of_another_link_type(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct capture_plan *plan;
	struct diag diag = {""};
	struct capture *c;

	(void)state;
	config.filter = "vlan 5";
	assert_int_equal(capture_plan_new(&plan, &config, &diag), 0);
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), 0);
	d.facts.link_type = 101;
	assert_true(capture_open_socket(&c, plan, &d, &diag) < 0);
	assert_non_null(strstr(diag.text, "vlan 5"));
	assert_int_equal(d.fd, -1);
	assert_int_equal(capture_describe(&d, &config, CAPTURE_GROUP_NONE, &diag), 0);
	assert_int_equal(capture_open_socket(&c, plan, &d, &diag), 0);
	capture_close(c);
	capture_plan_free(plan);
	capture_plan_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(socket_is_shut, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(socket_tells_why, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(made_anew_is_as_at_first, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(all_or_none, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(buffer_is_shared, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(filter_of_another_link_type, contract_set_up,
						contract_tear_down),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
