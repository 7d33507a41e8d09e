/* udp_internal: what udp.c, udp_slots.c and udp_sent.c share; each calls those behind it. */
#ifndef PITOT_TRANSPORT_UDP_INTERNAL_H
#define PITOT_TRANSPORT_UDP_INTERNAL_H

#include <sys/socket.h>

#include "pitot/transport.h"
#include "pitot/resolve.h"
#include "transport/socket.h"

#define UDP_SLOTS     44u    /* as many as one run of full messages can have */
#define UDP_SENT      1024u  /* messages that may still be refused; a power of two */
#define UDP_HEAD      24u    /* octets that tell messages apart: the headers of all formats */
#define UDP_MTU_MOST  1500u  /* without --mtu */
#define UDP_MTU_LEAST 300u   /* of --mtu, too */
#define UDP_WAIT_MS   10000u /* offline: for room */
#define UDP_HEADERS4  28u

struct udp_slot {
	size_t size;
	struct transport_load load;
};

/* A message that left, by which an error that comes back finds its records. */
struct udp_sent {
	uint8_t head[UDP_HEAD];
	uint32_t size;
	uint32_t run; /* the call that it left by */
	bool refused;
	struct transport_load load;
};

struct udp {
	struct transport t; /* first */
	struct transport_config config;
	struct collector_config collector;
	struct socket_origin from;
	struct resolve *lookup;
	uint64_t next_try_ns; /* monotonic; 0 now */
	uint64_t tried_ns;
	uint64_t next_mtu_ns;
	uint64_t next_look_ns; /* at the way to the collector */
	uint64_t looked_ns;
	uint64_t next_doubt_ns; /* of the collector's address */
	uint64_t doubted;	/* errors, when last looked */
	uint64_t now_ns;	/* of the last tick */
	bool lookup_wanted;
	bool no_segments; /* the kernel or the route has no UDP_SEGMENT */
	unsigned wait_ms; /* offline: for room */
	int room_error;	  /* why what is left in the slots waits for the next flush */
	int family;
	unsigned device_index; /* of --bind-device, when the socket was bound to it */
	struct sockaddr_storage peer;
	socklen_t peer_size;
	size_t slot_size;
	unsigned first; /* slots are a ring: the one that is lent keeps its place while others are sent */
	unsigned used;
	struct udp_slot slots[UDP_SLOTS];
	struct mmsghdr headers[UDP_SLOTS];
	struct iovec vectors[UDP_SLOTS];
	uint8_t *memory;
	uint32_t run;
	uint64_t n_sent;	/* messages of this session */
	uint64_t probe_ends_ns; /* until then an empty quote is about an empty datagram; 0: there is none */
	struct udp_sent sent[UDP_SENT];
};

/* udp_slots.c */
uint8_t *udp_reserve(struct transport *t);
void udp_commit(struct transport *t, size_t size, const struct transport_load *load);
/* Sends what is committed, as far as the socket has room. */
void udp_flush(struct transport *t);
/* What it had no room for is lost. */
void udp_lose_rest(struct udp *u);

/* udp_sent.c */
void udp_sent_add(struct udp *u, const uint8_t *message, const struct udp_slot *slot);
void udp_sent_add_probe(struct udp *u);
/* Another session: what comes back from now on is about its datagrams. */
void udp_sent_forget(struct udp *u);
void udp_note_error(struct udp *u, int error);
/* The same with the sentence that fits: by --source and --bind-device, or the error's own. */
void udp_note_path_error(struct udp *u, int error);
/* Can another socket, or waiting, mend this error of a call? */
bool udp_is_path_error(int error);
/* Messages as long as the path takes now. */
void udp_read_mtu(struct udp *u);
/*
 * Reads the error queue.  Errors of the network are counted, and charged to the datagrams that they are
 * about; a narrower path is followed.  Returns how many.
 */
unsigned udp_drain_errors(struct udp *u);
/* Is the error about an earlier datagram, so that this one of size octets is worth another try? */
bool udp_is_about_others(struct udp *u, int error, size_t size);

#endif
