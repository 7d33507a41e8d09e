/*
 * netif_watch: link events of rtnetlink as they happen.
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
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	const struct ifinfomsg *info;

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

static int watch_connect(struct netif_watch *w)
{
	int r;

	nl_socket_disable_seq_check(w->sk); /* nobody asked for these messages */
	r = nl_socket_modify_cb(w->sk, NL_CB_VALID, NL_CB_CUSTOM, watch_on_message, w);
	if (r == 0)
		r = nl_connect(w->sk, NETLINK_ROUTE);
	if (r == 0)
		r = nl_socket_add_membership(w->sk, RTNLGRP_LINK);
	if (r == 0)
		r = nl_socket_set_nonblocking(w->sk);
	return r;
}

int netif_watch_open(struct netif_watch **wp, struct diag *diag)
{
	struct netif_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return diag_set(diag, -ENOMEM, "link events: out of memory");
	w->sk = nl_socket_alloc();
	if (!w->sk) {
		netif_watch_close(w);
		return diag_set(diag, -ENOMEM, "link events: out of memory");
	}
	r = watch_connect(w);
	if (r < 0) {
		netif_watch_close(w);
		return diag_set(diag, netif_errno(r), "link events: rtnetlink: %s", nl_geterror(r));
	}
	*wp = w;
	return 0;
}

int netif_watch_fd(const struct netif_watch *w)
{
	return nl_socket_get_fd(w->sk);
}

int netif_watch_read(struct netif_watch *w, void (*on_link)(void *ctx, const struct netif *n, bool gone),
		     void *ctx)
{
	bool lost = false;
	int r;

	w->on_link = on_link;
	w->ctx = ctx;
	for (;;) {
		r = nl_recvmsgs_default(w->sk);
		if (r == -NLE_AGAIN)
			return lost ? NETIF_E_LOST : 0;
		if (r == -NLE_NOMEM || r == -NLE_DUMP_INTR) {
			lost = true; /* ENOBUFS is said once, then reading goes on */
			continue;
		}
		if (r < 0 && r != -NLE_INTR)
			return netif_errno(r);
	}
}

void netif_watch_close(struct netif_watch *w)
{
	if (!w)
		return;
	nl_socket_free(w->sk);
	free(w);
}
