/* capture_xdp_program: the gate, and frames of queues that have no socket.  Built where libxdp is. */
#include "cm.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_xdp_program.h"
#include "capture_contract.h"
#include "lacking.h"
#include "netns.h"

static struct fb b;

static unsigned program_send(int tx, int host, unsigned n)
{
	struct pollfd pfd = {.fd = host, .events = POLLIN};
	uint8_t frame[2048];
	unsigned came = 0;

	for (unsigned i = 0; i < n; i++) {
		contract_frame(&b, i, 40);
		netns_send(tx, b.at, b.len);
	}
	while (poll(&pfd, 1, 100) == 1 && recv(host, frame, sizeof(frame), 0) > 0)
		came++;
	return came;
}

/* What nobody takes goes to the host, and is counted while the gate is open. */
static void program_counts_what_nobody_takes(void **state)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET,
				  .sll_protocol = __builtin_bswap16(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(CONTRACT_A)};
	int host = socket(AF_PACKET, SOCK_RAW, 0), tx = netns_sender(CONTRACT_B);
	struct capture_xdp_program p;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(bind(host, (struct sockaddr *)&sll, sizeof(sll)), 0);
	if (capture_xdp_program_open(&p, CONTRACT_A, (unsigned)sll.sll_ifindex, 1, &diag) != 0)
		fail_msg("%s", diag.text);
	assert_false(p.generic);
	assert_int_equal(program_send(tx, host, 10), 10);
	assert_int_equal(capture_xdp_program_missed(&p), 0);
	capture_xdp_program_set_gate(&p, true);
	assert_int_equal(program_send(tx, host, 10), 10);
	assert_int_equal(capture_xdp_program_missed(&p), 10);
	capture_xdp_program_set_gate(&p, false);
	assert_int_equal(program_send(tx, host, 10), 10);
	assert_int_equal(capture_xdp_program_missed(&p), 10);
	assert_true(capture_xdp_program_add(&p, 1, host) < 0); /* no such queue, and no such socket */
	assert_true(capture_xdp_program_add(&p, 0, host) < 0);
	capture_xdp_program_close(&p);
	close(host);
	close(tx);
}

static void program_says_what_is_wrong(void **state)
{
	struct capture_xdp_program first, p;
	struct diag diag = {""};

	(void)state;
	assert_true(capture_xdp_program_open(&p, "nosuch0", 4711, 1, &diag) < 0);
	assert_non_null(strstr(diag.text, "nosuch0: XDP"));
	assert_int_equal(p.link_fd, -1);
	assert_int_equal(capture_xdp_program_open(&first, CONTRACT_A, if_nametoindex(CONTRACT_A), 1, &diag),
			 0);
	assert_int_equal(capture_xdp_program_open(&p, CONTRACT_A, if_nametoindex(CONTRACT_A), 1, &diag),
			 -EBUSY);
	assert_non_null(strstr(diag.text, "another XDP program"));
	capture_xdp_program_close(&first);
	capture_xdp_program_close(&p); /* nothing, once more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(program_counts_what_nobody_takes, contract_set_up,
						contract_tear_down),
		cmocka_unit_test_setup_teardown(program_says_what_is_wrong, contract_set_up,
						contract_tear_down),
	};
	int r = netns_enter();
	const char *missing;

	if (r)
		return r;
	missing = netns_xdp_missing();
	if (missing)
		return lacking("no AF_XDP here: %s", missing);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
