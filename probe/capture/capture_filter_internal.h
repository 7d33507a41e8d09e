/*
 * capture_filter_internal: what the files of capture_filter share.
 */
#ifndef PITOT_CAPTURE_FILTER_INTERNAL_H
#define PITOT_CAPTURE_FILTER_INTERNAL_H

#include <pcap/pcap.h>

#include "capture/capture_filter.h"
#include "capture/capture_filter_code.h"

/* Of frames with tags that we have: the constants in front of the program that capture_filter_passes() sets
 */
enum {
	FILTER_CONSTANT_SHIFT = 0, /* 4 for each tag; stored by the next instruction */
	FILTER_CONSTANT_TYPE = 2,  /* the EtherType behind them; likewise */
};

struct filter_socket {
	const struct bpf_program *program;
	bool names_vlan;
	bool as_ethernet; /* cooked: the program is for Ethernet and not for SLL2; where it is, vlan may be
			     named */
	bool one_copy;	  /* slower and shorter: frames without a tag have no copy of their own */
};

/* capture_filter_socket.c: all of a program for a packet socket, behind what tests the direction.  0 or
 * FILTER_VIEW_E_*. */
int filter_put_ethernet_socket(struct filter_code *c, const struct filter_socket *s);
int filter_put_cooked_socket(struct filter_code *c, const struct filter_socket *s);

/* capture_filter_error.c: -EINVAL, and the sentence about what libpcap refused. */
int filter_explain(struct diag *diag, const char *expression, pcap_t *p);
/* Whether the word is in the expression, as a word of its language. */
bool filter_names(const char *expression, const char *word);

#endif
