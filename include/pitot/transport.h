/*
 * transport: carries finished messages to one collector.  It knows no format.
 *
 * The encoder writes straight into memory that the transport lends (reserve), and says how much of it became
 * a message (commit); flush pushes what was committed out.  Nothing here ever blocks: a transport that cannot
 * take more drops the message, counts it and its records, and says so by transport_stats.
 */
#ifndef PITOT_TRANSPORT_H
#define PITOT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pitot/clock.h"
#include "pitot/collector.h"
#include "pitot/diag.h"

struct transport_config {
	const struct collector_config *collector;
	const char *source_host;  /* --source; NULL any */
	uint16_t source_port;     /* 0 any */
	const char *bind_device;  /* NULL none */
	int ttl;                  /* 0: the system's */
	uint32_t mtu;             /* --mtu; 0: IP_MTU of the route, at most 1500; 512 if unknown */
	bool offline;             /* may wait for room (a savefile is read): never drop for want of it */
	/* (D)TLS */
	const char *tls_ca, *tls_cert, *tls_key, *tls_name;
	uint64_t reconnect_ns;    /* least time between connection attempts; 0: the default, 60 s */
};

struct transport_stats {
	uint64_t messages;      /* handed to the system */
	uint64_t octets;
	uint64_t records;       /* data records in them */
	uint64_t lost_messages; /* not sent: no route, no room, not connected ... */
	uint64_t lost_records;
	uint64_t errors;        /* errors that the system reported, ICMP unreachable among them */
	int last_error;         /* errno; 0 none */
	uint64_t sessions;      /* connections made; 1 for UDP and files */
};

struct transport;

enum transport_state {
	TRANSPORT_STATE_CONNECTING, /* resolving or connecting: messages are lost until it is up */
	TRANSPORT_STATE_UP,
	TRANSPORT_STATE_FAILED,     /* will be tried again by transport_tick() */
};

/* What a datagram's or stream's message may hold, and how the standard treats templates on it. */
struct transport_limits {
	size_t max_message; /* octets of payload; may change: ask before each message */
	bool reliable;      /* stream or file: templates once a session, no refresh */
};

struct transport_ops {
	const char *name;
	int (*open)(struct transport **tp, const struct transport_config *config, struct diag *diag);
	/*
	 * Room for one message of at most limits.max_message octets, or NULL: the message will be lost; the
	 * encoder then encodes into scratch memory of its own and reports it by lose().
	 */
	uint8_t *(*reserve)(struct transport *t);
	void (*commit)(struct transport *t, size_t size, uint32_t records);
	void (*flush)(struct transport *t);
	/* Timers, connecting, pending errors.  *session grows whenever a new session began. */
	void (*tick)(struct transport *t, const struct clock_time *now);
	/* Ends in good order (FIN after the last message) within deadline_ns of monotonic time, then frees. */
	void (*close)(struct transport *t, uint64_t deadline_ns);
};

/* Each transport's struct begins with this. */
struct transport {
	const struct transport_ops *ops;
	enum transport_state state;
	struct transport_limits limits;
	uint64_t session; /* counts sessions: when it changes the encoder starts anew (RFC 7011 §8, §10) */
	struct transport_stats stats;
	int fd; /* to poll for writing or errors; -1 none */
	/* own address, when connected: the exporting process leaves it out of capture; family 0: unknown */
	struct transport_local {
		int family;
		uint8_t local[16], remote[16];
		uint16_t local_port, remote_port;
		uint8_t protocol;
	} self;
};

int transport_open(struct transport **tp, const struct transport_config *config, struct diag *diag);

extern const struct transport_ops transport_udp_ops;
extern const struct transport_ops transport_file_ops;

#endif
