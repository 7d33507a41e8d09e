/*
 * udp_slots: messages wait in slots, and leave together.
 *
 * They are written into slots and sent by sendmmsg().  Bulk exports send runs of messages of one size by
 * UDP_SEGMENT, a quarter of the cost: only after BULK messages, because on loopback and veth a packet capture
 * shows such a run as one datagram.  When the system has no room, what is left waits in the slots for the
 * next flush; of a savefile the flush waits.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "udp_internal.h"

#ifndef UDP_SEGMENT /* linux/udp.h, 4.18 */
#define UDP_SEGMENT 103
#endif

#define LOOK_ERROR_NS NS_PER_SEC /* after an error of a call: until the way is looked at */
#define BULK	      1024u	 /* messages before runs are sent at once */
#define RUN_LEAST     4u	 /* messages in a run that pays */
#define RUN_OCTETS    65000u	 /* and the most that one call takes */

/* Of a savefile nothing is lost for want of room: a queue of the system may be full while the socket is not.
 */
static bool udp_wait_for_room(struct udp *u, unsigned *waited_ms)
{
	struct pollfd p = {.fd = u->t.fd, .events = POLLOUT};
	uint64_t begun_ns = clock_monotonic_ns();

	if (*waited_ms >= u->wait_ms)
		return false;
	if (poll(&p, 1, (int)(u->wait_ms - *waited_ms)) > 0)
		poll(NULL, 0, 1);
	*waited_ms += 1 + (unsigned)((clock_monotonic_ns() - begun_ns) / NS_PER_MSEC);
	return true;
}

/* How many messages from i on make a run: of one size, the last may be shorter. */
static unsigned udp_run_length(const struct udp *u, unsigned i)
{
	size_t size = u->vectors[i].iov_len, total = 0;
	unsigned n = 0;

	for (; i + n < u->used; n++) {
		size_t next = u->vectors[i + n].iov_len;

		if (next > size || total + next > RUN_OCTETS)
			break;
		total += next;
		if (next < size)
			return n + 1;
	}
	return n;
}

/* One call for the run of n messages at i; false: it must be sent by other means. */
static bool udp_send_run(struct udp *u, unsigned i, unsigned n)
{
	union {
		struct cmsghdr align;
		uint8_t octets[CMSG_SPACE(sizeof(uint16_t))];
	} control = {.octets = {0}};
	struct msghdr m = {.msg_iov = u->vectors + i,
			   .msg_iovlen = n,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control.octets)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	uint16_t size = (uint16_t)u->vectors[i].iov_len;
	int error;

	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	if (sendmsg(u->t.fd, &m, MSG_NOSIGNAL) >= 0)
		return true;
	error = errno;
	udp_drain_errors(u); /* it may be about an earlier one: these have not left */
	if (error == EINVAL || error == EIO || error == EOPNOTSUPP || error == ENOPROTOOPT)
		u->no_segments = true;
	return false;
}

/* An error of a call: what became of the message that it was about. */
static void udp_note_failure(struct udp *u, int error)
{
	if (!udp_is_path_error(error)) {
		udp_note_error(u, error);
		return;
	}
	udp_note_path_error(u, error);
	if (u->next_look_ns > u->looked_ns + LOOK_ERROR_NS)
		u->next_look_ns = u->looked_ns + LOOK_ERROR_NS;
}

static bool udp_is_room_error(int error)
{
	return error == EAGAIN || error == ENOBUFS;
}

enum send_how { SEND_LOST, SEND_ONE_BY_ONE, SEND_RUN };

/* Sends messages from i on; returns how many are dealt with, and how; 0: no room now. */
static unsigned udp_send_some(struct udp *u, unsigned i, enum send_how *how)
{
	bool bulk = !u->no_segments && u->t.stats.messages >= BULK;
	unsigned plain = bulk ? 0 : u->used - i, run = bulk ? udp_run_length(u, i) : 0;
	unsigned waited_ms = 0;

	*how = SEND_RUN;
	if (run >= RUN_LEAST && udp_send_run(u, i, run))
		return run;
	*how = SEND_ONE_BY_ONE;
	/* up to the next run */
	for (plain += plain == 0; i + plain < u->used && bulk && udp_run_length(u, i + plain) < RUN_LEAST;
	     plain++)
		;
	for (unsigned tries = 0; tries < 8;) {
		int n = sendmmsg(u->t.fd, u->headers + i, plain, MSG_NOSIGNAL), error = errno;

		if (n > 0) {
			u->wait_ms = UDP_WAIT_MS;
			return (unsigned)n;
		}
		u->room_error = udp_is_room_error(error) ? error : 0;
		if (u->room_error && !u->config.offline)
			return 0;
		if (u->room_error && udp_wait_for_room(u, &waited_ms))
			continue;
		if (u->room_error)
			u->wait_ms = 0; /* once in vain is enough until there is room */
		tries++;
		if (error == EINTR || udp_is_about_others(u, error, u->vectors[i].iov_len))
			continue;
		udp_note_failure(u, error);
		break;
	}
	*how = SEND_LOST;
	return 1;
}

/* Messages [i, end) of those in the slots are dealt with. */
static void udp_resolve_some(struct udp *u, unsigned i, unsigned end, enum send_how how)
{
	u->run++;
	for (; i < end; i++) {
		unsigned slot = (u->first + i) % UDP_SLOTS;
		const struct udp_slot *s = &u->slots[slot];

		if (how != SEND_LOST)
			udp_sent_add(u, u->memory + slot * u->slot_size, s);
		u->run += how == SEND_ONE_BY_ONE;
		transport_resolve(&u->t, &s->load, s->size, how != SEND_LOST);
	}
}

void udp_flush(struct transport *t)
{
	struct udp *u = (struct udp *)t;
	unsigned done = 0;

	for (unsigned i = 0; i < u->used; i++) {
		unsigned slot = (u->first + i) % UDP_SLOTS;

		u->vectors[i] = (struct iovec){.iov_base = u->memory + slot * u->slot_size,
					       .iov_len = u->slots[slot].size};
		u->headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &u->vectors[i], .msg_iovlen = 1}};
	}
	while (done < u->used) {
		enum send_how how;
		unsigned n = udp_send_some(u, done, &how);

		if (n == 0)
			break;
		udp_resolve_some(u, done, done + n, how);
		done += n;
	}
	u->first = (u->first + done) % UDP_SLOTS;
	u->used -= done;
}

/* The n oldest messages waited for room in vain. */
static void udp_lose_first(struct udp *u, unsigned n)
{
	if (n == 0)
		return;
	udp_note_error(u, u->room_error);
	udp_resolve_some(u, 0, n, SEND_LOST);
	u->first = (u->first + n) % UDP_SLOTS;
	u->used -= n;
}

void udp_lose_rest(struct udp *u)
{
	udp_lose_first(u, u->used);
}

uint8_t *udp_reserve(struct transport *t)
{
	struct udp *u = (struct udp *)t;

	if (t->state != TRANSPORT_STATE_UP)
		return NULL;
	if (u->used == UDP_SLOTS)
		udp_flush(t);
	if (u->used == UDP_SLOTS)
		udp_lose_first(u, 1);
	return u->memory + (u->first + u->used) % UDP_SLOTS * u->slot_size;
}

void udp_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct udp *u = (struct udp *)t;

	u->slots[(u->first + u->used++) % UDP_SLOTS] = (struct udp_slot){.size = size, .load = *load};
}
