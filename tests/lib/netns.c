/* netns: see netns.h. */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lacking.h"

static void netns_check(bool ok, const char *what, const char *name, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "netns: %s %s: %s\n", what, name, why);
	abort();
}

static void netns_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* a kernel without IPv6 has nothing to switch off */
	if (write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "netns: %s: %s\n", path, strerror(errno));
	close(fd);
}

int netns_enter(void)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return lacking("no network namespace: %s (run as root)", strerror(errno));
	/* without its own chatter (neighbour discovery, MLD) the only frames are the test's */
	netns_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	netns_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	netns_set_up("lo", true);
	return 0;
}

static struct nl_sock *netns_connect(void)
{
	struct nl_sock *sk = nl_socket_alloc();
	int r;

	netns_check(sk, "netlink", "socket", "out of memory");
	r = nl_connect(sk, NETLINK_ROUTE);
	netns_check(r == 0, "netlink", "connect", nl_geterror(r));
	return sk;
}

void netns_veth(const char *a, const char *b)
{
	netns_veth_index(a, b, 0);
}

void netns_veth_index(const char *a, const char *b, unsigned index)
{
	struct nl_sock *sk = netns_connect();
	struct rtnl_link *link = rtnl_link_veth_alloc(), *peer = rtnl_link_veth_get_peer(link);
	int r;

	rtnl_link_set_name(link, a);
	rtnl_link_set_name(peer, b);
	if (index)
		rtnl_link_set_ifindex(link, (int)index);
	r = rtnl_link_add(sk, link, NLM_F_CREATE | NLM_F_EXCL);
	netns_check(r == 0, "veth", a, nl_geterror(r));
	rtnl_link_put(peer);
	rtnl_link_put(link);
	nl_socket_free(sk);
	netns_set_up(a, true);
	netns_set_up(b, true);
	netns_wait_running(a);
	netns_wait_running(b);
}

static short netns_flags(const char *name)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	netns_check(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &ifr) == 0, "flags of", name, strerror(errno));
	close(fd);
	return ifr.ifr_flags;
}

void netns_wait_running(const char *name)
{
	for (unsigned i = 0; i < 500 && !(netns_flags(name) & IFF_RUNNING); i++)
		usleep(10000);
}

void netns_set_up(const char *name, bool up)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	netns_check(fd >= 0, "socket", name, strerror(errno));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_flags = netns_flags(name);
	ifr.ifr_flags = (short)(up ? ifr.ifr_flags | IFF_UP : ifr.ifr_flags & ~IFF_UP);
	netns_check(ioctl(fd, SIOCSIFFLAGS, &ifr) == 0, "up or down", name, strerror(errno));
	close(fd);
}

static void netns_change(const char *name,
			 int (*change)(struct nl_sock *sk, struct rtnl_link *link, void *arg), void *arg)
{
	struct nl_sock *sk = netns_connect();
	struct rtnl_link *link = NULL;
	int r = rtnl_link_get_kernel(sk, 0, name, &link);

	netns_check(r == 0, "find", name, nl_geterror(r));
	r = change(sk, link, arg);
	netns_check(r == 0, "change", name, nl_geterror(r));
	rtnl_link_put(link);
	nl_socket_free(sk);
}

static int netns_change_delete(struct nl_sock *sk, struct rtnl_link *link, void *arg)
{
	(void)arg;
	return rtnl_link_delete(sk, link);
}

void netns_delete(const char *name)
{
	netns_change(name, netns_change_delete, NULL);
}

static int netns_change_alias(struct nl_sock *sk, struct rtnl_link *link, void *arg)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int r;

	rtnl_link_set_ifalias(change, arg);
	r = rtnl_link_change(sk, link, change, 0);
	rtnl_link_put(change);
	return r;
}

void netns_set_alias(const char *name, const char *alias)
{
	char copy[128];

	snprintf(copy, sizeof(copy), "%s", alias);
	netns_change(name, netns_change_alias, copy);
}

bool netns_has(const char *name)
{
	return if_nametoindex(name) != 0;
}

int netns_tun(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	netns_check(ioctl(fd, TUNSETIFF, &ifr) == 0, "tun", name, strerror(errno));
	netns_set_up(name, true);
	return fd;
}

int netns_sender(const char *name)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	netns_check(fd >= 0, "sender", name, strerror(errno));
	netns_check(bind(fd, (struct sockaddr *)&sll, sizeof(sll)) == 0, "sender", name, strerror(errno));
	return fd;
}

void netns_send(int fd, const void *data, size_t len)
{
	ssize_t n = send(fd, data, len, 0);

	netns_check(n == (ssize_t)len, "send", "frame", strerror(errno));
}

const char *netns_xdp_missing(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1};
	int fd = socket(AF_XDP, SOCK_RAW, 0), map;

	if (fd < 0)
		return strerror(errno);
	close(fd);
	map = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (map < 0)
		return strerror(errno);
	close(map);
	return NULL;
}
