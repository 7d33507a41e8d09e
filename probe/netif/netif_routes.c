/*
 * netif_routes: what the system would do with a packet, by RTM_GETROUTE.
 *
 * There are two questions: which route matches (RTM_F_FIB_MATCH), whose prefix has a length and which may
 * have several next hops, and what becomes of this packet, for which one of them is chosen.
 */
#include "netif/netif_internal.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { ROUTES_WAIT_MS = 200, ROUTES_LATE = 4, ROUTES_TOS = 0x1c /* the kernel's routes know these bits */ };

struct netif_routes {
	struct nl_sock *sk;
	struct netif_route *answer; /* of the question that is asked */
	unsigned octets;	    /* of an address */
	int error;		    /* the kernel's: positive errno; 0 none */
	bool answered;
};

/* ---- answers: every length is checked, by libnl or here */

static void routes_take_number(const struct nlattr *a, uint32_t *to)
{
	if (a && nla_len(a) == (int)sizeof(*to))
		*to = nla_get_u32(a);
}

static int routes_on_answer(struct nl_msg *msg, void *arg)
{
	struct netif_routes *r = arg;
	struct nlmsghdr *h = nlmsg_hdr(msg);
	struct nlattr *attrs[RTA_MAX + 1];
	const struct rtmsg *rt;

	if (h->nlmsg_type != RTM_NEWROUTE || !nlmsg_valid_hdr(h, sizeof(*rt)) ||
	    nlmsg_parse(h, sizeof(*rt), attrs, RTA_MAX, NULL) < 0)
		return NL_OK;
	rt = nlmsg_data(h);
	r->answered = true;
	r->answer->prefix = rt->rtm_dst_len <= 8 * r->octets ? rt->rtm_dst_len : 0;
	r->answer->several = attrs[RTA_MULTIPATH] != NULL;
	r->answer->forwarded = rt->rtm_type == RTN_UNICAST;
	if (!r->answer->forwarded)
		return NL_OK;
	routes_take_number(attrs[RTA_OIF], &r->answer->egress);
	if (attrs[RTA_GATEWAY] && nla_len(attrs[RTA_GATEWAY]) == (int)r->octets)
		memcpy(r->answer->next_hop, nla_data(attrs[RTA_GATEWAY]), r->octets);
	return NL_OK;
}

static int routes_on_error(struct sockaddr_nl *who, struct nlmsgerr *e, void *arg)
{
	struct netif_routes *r = arg;

	(void)who;
	r->error = -e->error;
	return NL_STOP;
}

/* ---- questions */

static bool routes_put_port(struct nl_msg *msg, int attribute, uint16_t port)
{
	const uint8_t octets[] = {(uint8_t)(port >> 8), (uint8_t)port};

	return nla_put(msg, attribute, sizeof(octets), octets) == 0;
}

static bool routes_put(struct nl_msg *msg, const struct netif_question *q, bool with_src, unsigned octets)
{
	bool ok = nla_put(msg, RTA_DST, (int)octets, q->dst) == 0;

	if (with_src)
		ok = ok && nla_put(msg, RTA_SRC, (int)octets, q->src) == 0;
	if (q->ingress)
		ok = ok && nla_put_u32(msg, RTA_IIF, q->ingress) == 0;
	else if (q->egress)
		ok = ok && nla_put_u32(msg, RTA_OIF, q->egress) == 0;
	if (q->src_port | q->dst_port)
		ok = ok && nla_put_u8(msg, RTA_IP_PROTO, q->protocol) == 0 &&
		     routes_put_port(msg, RTA_SPORT, q->src_port) &&
		     routes_put_port(msg, RTA_DPORT, q->dst_port);
	return ok;
}

static struct nl_msg *routes_write(const struct netif_question *q, bool prefix, bool with_src)
{
	unsigned octets = q->family == 6 ? 16 : 4;
	struct rtmsg rt = {
		.rtm_family = q->family == 6 ? AF_INET6 : AF_INET,
		.rtm_dst_len = (unsigned char)(8 * octets),
		.rtm_src_len = (unsigned char)(with_src ? 8 * octets : 0),
		.rtm_tos = q->tos & ROUTES_TOS,
		.rtm_flags = RTM_F_LOOKUP_TABLE | (prefix ? RTM_F_FIB_MATCH : 0),
	};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);

	if (msg && nlmsg_append(msg, &rt, sizeof(rt), NLMSG_ALIGNTO) == 0 &&
	    routes_put(msg, q, with_src, octets))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

static int routes_exchange(struct netif_routes *r, const struct netif_question *q, bool prefix, bool with_src,
			   struct netif_route *answer)
{
	struct nl_msg *msg = routes_write(q, prefix, with_src);
	int ret;

	if (!msg)
		return -ENOMEM;
	*answer = (struct netif_route){0};
	r->answer = answer;
	r->octets = q->family == 6 ? 16 : 4;
	r->answered = false;
	r->error = 0;
	ret = nl_send_auto(r->sk, msg);
	nlmsg_free(msg);
	if (ret >= 0)
		ret = nl_recvmsgs_default(r->sk);
	/* an answer that came too late for the question before */
	for (unsigned i = 0; i < ROUTES_LATE && ret == -NLE_SEQ_MISMATCH; i++)
		ret = nl_recvmsgs_default(r->sk);
	if (r->error == ENOMEM || r->error == ENOBUFS)
		return -r->error;
	if (r->error)
		return NETIF_E_NO_ROUTE;
	return ret < 0 ? netif_errno(ret) : r->answered ? 0 : -EIO;
}

int netif_routes_ask(struct netif_routes *r, const struct netif_question *q, bool prefix,
		     struct netif_route *answer)
{
	int ret = routes_exchange(r, q, prefix, true, answer);

	/* what the host sends has an address of the host, or none yet; of what others sent it knows nothing
	 */
	if (ret == NETIF_E_NO_ROUTE && !q->ingress)
		ret = routes_exchange(r, q, prefix, false, answer);
	return ret;
}

int netif_routes_open(struct netif_routes **rp, struct diag *diag)
{
	struct netif_routes *r = calloc(1, sizeof(*r));
	struct timeval wait = {.tv_usec = ROUTES_WAIT_MS * 1000};
	int ret = -NLE_NOMEM;

	if (r)
		r->sk = nl_socket_alloc();
	if (r && r->sk) {
		nl_socket_disable_auto_ack(r->sk);
		errno = 0;
		ret = nl_socket_modify_cb(r->sk, NL_CB_VALID, NL_CB_CUSTOM, routes_on_answer, r);
		if (ret == 0)
			ret = nl_socket_modify_err_cb(r->sk, NL_CB_CUSTOM, routes_on_error, r);
		if (ret == 0)
			ret = nl_connect(r->sk, NETLINK_ROUTE);
		if (ret == 0 &&
		    setsockopt(nl_socket_get_fd(r->sk), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
			ret = -NLE_FAILURE;
	}
	if (ret < 0) {
		diag_set(diag, netif_errno(ret), "routes: rtnetlink: %s", netif_error_text(ret));
		netif_routes_close(r);
		return netif_errno(ret);
	}
	*rp = r;
	return 0;
}

void netif_routes_close(struct netif_routes *r)
{
	if (!r)
		return;
	nl_socket_free(r->sk);
	free(r);
}
