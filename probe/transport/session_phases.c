/* session_phases: how a session comes about, and what it does while it is up; session_end.c is how it ends.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "session.h"

#define RECONNECT_NS (60 * NS_PER_SEC)	/* RFC 7011 §10.4.4 */
#define JITTER_NS    (50 * NS_PER_MSEC) /* the other end must not see attempts come closer than they may */
#define CONNECT_NS   (10 * NS_PER_SEC)	/* for one address */
#define GREET_NS     (10 * NS_PER_SEC)
#define LOOKUP_NS    (40 * NS_PER_SEC)
#define LOOK_NS	     (10 * NS_PER_SEC) /* between looks at the way of datagrams */

/* ---- what goes wrong */

int session_because(struct session *s, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->t.stats.reason, sizeof(s->t.stats.reason), fmt, ap);
	va_end(ap);
	return error;
}

void session_note_error(struct session *s, int error)
{
	s->t.stats.errors++;
	s->t.stats.last_error = error < 0 ? -error : error;
}

void session_rest(struct session *s)
{
	if (s->layer->stop)
		s->layer->stop(s);
	if (s->t.fd >= 0)
		close(s->t.fd);
	s->t.fd = -1;
	s->phase = SESSION_WAITING;
	s->t.state = TRANSPORT_STATE_FAILED;
}

static void fail(struct session *s, int error)
{
	session_note_error(s, error);
	session_rest(s);
}

/* ---- connecting */

static void become_up(struct session *s)
{
	s->phase = SESSION_UP;
	s->t.state = TRANSPORT_STATE_UP;
	s->t.session++;
	s->t.stats.sessions++;
	s->t.stats.reason[0] = '\0';
	socket_note_self(s->t.fd, s->layer->protocol ? s->layer->protocol : IPPROTO_UDP, &s->t.self);
	session_queue_begin(s);
}

static void greet(struct session *s)
{
	int r = s->layer->greet ? s->layer->greet(s) : 0;

	if (r == 0)
		become_up(s);
	else if (r != -EAGAIN)
		fail(s, r);
	else if (s->now_ns >= s->deadline_ns)
		fail(s, session_because(s, -ETIMEDOUT, "%s: the collector does not answer the handshake",
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
	fail(s, s->address_error);
}

static void check_connected(struct session *s)
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
		fail(s, r);
	else
		greet(s);
}

static void use_addresses(struct session *s)
{
	if (s->addresses.error || s->addresses.n == 0) {
		fail(s, session_because(s, -ENOENT, "%.100s: %s", s->collector.host,
					s->addresses.error == EAI_SYSTEM ? "the name cannot be looked up"
									 : gai_strerror(s->addresses.error)));
		return;
	}
	s->next_address = 0;
	s->address_error = -EADDRNOTAVAIL;
	connect_next(s);
}

static void attempt(struct session *s)
{
	int r;

	s->attempted = true;
	s->left = s->changed = false;
	s->attempt_ns = s->now_ns;
	s->t.stats.reason[0] = '\0';
	s->t.state = TRANSPORT_STATE_CONNECTING;
	if (resolve_numeric(&s->addresses, s->collector.host, s->collector.port, s->layer->socktype)) {
		use_addresses(s);
		return;
	}
	r = resolve_start(&s->lookup, s->collector.host, s->collector.port, s->layer->socktype);
	if (r) {
		fail(s, r);
		return;
	}
	s->phase = SESSION_RESOLVING;
	s->deadline_ns = s->now_ns + LOOKUP_NS;
}

static void check_lookup(struct session *s)
{
	if (resolve_take(&s->lookup, &s->addresses, 0)) {
		use_addresses(s);
	} else if (s->now_ns >= s->deadline_ns) {
		resolve_drop(&s->lookup);
		fail(s, session_because(s, -ETIMEDOUT, "%.100s: no answer from the name service",
					s->collector.host));
	}
}

bool session_may_attempt(const struct session *s, uint64_t now_ns)
{
	uint64_t interval = s->config.reconnect_ns ? s->config.reconnect_ns : RECONNECT_NS;

	/* an attempt that nobody saw does not count when the reason may be gone */
	if (s->changed && !s->left && now_ns - s->attempt_ns >= NS_PER_SEC)
		return true;
	return !s->attempted || now_ns - s->attempt_ns >= interval + JITTER_NS;
}

/* ---- a session that is up */

/* Nothing more is to come, the peer's system has everything, and has had it for a moment. */
static bool is_done(struct session *s)
{
	if (!s->finishing || !session_queue_is_empty(s)) {
		s->quiet_ns = 0;
		return false;
	}
	if (!s->quiet_ns)
		s->quiet_ns = s->now_ns;
	return s->now_ns - s->quiet_ns >= s->layer->quiet_ns;
}

/* Other layers notice when nothing is acknowledged. */
static bool has_moved(struct session *s)
{
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);
	int fd;

	if (s->layer->socktype != SOCK_DGRAM || s->now_ns < s->next_look_ns)
		return false;
	s->next_look_ns = s->now_ns + LOOK_NS;
	if (getpeername(s->t.fd, (struct sockaddr *)&peer, &size) ||
	    socket_look(&s->from, s->layer->socktype, s->layer->protocol, &peer, size, &s->t.self,
			socket_device_of(s->t.fd), &fd) != SOCKET_E_MOVED)
		return false; /* or there is no better one */
	close(fd);
	return true;
}

static void listen_to(struct session *s)
{
	int r = session_read(s);

	if (r == 0 && s->layer->tick)
		r = s->layer->tick(s);
	if (r == 0 && has_moved(s))
		r = SESSION_E_RENEW;
	if (r == SESSION_E_RENEW) {
		session_end_begin(s);
	} else if (r) {
		session_end(s, session_way_of(r), r < 0 ? r : -ECONNRESET);
	} else {
		session_queue_acked(s);
		if (is_done(s))
			session_end_begin(s);
	}
}

void session_pump(struct session *s)
{
	if (s->phase != SESSION_UP)
		return;
	while (s->out_done < s->out_size || session_queue_fill(s)) {
		ssize_t n = s->layer->write(s, s->out + s->out_done, s->out_size - s->out_done);

		if (n > 0) {
			session_queue_wrote(s, (size_t)n);
		} else if (n == -EAGAIN || n == 0) {
			break;
		} else if (n == -EMSGSIZE && s->layer->whole) {
			session_note_error(s, EMSGSIZE);
			session_queue_reject(s);
		} else {
			session_end(s, session_way_of((int)n), (int)n);
			return;
		}
	}
	session_queue_acked(s);
}

void session_advance(struct session *s)
{
	switch (s->phase) {
	case SESSION_WAITING:
		if (session_may_attempt(s, s->now_ns))
			attempt(s);
		break;
	case SESSION_RESOLVING:
		check_lookup(s);
		break;
	case SESSION_CONNECTING:
		check_connected(s);
		break;
	case SESSION_GREETING:
		if (s->layer->tick && s->layer->tick(s) < 0)
			s->deadline_ns = s->now_ns;
		greet(s);
		break;
	case SESSION_UP:
		listen_to(s);
		break;
	case SESSION_ENDING:
		session_end_step(s);
		break;
	case SESSION_OVER:
		break;
	}
	/* at once when the last attempt is old enough, and what is quick is quickly done */
	if (s->phase == SESSION_WAITING && session_may_attempt(s, s->now_ns))
		attempt(s);
	if (s->phase == SESSION_CONNECTING)
		check_connected(s);
}
