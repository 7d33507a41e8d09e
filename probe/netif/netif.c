/*
 * netif: see include/pitot/netif.h.  One short conversation with rtnetlink per question; the speed, which
 * rtnetlink does not have, by ethtool.
 *
 * Not /sys/class/net/NAME/speed: what is mounted at /sys may belong to another network namespace.
 */
#include "netif/netif_internal.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_S = 1 };

static void netif_close_socket(struct nl_sock **sk)
{
	nl_socket_free(*sk); /* NULL is fine */
}

static void netif_put_link(struct rtnl_link **link)
{
	if (*link)
		rtnl_link_put(*link);
}

static void netif_free_cache(struct nl_cache **cache)
{
	if (*cache)
		nl_cache_free(*cache);
}

int netif_errno(int nl_error)
{
	switch (nl_error < 0 ? -nl_error : nl_error) {
	case 0:
		return 0;
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_AGAIN:
		return -EAGAIN;
	case NLE_INTR:
		return -EINTR;
	default:
		return -EIO;
	}
}

int netif_ethtool(int fd, const char *name, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.15s", name);
	return ioctl(fd, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

uint64_t netif_ethtool_speed(const struct ethtool_cmd *cmd)
{
	/* the header's own function shifts an int into its sign */
	uint32_t mbit = (uint32_t)cmd->speed_hi << 16 | cmd->speed;

	if (mbit == UINT16_MAX || mbit == UINT32_MAX) /* SPEED_UNKNOWN, in old drivers of 16 bits */
		return 0;
	return (uint64_t)mbit * 1000000;
}

/* bit/s; 0 when the driver does not say (virtual interfaces, no carrier). */
static uint64_t netif_read_speed(const char *name)
{
	struct ethtool_cmd cmd = {.cmd = ETHTOOL_GSET};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t speed;

	if (fd < 0)
		return 0;
	speed = netif_ethtool(fd, name, &cmd) == 0 ? netif_ethtool_speed(&cmd) : 0;
	close(fd);
	return speed;
}

void netif_fill(struct netif *n, struct rtnl_link *link)
{
	const char *name = rtnl_link_get_name(link);
	const char *alias = rtnl_link_get_ifalias(link);
	unsigned flags = rtnl_link_get_flags(link);

	*n = (struct netif){
		.index = (uint32_t)rtnl_link_get_ifindex(link),
		.mtu = rtnl_link_get_mtu(link),
		.packets = rtnl_link_get_stat(link, RTNL_LINK_RX_PACKETS) +
			   rtnl_link_get_stat(link, RTNL_LINK_TX_PACKETS),
		.promiscuity = rtnl_link_get_promiscuity(link),
		.dropped = rtnl_link_get_stat(link, RTNL_LINK_RX_MISSED_ERR) +
			   rtnl_link_get_stat(link, RTNL_LINK_RX_FIFO_ERR),
		.arphrd = rtnl_link_get_arptype(link),
		.up = flags & IFF_UP,
		.running = flags & IFF_RUNNING,
		.loopback = flags & IFF_LOOPBACK,
	};
	snprintf(n->name, sizeof(n->name), "%s", name ? name : "");
	snprintf(n->alias, sizeof(n->alias), "%s", alias ? alias : "");
	n->speed = netif_read_speed(n->name);
}

/* "lo, eth0": as many names as fit; the last is cut to "..." */
static void netif_list(struct nl_sock *sk, char *text, size_t size)
{
	__attribute__((cleanup(netif_free_cache))) struct nl_cache *cache = NULL;
	size_t n = 0;

	text[0] = '\0';
	if (rtnl_link_alloc_cache(sk, AF_UNSPEC, &cache) < 0)
		return;
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		const char *name = rtnl_link_get_name((struct rtnl_link *)o);

		if (!name)
			continue;
		if (n + strlen(name) + 8 > size) {
			snprintf(text + n, size - n, ", ...");
			return;
		}
		n += (size_t)snprintf(text + n, size - n, "%s%s", n ? ", " : "", name);
	}
}

static int netif_set_missing(struct nl_sock *sk, const char *name, struct diag *diag)
{
	char list[320];

	netif_list(sk, list, sizeof(list));
	return diag_set(diag, -ENODEV, "interface \"%.64s\" does not exist (there are: %s)%s", name,
			list[0] ? list : "none",
			name[strcspn(name, ", ")] ? "; each needs a --interface (-i) of its own" : "");
}

/* libnl has few words of its own: a limit on open files is an "unspecific failure". */
const char *netif_error_text(int nl_error)
{
	if (nl_error == -NLE_AGAIN)
		return "the kernel does not answer";
	return nl_error == -NLE_FAILURE && errno ? strerror(errno) : nl_geterror(nl_error);
}

/* An answer is there when its question was sent, but libnl waits for those to questions that it could not
 * send, too. */
int netif_connect(struct nl_sock **sk, struct diag *diag)
{
	const struct timeval wait = {.tv_sec = ANSWER_S};
	int r;

	*sk = nl_socket_alloc();
	if (!*sk)
		return diag_set(diag, -ENOMEM, "rtnetlink: out of memory");
	errno = 0;
	r = nl_connect(*sk, NETLINK_ROUTE);
	if (r == 0 && setsockopt(nl_socket_get_fd(*sk), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		r = -NLE_FAILURE;
	if (r < 0)
		return diag_set(diag, netif_errno(r), "rtnetlink: %s", netif_error_text(r));
	return 0;
}

int netif_get(struct netif *n, const char *name, struct diag *diag)
{
	__attribute__((cleanup(netif_close_socket))) struct nl_sock *sk = NULL;
	__attribute__((cleanup(netif_put_link))) struct rtnl_link *link = NULL;
	int r = netif_connect(&sk, diag);

	*n = (struct netif){0};
	if (r < 0)
		return r;
	if (!*name || strlen(name) >= IFNAMSIZ)
		return netif_set_missing(sk, name, diag);
	r = rtnl_link_get_kernel(sk, 0, name, &link);
	if (netif_errno(r) == -ENODEV)
		return netif_set_missing(sk, name, diag);
	if (r < 0)
		return diag_set(diag, netif_errno(r), "%s: rtnetlink: %s", name, netif_error_text(r));
	netif_fill(n, link);
	return 0;
}

int netif_get_index(struct netif *n, uint32_t index, struct diag *diag)
{
	__attribute__((cleanup(netif_close_socket))) struct nl_sock *sk = NULL;
	__attribute__((cleanup(netif_put_link))) struct rtnl_link *link = NULL;
	int r = netif_connect(&sk, diag);

	*n = (struct netif){0};
	if (r < 0)
		return r;
	r = rtnl_link_get_kernel(sk, (int)index, NULL, &link);
	if (r < 0)
		return diag_set(diag, netif_errno(r), "interface %u: rtnetlink: %s", index,
				netif_error_text(r));
	netif_fill(n, link);
	return 0;
}

int netif_each(void (*take)(void *ctx, const struct netif *n), void *ctx, struct diag *diag)
{
	__attribute__((cleanup(netif_close_socket))) struct nl_sock *sk = NULL;
	__attribute__((cleanup(netif_free_cache))) struct nl_cache *cache = NULL;
	int r = netif_connect(&sk, diag);

	if (r < 0)
		return r;
	r = rtnl_link_alloc_cache(sk, AF_UNSPEC, &cache);
	if (r < 0)
		return diag_set(diag, netif_errno(r), "rtnetlink: %s", netif_error_text(r));
	for (struct nl_object *o = nl_cache_get_first(cache); o; o = nl_cache_get_next(o)) {
		struct netif n;

		netif_fill(&n, (struct rtnl_link *)o);
		take(ctx, &n);
	}
	return 0;
}
