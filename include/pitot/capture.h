/*
 * capture: where frames come from.  One pull contract for all back ends.
 *
 * capture_recv() lends a batch; the frames stay valid until capture_release(), which must come before the
 * next capture_recv().  A back end is a file and a row in capture.c.
 */
#ifndef PITOT_CAPTURE_H
#define PITOT_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/packet.h"

/* Positive outcomes of capture_recv(). */
enum {
	CAPTURE_E_END = 1,  /* end of a savefile: no frame will come any more */
	CAPTURE_E_DOWN = 2, /* the interface is down or gone; frames may come again, see below */
};

/* Positive outcome of capture_open(): it is open, by another method than asked for; the diag says why. */
enum { CAPTURE_E_OTHER = 1 };

enum capture_method { CAPTURE_AUTO, CAPTURE_AFPACKET, CAPTURE_PCAP, CAPTURE_XDP };
/* How the members of a fan-out group share the frames: by flow, by receiving processor, by free room. */
enum capture_fanout { CAPTURE_FANOUT_HASH, CAPTURE_FANOUT_CPU, CAPTURE_FANOUT_ROLLOVER };
enum capture_direction { CAPTURE_BOTH, CAPTURE_IN, CAPTURE_OUT };

struct capture_config {
	const char *interface; /* live: its name; NULL for a savefile */
	uint32_t ifindex;      /* exported ifIndex when not 0; else that of the system */
	const char *path;      /* savefile; "-" is stdin */
	const int *link_types; /* savefiles: those that the caller decodes; none: any, as far as this step
				  knows */
	unsigned n_link_types;
	uint16_t point; /* observation point */
	enum capture_method method;
	enum capture_direction direction;
	const char *filter; /* tcpdump expression; NULL or "" for none */
	uint64_t buffer_octets;
	uint32_t snap_len;
	bool promiscuous;
	int fanout_group; /* -1: no PACKET_FANOUT */
	enum capture_fanout fanout_mode;
	unsigned busy_poll_us;
};

/* Totals since open, where the back end can know them. */
struct capture_stats {
	uint64_t kernel_dropped; /* frames that the kernel had no room for */
	uint64_t interface_dropped;
	uint64_t filtered; /* frames that the filter rejected here (packets, octets on the wire) */
	uint64_t filtered_octets;
	bool filtered_unknown; /* it runs in the kernel, which does not count them */
};

/*
 * The half of opening an interface that takes a privilege, so that another process can do it: an AF_PACKET
 * socket with its ring, bound, and still closed to all frames.
 *
 * After "down" a capture goes on by itself when the interface comes up again.  An interface that was deleted
 * and made anew is another one: it has to be given a new socket by capture_adopt().
 */
struct capture_descriptor {
	int fd;
	int counter_fds[2]; /* what the interface itself dropped; -1: no such counter */
	struct capture_facts {
		char name[16];
		uint32_t index; /* of the system */
		uint32_t mtu;
		int32_t link_type;
		uint32_t block_octets, n_blocks; /* of the ring */
		bool loopback;
	} facts;
};

struct capture;

struct capture_ops {
	const char *name;
	/* Opens an interface; on success *cp is set.  On failure a sentence is in diag.  NULL of savefiles:
	 * capture_open() finds out which of them reads a file. */
	int (*open)(struct capture **cp, const struct capture_config *config, struct diag *diag);
	/*
	 * 0 with b->n >= 0 frames (0: none within wait_ms, or none in the next part of a file that is all
	 * rejected or passed over), a positive CAPTURE_E_*, or negative errno + diag.
	 */
	int (*recv)(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag);
	void (*release)(struct capture *c, struct frame_batch *b);
	/*
	 * Shuts the entrance: recv lends what is inside already, then says CAPTURE_E_END.  Of a savefile any
	 * thread may call it: a pipe that is waited for is taken to have ended.  May be NULL.
	 */
	void (*stop)(struct capture *c);
	int (*get_stats)(struct capture *c, struct capture_stats *stats); /* since open or adopt */
	/* Takes over the socket in place of its own; the descriptors are gone whatever comes out.  NULL where
	 * a socket cannot be one's own: then the heir takes the place. */
	int (*adopt)(struct capture *c, struct capture_descriptor *socket, struct diag *diag);
	void (*close)(struct capture *c);
};

/*
 * Each back end's struct begins with this.
 *
 * A pcapng file may have several link types.  The frames of a batch have one, and link_type is that of the
 * batch that was lent last.  Until there is one it is a type that the caller decodes, if the file has any in
 * front of its first packet.
 */
struct capture {
	const struct capture_ops *ops;
	int link_type;	    /* LINKTYPE_ number of its frames, see below; -1: a file that has none */
	bool also_ethernet; /* a file of several link types: Ethernet is among those known when it was opened
			     */
	bool is_file;	    /* an ordinary file: packet time is the only clock, and it will end */
	bool tells_direction;	 /* live: every packet is known to come in or to go out */
	int fd;			 /* readable when frames wait; -1 when there is none */
	uint32_t ifindex;	 /* as exported; 0 for savefiles */
	uint32_t system_ifindex; /* 0 for savefiles and "any" */
	uint32_t mtu;		 /* of the interface; 0 unknown */
	const char *name;	 /* interface or path, as the user wrote it; lives as long as the capture */
	/* a ring without a socket, which goes on where this one cannot; NULL: there is none */
	struct capture *heir;
	struct capture *forebear;    /* whose place this one has taken; closed with it */
	struct capture_stats before; /* totals of the sockets before this one, which get_stats leaves out */
};

int capture_open(struct capture **cp, const struct capture_config *config, struct diag *diag);

static inline int capture_recv(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag)
{
	return c->ops->recv(c, b, wait_ms, diag);
}
static inline void capture_release(struct capture *c, struct frame_batch *b)
{
	c->ops->release(c, b);
}
/* Live: nothing new comes in from now on; go on with recv until CAPTURE_E_END and no frame is lost.
 * Savefiles: see the table of operations. */
static inline void capture_stop(struct capture *c)
{
	if (c->ops->stop)
		c->ops->stop(c);
}
int capture_get_stats(struct capture *c, struct capture_stats *stats);
void capture_close(struct capture *c); /* NULL is fine */

/* -EPROTONOSUPPORT where only libpcap can open, -ENODEV or -ENETDOWN while there is no such interface. */
int capture_describe(struct capture_descriptor *d, const struct capture_config *config, struct diag *diag);
void capture_descriptor_close(struct capture_descriptor *d);
/*
 * Only between CAPTURE_E_DOWN and the next capture_recv(); -EPROTONOSUPPORT: the capture stays as it is.  A
 * capture by libpcap or XDP is another one afterwards, *cp, by the ring; its name is still there.
 */
int capture_adopt(struct capture **cp, struct capture_descriptor *socket, struct diag *diag);
static inline bool capture_may_adopt(const struct capture *c)
{
	return c->ops->adopt || c->heir;
}

/* 0 when the filter expression compiles for Ethernet, else -EINVAL and a sentence (option check at start). */
int capture_check_filter(const char *filter, struct diag *diag);

extern const struct capture_ops capture_afpacket_ops;
extern const struct capture_ops capture_pcap_ops;
extern const struct capture_ops capture_xdp_ops;
extern const struct capture_ops capture_file_ops;     /* ordinary pcap files, walked in place */
extern const struct capture_ops capture_pcapng_ops;   /* pcapng files, walked in place */
extern const struct capture_ops capture_savefile_ops; /* everything else that libpcap can read */

#endif
