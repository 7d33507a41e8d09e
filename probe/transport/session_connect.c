/* session_connect: how a session comes about: names, addresses, the socket, the layer's handshake. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "session.h"

#define JITTER_NS  (50 * NS_PER_MSEC) /* the other end must not see attempts come closer than they may */
#define CONNECT_NS (10 * NS_PER_SEC)  /* for one address */
#define GREET_NS   (10 * NS_PER_SEC)
#define LOOKUP_NS  (40 * NS_PER_SEC)

void session_begin(struct session *s)
{
	s->phase = SESSION_UP;
	s->t.state = TRANSPORT_STATE_UP;
	s->t.session++;
	s->t.stats.sessions++;
	s->t.stats.reason[0] = '\0';
	socket_note_self(s->t.fd, s->layer->protocol ? s->layer->protocol : IPPROTO_UDP, &s->t.self);
	session_queue_begin(s);
}

void session_greet(struct session *s)
{
	int r = s->layer->greet ? s->layer->greet(s) : 0;

	if (r == 0)
		session_begin(s);
	else if (r != -EAGAIN)
		session_fail(s, r);
	else if (s->now_ns >= s->deadline_ns)
		session_fail(s,
			     session_because(s, -ETIMEDOUT, "%s: the collector does not answer the handshake",
					     s->layer->name));
}

static void connect_next(struct session *s)
{
	while (s->next_address < s->addresses.n) {
		unsigned i = s->next_address++;
		int fd = socket_open(&s->from, s->layer->socktype, s->layer->protocol,
				     &s->addresses.addresses[i], s->addresses.sizes[i]);

		if (fd >= 0) {
			s->t.fd = fd;
			s->left = true;
			s->phase = SESSION_CONNECTING;
			s->deadline_ns = s->now_ns + CONNECT_NS;
			return;
		}
		s->address_error = fd;
	}
	(void)socket_is_missing(&s->from, -s->address_error, s->t.stats.reason, sizeof(s->t.stats.reason));
	session_fail(s, s->address_error);
}

void session_check_connected(struct session *s)
{
	int r = socket_is_connected(s->t.fd);

	if (r == 0 && s->now_ns >= s->deadline_ns)
		r = -ETIMEDOUT;
	if (r == 0)
		return;
	if (r < 0) {
		s->address_error = r;
		close(s->t.fd);
		s->t.fd = -1;
		connect_next(s);
		return;
	}
	s->phase = SESSION_GREETING;
	s->deadline_ns = s->now_ns + GREET_NS;
	r = s->layer->start ? s->layer->start(s) : 0;
	if (r)
		session_fail(s, r);
	else
		session_greet(s);
}

static void session_use_addresses(struct session *s)
{
	if (s->addresses.error || s->addresses.n == 0) {
		session_fail(s, session_because(s, -ENOENT, "%.100s: %s", s->collector.host,
						s->addresses.error == EAI_SYSTEM
							? "the name cannot be looked up"
							: gai_strerror(s->addresses.error)));
		return;
	}
	s->next_address = 0;
	s->address_error = -EADDRNOTAVAIL;
	connect_next(s);
}

void session_attempt(struct session *s)
{
	int r;

	s->attempted = true;
	s->left = s->changed = false;
	s->attempt_ns = s->now_ns;
	s->t.stats.reason[0] = '\0';
	s->t.state = TRANSPORT_STATE_CONNECTING;
	if (resolve_numeric(&s->addresses, s->collector.host, s->collector.port, s->layer->socktype)) {
		session_use_addresses(s);
		return;
	}
	r = resolve_start(&s->lookup, s->collector.host, s->collector.port, s->layer->socktype);
	if (r) {
		session_fail(s, r);
		return;
	}
	s->phase = SESSION_RESOLVING;
	s->deadline_ns = s->now_ns + LOOKUP_NS;
}

void session_check_lookup(struct session *s)
{
	if (resolve_take(&s->lookup, &s->addresses, 0)) {
		session_use_addresses(s);
	} else if (s->now_ns >= s->deadline_ns) {
		resolve_drop(&s->lookup);
		session_fail(s, session_because(s, -ETIMEDOUT, "%.100s: no answer from the name service",
						s->collector.host));
	}
}

/* Not more often than --reconnect says: once a minute is the standard's (RFC 7011 §10.4.4). */
uint64_t session_attempt_due_ns(const struct session *s)
{
	uint64_t wait_ns = s->config.reconnect_ns + JITTER_NS;

	if (!s->attempted)
		return 0;
	/* an attempt that nobody saw does not count when the reason may be gone */
	if (s->changed && !s->left && wait_ns > NS_PER_SEC)
		wait_ns = NS_PER_SEC;
	return s->attempt_ns + wait_ns;
}

bool session_may_attempt(const struct session *s, uint64_t now_ns)
{
	return now_ns >= session_attempt_due_ns(s);
}
