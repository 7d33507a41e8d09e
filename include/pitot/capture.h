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
	CAPTURE_E_END = 1,   /* end of a savefile: no frame will come any more */
	CAPTURE_E_DOWN = 2,  /* the interface is down or gone; frames may come again after capture_reopen() */
};

enum capture_method { CAPTURE_AUTO, CAPTURE_AFPACKET, CAPTURE_PCAP, CAPTURE_XDP };
enum capture_direction { CAPTURE_BOTH, CAPTURE_IN, CAPTURE_OUT };

struct capture_config {
	const char *interface; /* live: its name; NULL for a savefile */
	uint32_t ifindex;      /* exported ifIndex when not 0; else that of the system */
	const char *path;      /* savefile; "-" is stdin */
	uint16_t point;        /* observation point */
	enum capture_method method;
	enum capture_direction direction;
	const char *filter; /* tcpdump expression; NULL or "" for none */
	uint64_t buffer_octets;
	uint32_t snap_len;
	bool promiscuous;
	int fanout_group; /* -1: no PACKET_FANOUT */
	int fanout_mode;  /* PACKET_FANOUT_HASH ... */
	unsigned busy_poll_us;
};

/* Totals since open, where the back end can know them. */
struct capture_stats {
	uint64_t kernel_dropped; /* frames that the kernel had no room for */
	uint64_t interface_dropped;
	uint64_t filtered;       /* savefiles: frames that the filter rejected (packets, octets on the wire) */
	uint64_t filtered_octets;
};

struct capture;

struct capture_ops {
	const char *name;
	/* Opens; on success *cp is set.  On failure a sentence is in diag. */
	int (*open)(struct capture **cp, const struct capture_config *config, struct diag *diag);
	/* 0 with b->n >= 0 frames (0: none within wait_ms), a positive CAPTURE_E_*, or negative errno + diag. */
	int (*recv)(struct capture *c, struct frame_batch *b, int wait_ms, struct diag *diag);
	void (*release)(struct capture *c, struct frame_batch *b);
	/* Shuts the entrance: recv lends what is inside already, then says CAPTURE_E_END.  May be NULL. */
	void (*stop)(struct capture *c);
	int (*get_stats)(struct capture *c, struct capture_stats *stats);
	void (*close)(struct capture *c);
};

/* Each back end's struct begins with this. */
struct capture {
	const struct capture_ops *ops;
	int link_type;      /* LINKTYPE_ number of its frames */
	bool is_file;       /* an ordinary file: packet time is the only clock, and it will end */
	bool is_live;       /* an interface: packet time is the host's clock */
	int fd;             /* readable when frames wait; -1 when there is none */
	uint32_t ifindex;   /* as exported; 0 for savefiles */
	uint32_t mtu;       /* of the interface; 0 unknown */
	const char *name;   /* interface or path, as the user wrote it; lives as long as the capture */
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
/* Live: nothing new comes in from now on; go on with recv until CAPTURE_E_END and no frame is lost. */
static inline void capture_stop(struct capture *c)
{
	if (c->ops->stop)
		c->ops->stop(c);
}
static inline int capture_get_stats(struct capture *c, struct capture_stats *stats)
{
	return c->ops->get_stats(c, stats);
}
void capture_close(struct capture *c); /* NULL is fine */

/* 0 when the filter expression compiles for Ethernet, else -EINVAL and a sentence (option check at start). */
int capture_check_filter(const char *filter, struct diag *diag);

extern const struct capture_ops capture_afpacket_ops;
extern const struct capture_ops capture_pcap_ops;
extern const struct capture_ops capture_file_ops;     /* ordinary pcap files, walked in place */
extern const struct capture_ops capture_savefile_ops; /* everything else that libpcap can read */

#endif
