/* session: see session.h.  Here: the ops of the transports; session_phases.c is what happens between them. */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OFFLINE_BACKLOG (UINT64_C(2) << 20)
#define EAGER_OCTETS	(UINT64_C(64) << 10) /* so much waiting is sent without waiting for a flush */

static uint64_t room(const struct session *s)
{
	if (s->spool_dir[0] && s->layer->reliable)
		return s->config.spool_octets / 2;
	return transport_buffer_octets(&s->config) / 2;
}

bool session_crowded(const struct transport *t)
{
	const struct session *s = (const struct session *)t;
	bool up = s->phase == SESSION_UP;

	return s->backlog > (up && room(s) > OFFLINE_BACKLOG ? OFFLINE_BACKLOG : room(s));
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

/* Nothing more can be done for what is left: why it is. */
static void explain(struct session *s)
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
	explain(s);
	if (s->phase == SESSION_UP || s->phase == SESSION_ENDING) {
		session_queue_acked(s);
		session_queue_end(s, session_ends[s->layer->kind][SESSION_WAY_UNANSWERED].read);
	}
	if (s->layer->stop)
		s->layer->stop(s);
	resolve_drop(&s->lookup);
	session_queue_close(s);
	*last = t->stats;
	if (s->layer->free)
		s->layer->free(s);
	if (t->fd >= 0)
		close(t->fd);
	free(s);
}

static void copy_config(struct session *s, const struct transport_config *config)
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
	copy_config(s, config);
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
