/* capture_pcap: the contract of a live back end, and "any". */
#include "cm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "capture_contract.h"
#include "netns.h"

static void pcap_any_is_sll2(void **state)
{
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct seen seen[2];
	struct capture *c;
	static struct fb b;

	(void)state;
	config.interface = "any";
	config.filter = "udp and inbound";
	c = contract_open(&capture_pcap_ops, &config);
	assert_int_equal(c->link_type, 276);
	assert_int_equal(c->ifindex, 0);
	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 2), 1);
	assert_int_not_equal(seen[0].data[10], 4); /* SLL2 packet type: not one that we sent */
	close(tx);
	capture_close(c);
}

static void pcap_knows_no_fanout(void **state)
{
	struct capture_config config = contract_config();
	struct diag diag = {""};

	(void)state;
	config.workers = 2;
	assert_int_equal(contract_open_error(&capture_pcap_ops, &config, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "--workers"));
}

int main(void)
{
	static const struct contract contract = {.ops = &capture_pcap_ops, .knows_direction = false};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pcap_any_is_sll2, contract_set_up, contract_tear_down),
		cmocka_unit_test_setup_teardown(pcap_knows_no_fanout, contract_set_up, contract_tear_down),
	};
	int r = netns_enter();

	if (r)
		return r;
	return contract_run(&contract) + cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
