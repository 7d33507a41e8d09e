/*
 * udp_sent: the messages that left lately, and the errors that come back, each of which is charged to the
 * records of the datagram that it is about.
 *
 * ICMP quotes the beginning of that datagram; the headers of all formats have a number in there that no other
 * message of the session has.  A quote that is cut off before it belongs to the message that left last and
 * begins like that.  Datagrams that left by one call (UDP_SEGMENT) may still be one packet where they are
 * refused, and there is one error for all of them.
 */
#include <errno.h>
#include <time.h> /* before errqueue.h, which needs struct timespec */
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "pitot/clock.h"
#include "udp_internal.h"

#define MTU_UNKNOWN 512u /* RFC 7011 §10.3.3 */
#define HEADERS6    48u
#define PROBE_NS    NS_PER_SEC /* later its refusal does not come any more */

/* ---- errors */

void udp_note_error(struct udp *u, int error)
{
	u->t.stats.errors++;
	u->t.stats.last_error = error;
	u->t.stats.last_cause = NULL;
	u->t.stats.reason[0] = '\0';
}

void udp_note_path_error(struct udp *u, int error)
{
	udp_note_error(u, error);
	(void)socket_is_missing(&u->from, error, u->t.stats.reason, sizeof(u->t.stats.reason));
}

bool udp_is_path_error(int error)
{
	switch (error) {
	case EADDRNOTAVAIL:
	case EINVAL: /* the address that the socket sends from is gone */
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case ENODEV:
	case ENXIO:
		return true;
	default:
		return false;
	}
}

/* ---- the path's MTU */

static unsigned udp_headers(const struct udp *u)
{
	return u->family == AF_INET6 ? HEADERS6 : UDP_HEADERS4;
}

void udp_read_mtu(struct udp *u)
{
	unsigned mtu = u->t.fd < 0 ? 0 : socket_path_mtu(u->t.fd);
	size_t limit;

	if (mtu < UDP_MTU_LEAST) /* 68: a device that is gone */
		mtu = 0;
	limit = u->config.mtu ? u->config.mtu : mtu > 0 ? UDP_MTU_MOST : MTU_UNKNOWN;
	if (mtu > 0 && mtu < limit)
		limit = mtu;
	limit -= udp_headers(u);
	u->t.limits.max_message = limit < u->slot_size ? limit : u->slot_size;
}

/* ---- what left */

static struct udp_sent *sent_entry(struct udp *u, uint64_t number)
{
	return &u->sent[number % UDP_SENT];
}

void udp_sent_add(struct udp *u, const uint8_t *message, const struct udp_slot *slot)
{
	struct udp_sent *s = sent_entry(u, u->n_sent++);

	memcpy(s->head, message, slot->size < UDP_HEAD ? slot->size : UDP_HEAD);
	s->size = (uint32_t)slot->size;
	s->run = u->run;
	s->refused = false;
	s->load = slot->load;
}

static bool sent_begins(const struct udp_sent *s, const uint8_t *quote, size_t size)
{
	size_t n = s->size < UDP_HEAD ? s->size : UDP_HEAD;

	return !s->refused && memcmp(s->head, quote, size < n ? size : n) == 0;
}

static void sent_refuse(struct udp *u, struct udp_sent *s)
{
	s->refused = true;
	transport_revoke(&u->t, &s->load, s->size);
}

/* An empty datagram left, which has no records. */
void udp_sent_add_probe(struct udp *u)
{
	u->probe_ends_ns = u->now_ns + PROBE_NS;
}

/* An error came back about the datagram that begins with these octets: its records were not sent. */
static void udp_sent_refuse(struct udp *u, const uint8_t *quote, size_t size)
{
	if (size == 0 &&
	    u->now_ns < u->probe_ends_ns) { /* it is about the probe, whatever left behind that */
		u->probe_ends_ns = 0;
		return;
	}

	uint64_t oldest = u->n_sent > UDP_SENT ? u->n_sent - UDP_SENT : 0;

	for (uint64_t n = u->n_sent; n-- > oldest;) {
		struct udp_sent *s = sent_entry(u, n);
		uint32_t run = s->run;

		if (!sent_begins(s, quote, size))
			continue;
		sent_refuse(u, s);
		for (n++; n < u->n_sent && sent_entry(u, n)->run == run; n++)
			if (!sent_entry(u, n)->refused)
				sent_refuse(u, sent_entry(u, n));
		return;
	}
}

void udp_sent_forget(struct udp *u)
{
	u->n_sent = 0;
}

/* ---- what comes back */

/* What ICMP says of a datagram is that it did not arrive, whatever the reason. */
static void sent_take_error(struct udp *u, const struct sock_extended_err *e, const uint8_t *quote,
			    size_t size)
{
	if (e->ee_origin != SO_EE_ORIGIN_LOCAL) {
		udp_note_error(u, (int)e->ee_errno);
		udp_sent_refuse(u, quote, size);
	}
	if (e->ee_errno == EMSGSIZE)
		udp_read_mtu(u);
}

unsigned udp_drain_errors(struct udp *u)
{
	unsigned n = 0;

	for (;;) {
		uint8_t control[512], quote[UDP_HEAD];
		struct iovec v = {.iov_base = quote, .iov_len = sizeof(quote)};
		struct msghdr m = {.msg_iov = &v,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		ssize_t size = recvmsg(u->t.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);

		if (size < 0)
			return n;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct sock_extended_err e;

			if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
			    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			n++;
			sent_take_error(u, &e, quote, (size_t)size);
		}
	}
}

bool udp_is_about_others(struct udp *u, int error, size_t size)
{
	unsigned queued = udp_drain_errors(u);

	if (error == EMSGSIZE) { /* unless this one is too long for what the path takes now */
		udp_read_mtu(u);
		return size <= u->t.limits.max_message;
	}
	if (queued)
		return true;
	if (error == ECONNREFUSED) { /* without the queue */
		udp_note_error(u, error);
		return true;
	}
	return false;
}
