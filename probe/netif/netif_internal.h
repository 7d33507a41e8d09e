/* netif_internal: what netif.c and netif_watch.c share. */
#ifndef PITOT_NETIF_INTERNAL_H
#define PITOT_NETIF_INTERNAL_H

#include "pitot/netif.h"

struct rtnl_link;

void netif_fill(struct netif *n, struct rtnl_link *link);
int netif_errno(int nl_error);		    /* negative errno for libnl's error, of either sign */
const char *netif_error_text(int nl_error); /* right behind the call that failed */

#endif
