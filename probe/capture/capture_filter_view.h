/*
 * capture_filter_view: a program that libpcap compiled for frames of one layout, rewritten for frames of
 * another.
 *
 * libpcap compiles for a frame as it is said to be: Ethernet, and the EtherType of the packet at octet 12.  A
 * view says where each octet of that frame really is: further back because of VLAN tags, beside the frame,
 * in the scratch memory, or nowhere.  All loads of the program are rewritten accordingly; its jumps stay.
 */
#ifndef PITOT_CAPTURE_FILTER_VIEW_H
#define PITOT_CAPTURE_FILTER_VIEW_H

#include <pcap/pcap.h>
#include <stdbool.h>
#include <stdint.h>

#include "capture/capture_filter_code.h"

/* Words of the scratch memory.  libpcap's programs use it from the other end. */
enum filter_word {
	FILTER_WORD_SHIFT = 15,	 /* how far FILTER_SHIFTED octets are moved, modulo 2^32 */
	FILTER_WORD_LENGTH = 14, /* the length of the frame, as the program shall see it */
	FILTER_WORD_TYPE = 13,
	FILTER_WORD_SKIPPED = 12, /* capture_filter_socket.c: octets of tags that it does not see */
	FILTER_WORD_ACC = 11,	  /* 11 to 8: of filter_view_put() */
	FILTER_WORD_X = 10,
	FILTER_WORD_A = 9,
	FILTER_WORD_INDEX = 8,
	FILTER_WORDS_OURS = FILTER_WORD_INDEX,
};

/* Octets from `from` up to the next piece; the last one has no end. */
struct filter_piece {
	uint32_t from;
	enum filter_piece_kind {
		FILTER_MOVED,	/* value octets further back, modulo 2^32 */
		FILTER_SHIFTED, /* as far as FILTER_WORD_SHIFT says */
		FILTER_WORD,	/* in word `value`: 2 octets */
		FILTER_BESIDE,	/* the kernel has it: what a load from `value` gives is the whole piece */
		FILTER_NOWHERE,
	} kind;
	uint32_t value;
};

struct filter_view {
	const struct filter_piece *pieces;
	unsigned n;
	bool has_length; /* FILTER_WORD_LENGTH is set */
};

enum filter_view_error {
	FILTER_VIEW_E_NOWHERE = 1, /* it reads what is not there */
	FILTER_VIEW_E_DEEP,	   /* it uses the words that are ours */
};

/* Appends the program as seen through the view.  0 or FILTER_VIEW_E_*. */
int filter_view_put(struct filter_code *c, const struct bpf_program *program, const struct filter_view *view);

#endif
