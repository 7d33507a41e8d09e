/*
 * netif_counters: what an interface has counted, by rtnetlink's 64-bit statistics (struct rtnl_link_stats64).
 *
 * Broadcasts and unknown protocols are counted by no driver there; they are unknown, not 0.  Ethernet's own
 * errors are told only of interfaces that belong to a device: virtual ones have none, and their zeros would
 * say otherwise.
 */
#include "netif/netif_internal.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/counters.h"

struct netif_counters {
	struct nl_sock *sk;
	int fd; /* for ethtool */
};

int netif_counters_open(struct netif_counters **cp, struct diag *diag)
{
	struct netif_counters *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return diag_set(diag, -ENOMEM, "interface counters: out of memory");
	c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = netif_connect(&c->sk, diag);
	if (r < 0) {
		netif_counters_close(c);
		return diag_prefix(diag, r, "interface counters: ");
	}
	*cp = c;
	return 0;
}

void netif_counters_close(struct netif_counters *c)
{
	if (!c)
		return;
	nl_socket_free(c->sk);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

uint32_t netif_counters_type(unsigned arphrd)
{
	switch (arphrd) {
	case ARPHRD_ETHER:
		return 6; /* ethernetCsmacd */
	case ARPHRD_LOOPBACK:
		return 24; /* softwareLoopback */
	case ARPHRD_PPP:
		return 23;
	case ARPHRD_IEEE80211:
		return 71;
	case ARPHRD_INFINIBAND:
		return 199;
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
		return 131; /* tunnel */
	default:
		return 1; /* other */
	}
}

static void netif_read_driver(const struct netif_counters *c, const char *name, struct interface_counters *n)
{
	struct ethtool_cmd cmd = {.cmd = ETHTOOL_GSET};
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};

	if (netif_ethtool(c->fd, name, &cmd) == 0) {
		n->speed = netif_ethtool_speed(&cmd);
		n->direction = cmd.duplex == DUPLEX_FULL ? 1 : cmd.duplex == DUPLEX_HALF ? 2 : 0;
	}
	n->ethernet = n->type == 6 && netif_ethtool(c->fd, name, &driver) == 0 && driver.bus_info[0];
}

static struct interface_traffic netif_received(struct rtnl_link *link)
{
	uint64_t packets = rtnl_link_get_stat(link, RTNL_LINK_RX_PACKETS);
	uint64_t multicast = rtnl_link_get_stat(link, RTNL_LINK_MULTICAST);

	return (struct interface_traffic){
		.octets = rtnl_link_get_stat(link, RTNL_LINK_RX_BYTES),
		.unicast = packets > multicast ? packets - multicast : 0,
		.multicast = multicast,
		.broadcast = COUNTER_UNKNOWN,
		.discards = rtnl_link_get_stat(link, RTNL_LINK_RX_DROPPED),
		.errors = rtnl_link_get_stat(link, RTNL_LINK_RX_ERRORS),
	};
}

/* Sent multicasts are counted by no driver: unicast holds them all. */
static struct interface_traffic netif_sent(struct rtnl_link *link)
{
	return (struct interface_traffic){
		.octets = rtnl_link_get_stat(link, RTNL_LINK_TX_BYTES),
		.unicast = rtnl_link_get_stat(link, RTNL_LINK_TX_PACKETS),
		.multicast = COUNTER_UNKNOWN,
		.broadcast = COUNTER_UNKNOWN,
		.discards = rtnl_link_get_stat(link, RTNL_LINK_TX_DROPPED),
		.errors = rtnl_link_get_stat(link, RTNL_LINK_TX_ERRORS),
	};
}

struct interface_ethernet netif_counters_ethernet(struct rtnl_link *link)
{
	return (struct interface_ethernet){
		.alignment_errors = rtnl_link_get_stat(link, RTNL_LINK_RX_FRAME_ERR),
		.fcs_errors = rtnl_link_get_stat(link, RTNL_LINK_RX_CRC_ERR),
		.single_collisions = COUNTER_UNKNOWN,
		.multiple_collisions = rtnl_link_get_stat(link, RTNL_LINK_COLLISIONS),
		.sqe_errors = rtnl_link_get_stat(link, RTNL_LINK_TX_HBEAT_ERR),
		.deferred = COUNTER_UNKNOWN,
		.late_collisions = rtnl_link_get_stat(link, RTNL_LINK_TX_WIN_ERR),
		.excessive_collisions = rtnl_link_get_stat(link, RTNL_LINK_TX_ABORT_ERR),
		.internal_transmit_errors = rtnl_link_get_stat(link, RTNL_LINK_TX_FIFO_ERR),
		.carrier_sense_errors = rtnl_link_get_stat(link, RTNL_LINK_TX_CARRIER_ERR),
		.frames_too_long = rtnl_link_get_stat(link, RTNL_LINK_RX_LEN_ERR),
		.internal_receive_errors = rtnl_link_get_stat(link, RTNL_LINK_RX_FIFO_ERR),
		.symbol_errors = COUNTER_UNKNOWN,
	};
}

int netif_counters_read(struct netif_counters *c, uint32_t index, struct interface_counters *n)
{
	struct rtnl_link *link = NULL;
	const char *name;
	unsigned flags;
	int r = rtnl_link_get_kernel(c->sk, (int)index, NULL, &link);

	if (r < 0)
		return netif_errno(r);
	name = rtnl_link_get_name(link);
	flags = rtnl_link_get_flags(link);
	*n = (struct interface_counters){
		.index = index,
		.type = netif_counters_type(rtnl_link_get_arptype(link)),
		.admin_up = flags & IFF_UP,
		.oper_up = flags & IFF_RUNNING,
		/* the flag is what ip(8) asked for; packet sockets, pitot's among them, are in the number */
		.promiscuous = rtnl_link_get_promiscuity(link) > 0,
		.in = netif_received(link),
		.out = netif_sent(link),
		.in_unknown_protocols = COUNTER_UNKNOWN,
	};
	netif_read_driver(c, name ? name : "", n);
	if (n->ethernet)
		n->ether = netif_counters_ethernet(link);
	rtnl_link_put(link);
	return 0;
}
