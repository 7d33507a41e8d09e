/*
 * capture: where frames come from.  One pull contract for all back ends.
 *
 * capture_recv() lends a batch; the frames stay valid until capture_release(), which must come before the
 * next capture_recv().  A back end is a file and a row in capture.c.
 */
#ifndef PITOT_CAPTURE_H
#define PITOT_CAPTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pitot/diag.h"
#include "pitot/packet.h"

/* Positive outcomes of capture_recv(). */
enum {
	CAPTURE_E_END = 1,  /* end of a savefile: no frame will come any more */
	CAPTURE_E_GONE = 2, /* the interface was deleted or moved away: all frames of it were lent, and none
			       comes any more, whatever has its name or its index by now */
};

/* Positive outcome of capture_open(): it is open, by another method than asked for; the diag says why. */
enum { CAPTURE_E_OTHER = 1 };

enum capture_method { CAPTURE_AUTO, CAPTURE_AFPACKET, CAPTURE_PCAP, CAPTURE_XDP };
/* How workers share the frames of an interface: by addresses, by receiving processor, by free room. */
enum capture_fanout { CAPTURE_FANOUT_HASH, CAPTURE_FANOUT_CPU, CAPTURE_FANOUT_ROLLOVER };
enum capture_direction { CAPTURE_BOTH, CAPTURE_IN, CAPTURE_OUT };

struct capture_config {
	const char *interface; /* live: its name; NULL for a savefile */
	uint32_t ifindex;      /* exported ifIndex when not 0; else that of the system */
	const char *path;      /* savefile; "-" is stdin */
	const _Atomic bool
		*stopped;      /* a pipe is waited for until somebody writes it; NULL: capture_stop() alone */
	const int *link_types; /* savefiles: those that the caller decodes; none: any, as far as this step
				  knows */
	unsigned n_link_types;
	uint16_t point; /* observation point */
	enum capture_method method;
	enum capture_direction direction;
	const char *filter;	/* tcpdump expression; NULL or "" for none */
	uint64_t buffer_octets; /* of the interface: its workers share it */
	uint32_t snap_len;
	bool promiscuous;
	unsigned workers; /* live: captures that share the interface's frames; 0 is 1 */
	enum capture_fanout fanout_mode;
	uint32_t fanout_seed;
	bool cooked; /* "any" by the packet ring: frames of all interfaces, in the place of libpcap's */
	unsigned busy_poll_us;
	/* live: one packet of so many is enough, each drawn by itself; a capture that can leaves the others
	 * to the kernel and says so (selects); 0 and 1: all */
	uint32_t select_interval;
	bool select_varies; /* others may be asked for later, by capture_draw() */
};

static inline unsigned capture_workers(const struct capture_config *config)
{
	return config->workers > 1 ? config->workers : 1;
}

/* Totals since open, where the back end can know them. */
struct capture_stats {
	uint64_t kernel_dropped; /* frames that the kernel had no room for */
	uint64_t filtered;	 /* frames that the filter rejected (packets, octets on the wire) */
	uint64_t filtered_octets;
	/* frames that the kernel left out for select_interval, and their octets on the wire */
	uint64_t unselected, unselected_octets;
	unsigned fill_percent; /* of the buffer that the kernel fills; with select_varies, else 0 */
	bool filtered_unknown; /* it runs in the kernel, and as a program that cannot count them */
};

/* Fan-out groups: the kernel gives a new one its id, which may be 0. */
enum { CAPTURE_GROUP_NONE = -1, CAPTURE_GROUP_NEW = -2 };

/*
 * The half of opening an interface that takes a privilege, so that another process can do it: an AF_PACKET
 * socket with its ring, bound, in its fan-out group, and still closed to all frames.
 */
struct capture_descriptor {
	int fd;
	struct capture_facts {
		char name[16];
		uint32_t index; /* of the system */
		uint32_t mtu;
		int32_t link_type;
		int32_t group;			 /* fan-out; CAPTURE_GROUP_NONE: alone */
		uint32_t block_octets, n_blocks; /* of the ring */
		bool loopback;
	} facts;
};

/*
 * Where the reader of a socket's ring is, between two batches: what goes beside the socket to another
 * process, which maps the same ring and reads on.
 */
struct capture_position {
	uint32_t block; /* that is read now, or waited for */
	uint32_t left;	/* frames of it that were not lent yet; 0: it is waited for */
	uint32_t next;	/* where in the block the first of those is */
};

struct capture;
struct capture_plan;

enum { CAPTURE_MEMORY = 520 << 10 }; /* octets of a large record and of a large read */

struct capture_ops {
	const char *name;
	/* Opens the plan's interface for all of its workers, or leaves a sentence in diag.  NULL of
	 * savefiles: capture_open() finds out which of them reads a file. */
	int (*open)(struct capture **captures, const struct capture_plan *plan, struct diag *diag);
	/*
	 * 0 with b->n >= 0 frames (0: none within wait_ms, or none in the next part of a file that is all
	 * rejected or passed over), a positive CAPTURE_E_*, or negative errno + diag.
	 */
	int (*recv)(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag);
	void (*release)(struct capture *c, struct frame_batch *b);
	/*
	 * Savefiles that are walked in place; NULL of others.  What recv reads from here on, about so many
	 * packets at once, stands in this memory of the caller's, of CAPTURE_MEMORY octets: it is lent until
	 * the caller gives that memory again, and may be looked at while others read on.
	 */
	void (*move_to)(struct capture *c, uint8_t *memory, unsigned packets);
	/* Then: lends what was read along with the latest frames; none when that was all.  As recv. */
	int (*more)(struct capture *c, struct frame_batch *b, struct diag *diag);
	/*
	 * Shuts the entrance: recv lends what is inside already, then says CAPTURE_E_END.  Of a savefile any
	 * thread may call it: a pipe that is waited for is taken to have ended.  May be NULL.
	 */
	void (*stop)(struct capture *c);
	int (*get_stats)(struct capture *c, struct capture_stats *stats); /* since open */
	bool (*draw)(struct capture *c, uint32_t interval,
		     uint16_t mark); /* see capture_draw(); may be NULL */
	/*
	 * Between two batches: what another process needs to read on.  d->fd stays the capture's.  resume:
	 * that process did not, and what it may have changed of the socket is put right.  NULL: it cannot be
	 * handed over.
	 */
	void (*hand_over)(struct capture *c, struct capture_descriptor *d, struct capture_position *position);
	int (*resume)(struct capture *c, struct diag *diag);
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
	bool selects;		 /* its frames were drawn already, one of select_interval */
	int fd;			 /* readable when frames wait; -1 when there is none */
	int offset_fd;		 /* of a file: its offset is how much was read */
	uint32_t ifindex;	 /* as exported; 0 for savefiles */
	uint32_t system_ifindex; /* 0 for savefiles and "any" */
	uint32_t mtu;		 /* of the interface; 0 unknown */
	const char *name;	 /* interface or path, as the user wrote it; lives as long as the capture */
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
static inline int capture_get_stats(struct capture *c, struct capture_stats *stats)
{
	return c->ops->get_stats(c, stats);
}
/*
 * Of a capture that selects, with select_varies: one packet of so many from now on; 0 is none.  Frames that
 * are drawn by it are lent in batches with this mark, those that are in the buffer already with the one
 * before; a packet that a processor is receiving at this moment may get either.  false: not now, for too many
 * earlier changes are still in the buffer.
 */
static inline bool capture_draw(struct capture *c, uint32_t interval, uint16_t mark)
{
	return c->ops->draw(c, interval, mark);
}
void capture_close(struct capture *c); /* NULL is fine */

/*
 * What opening an interface takes that can be had before the interface is there: its filter, compiled, and
 * its programs, loaded into the kernel, while no sandbox is around and no privilege is gone.  The strings of
 * config must outlive it.
 */
int capture_plan_new(struct capture_plan **pp, const struct capture_config *config, struct diag *diag);
void capture_plan_free(struct capture_plan *p); /* NULL is fine */
/* Why the kernel cannot count what the filter rejects; NULL: it can, or there is no filter. */
const char *capture_plan_uncounted(const struct capture_plan *p);

/*
 * A socket of the plan's interface in this group, or in a new one.  -EPROTONOSUPPORT where only libpcap can
 * open, -ENODEV or -ENETDOWN while there is no such interface.
 */
int capture_describe(struct capture_descriptor *d, const struct capture_config *config, int group,
		     struct diag *diag);
void capture_descriptor_close(struct capture_descriptor *d);
/* The same by whoever has the privilege. */
typedef int capture_describe_fn(void *ctx, struct capture_descriptor *d, int group, struct diag *diag);
/* As many as the interface has workers, in one group: all or none. */
int capture_describe_all(struct capture_descriptor *sockets, unsigned n, capture_describe_fn *describe,
			 void *ctx, struct diag *diag);
/* The other half, which takes no privilege: frames come from here on.  The socket is gone whatever happens.
 */
int capture_open_socket(struct capture **cp, const struct capture_plan *plan,
			struct capture_descriptor *socket, struct diag *diag);

/* The same of a socket that another process had, and whose ring it read up to there.  -EBADMSG: it is not so.
 */
int capture_take_over(struct capture **cp, const struct capture_plan *plan, struct capture_descriptor *socket,
		      const struct capture_position *position, struct diag *diag);

/*
 * Both halves: opens an interface for all of its workers, config->workers captures that share the frames, or
 * none; by the method of the configuration.
 */
int capture_open_interface(struct capture **captures, const struct capture_plan *plan, struct diag *diag);

/* 0 when the filter expression compiles for Ethernet, else -EINVAL and a sentence (option check at start). */
int capture_check_filter(const char *filter, struct diag *diag);

extern const struct capture_ops capture_afpacket_ops;
extern const struct capture_ops capture_pcap_ops;
extern const struct capture_ops capture_xdp_ops;
extern const struct capture_ops capture_file_ops;     /* ordinary pcap files, walked in place */
extern const struct capture_ops capture_pcapng_ops;   /* pcapng files, walked in place */
extern const struct capture_ops capture_savefile_ops; /* everything else that libpcap can read */

#endif
