/*
 * transport: carries finished messages to one collector.  It knows no format.
 *
 * The encoder writes straight into memory that the transport lends (reserve), and says how much of it became
 * a message (commit); flush pushes what was committed out.  Nothing here ever blocks: a transport that cannot
 * take more drops the message, counts it and its records, and says so by transport_stats.
 */
#ifndef PITOT_TRANSPORT_H
#define PITOT_TRANSPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/clock.h"
#include "pitot/collector.h"
#include "pitot/diag.h"
#include "pitot/totals.h"

struct opener;

/*
 * Which file is written, and how much of it is whole: shared with the process that follows when this one dies
 * in the middle of a message.  inode 0: nothing is.
 */
struct transport_mark {
	_Atomic uint64_t device, inode, octets;
	_Atomic uint64_t seconds; /* of the time in its name, and its number there */
	_Atomic uint32_t number;
};

struct transport_config {
	const struct collector_config *collector;
	const char *source_host; /* --source; NULL any */
	uint16_t source_port;	 /* 0 any */
	const char *bind_device; /* NULL none */
	int ttl;		 /* 0: the system's */
	uint32_t mtu;		 /* --mtu; 0: IP_MTU of the route, at most 1500; 512 if unknown */
	struct opener *opener;	 /* renames what the user may not; NULL: nobody */
	unsigned user;		 /* whom the process becomes: its files may be used (path.h) */
	const char *heading; /* what a file of lines begins with, "" for nothing; NULL: it is of messages */
	bool offline;	     /* may wait for room (a savefile is read): never drop for want of it */
	struct transport_mark *mark; /* of the file; NULL: nobody follows */
	bool again;		     /* this process follows another one, and the mark is what that left */
	/* (D)TLS */
	const char *tls_ca, *tls_cert, *tls_key, *tls_name;
	uint64_t reconnect_ns;	/* least time between connection attempts */
	uint64_t dtls_renew_ns; /* age of a DTLS session that is made anew; 0: never */
	/* what waits for a collector that has a session: see spool.h */
	uint64_t buffer_octets; /* memory; never 0 */
	const char *spool_dir;	/* NULL: memory only */
	uint64_t spool_octets;	/* of its files */
	uint64_t replay_octets, replay_ns;
	uint64_t spool_tag; /* part of the spool's name: what a message needs to be understood, but templates
			     */
};

struct transport_stats {
	uint64_t messages; /* handed to the system */
	uint64_t octets;
	uint64_t records;	/* data records in them */
	uint64_t lost_messages; /* not sent: no route, no room, not connected ... */
	uint64_t errors;	/* errors that the system reported, ICMP unreachable among them */
	int last_error;		/* errno; 0 none */
	const char *last_cause; /* static text that says it better than the errno; NULL */
	uint64_t sessions;	/* connections made; 1 for UDP and files */
	/* beside those above: sent again after the end of a session, or for an earlier run */
	uint64_t resent_messages, resent_octets, resent_records;
	/* --spool: system calls that failed; of an earlier run: records dropped, octets that were torn */
	uint64_t spool_errors, spool_dropped_records, spool_torn_octets;
	bool unnamed;	  /* after close: a file is complete, and could not be given its name */
	char reason[192]; /* of the last error, when it needs a sentence of its own; else "" */
};

/*
 * What one message carries.  The encoder hands it over with commit and gets it back with the message's
 * outcome; a transport only keeps it, and reads records for its statistics.
 */
struct transport_load {
	uint32_t samples;   /* packet samples, counter samples */
	uint32_t options;   /* options data records */
	uint32_t templates; /* template and options template records */
	struct totals flows;
	struct totals estimated; /* what its records say beside flows: exporter.h */
	struct totals lost; /* known to be lost when the message was begun: its sequence number shows them */
};

struct transport;

enum transport_state {
	TRANSPORT_STATE_CONNECTING, /* resolving or connecting: messages are lost until it is up */
	TRANSPORT_STATE_UP,
	TRANSPORT_STATE_FAILED, /* will be tried again by transport_tick() */
};

/* What a datagram's or stream's message may hold, and how the standard treats templates on it. */
struct transport_limits {
	size_t max_message; /* octets of payload; may change: ask before each message */
	bool reliable;	    /* stream or file: templates once a session, no refresh */
	/*
	 * Messages of flow records outlive sessions: they hold nothing else, are taken whether there is a
	 * session or not, and get their sequence number when they enter one, by restamp.  Other messages
	 * belong to the session that they were committed in.
	 */
	bool spooled;
};

struct transport_ops {
	const char *name;
	int (*open)(struct transport **tp, const struct transport_config *config, struct diag *diag);
	/*
	 * Room for one message of at most limits.max_message octets, or NULL: the message will be lost; the
	 * encoder then encodes into scratch memory of its own and counts it as lost itself.  Room that was
	 * not committed is lent again.
	 */
	uint8_t *(*reserve)(struct transport *t);
	/* Takes the message over.  Its outcome is told exactly once, by transport_resolve(), here or later.
	 */
	void (*commit)(struct transport *t, size_t size, const struct transport_load *load);
	/* What is lent and not committed yet stays where it is. */
	void (*flush)(struct transport *t);
	/* Timers, connecting, pending errors.  session grows whenever a new session began. */
	void (*tick)(struct transport *t, const struct clock_time *now);
	/*
	 * When the next tick is of use (monotonic), if nothing is committed or asked of it before; what the
	 * other end says meanwhile is heard whenever a tick comes.  0: something is under way.  NULL: always
	 * 0.
	 */
	uint64_t (*due_ns)(const struct transport *t);
	/*
	 * Offline: would a message that is committed now push out an older one, or is it not known yet where
	 * to send it?  Whoever may wait ticks until it is not, or until progress stands still.  NULL: never.
	 */
	bool (*crowded)(const struct transport *t);
	/*
	 * Nothing more will be committed: the session ends in good order once the collector's system has
	 * everything; a session that breaks before is followed by another one.  Ticks do it, and idle says
	 * when it is done.  NULL: close() is all.
	 */
	void (*finish)(struct transport *t);
	/*
	 * A new session in another file, which now_ns (realtime) is for: nothing that was committed before
	 * goes there. See rotates.  May be NULL.
	 */
	void (*rotate)(struct transport *t, uint64_t now_ns);
	/* SIGHUP: resolves the collector's name again, looks whether a file still has its name.  May be NULL.
	 */
	void (*refresh)(struct transport *t);
	/* Links, addresses or routes of this host have changed: looks soon what that means.  May be NULL. */
	void (*network_changed)(struct transport *t);
	/* Asks whether somebody listens, with nothing that a collector takes for a message.  May be NULL. */
	void (*probe)(struct transport *t);
	/*
	 * Spooled and reliable only: the message of templates that flow records need, before any is
	 * committed. The transport begins each session with it.  0 or negative errno.  May be NULL.
	 */
	int (*announce)(struct transport *t, const uint8_t *message, size_t size, unsigned templates);
	/*
	 * Handing a session over to another process, which goes on in it; settled and take_over or none.
	 * settled: nothing waits, and the collector's system has all that was sent.
	 * let_go: it is the other one's from here on, and nothing in it will be sent or taken back; close()
	 * follows, which says no goodbye.  NULL: close() is all. take_over, before the first tick: the
	 * session of this socket, in which these templates (see announce) are in force, size 0: unknown.  0,
	 * or negative errno: the socket is still the caller's.
	 */
	bool (*settled)(const struct transport *t);
	void (*let_go)(struct transport *t);
	int (*take_over)(struct transport *t, int fd, const uint8_t *templates, size_t size);
	/* What take_over wants of it; NULL: nothing. */
	const uint8_t *(*in_force)(const struct transport *t, size_t *size);
	/* Is nothing left that may still be sent by then (monotonic)?  NULL: nothing ever is after flush. */
	bool (*idle)(const struct transport *t, uint64_t until_ns);
	/*
	 * Ends by deadline_ns of monotonic time, resolves every message that is left, leaves the last
	 * statistics in *last, frees.  What the collector has not read as far as is known counts as lost, or
	 * is kept for the next run where there is a spool.
	 */
	void (*close)(struct transport *t, uint64_t deadline_ns, struct transport_stats *last);
};

#define TRANSPORT_WITHDRAWAL 64

/* Each transport's struct begins with this. */
struct transport {
	const struct transport_ops *ops;
	enum transport_state state;
	struct transport_limits limits;
	/* counts sessions; 0 before the first.  When it changes the encoder starts anew (RFC 7011 §8, §10).
	 */
	uint64_t session;
	/* what became of a message: set by the encoder after open, called by transport_resolve() only */
	void (*outcome)(void *context, const struct transport_load *load, size_t size, bool sent);
	void *context;
	/* set by the encoder.  A message that was sent did not arrive: it got lost with its session, or was
	 * refused */
	void (*revoked)(void *context, const struct transport_load *load, size_t size);
	/* spooled only.  kept: one that was sent stays for the next run after all; nobody knows whether it
	 * was read */
	void (*kept)(void *context, const struct transport_load *load, size_t size);
	/* spooled only: gives a message that enters a session its sequence number and time */
	void (*restamp)(void *context, uint8_t *message, size_t size, uint32_t records);
	/* a message that withdraws all templates, at most TRANSPORT_WITHDRAWAL octets; returns its size */
	size_t (*withdraw)(void *context, uint8_t *message);
	/* something to tell the user; notices grows with each */
	unsigned notices;
	char notice[256];
	struct transport_stats stats;
	/* a file: the input was not read to its end, so that it is not what its name promises; before close
	 */
	bool incomplete;
	/* before a record of rotate_ns (realtime) or later whoever encodes ends what it has and calls rotate
	 */
	bool rotates;
	uint64_t rotate_ns;
	bool continues;	   /* the session goes on in a file that has its heading */
	uint64_t progress; /* octets that the collector's side took for the first time */
	int fd;		   /* to poll for writing or errors; -1 none */
	/* own address, when connected: the exporting process leaves it out of capture; family 0: unknown */
	struct transport_local {
		int family;
		uint8_t local[16], remote[16];
		uint16_t local_port, remote_port;
		uint8_t protocol;
	} self;
};

/* By a transport, once for each committed message: counts it and tells the encoder. */
void transport_resolve(struct transport *t, const struct transport_load *load, size_t size, bool sent);
/* What was resolved as sent is lost after all. */
void transport_revoke(struct transport *t, const struct transport_load *load, size_t size);
/* By a spooled transport, at its end: what it had resolved as sent is left for the next run. */
void transport_keep(struct transport *t, const struct transport_load *load, size_t size);
/* Does this kind keep flow records until the collector has them, so that some may come twice? */
bool transport_replays(enum transport_kind kind);

/*
 * Opens the transport that config->collector asks for.  A kind that this build lacks is a clear sentence and
 * -EPROTONOSUPPORT.  A collector that cannot be reached or resolved is no error here: it is tried again.
 */
int transport_open(struct transport **tp, const struct transport_config *config, struct diag *diag);

#define TRANSPORT(NAME, name, traits) extern const struct transport_ops transport_##name##_ops;
#include "pitot/transports.def"

#endif
