/*
 * capture_filter: a tcpdump expression as a program, for a packet socket or for frames that we have.
 *
 * An expression has one meaning wherever it runs: it sees the packet behind the VLAN tags of its frame, as if
 * they were not there (tags.def, up to FILTER_TAGS_MAX of them).  Where it names vlan
 * itself it sees a frame with all tags in it, as in a file, and has libpcap's meaning.
 *
 * libpcap compiles what such a frame would need, and the program is then rewritten for where the octets are
 * (capture_filter_view.h): the kernel takes the outermost tag out of received frames, but not out of all that
 * are sent; and what "any" shows has another header and may have lost some of its tags.
 */
#ifndef PITOT_CAPTURE_FILTER_H
#define PITOT_CAPTURE_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "pitot/capture.h"

enum { FILTER_TAGS_MAX = 8 };

/* Where a frame has the EtherType and the packet. */
enum filter_layout {
	FILTER_OTHER, /* as libpcap knows it; without VLAN tags */
	FILTER_ETHERNET,
	FILTER_SLL,
	FILTER_SLL2,
	FILTER_LOOPBACK, /* BSD: 4 octets, and the packet tells itself what it is */
};

struct capture_filter {
	struct sock_filter *insns;
	unsigned n;
	unsigned n_direction; /* so many in front only leave out the direction that is not wanted */
	/* FILTER_FRAMES: another program for frames with tags; its first instructions are constants */
	struct sock_filter *tagged;
	unsigned n_tagged;
	enum filter_layout layout;
	uint32_t header_extra; /* octets that the link layer's header is longer than Ethernet's */
	uint32_t shift_extra;  /* the same, when the program takes it for Ethernet's */
};

enum filter_place {
	FILTER_SOCKET, /* a packet socket whose frames begin with the link layer that link_type says */
	FILTER_COOKED, /* one whose frames begin behind it, of all interfaces; link_type does not matter */
	FILTER_FRAMES, /* frames that we have: capture_filter_passes() */
};

struct capture_filter_config {
	const char *expression; /* NULL or "" lets everything pass */
	enum filter_place place;
	int link_type;	   /* LINKTYPE_ */
	uint32_t snap_len; /* what the program returns for a frame that passes */
	/* FILTER_FRAMES: CAPTURE_IN when all of them came in, else it is not known */
	enum capture_direction direction;
};

/*
 * Positive outcome for sockets, with the sentence in diag and nothing in f: the kernel cannot run it, but
 * capture_filter_passes() could.
 */
enum { CAPTURE_FILTER_E_KERNEL = 1 };

int capture_filter_compile(struct capture_filter *f, const struct capture_filter_config *config,
			   struct diag *diag);
void capture_filter_deinit(struct capture_filter *f);

/* FILTER_FRAMES: as above, of the shortest form. */
int capture_filter_compile_frames(struct capture_filter *f, const char *expression, int link_type,
				  struct diag *diag);
/* wire_len may be anything that a file claims. */
bool capture_filter_passes(struct capture_filter *f, const uint8_t *data, uint32_t wire_len,
			   uint32_t cap_len);

/* Sets the program of a packet socket, in place of the one before.  0 or negative errno. */
int capture_filter_attach(int fd, const struct capture_filter *f);
/* From now on nothing more gets in. */
int capture_filter_attach_closed(int fd);

#endif
