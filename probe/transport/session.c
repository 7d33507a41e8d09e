/* session: see session.h.  Here: what a session does while it is up, and the ops of the transports. */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OFFLINE_BACKLOG (UINT64_C(2) << 20)
#define LOOK_NS		(10 * NS_PER_SEC)    /* between looks at the way of datagrams */
#define EAGER_OCTETS	(UINT64_C(64) << 10) /* so much waiting is sent without waiting for a flush */

static uint64_t session_room(const struct session *s)
{
	if (s->spool_dir[0] && s->layer->reliable)
		return s->config.spool_octets / 2;
	return s->config.buffer_octets / 2;
}

bool session_crowded(const struct transport *t)
{
	const struct session *s = (const struct session *)t;
	bool up = s->phase == SESSION_UP;

	return s->backlog > (up && session_room(s) > OFFLINE_BACKLOG ? OFFLINE_BACKLOG : session_room(s));
}

/* ---- a session that is up */

/* Nothing more is to come, the peer's system has everything, and has had it for a moment. */
static bool session_is_done(struct session *s)
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
static bool session_has_moved(struct session *s)
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

static void session_listen(struct session *s)
{
	int r = session_read(s);

	if (r == 0 && s->layer->tick)
		r = s->layer->tick(s);
	if (r == 0 && session_has_moved(s))
		r = SESSION_E_RENEW;
	if (r == SESSION_E_RENEW) {
		session_end_begin(s);
	} else if (r) {
		session_end(s, session_way_of(r), r < 0 ? r : -ECONNRESET);
	} else {
		session_queue_acked(s);
		if (session_is_done(s))
			session_end_begin(s);
	}
}

/* Writes what may be sent now; nothing unless the session is up. */
static void session_pump(struct session *s)
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

/* One step from phase to phase, as far as it goes without waiting. */
static void session_advance(struct session *s)
{
	switch (s->phase) {
	case SESSION_WAITING:
		if (session_may_attempt(s, s->now_ns))
			session_attempt(s);
		break;
	case SESSION_RESOLVING:
		session_check_lookup(s);
		break;
	case SESSION_CONNECTING:
		session_check_connected(s);
		break;
	case SESSION_GREETING:
		if (s->layer->tick && s->layer->tick(s) < 0)
			s->deadline_ns = s->now_ns;
		session_greet(s);
		break;
	case SESSION_UP:
		session_listen(s);
		break;
	case SESSION_ENDING:
		session_end_step(s);
		break;
	case SESSION_OVER:
		break;
	}
	/* at once when the last attempt is old enough, and what is quick is quickly done */
	if (s->phase == SESSION_WAITING && session_may_attempt(s, s->now_ns))
		session_attempt(s);
	if (s->phase == SESSION_CONNECTING)
		session_check_connected(s);
}

/* ---- the ops */

uint8_t *session_reserve(struct transport *t)
{
	return ((struct session *)t)->lent;
}

void session_commit(struct transport *t, size_t size, const struct transport_load *load)
{
	struct session *s = (struct session *)t;

	if (load->flows.records == 0) {
		session_queue_direct(s, s->lent, size, load);
		return;
	}
	session_queue_add(s, s->lent, size, load);
	if (s->backlog >= EAGER_OCTETS)
		session_pump(s);
}

void session_flush(struct transport *t)
{
	session_pump((struct session *)t);
}

void session_tick(struct transport *t, const struct clock_time *now)
{
	struct session *s = (struct session *)t;

	if (now->monotonic_ns == s->now_ns && s->attempted)
		return;
	if (now->monotonic_ns > s->now_ns)
		s->now_ns = now->monotonic_ns;
	session_advance(s);
	session_queue_tick(s);
}

uint64_t session_due_ns(const struct transport *t)
{
	const struct session *s = (const struct session *)t;

	switch (s->phase) {
	case SESSION_WAITING:
		return session_attempt_due_ns(s);
	case SESSION_UP:
		return s->finishing || !session_queue_is_empty(s) ? 0 : UINT64_MAX;
	case SESSION_OVER:
		return UINT64_MAX;
	default:
		return 0;
	}
}

void session_network_changed(struct transport *t)
{
	struct session *s = (struct session *)t;

	s->next_look_ns = 0;
	s->changed = true;
}

void session_refresh(struct transport *t)
{
	struct session *s = (struct session *)t;

	/* a session that works keeps its address; one that does not is tried now */
	if (s->phase == SESSION_WAITING)
		s->attempted = false;
}

int session_announce(struct transport *t, const uint8_t *message, size_t size, unsigned templates)
{
	struct session *s = (struct session *)t;

	if (size > SESSION_MESSAGE)
		return -EMSGSIZE;
	memcpy(s->templates, message, size);
	s->templates_size = size;
	s->templates_records = templates;
	return spool_set_preamble(s->spool, message, size);
}

void session_finish(struct transport *t)
{
	((struct session *)t)->finishing = true;
}

bool session_idle(const struct transport *t, uint64_t until_ns)
{
	const struct session *s = (const struct session *)t;

	if (s->phase == SESSION_OVER || (s->phase == SESSION_WAITING && !session_may_attempt(s, until_ns)))
		return true;
	if (s->finishing && (s->phase == SESSION_UP || s->phase == SESSION_ENDING))
		return false;
	return session_queue_is_empty(s);
}

/* ---- handing over */

bool session_settled(const struct transport *t)
{
	const struct session *s = (const struct session *)t;

	return s->phase == SESSION_UP && session_queue_is_empty(s);
}

/* All of it was acknowledged; what the next one is to send again after a bad end is not handed over. */
void session_let_go(struct transport *t)
{
	struct session *s = (struct session *)t;

	session_queue_acked(s);
	session_queue_end(s, true);
	s->phase = SESSION_OVER;
}

int session_take_over(struct transport *t, int fd, const uint8_t *templates, size_t size)
{
	struct session *s = (struct session *)t;
	struct sockaddr_storage peer;
	socklen_t length = sizeof(int), peer_length = sizeof(peer);
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) || type != s->layer->socktype ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_length) || size > SESSION_MESSAGE)
		return -EBADMSG;
	s->t.fd = fd;
	s->attempted = s->left = true;
	s->now_ns = s->attempt_ns = clock_monotonic_ns();
	session_begin(s);
	if (size)
		memcpy(s->in_force, templates, size);
	s->in_force_size = size;
	return 0;
}

const uint8_t *session_in_force(const struct transport *t, size_t *size)
{
	const struct session *s = (const struct session *)t;

	*size = s->in_force_size;
	return s->in_force;
}

/* Nothing more can be done for what is left: why it is. */
static void session_explain(struct session *s)
{
	static const char *const why[] = {
		[SESSION_RESOLVING] = "the name service has not answered yet",
		[SESSION_CONNECTING] = "the collector has not answered yet",
		[SESSION_GREETING] = "the collector has not answered the handshake yet",
		[SESSION_UP] = "there is a session, but the collector does not read",
		[SESSION_ENDING] = "the collector does not answer the end of the session",
	};

	if (s->phase < sizeof(why) / sizeof(*why) && why[s->phase])
		session_because(s, 0, "%s: %s", s->layer->name, why[s->phase]);
}

void session_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last)
{
	struct session *s = (struct session *)t;

	(void)deadline_ns; /* whoever waits for the end does so by finish, tick and idle */
	session_explain(s);
	if (s->phase == SESSION_UP || s->phase == SESSION_ENDING) {
		session_queue_acked(s);
		session_queue_end(s, session_ends[s->layer->kind][SESSION_WAY_UNANSWERED].read);
	}
	if (s->layer->stop)
		s->layer->stop(s);
	resolve_drop(&s->lookup);
	if (session_queue_close(s) == SESSION_E_REMOVED)
		session_because(s, 0, "--spool: files were removed by somebody else");
	*last = t->stats;
	if (s->layer->free)
		s->layer->free(s);
	if (t->fd >= 0)
		close(t->fd);
	free(s);
}

static void session_copy_config(struct session *s, const struct transport_config *config)
{
	s->config = *config;
	s->collector = *config->collector;
	s->config.collector = &s->collector;
	socket_init_origin(&s->from, config);
	snprintf(s->spool_dir, sizeof(s->spool_dir), "%s", config->spool_dir ? config->spool_dir : "");
	snprintf(s->tls_name, sizeof(s->tls_name), "%s",
		 config->tls_name ? config->tls_name : s->collector.host);
}

int session_open(struct session **sp, const struct transport_ops *ops, const struct session_layer *layer,
		 const struct transport_config *config, struct diag *diag)
{
	struct session *s;
	int r = socket_check_origin(config, diag);

	if (r)
		return r;
	if (config->spool_dir && strlen(config->spool_dir) >= sizeof(s->spool_dir))
		return diag_set(diag, -ENAMETOOLONG, "--spool %.80s...: the name is too long",
				config->spool_dir);
	if (config->tls_name && strlen(config->tls_name) >= sizeof(s->tls_name))
		return diag_set(diag, -ENAMETOOLONG, "--tls-name %.80s...: the name is too long",
				config->tls_name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return diag_set(diag, -ENOMEM, "--collector %.200s: out of memory", config->collector->url);
	s->t = (struct transport){.ops = ops, .state = TRANSPORT_STATE_CONNECTING, .fd = -1};
	s->t.limits = (struct transport_limits){
		.max_message = layer->max_message, .reliable = layer->reliable, .spooled = true};
	s->layer = layer;
	session_copy_config(s, config);
	r = session_queue_open(s, diag);
	if (r == 0 && layer->setup)
		r = layer->setup(s, diag);
	if (r) {
		struct transport_stats none;

		session_close(&s->t, 0, &none);
		return r;
	}
	*sp = s;
	return 0;
}
