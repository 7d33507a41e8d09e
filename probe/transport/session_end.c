/*
 * session_end: how a session that was up ends, and what that means for what was sent in it.
 *
 * What the peer's kernel acknowledged is not what the collector has read: a collector that is restarted
 * leaves a socket full of acknowledged octets unread.  So only one end says that everything was read: that
 * we said goodbye, behind the last message, and the collector answered that.  After any other end all that
 * is not forgotten (the replay window, see pitot/spool.h) is sent again in the next session, and at the end
 * of the program it is left in the spool, or counted as not sent where there is none.
 *
 * What cannot be seen from here: a collector on TCP that ends its side by shutdown() after our FIN has come,
 * with octets unread, is not told from one that has read them, since no reset follows any more (of one that
 * just closes it does).  So FIN is sent only when the collector's system has had everything for a moment.  On
 * TLS our side stays open until the answer has come, and a reset always follows.  On DTLS nothing does: a
 * goodbye that crosses ours is taken for the answer.  The SHUTDOWN of SCTP is answered by the peer's kernel.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session.h"

#define FIN_NS	      (500 * NS_PER_MSEC) /* without an answer: some peers wait for the end of the connection */
#define UNANSWERED_NS NS_PER_SEC	  /* for a session that is made anew */

/* ---- the table: a row for each layer, the same ways in each */

#define READ(WHAT)                                                                                           \
	{                                                                                                    \
		true, WHAT                                                                                   \
	}
#define UNKNOWN(WHAT)                                                                                        \
	{                                                                                                    \
		false, WHAT                                                                                  \
	}
#define UNSAID "; it may not have read everything"

const struct session_end session_ends[SESSION_KINDS][SESSION_WAYS] = {
	[SESSION_TCP] =
		{
			[SESSION_WAY_ANSWERED] = READ("FIN, and the collector's FIN"),
			[SESSION_WAY_UNANSWERED] =
				UNKNOWN("the collector does not answer the end of the session"),
			[SESSION_WAY_CUT] = UNKNOWN("the collector reset the connection at the end" UNSAID),
			[SESSION_WAY_CLOSED] = UNKNOWN("the collector closed the connection" UNSAID),
			[SESSION_WAY_GOODBYE] = UNKNOWN("the collector closed the connection" UNSAID),
			[SESSION_WAY_RESET] = UNKNOWN("the collector reset the connection" UNSAID),
			[SESSION_WAY_ALERT] = UNKNOWN("the connection failed" UNSAID),
			[SESSION_WAY_SILENT] = UNKNOWN("the collector does not answer any more"),
		},
	[SESSION_TLS] =
		{
			[SESSION_WAY_ANSWERED] = READ("close_notify, and the collector's, or its FIN"),
			[SESSION_WAY_UNANSWERED] =
				UNKNOWN("the collector does not answer the end of the session"),
			[SESSION_WAY_CUT] = UNKNOWN("the collector reset the connection at the end" UNSAID),
			[SESSION_WAY_CLOSED] =
				UNKNOWN("the collector closed the connection without a word" UNSAID),
			[SESSION_WAY_GOODBYE] = UNKNOWN("the collector ended the session" UNSAID),
			[SESSION_WAY_RESET] = UNKNOWN("the collector reset the connection" UNSAID),
			[SESSION_WAY_ALERT] = UNKNOWN("the collector ended the session by an alert"),
			[SESSION_WAY_SILENT] = UNKNOWN("the collector does not answer any more"),
		},
	[SESSION_DTLS] =
		{
			[SESSION_WAY_ANSWERED] = READ("close_notify, and the collector's"),
			[SESSION_WAY_UNANSWERED] =
				UNKNOWN("the collector does not answer the end of the session"),
			[SESSION_WAY_CUT] = UNKNOWN("the collector's host refuses datagrams"),
			[SESSION_WAY_CLOSED] = UNKNOWN("the collector ended the session" UNSAID),
			[SESSION_WAY_GOODBYE] = UNKNOWN("the collector ended the session" UNSAID),
			[SESSION_WAY_RESET] = UNKNOWN("the collector's host refuses datagrams"),
			[SESSION_WAY_ALERT] = UNKNOWN("the collector ended the session by an alert"),
			[SESSION_WAY_SILENT] = UNKNOWN("there is no way to the collector"),
		},
	[SESSION_SCTP] =
		{
			[SESSION_WAY_ANSWERED] = READ("SHUTDOWN, and the answer of the collector's system"),
			[SESSION_WAY_UNANSWERED] =
				UNKNOWN("the collector does not answer the end of the session"),
			[SESSION_WAY_CUT] =
				UNKNOWN("the collector aborted the association at the end" UNSAID),
			[SESSION_WAY_CLOSED] = UNKNOWN("the collector ended the association" UNSAID),
			[SESSION_WAY_GOODBYE] = UNKNOWN("the collector ended the association" UNSAID),
			[SESSION_WAY_RESET] = UNKNOWN("the collector aborted the association" UNSAID),
			[SESSION_WAY_ALERT] = UNKNOWN("the association failed" UNSAID),
			[SESSION_WAY_SILENT] = UNKNOWN("the collector does not answer any more"),
		},
};

enum session_way session_way_of(int r)
{
	switch (r) {
	case SESSION_E_CLOSED:
		return SESSION_WAY_CLOSED;
	case SESSION_E_GOODBYE:
		return SESSION_WAY_GOODBYE;
	case -ETIMEDOUT:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENETDOWN:
	case -EHOSTDOWN:
		return SESSION_WAY_SILENT;
	case -EPROTO:
	case -EACCES:
		return SESSION_WAY_ALERT;
	default:
		return SESSION_WAY_RESET;
	}
}

/* ---- why */

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

static void session_rest(struct session *s)
{
	if (s->layer->stop)
		s->layer->stop(s);
	if (s->t.fd >= 0)
		close(s->t.fd);
	s->t.fd = -1;
	s->phase = SESSION_WAITING;
	s->t.state = TRANSPORT_STATE_FAILED;
}

void session_fail(struct session *s, int error)
{
	session_note_error(s, error);
	session_rest(s);
}

/* ---- the end */

int session_read(struct session *s)
{
	int r;

	if (s->layer->read)
		return s->layer->read(s);
	r = socket_drop(s->t.fd);
	return r == SOCKET_E_CLOSED ? SESSION_E_CLOSED : r;
}

void session_end(struct session *s, enum session_way way, int error)
{
	const struct session_end *end = &session_ends[s->layer->kind][way];

	session_queue_acked(s);
	session_queue_end(s, end->read);
	if (!end->read) {
		if (!s->t.stats.reason[0])
			session_because(s, error, "%s: %s", s->layer->name, end->what);
		session_note_error(s, error);
	}
	session_rest(s);
	if (end->read && s->finishing) {
		s->phase = SESSION_OVER;
		s->t.state = TRANSPORT_STATE_UP; /* to the end */
	}
}

void session_end_begin(struct session *s)
{
	s->phase = SESSION_ENDING;
	s->said = s->cut = s->answered = false;
	session_end_step(s);
}

/* 0 said, -EAGAIN, or negative errno: there is nobody any more to hear it. */
static int session_end_say(struct session *s)
{
	int r = s->layer->shut ? s->layer->shut(s) : 0;

	if (r < 0)
		return r;
	if (!s->layer->shut)
		socket_shut(s->t.fd);
	s->cut = !s->layer->shut;
	s->said = true;
	s->said_ns = s->now_ns;
	return 0;
}

/* A goodbye that crossed ours, of a collector that has not read ours, is followed by a reset when it closes.
 */
static bool session_end_is_settled(struct session *s)
{
	return s->now_ns - s->answered_ns >= s->layer->settle_ns && session_queue_unacked(s) == 0;
}

static bool session_end_is_reset(const struct session *s)
{
	return socket_is_reset(s->t.fd, s->layer->protocol == IPPROTO_TCP && !s->cut);
}

void session_end_step(struct session *s)
{
	int r = s->said ? 0 : session_end_say(s);

	if (r == -EAGAIN)
		return;
	session_queue_acked(s);
	if (r == 0 && !s->answered) {
		r = session_read(s);
		s->answered = r == SESSION_E_CLOSED || r == SESSION_E_GOODBYE;
		s->answered_ns = s->now_ns;
	}
	if (r < 0 || (s->answered && session_end_is_reset(s))) {
		session_end(s, SESSION_WAY_CUT, r < 0 ? r : -ECONNRESET);
	} else if (s->answered) {
		if (session_end_is_settled(s))
			session_end(s, SESSION_WAY_ANSWERED, 0);
	} else if (!s->finishing && s->now_ns - s->said_ns >= UNANSWERED_NS) {
		session_end(s, SESSION_WAY_UNANSWERED, -ETIMEDOUT);
	} else if (!s->cut && s->layer->socktype == SOCK_STREAM && s->now_ns - s->said_ns >= FIN_NS) {
		s->cut = true;
		socket_shut(s->t.fd);
	}
}
