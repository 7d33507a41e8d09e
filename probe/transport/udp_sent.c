/*
 * udp_sent: the messages that left lately, so that an error that comes back is charged to the records of the
 * datagram that it is about.
 *
 * ICMP quotes the beginning of that datagram; the headers of all formats have a number in there that no other
 * message of the session has.  A quote that is cut off before it belongs to the message that left last and
 * begins like that.  Datagrams that left by one call (UDP_SEGMENT) may still be one packet where they are
 * refused, and there is one error for all of them.
 */
#include <string.h>

#include "pitot/clock.h"
#include "udp_internal.h"

#define PROBE_NS NS_PER_SEC /* later its refusal does not come any more */

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

void udp_sent_refuse(struct udp *u, const uint8_t *quote, size_t size)
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
