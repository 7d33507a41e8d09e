/*
 * capture_xdp, capture/capture_xdp_open.c: the contract of a live back end, in the driver's place for
 * programs and behind it, and what only this one does.  capture/capture_xdp_none.c in its place: what it
 * says.
 *
 * Skipped, with the reason, where the kernel has no AF_XDP or lets nobody here use it.
 */
#include "cm.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture_contract.h"
#include "lacking.h"
#include "netns.h"
#include "pitot/clock.h"

static struct fb b;
static struct seen seen[4096];

/* ---- the test bed */

/* Of the attributes in [at, end): the one of this kind. */
static const struct rtattr *xdp_attribute(const struct rtattr *at, int left, unsigned short kind)
{
	for (; RTA_OK(at, left); at = RTA_NEXT(at, left))
		if ((at->rta_type & NLA_TYPE_MASK) == kind)
			return at;
	return NULL;
}

/* XDP_ATTACHED_NONE, _DRV, _SKB: how a program hangs on the interface now. */
static unsigned xdp_attached(const char *name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} ask = {{.nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
		 {.ifi_index = (int)if_nametoindex(name)}};
	_Alignas(8) static uint8_t answer[65536];
	const struct nlmsghdr *h = (const struct nlmsghdr *)answer;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	const struct rtattr *xdp, *attached;

	assert_true(send(fd, &ask, sizeof(ask), 0) == sizeof(ask));
	assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
	close(fd);
	assert_int_equal(h->nlmsg_type, RTM_NEWLINK);
	xdp = xdp_attribute(IFLA_RTA((struct ifinfomsg *)NLMSG_DATA(h)), (int)IFLA_PAYLOAD(h), IFLA_XDP);
	attached = xdp ? xdp_attribute(RTA_DATA(xdp), (int)RTA_PAYLOAD(xdp), IFLA_XDP_ATTACHED) : NULL;
	return attached ? *(const uint8_t *)RTA_DATA(attached) : XDP_ATTACHED_NONE;
}

static int xdp_ioctl(const char *name, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), r;

	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	r = ioctl(fd, request, ifr);
	close(fd);
	return r;
}

static void xdp_set_mtu(const char *name, int mtu)
{
	struct ifreq ifr = {.ifr_mtu = mtu};

	assert_int_equal(xdp_ioctl(name, SIOCSIFMTU, &ifr), 0);
}

static bool xdp_set_queues(const char *name, unsigned n)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_SCHANNELS, .rx_count = n, .tx_count = n};
	struct ifreq ifr = {.ifr_data = (void *)&channels};

	return xdp_ioctl(name, SIOCETHTOOL, &ifr) == 0;
}

/* The driver takes no program when its peer may send frames that are too long for that. */
static void xdp_make_generic(void)
{
	xdp_set_mtu(CONTRACT_B, 3800);
}

static void xdp_send_flows(int tx, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		contract_payload(&b, i, 40);
		fb_udp(&b, (uint16_t)(1000 + i), 2000);
		fb_ip4(&b, "192.0.2.1", "192.0.2.2");
		fb_ether(&b);
		netns_send(tx, b.at, b.len);
	}
}

static uint64_t xdp_dropped(struct capture *c)
{
	struct capture_stats stats;

	assert_int_equal(capture_get_stats(c, &stats), 0);
	return stats.kernel_dropped;
}

/* ---- what only this one does */

static void xdp_attaches_and_detaches(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c;

	(void)state;
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_NONE);
	c = contract_open(&capture_xdp_ops, &config);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_DRV);
	capture_close(c);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_NONE);
	xdp_make_generic();
	c = contract_open(&capture_xdp_ops, &config);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_SKB);
	capture_close(c);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_NONE);
}

/* However the process ends. */
static void xdp_leaves_nothing(void **state)
{
	struct capture_config config = contract_config();
	int ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct capture *c = NULL;
		struct diag diag;

		if (contract_try(&c, &capture_xdp_ops, &config, &diag) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_DRV);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	for (unsigned i = 0; i < 2000 && xdp_attached(CONTRACT_A) != XDP_ATTACHED_NONE; i++)
		usleep(10000);
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_NONE);
	close(ready[0]);
	close(ready[1]);
}

static void xdp_is_one_an_interface(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = contract_open(&capture_xdp_ops, &config);
	int tx = netns_sender(CONTRACT_B);
	struct diag diag = {""};

	(void)state;
	assert_int_equal(contract_open_error(&capture_xdp_ops, &config, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "another XDP program"));
	/* and the first goes on */
	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 2), 1);
	capture_close(c);
	close(tx);
}

static unsigned xdp_count_at_host(int host)
{
	struct pollfd pfd = {.fd = host, .events = POLLIN};
	uint8_t frame[2048];
	unsigned n = 0;

	while (poll(&pfd, 1, 100) == 1 && recv(host, frame, sizeof(frame), 0) > 0)
		n++;
	return n;
}

/* Frames are ours while we capture, and the host's from the stop on. */
static void xdp_takes_frames_away(void **state)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET,
				  .sll_protocol = __builtin_bswap16(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(CONTRACT_A)};
	struct capture_config config = contract_config();
	struct capture *c = contract_open(&capture_xdp_ops, &config);
	int host = socket(AF_PACKET, SOCK_RAW, 0), tx = netns_sender(CONTRACT_B);

	(void)state;
	assert_int_equal(bind(host, (struct sockaddr *)&sll, sizeof(sll)), 0);
	xdp_send_flows(tx, 10);
	assert_int_equal(contract_collect(c, seen, 11), 10);
	assert_int_equal(xdp_count_at_host(host), 0);
	capture_stop(c);
	xdp_send_flows(tx, 10);
	assert_int_equal(contract_outcome(c), CAPTURE_E_END);
	assert_int_equal(xdp_count_at_host(host), 10);
	assert_int_equal(xdp_dropped(c), 0);
	capture_close(c);
	close(host);
	close(tx);
}

static void xdp_reads_all_queues(void **state)
{
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	bool of[256] = {false};
	struct capture *c;
	size_t n;

	(void)state;
	if (!xdp_set_queues(CONTRACT_A, 2) || !xdp_set_queues(CONTRACT_B, 2)) {
		close(tx);
		lacking_here("this kernel's veth has one queue here");
	}
	c = contract_open(&capture_xdp_ops, &config);
	assert_int_equal(poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, 50), 0);
	xdp_send_flows(tx, 256);
	assert_int_equal(poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, 500), 1);
	n = contract_collect(c, seen, 257);
	assert_int_equal(n, 256);
	for (size_t i = 0; i < n; i++)
		of[seen[i].seq] = true;
	for (unsigned i = 0; i < 256; i++)
		assert_true(of[i]);
	assert_int_equal(xdp_dropped(c), 0);
	capture_close(c);
	close(tx);
}

static void xdp_counts_filtered(void **state)
{
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct capture_stats stats;
	struct capture *c;

	(void)state;
	config.filter = "udp src port 1003";
	c = contract_open(&capture_xdp_ops, &config);
	for (unsigned i = 0; i < 20; i++) /* batches with nothing in them, too */
		xdp_send_flows(tx, 100);
	assert_int_equal(contract_collect(c, seen, 21), 20);
	assert_int_equal(capture_get_stats(c, &stats), 0);
	assert_int_equal(stats.filtered, 1980);
	assert_int_equal(stats.filtered_octets, 1980 * b.len);
	assert_int_equal(stats.kernel_dropped, 0);
	capture_close(c);
	close(tx);
}

/* The filter may test what the snap length leaves out. */
static void xdp_filters_beyond_snap_length(void **state)
{
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct capture *c;

	(void)state;
	config.snap_len = 64;
	config.filter = "udp[100] = 77 and not vlan";
	c = contract_open(&capture_xdp_ops, &config);
	contract_frame(&b, 1, 200);
	b.at[14 + 20 + 100] = 77;
	netns_send(tx, b.at, b.len);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(seen[0].cap_len, 64);
	assert_int_equal(seen[0].wire_len, b.len);
	capture_close(c);
	close(tx);
}

/* Tags are in the frame, for the filter and behind it. */
static void xdp_filters_tagged_frames(void **state)
{
	struct capture_config config = contract_config();
	int tx = netns_sender(CONTRACT_B);
	struct capture *c;

	(void)state;
	config.filter = "vlan 5 and udp port 2000";
	c = contract_open(&capture_xdp_ops, &config);
	for (unsigned tags = 1; tags < 3; tags++) {
		contract_payload(&b, tags, 60);
		fb_udp(&b, 1000, 2000);
		fb_ip4(&b, "192.0.2.1", "192.0.2.2");
		if (tags == 1)
			fb_vlan(&b, 0x88a8, 0x3005);
		else
			fb_vlan(&b, 0x8100, 0x6005);
		fb_ether(&b);
		netns_send(tx, b.at, b.len);
		assert_int_equal(contract_collect(c, seen, 1), 1);
		assert_int_equal(seen[0].flags, FRAME_INGRESS);
		assert_int_equal(seen[0].wire_len, b.len);
		assert_int_equal(seen[0].cap_len, b.len);
		assert_memory_equal(seen[0].data, b.at, b.len);
	}
	capture_close(c);
	close(tx);
}

static void xdp_takes_whole_frames(void **state)
{
	static const int mtus[] = {1500, 1770, 1771, 3818};

	(void)state;
	xdp_set_mtu(CONTRACT_B, 9000);
	for (unsigned i = 0; i < ARRAY_SIZE(mtus); i++) {
		struct capture_config config = contract_config();
		int tx = netns_sender(CONTRACT_B);
		struct capture *c;

		config.snap_len = 65535;
		xdp_set_mtu(CONTRACT_A, mtus[i]);
		c = contract_open(&capture_xdp_ops, &config);
		for (unsigned tags = 0; tags < 2; tags++) {
			contract_payload(&b, i, (size_t)mtus[i] - 28);
			fb_udp(&b, 1000, 2000);
			fb_ip4(&b, "192.0.2.1", "192.0.2.2");
			for (unsigned k = 0; k < tags; k++)
				fb_vlan(&b, 0x8100, 5);
			fb_ether(&b);
			netns_send(tx, b.at, b.len);
			assert_int_equal(contract_collect(c, seen, 1), 1);
			assert_int_equal(seen[0].cap_len, b.len);
			assert_int_equal(seen[0].wire_len, b.len);
		}
		assert_int_equal(xdp_dropped(c), 0);
		/* longer than there is room for: counted */
		if (mtus[i] == 1500) {
			xdp_set_mtu(CONTRACT_A, 9000);
			contract_frame(&b, 1, 4000);
			netns_send(tx, b.at, b.len);
			assert_int_equal(contract_collect(c, seen, 1), 0);
			assert_int_equal(xdp_dropped(c), 1);
		}
		capture_close(c);
		close(tx);
	}
}

static void xdp_refuses(void **state)
{
	struct capture_config config = contract_config();
	struct diag diag = {""};

	(void)state;
	config.workers = 2;
	assert_int_equal(contract_open_error(&capture_xdp_ops, &config, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "--workers"));
	config.workers = 1;
	xdp_set_mtu(CONTRACT_A, 3819);
	assert_int_equal(contract_open_error(&capture_xdp_ops, &config, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "3819"));
	assert_int_equal(xdp_attached(CONTRACT_A), XDP_ATTACHED_NONE);
}

/* What is refused is captured by another method, and that is said. */
static void xdp_falls_back(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = NULL;
	struct diag diag = {""};

	(void)state;
	config.method = CAPTURE_XDP;
	config.interface = "lo";
	assert_int_equal(capture_open(&c, &config, &diag), CAPTURE_E_OTHER);
	assert_ptr_equal(c->ops, &capture_afpacket_ops);
	assert_non_null(strstr(diag.text, "lo: "));
	assert_non_null(strstr(diag.text, "--capture afpacket is used instead"));
	capture_close(c);
	config.interface = "any";
	assert_int_equal(capture_open(&c, &config, &diag), CAPTURE_E_OTHER);
	assert_ptr_equal(c->ops, &capture_pcap_ops);
	capture_close(c);
	config.interface = "nosuch0";
	assert_int_equal(capture_open(&c, &config, &diag), -ENODEV);
	assert_null(strstr(diag.text, "instead"));
}

static void xdp_is_what_was_asked_for(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = NULL;
	struct diag diag = {""};

	(void)state;
	config.method = CAPTURE_XDP;
	assert_int_equal(capture_open(&c, &config, &diag), 0);
	assert_ptr_equal(c->ops, &capture_xdp_ops);
	capture_close(c);
}

/* The descriptor is what a loop over several captures polls. */
static void xdp_descriptor_wakes(void **state)
{
	struct capture_config config = contract_config();
	struct capture *c = contract_open(&capture_xdp_ops, &config);
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	int tx = netns_sender(CONTRACT_B);

	(void)state;
	assert_int_equal(poll(&pfd, 1, 50), 0);
	contract_frame(&b, 1, 40);
	netns_send(tx, b.at, b.len);
	assert_int_equal(poll(&pfd, 1, 500), 1);
	assert_int_equal(contract_collect(c, seen, 1), 1);
	assert_int_equal(poll(&pfd, 1, 50), 0);
	capture_close(c);
	close(tx);
}

/* Frames that come one by one are taken together: not a wake-up for each. */
static void xdp_gathers_frames(void **state)
{
	enum { N = 2000, GAP_NS = 100000 };
	struct capture_config config = contract_config();
	unsigned n = 0, batches = 0;
	struct frame_batch batch;
	struct diag diag;
	struct capture *c;
	int status;
	pid_t pid;

	(void)state;
	config.buffer_octets = 64 << 20;
	c = contract_open(&capture_xdp_ops, &config);
	pid = fork();
	if (pid == 0) {
		int tx = netns_sender(CONTRACT_B);

		for (uint32_t i = 0; i < N; i++) {
			uint64_t next_ns = clock_monotonic_ns() + GAP_NS;

			contract_frame(&b, i, 40);
			netns_send(tx, b.at, b.len);
			while (clock_monotonic_ns() < next_ns)
				;
		}
		_exit(0);
	}
	for (unsigned idle = 0; n < N && idle < 20;) { /* as a metering process does it */
		assert_int_equal(capture_recv(c, &batch, 0, &diag), 0);
		n += batch.n;
		batches += batch.n > 0;
		idle = batch.n ? 0 : idle + 1;
		if (batch.n == 0)
			poll(&(struct pollfd){.fd = c->fd, .events = POLLIN}, 1, 50);
		capture_release(c, &batch);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(n, N);
	assert_true(batches < N / 4);
	capture_close(c);
}

/* Built without: the sentence, and the other method. */
static void xdp_none_says_so(void **state)
{
	struct capture_config config = contract_config();
	struct diag diag = {""};

	(void)state;
	assert_int_equal(contract_open_error(&capture_xdp_ops, &config, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "built without"));
}

#define ON_VETH(fn) cmocka_unit_test_setup_teardown(fn, contract_set_up, contract_tear_down)

int main(void)
{
	static const struct contract contracts[] = {
		{.ops = &capture_xdp_ops,
		 .name = "xdp, native",
		 .knows_direction = true,
		 .ingress_only = true},
		{.ops = &capture_xdp_ops,
		 .name = "xdp, generic",
		 .knows_direction = true,
		 .ingress_only = true,
		 .prepare = xdp_make_generic},
	};
	const struct CMUnitTest tests[] = {
		ON_VETH(xdp_attaches_and_detaches),
		ON_VETH(xdp_leaves_nothing),
		ON_VETH(xdp_is_one_an_interface),
		ON_VETH(xdp_takes_frames_away),
		ON_VETH(xdp_reads_all_queues),
		ON_VETH(xdp_counts_filtered),
		ON_VETH(xdp_filters_beyond_snap_length),
		ON_VETH(xdp_filters_tagged_frames),
		ON_VETH(xdp_takes_whole_frames),
		ON_VETH(xdp_refuses),
		ON_VETH(xdp_falls_back),
		ON_VETH(xdp_is_what_was_asked_for),
		ON_VETH(xdp_descriptor_wakes),
		ON_VETH(xdp_gathers_frames),
	};
	const struct CMUnitTest none[] = {ON_VETH(xdp_none_says_so), ON_VETH(xdp_falls_back)};
	int r = netns_enter();
	const char *missing;

	if (r)
		return r;
	if (!capture_xdp_ops.recv)
		return cmocka_run_group_tests(none, NULL, NULL) ? 1 : 0;
	missing = netns_xdp_missing();
	if (missing)
		return lacking("no AF_XDP here: %s", missing);
	return contract_run(&contracts[0]) + contract_run(&contracts[1]) +
			       cmocka_run_group_tests(tests, NULL, NULL)
		       ? 1
		       : 0;
}
