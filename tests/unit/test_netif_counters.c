/* netif_counters: the numbers of a veth pair between what goes over it, and of what is not there. */
#include "cm.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_veth),
		cmocka_unit_test(test_promiscuous),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_missing),
	};

	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
