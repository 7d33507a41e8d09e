/*
 * capture_socket: the privileged half of a capture, and a capture that goes on with a socket of another
 * interface of the same name.  capture/capture.c: who adopts and who does not.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void make_anew(void)
{
	netns_delete(CONTRACT_A);
	assert_false(netns_has(CONTRACT_A));
	netns_veth(CONTRACT_A, CONTRACT_B);
	netns_wait_running(CONTRACT_A);
}

static void socket_is_shut(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag;
	char byte;

	(void)state;
	assert_int_equal(capture_describe(&d, &config, &diag), 0);
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
	assert_int_equal(capture_describe(&d, &config, &diag), -EPROTONOSUPPORT);
	config.interface = "nosuch0";
	assert_int_equal(capture_describe(&d, &config, &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "nosuch0"));
	assert_int_equal(d.fd, -1);
	config.interface = CONTRACT_A;
	netns_set_up(CONTRACT_A, false);
	assert_int_equal(capture_describe(&d, &config, &diag), -ENETDOWN);
	config.buffer_octets = UINT64_MAX / 4;
	netns_set_up(CONTRACT_A, true);
	assert_int_equal(capture_describe(&d, &config, &diag), -E2BIG);
	assert_int_equal(d.fd, -1);
}

/* Of two frames the one that "dst host 192.0.2.2" lets pass. */
static void expect_filtered(struct capture *c, uint32_t seq)
{
	send_one(CONTRACT_B, 200, "192.0.2.3");
	send_one(CONTRACT_B, seq, "192.0.2.2");
	assert_int_equal(contract_collect(c, seen, 2), 1);
	assert_int_equal(seen[0].seq, seq);
}

/* Frames before and after, the filter still in force, totals that go on, no descriptor too many. */
static void capture_goes_on(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct capture_stats stats;
	struct diag diag = {""};
	struct capture *c;
	uint32_t first;

	(void)state;
	config.filter = "dst host 192.0.2.2";
	c = contract_open(&capture_afpacket_ops, &config);
	first = c->system_ifindex;
	assert_true(first > 0);
	send_one(CONTRACT_B, 1, "192.0.2.2");
	assert_int_equal(contract_collect(c, seen, 1), 1);
	for (uint32_t round = 2; round < 6; round++) {
		make_anew();
		assert_int_equal(contract_outcome(c), CAPTURE_E_DOWN);
		assert_int_equal(capture_describe(&d, &config, &diag), 0);
		send_one(CONTRACT_B, 100, "192.0.2.2"); /* shut: nobody maps it yet */
		assert_int_equal(capture_adopt(&c, &d, &diag), 0);
		assert_int_not_equal(c->system_ifindex, first);
		assert_int_equal(c->ifindex, c->system_ifindex);
		assert_int_equal(c->fd, d.fd);
		assert_string_equal(c->name, CONTRACT_A);
		expect_filtered(c, round);
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(stats.kernel_dropped, 0);
	}
	capture_stop(c);
	assert_int_equal(contract_outcome(c), CAPTURE_E_END);
	capture_close(c);
}

static void another_link_type_is_refused(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag = {""};
	struct capture *c = contract_open(&capture_afpacket_ops, &config);
	int fd = c->fd;

	(void)state;
	assert_int_equal(capture_describe(&d, &config, &diag), 0);
	d.facts.link_type = 101;
	assert_int_equal(capture_adopt(&c, &d, &diag), -EPROTONOSUPPORT);
	assert_non_null(strstr(diag.text, "link type"));
	assert_int_equal(d.fd, -1);
	assert_int_equal(c->fd, fd);
	send_one(CONTRACT_B, 7, "192.0.2.2");
	assert_int_equal(contract_collect(c, seen, 1), 1);
	capture_close(c);
}

static void without_an_heir_libpcap_has_no_successor(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct diag diag = {""};
	struct capture *c = contract_open(&capture_pcap_ops, &config);

	(void)state;
	assert_true(c->system_ifindex > 0);
	assert_int_equal(capture_describe(&d, &config, &diag), 0);
	assert_int_equal(capture_adopt(&c, &d, &diag), -EPROTONOSUPPORT);
	assert_int_equal(d.fd, -1);
	capture_close(c);
}

/* With its filter, its counters and its name; also a second time. */
static void the_ring_takes_the_place_of_libpcap(void **state)
{
	struct capture_config config = contract_config();
	struct capture_descriptor d;
	struct capture_stats stats;
	struct diag diag = {""};
	struct capture *c, *first;

	(void)state;
	config.filter = "dst host 192.0.2.2";
	config.method = CAPTURE_PCAP;
	assert_int_equal(capture_open(&c, &config, &diag), 0);
	assert_ptr_equal(c->ops, &capture_pcap_ops);
	assert_true(capture_may_adopt(c));
	send_one(CONTRACT_B, 1, "192.0.2.2");
	assert_int_equal(contract_collect(c, seen, 1), 1);
	first = c;
	for (uint32_t round = 2; round < 5; round++) {
		make_anew();
		assert_int_equal(contract_outcome(c), CAPTURE_E_DOWN);
		assert_int_equal(capture_describe(&d, &config, &diag), 0);
		if (c == first) /* as if some had been lost before */
			c->before = (struct capture_stats){7, 5, 3, 300};
		assert_int_equal(capture_adopt(&c, &d, &diag), 0);
		assert_ptr_equal(c->ops, &capture_afpacket_ops);
		assert_ptr_equal(c->forebear, first);
		assert_string_equal(c->name, CONTRACT_A);
		expect_filtered(c, round);
		assert_int_equal(capture_get_stats(c, &stats), 0);
		assert_int_equal(stats.kernel_dropped, 7);
		assert_int_equal(stats.filtered_octets, 300);
	}
	capture_stop(c);
	assert_int_equal(contract_outcome(c), CAPTURE_E_END);
	capture_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(socket_is_shut, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(socket_tells_why, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(capture_goes_on, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(another_link_type_is_refused, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(the_ring_takes_the_place_of_libpcap, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(without_an_heir_libpcap_has_no_successor, contract_set_up,
						contract_tear_down),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
