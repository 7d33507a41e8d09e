/*
 * netif_watch: link events of rtnetlink as they happen, and whether addresses or routes have changed.
 *
 * When events come faster than they are read the kernel throws some away and says so: that is handed on as
 * NETIF_E_LOST, and the caller asks again for the interfaces that it cares about.
 */
#include "netif/netif_internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdlib.h>
#include <sys/socket.h>

struct netif_watch {
	struct nl_sock *sk;
	struct nl_sock *routes; /* what it says is not looked at: that it says something is enough */
	bool changed;
	void (*on_link)(void *ctx, const struct netif *n, bool gone);
	void *ctx;
};

static void watch_on_object(struct nl_object *object, void *arg)
{
	struct netif_watch *w = arg;
	struct netif n;

	netif_fill(&n, (struct rtnl_link *)object);
	w->on_link(w->ctx, &n, nl_object_get_msgtype(object) == RTM_DELLINK);
}

static int watch_on_message(struct nl_msg *msg, void *arg)
{
	struct netif_watch *w = arg;
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	const struct ifinfomsg *info;

	w->changed = true;
	if (h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK)
		return NL_OK;
	if (!nlmsg_valid_hdr(nlmsg_hdr(msg), sizeof(*info)))
		return NL_OK;
	info = nlmsg_data(h);
	/* a port that leaves its bridge is a DELLINK of family AF_BRIDGE: the interface stays */
	if (info->ifi_family != AF_UNSPEC)
		return NL_OK;
	(void)nl_msg_parse(msg, watch_on_object, arg);
	return NL_OK;
}

static int watch_connect(struct netif_watch *w, struct nl_sock *sk, const int groups[])
{
	int r;

	nl_socket_disable_seq_check(sk); /* nobody asked for these messages */
	r = nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, watch_on_message, w);
	if (r == 0)
		r = nl_connect(sk, NETLINK_ROUTE);
	for (; r == 0 && *groups; groups++)
		r = nl_socket_add_membership(sk, *groups);
	if (r == 0)
		r = nl_socket_set_nonblocking(sk);
	return r;
}

int netif_watch_open(struct netif_watch **wp, struct diag *diag)
{
	static const int links[] = {RTNLGRP_LINK, 0}, routes[] = {RTNLGRP_IPV4_IFADDR,
								  RTNLGRP_IPV6_IFADDR,
								  RTNLGRP_IPV4_ROUTE,
								  RTNLGRP_IPV6_ROUTE,
								  RTNLGRP_IPV4_RULE,
								  RTNLGRP_IPV6_RULE,
								  0};
	struct netif_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return diag_set(diag, -ENOMEM, "link events: out of memory");
	w->sk = nl_socket_alloc();
	w->routes = nl_socket_alloc();
	if (!w->sk || !w->routes) {
		netif_watch_close(w);
		return diag_set(diag, -ENOMEM, "link events: out of memory");
	}
	errno = 0;
	r = watch_connect(w, w->sk, links);
	if (r == 0)
		r = watch_connect(w, w->routes, routes);
	if (r < 0) {
		netif_watch_close(w);
		return diag_set(diag, netif_errno(r), "link events: rtnetlink: %s", netif_error_text(r));
	}
	*wp = w;
	return 0;
}

int netif_watch_fd(const struct netif_watch *w)
{
	return nl_socket_get_fd(w->sk);
}

#define DRAIN_MOST 4096 /* messages: they may come faster than they are read */

/* Until nothing is left: 0, NETIF_E_LOST, or negative errno. */
static int watch_drain(struct nl_sock *sk)
{
	bool lost = false;
	int r;

	for (unsigned i = 0; i < DRAIN_MOST; i++) {
		r = nl_recvmsgs_default(sk);
		if (r == -NLE_AGAIN)
			return lost ? NETIF_E_LOST : 0;
		if (r == -NLE_NOMEM || r == -NLE_DUMP_INTR) {
			lost = true; /* ENOBUFS is said once, then reading goes on */
			continue;
		}
		if (r < 0 && r != -NLE_INTR)
			return netif_errno(r);
	}
	return lost ? NETIF_E_LOST : 0;
}

int netif_watch_read(struct netif_watch *w, void (*on_link)(void *ctx, const struct netif *n, bool gone),
		     void *ctx)
{
	int r;

	w->on_link = on_link;
	w->ctx = ctx;
	if (watch_drain(w->routes) != 0)
		w->changed = true;
	r = watch_drain(w->sk);
	if (r != 0)
		w->changed = true;
	return r;
}

bool netif_watch_changed(struct netif_watch *w)
{
	bool changed = w->changed;

	w->changed = false;
	return changed;
}

void netif_watch_close(struct netif_watch *w)
{
	if (!w)
		return;
	nl_socket_free(w->sk);
	nl_socket_free(w->routes);
	free(w);
}
