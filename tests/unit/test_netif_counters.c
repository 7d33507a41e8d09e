/* netif_counters: the numbers of a veth pair between what goes over it, and of what is not there. */
#include "cm.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/route/link.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netif/netif_internal.h"
#include "netns.h"
#include "pitot/counters.h"
#include "pitot/netif.h"

static void read_index(struct netif_counters *c, const char *name, struct interface_counters *n)
{
	assert_int_equal(netif_counters_read(c, if_nametoindex(name), n), 0);
	assert_int_equal(n->index, if_nametoindex(name));
}

static void test_veth(void **state)
{
	static const uint8_t frame[60] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
	struct interface_counters before, after, sender;
	struct netif_counters *c;
	struct diag diag = {""};
	int fd;

	(void)state;
	netns_veth("pca", "pcb");
	netns_wait_running("pcb");
	assert_int_equal(netif_counters_open(&c, &diag), 0);
	read_index(c, "pcb", &before);
	fd = netns_sender("pca");
	for (unsigned i = 0; i < 3000; i++) { /* the kernel drops them while others keep its queue full */
		netns_send(fd, frame, sizeof(frame));
		read_index(c, "pcb", &after);
		if (after.in.unicast + after.in.multicast - before.in.unicast - before.in.multicast >= 100)
			break;
		if (i >= 200)
			usleep(10000);
	}
	close(fd);
	read_index(c, "pca", &sender);
	assert_true(after.in.unicast + after.in.multicast - before.in.unicast - before.in.multicast >= 100);
	assert_true(after.in.octets - before.in.octets >= 6000);
	assert_true(sender.out.unicast >= 100 && sender.out.octets >= 6000);
	assert_int_equal(after.type, 6);
	assert_int_equal(after.speed, UINT64_C(10000000000));
	assert_int_equal(after.direction, 1);
	assert_true(after.admin_up && after.oper_up);
	assert_false(after.ethernet); /* a pair has no errors of its own to tell */
	assert_true(after.in.broadcast == COUNTER_UNKNOWN && after.out.multicast == COUNTER_UNKNOWN);
	netns_set_up("pca", false);
	read_index(c, "pcb", &after);
	assert_true(after.admin_up && !after.oper_up);
	netif_counters_close(c);
	netns_delete("pca");
}

/* A packet socket wants to see everything, as a capture does. */
static void test_promiscuous(void **state)
{
	struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
	struct interface_counters n;
	struct netif_counters *c;
	struct diag diag = {""};
	int fd;

	(void)state;
	netns_veth("pcc", "pcd");
	assert_int_equal(netif_counters_open(&c, &diag), 0);
	read_index(c, "pcc", &n);
	assert_false(n.promiscuous);
	fd = netns_sender("pcc");
	all.mr_ifindex = (int)if_nametoindex("pcc");
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)), 0);
	read_index(c, "pcc", &n);
	assert_true(n.promiscuous);
	close(fd);
	netif_counters_close(c);
	netns_delete("pcc");
}

static void test_loopback(void **state)
{
	struct interface_counters n;
	struct netif_counters *c;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(netif_counters_open(&c, &diag), 0);
	read_index(c, "lo", &n);
	assert_int_equal(n.type, 24);
	assert_int_equal(n.in.octets, n.out.octets);
	assert_int_equal(n.direction, 0);
	netif_counters_close(c);
}

static void test_missing(void **state)
{
	struct interface_counters n;
	struct netif_counters *c;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(netif_counters_open(&c, &diag), 0);
	assert_int_equal(netif_counters_read(c, 0x7ffffff0, &n), -ENODEV);
	assert_int_equal(netif_counters_read(c, if_nametoindex("lo"), &n), 0); /* and it goes on */
	netif_counters_close(c);
	netif_counters_close(NULL);
}

static void test_types(void **state)
{
	static const uint32_t types[][2] = {{ARPHRD_ETHER, 6},	      {ARPHRD_LOOPBACK, 24},
					    {ARPHRD_PPP, 23},	      {ARPHRD_IEEE80211, 71},
					    {ARPHRD_INFINIBAND, 199}, {ARPHRD_TUNNEL, 131},
					    {ARPHRD_TUNNEL6, 131},    {ARPHRD_SIT, 131},
					    {ARPHRD_IPGRE, 131},      {ARPHRD_NONE, 1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(netif_counters_type(types[i][0]), types[i][1]);
}

/* Each of Linux' counters is one of the standard's (RFC 2665), or none; what no driver counts is unknown. */
static void test_ethernet(void **state)
{
	struct rtnl_link *link = rtnl_link_alloc();
	struct interface_ethernet e;

	(void)state;
	for (int id = 0; id <= RTNL_LINK_STATS_MAX; id++)
		rtnl_link_set_stat(link, (rtnl_link_stat_id_t)id, 1000 + (uint64_t)id);
	e = netif_counters_ethernet(link);
	assert_int_equal(e.alignment_errors, 1000 + RTNL_LINK_RX_FRAME_ERR);
	assert_int_equal(e.fcs_errors, 1000 + RTNL_LINK_RX_CRC_ERR);
	assert_int_equal(e.multiple_collisions, 1000 + RTNL_LINK_COLLISIONS);
	assert_int_equal(e.sqe_errors, 1000 + RTNL_LINK_TX_HBEAT_ERR);
	assert_int_equal(e.late_collisions, 1000 + RTNL_LINK_TX_WIN_ERR);
	assert_int_equal(e.excessive_collisions, 1000 + RTNL_LINK_TX_ABORT_ERR);
	assert_int_equal(e.internal_transmit_errors, 1000 + RTNL_LINK_TX_FIFO_ERR);
	assert_int_equal(e.carrier_sense_errors, 1000 + RTNL_LINK_TX_CARRIER_ERR);
	assert_int_equal(e.frames_too_long, 1000 + RTNL_LINK_RX_LEN_ERR);
	assert_int_equal(e.internal_receive_errors, 1000 + RTNL_LINK_RX_FIFO_ERR);
	assert_true(e.single_collisions == COUNTER_UNKNOWN && e.deferred == COUNTER_UNKNOWN &&
		    e.symbol_errors == COUNTER_UNKNOWN);
	rtnl_link_put(link);
}

/* Without a descriptor for it there is a sentence, and nothing stays behind. */
static void test_no_descriptor(void **state)
{
	struct rlimit before, none;
	struct netif_counters *c = NULL;
	struct diag diag = {""};
	int r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){3, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = netif_counters_open(&c, &diag);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(r < 0 && !c);
	assert_string_equal(diag.text, "interface counters: rtnetlink: Too many open files");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_veth),	      cmocka_unit_test(test_promiscuous),
		cmocka_unit_test(test_loopback),      cmocka_unit_test(test_missing),
		cmocka_unit_test(test_types),	      cmocka_unit_test(test_ethernet),
		cmocka_unit_test(test_no_descriptor),
	};

	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
