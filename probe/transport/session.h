/*
 * session: what transports with a connection have in common: names, connecting and connecting again, the
 * queue, what the peer's kernel acknowledged, ending in good order.
 *
 * A session_layer is how octets go in and out of a socket that is connected: plain TCP, TLS, DTLS, SCTP.
 * Nothing waits, except where a savefile is read (config.offline) and in close(): there poll() waits for
 * progress.
 *
 * Two kinds of messages: those of flow records are in the spool and outlive sessions; others (options data,
 * and the templates of an unreliable layer) belong to the session they were committed in and go first.  A
 * message enters the session, and is counted as sent, when it is copied to out and restamped.
 */
#ifndef PITOT_TRANSPORT_SESSION_H
#define PITOT_TRANSPORT_SESSION_H

#include "pitot/spool.h"
#include "pitot/transport.h"
#include "pitot/resolve.h"
#include "transport/socket.h"

#define SESSION_MESSAGE 65535u
#define SESSION_OUT	(256u * 1024u) /* octets that have entered the session and were not written yet */
#define SESSION_MARKS	1024u

enum session_phase {
	SESSION_WAITING, /* for the time of the next attempt */
	SESSION_RESOLVING,
	SESSION_CONNECTING,
	SESSION_GREETING, /* the layer's handshake */
	SESSION_UP,
	SESSION_ENDING, /* we end it: goodbye, and the peer's answer to that */
	SESSION_OVER,	/* it was answered, and nothing more is to come */
};

/* What peers say, beside negative errno. */
enum {
	SESSION_E_CLOSED = 1, /* nothing more comes from it: FIN */
	SESSION_E_GOODBYE,    /* and it said so in the layer's own way: close_notify */
	SESSION_E_RENEW,      /* by a layer's tick: a new session, now */
};

/* session_end.c has the table of what they mean */
enum session_kind { SESSION_TCP, SESSION_TLS, SESSION_DTLS, SESSION_SCTP, SESSION_KINDS };

/* Ways in which a session that was up can end. */
enum session_way {
	SESSION_WAY_ANSWERED,	/* we said goodbye, and the peer answered it */
	SESSION_WAY_UNANSWERED, /* we did, and it did not in time */
	SESSION_WAY_CUT,	/* we did, and the connection broke instead of, or right after, an answer */
	SESSION_WAY_CLOSED,	/* the peer ended its side first: FIN, whether it still reads or not */
	SESSION_WAY_GOODBYE,	/* the peer said goodbye first */
	SESSION_WAY_RESET,	/* RST, ABORT, a port that nobody listens on */
	SESSION_WAY_ALERT,	/* an alert, or octets that are none of the layer's */
	SESSION_WAY_SILENT,	/* the system had no answer for too long, or no way to the peer */
	SESSION_WAYS
};

struct session;

struct session_layer {
	enum session_kind kind;
	const char *name;
	int socktype, protocol;
	bool whole; /* one message in each write */
	bool reliable;
	size_t max_message;
	/* once, when the transport is opened; may be NULL */
	int (*setup)(struct session *s, struct diag *diag);
	void (*free)(struct session *s);
	/* the socket is connected; NULL: nothing to do */
	int (*start)(struct session *s);
	/* 0 done, -EAGAIN, or negative errno and a reason; NULL: none */
	int (*greet)(struct session *s);
	/* octets taken, or negative errno */
	ssize_t (*write)(struct session *s, const uint8_t *data, size_t size);
	/* what came from the peer is dropped: 0 nothing more now, SESSION_E_CLOSED, SESSION_E_GOODBYE, or
	 * negative errno; NULL: the socket's own */
	int (*read)(struct session *s);
	/* units (octets, or messages) that were written; NULL: the layer counts them in session.units */
	uint64_t (*written)(const struct session *s);
	/* of those, how many the peer's kernel does not have yet; NULL: those of the socket */
	uint64_t (*unacked)(const struct session *s);
	/* goodbye: 0 said, -EAGAIN, or negative errno: the connection is gone; NULL: FIN is all */
	int (*shut)(struct session *s);
	/* before goodbye: how long a peer is listened to that has everything and may be leaving */
	uint64_t quiet_ns;
	/* after an answer: how long a reset is waited for that takes it back */
	uint64_t settle_ns;
	/* the session is over: frees what start made; may be NULL */
	void (*stop)(struct session *s);
	/* every tick of a session that is up or greeting: 0, SESSION_E_RENEW, or negative errno: it is over
	 */
	int (*tick)(struct session *s);
};

/* A message of this run in the spool. */
struct session_entry {
	struct transport_load load;
	size_t size;
	uint64_t end;  /* where it ends in this session's stream; 0 not in it */
	bool resolved; /* as sent */
	bool acked;
	bool lost;
};

/* A message that belongs to one session. */
struct session_direct {
	struct session_direct *next;
	struct transport_load load;
	size_t size;
	uint8_t data[];
};

/* Units written up to here are octets of the stream up to there. */
struct session_mark {
	uint64_t unit, stream;
};

struct session {
	struct transport t; /* first */
	const struct session_layer *layer;
	void *own; /* of the layer */
	struct transport_config config;
	struct collector_config collector;
	struct socket_origin from;
	char spool_dir[512], tls_name[256];

	enum session_phase phase;
	uint64_t now_ns; /* monotonic */
	struct resolve *lookup;
	struct resolve_result addresses;
	unsigned next_address;
	bool attempted;
	bool left;	       /* something of the last attempt may have left this host */
	bool changed;	       /* the network has, since the last attempt */
	uint64_t attempt_ns;   /* the last one */
	uint64_t next_look_ns; /* at the way to the collector */
	uint64_t deadline_ns;  /* of the phase */
	int address_error;
	uint64_t backlog; /* octets committed and not acknowledged */

	bool finishing;	   /* nothing more is to come: the session ends when the peer has everything */
	uint64_t quiet_ns; /* since when the peer's system has everything; 0: it has not */
	bool said, cut;	   /* ending: goodbye was said; FIN was sent */
	uint64_t said_ns;  /* when */
	bool answered;
	uint64_t answered_ns;

	struct spool *spool;
	bool spool_degraded;	       /* as it was told */
	uint64_t spool_missing;	       /* files */
	struct session_entry *entries; /* of this run's messages: [first_entry, appended) */
	size_t entries_size;	       /* a power of two */
	uint64_t first_entry, appended;
	uint64_t first_number;	/* the spool's, of the first entry */
	uint64_t acked_entry;	/* the first that this session did not get acknowledged */
	uint64_t credit_octets; /* pace of what waited */
	uint64_t paced_ns;
	uint64_t behind; /* messages that waited when the session began */

	/* SESSION_MESSAGE octets each: own ones, those in force in the session, those of what comes from the
	 * spool */
	uint8_t *templates, *in_force, *spooled;
	size_t templates_size, in_force_size, spooled_size;
	unsigned templates_records;
	bool announced; /* unreliable layers: the encoder has sent templates in this session */

	struct session_direct *direct, **direct_end;
	size_t direct_octets;

	uint64_t entered; /* octets of the stream that were copied to out */
	uint64_t stream;  /* and that the layer has taken */
	uint64_t acked;
	uint64_t units; /* messages written: for layers that count them */
	struct session_mark marks[SESSION_MARKS];
	unsigned first_mark, n_marks;
	size_t out_size, out_done;
	uint8_t *out; /* SESSION_OUT */
	uint8_t lent[SESSION_MESSAGE];
};

/* session.c: the ops that all layers share.  Calls go down in the order of these files. */
int session_open(struct session **sp, const struct transport_ops *ops, const struct session_layer *layer,
		 const struct transport_config *config, struct diag *diag);
uint8_t *session_reserve(struct transport *t);
void session_commit(struct transport *t, size_t size, const struct transport_load *load);
void session_flush(struct transport *t);
void session_tick(struct transport *t, const struct clock_time *now);
uint64_t session_due_ns(const struct transport *t);
void session_refresh(struct transport *t);
void session_network_changed(struct transport *t);
void session_finish(struct transport *t);
bool session_crowded(const struct transport *t);
int session_announce(struct transport *t, const uint8_t *message, size_t size, unsigned templates);
bool session_idle(const struct transport *t, uint64_t until_ns);
void session_close(struct transport *t, uint64_t deadline_ns, struct transport_stats *last);
bool session_settled(const struct transport *t);
void session_let_go(struct transport *t);
int session_take_over(struct transport *t, int fd, const uint8_t *templates, size_t size);
const uint8_t *session_in_force(const struct transport *t, size_t *size);

#define SESSION_OPS(NAME, OPEN)                                                                              \
	{                                                                                                    \
		.name = NAME, .open = OPEN, .reserve = session_reserve, .commit = session_commit,            \
		.flush = session_flush, .tick = session_tick, .refresh = session_refresh,                    \
		.due_ns = session_due_ns, .finish = session_finish, .crowded = session_crowded,              \
		.announce = session_announce, .network_changed = session_network_changed,                    \
		.idle = session_idle, .close = session_close,                                                \
	}

/* The same where a session is nothing but its socket, so that another process can go on in it. */
#define SESSION_OPS_OF_SOCKET(NAME, OPEN)                                                                    \
	{                                                                                                    \
		.name = NAME, .open = OPEN, .reserve = session_reserve, .commit = session_commit,            \
		.flush = session_flush, .tick = session_tick, .refresh = session_refresh,                    \
		.due_ns = session_due_ns, .finish = session_finish, .crowded = session_crowded,              \
		.announce = session_announce, .network_changed = session_network_changed,                    \
		.idle = session_idle, .close = session_close, .settled = session_settled,                    \
		.let_go = session_let_go, .take_over = session_take_over, .in_force = session_in_force,      \
	}

/* session_connect.c */
/* When the last attempt to connect is old enough for another one. */
uint64_t session_attempt_due_ns(const struct session *s);
bool session_may_attempt(const struct session *s, uint64_t now_ns);
/* Begins to connect, and goes on from phase to phase: RESOLVING, CONNECTING, GREETING. */
void session_attempt(struct session *s);
void session_check_lookup(struct session *s);
void session_check_connected(struct session *s);
void session_greet(struct session *s);
/* It begins, on the socket that there is. */
void session_begin(struct session *s);

/* session_end.c */
void session_note_error(struct session *s, int error); /* counts it; of either sign */
/* For layers: the sentence about what comes next as an error; returns error. */
__attribute__((format(printf, 3, 4))) int session_because(struct session *s, int error, const char *fmt, ...);
/* Back to waiting for the next attempt: this one came to nothing. */
void session_fail(struct session *s, int error);
struct session_end {
	bool read; /* the peer has read everything that was sent; else what is not forgotten is sent again */
	const char *what; /* what to tell the user */
};
extern const struct session_end session_ends[SESSION_KINDS][SESSION_WAYS];
/* Of a session that is up: what the layer's read or write said. */
enum session_way session_way_of(int r);
/* What came from the peer is dropped: see session_layer.read. */
int session_read(struct session *s);
/* The session that was up, or was ending, is over in this way. */
void session_end(struct session *s, enum session_way way, int error);
/* Says goodbye; session_end_step() waits for the answer. */
void session_end_begin(struct session *s);
void session_end_step(struct session *s);

/* session_queue.c: what waits, what is under way, what became of it */
int session_queue_open(struct session *s, struct diag *diag);
void session_queue_add(struct session *s, const uint8_t *message, size_t size,
		       const struct transport_load *load);
void session_queue_direct(struct session *s, const uint8_t *message, size_t size,
			  const struct transport_load *load);
void session_queue_begin(struct session *s); /* a session began */
/* Puts what comes next into out, which is empty.  False: nothing may be sent now. */
bool session_queue_fill(struct session *s);
/* The layer took n octets of out. */
void session_queue_wrote(struct session *s, size_t n);
/* The message in out can never be sent: it is too long for the path. */
void session_queue_reject(struct session *s);
void session_queue_acked(struct session *s);
/* Units that were written, and that the peer's kernel does not have yet. */
uint64_t session_queue_unacked(const struct session *s);
void session_queue_end(struct session *s, bool clean);
void session_queue_tick(struct session *s);
bool session_queue_is_empty(const struct session *s); /* all is with the peer's kernel */
/* 0; SESSION_E_REMOVED: somebody else removed files of the spool, which nobody was told of. */
enum { SESSION_E_REMOVED = 1 };
int session_queue_close(struct session *s);

#endif
