/* netif_internal: what the files of netif share. */
#ifndef PITOT_NETIF_INTERNAL_H
#define PITOT_NETIF_INTERNAL_H

#include "pitot/counters.h"
#include "pitot/netif.h"

struct ethtool_cmd;
struct nl_sock;
struct rtnl_link;

void netif_fill(struct netif *n, struct rtnl_link *link);
int netif_errno(int nl_error);		    /* negative errno for libnl's error, of either sign */
const char *netif_error_text(int nl_error); /* right behind the call that failed */
/* 0, or negative errno and a sentence; *sk is the caller's to free either way. */
int netif_connect(struct nl_sock **sk, struct diag *diag);
/* IANAifType-MIB's number of an ARPHRD_ */
uint32_t netif_counters_type(unsigned arphrd);
struct interface_ethernet netif_counters_ethernet(struct rtnl_link *link);
/* An ethtool command by any socket: 0 or negative errno. */
int netif_ethtool(int fd, const char *name, void *command);
/* bit/s, of the answer to ETHTOOL_GSET; 0: the driver does not say. */
uint64_t netif_ethtool_speed(const struct ethtool_cmd *cmd);

#endif
