/*
 * capture_fanout: see capture_fanout.h.
 *
 * All packets of a flow key, and both directions of a connection, have to reach one worker, or a key has as
 * many records as workers.  The kernel's own hash looks at inner headers of tunnels and at ports, which later
 * fragments have not; this program looks at the two addresses of the outermost IP header, of which pitot's
 * key is made, and at nothing else: fragments, and packets of the same flow that are none, have them all.
 * The price: the flows between two hosts are one worker's.
 *
 * It is a program of the kernel's classic kind, which takes no privilege.  Behind Ethernet it looks through
 * VLAN tags, MPLS labels (what follows them is taken for IP only where its length says so, too), PPPoE and
 * SNAP.  A frame in which it finds no IP header goes to the first worker.
 *
 * The kernel runs it with the frame at the network layer when it was received, and at the link layer when it
 * was sent.  X is where the next header begins, A what kind it is.
 */
#include "capture/capture_fanout.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "pitot/link_type.h"
#include "pitot/tag.h"

#define TAGS_MAX    6
#define LABELS_MAX  8
#define PPP_IP	    0x21
#define PPP_IPV6    0x57
#define PAYLOAD_MIN 46 /* of an Ethernet frame */

/* Odd numbers whose products spread well. */
#define MIX_1 0x9e3779b1
#define MIX_2 0x85ebca6b

enum fanout_label {
	LABEL_NEXT, /* of a step: set anew by each */
	LABEL_PARSE,
	LABEL_IP4,
	LABEL_IP6,
	LABEL_MPLS,
	LABEL_PPPOE,
	LABEL_SNAP,
	LABEL_INSIDE, /* behind the last label */
	LABEL_HASH,
	LABEL_NONE, /* no IP: the first worker */
};

/* Scratch memory. */
enum { MEM_TYPE, MEM_AT, MEM_MIX, MEM_SRC, MEM_DST };

struct fanout {
	struct sock_filter *program;
	unsigned n;
	uint32_t base; /* added to offsets: raw frames are read from their network header on */
	uint32_t seed;
	uint8_t label[CAPTURE_FANOUT_MAX]; /* of a jump whose place is not known yet, + 1 */
};

static void fanout_put(struct fanout *f, uint16_t code, uint32_t k)
{
	if (f->n < CAPTURE_FANOUT_MAX)
		f->program[f->n++] = (struct sock_filter){.code = code, .k = k};
}

static void fanout_jump(struct fanout *f, enum fanout_label to)
{
	if (f->n < CAPTURE_FANOUT_MAX)
		f->label[f->n] = (uint8_t)(to + 1);
	fanout_put(f, BPF_JMP | BPF_JA, 0);
}

/* Conditional jumps reach 255 instructions only: they jump over one that reaches any. */
static void fanout_jump_if(struct fanout *f, uint16_t test, uint32_t k, enum fanout_label to)
{
	fanout_put(f, (uint16_t)(BPF_JMP | test), k);
	f->program[f->n - 1].jf = 1;
	fanout_jump(f, to);
}

static void fanout_jump_unless(struct fanout *f, uint16_t test, uint32_t k, enum fanout_label to)
{
	fanout_put(f, (uint16_t)(BPF_JMP | test), k);
	f->program[f->n - 1].jt = 1;
	fanout_jump(f, to);
}

/* The jumps to a label so far lead here. */
static void fanout_place(struct fanout *f, enum fanout_label label)
{
	for (unsigned i = 0; i < f->n; i++) {
		if (f->label[i] != label + 1)
			continue;
		f->program[i].k = f->n - i - 1;
		f->label[i] = 0;
	}
}

static void fanout_load(struct fanout *f, uint16_t size, uint32_t offset)
{
	fanout_put(f, (uint16_t)(BPF_LD | BPF_IND | size), f->base + offset);
}

/* A header of so many octets ends: A is what it has at offset. */
static void fanout_take(struct fanout *f, uint16_t size, uint32_t offset, uint32_t octets)
{
	fanout_load(f, size, offset);
	fanout_put(f, BPF_ST, MEM_TYPE);
	fanout_put(f, BPF_MISC | BPF_TXA, 0);
	fanout_put(f, BPF_ALU | BPF_ADD | BPF_K, octets);
	fanout_put(f, BPF_MISC | BPF_TAX, 0);
	fanout_put(f, BPF_LD | BPF_MEM, MEM_TYPE);
}

/* ---- finding the IP header */

static void fanout_begin(struct fanout *f)
{
	fanout_put(f, BPF_LDX | BPF_IMM, 0);
	if (f->base == 0) {
		fanout_put(f, BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
		fanout_jump_unless(f, BPF_JEQ | BPF_K, PACKET_OUTGOING, LABEL_NEXT);
		fanout_put(f, BPF_LDX | BPF_IMM, ETH_HLEN);
		fanout_load(f, BPF_H, (uint32_t)-2);
		fanout_jump(f, LABEL_PARSE);
		fanout_place(f, LABEL_NEXT);
	}
	fanout_put(f, BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL));
	fanout_place(f, LABEL_PARSE);
}

/* A is an EtherType: what it leads to, or on behind a tag. */
static void fanout_ethertype(struct fanout *f, bool tags)
{
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_IP, LABEL_IP4);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_IPV6, LABEL_IP6);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_MPLS_UC, LABEL_MPLS);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_MPLS_MC, LABEL_MPLS);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_PPP_SES, LABEL_PPPOE);
	fanout_jump_unless(f, BPF_JGE | BPF_K, ETH_P_802_3_MIN, LABEL_SNAP);
	for (unsigned i = 0; tags && i < TAG_TYPES; i++)
		fanout_jump_if(f, BPF_JEQ | BPF_K, tag_types[i], LABEL_NEXT);
	fanout_jump(f, LABEL_NONE);
	fanout_place(f, LABEL_NEXT);
}

static void fanout_tags(struct fanout *f)
{
	for (unsigned i = 0; i < TAGS_MAX; i++) {
		fanout_ethertype(f, true);
		fanout_take(f, BPF_H, 2, 4);
	}
	fanout_ethertype(f, false);
}

static void fanout_pppoe(struct fanout *f)
{
	fanout_place(f, LABEL_PPPOE);
	fanout_take(f, BPF_H, 6, 8);
	fanout_jump_if(f, BPF_JEQ | BPF_K, PPP_IP, LABEL_IP4);
	fanout_jump_if(f, BPF_JEQ | BPF_K, PPP_IPV6, LABEL_IP6);
	fanout_jump(f, LABEL_NONE);
}

static void fanout_snap(struct fanout *f)
{
	fanout_place(f, LABEL_SNAP);
	fanout_load(f, BPF_W, 0);
	fanout_jump_unless(f, BPF_JEQ | BPF_K, 0xaaaa0300, LABEL_NONE);
	fanout_take(f, BPF_H, 6, 8);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_IP, LABEL_IP4);
	fanout_jump_if(f, BPF_JEQ | BPF_K, ETH_P_IPV6, LABEL_IP6);
	fanout_jump(f, LABEL_NONE);
}

/* A is the length that an IP header at X claims: no other is left, but for the padding of a short frame. */
static void fanout_check_length(struct fanout *f, enum fanout_label ip)
{
	fanout_put(f, BPF_STX, MEM_AT);
	fanout_put(f, BPF_ST, MEM_MIX);
	fanout_put(f, BPF_LD | BPF_W | BPF_LEN, 0);
	fanout_put(f, BPF_ALU | BPF_SUB | BPF_X, 0);
	fanout_put(f, BPF_ST, MEM_TYPE);
	fanout_put(f, BPF_LDX | BPF_MEM, MEM_MIX);
	fanout_jump_unless(f, BPF_JGE | BPF_X, 0, LABEL_NONE);
	fanout_put(f, BPF_ALU | BPF_SUB | BPF_X, 0);
	fanout_put(f, BPF_LDX | BPF_MEM, MEM_AT);
	fanout_jump_if(f, BPF_JEQ | BPF_K, 0, ip);
	fanout_put(f, BPF_LD | BPF_MEM, MEM_TYPE);
	fanout_jump_if(f, BPF_JGT | BPF_K, PAYLOAD_MIN, LABEL_NONE);
	fanout_jump(f, ip);
}

static void fanout_mpls(struct fanout *f)
{
	fanout_place(f, LABEL_MPLS);
	for (unsigned i = 0; i < LABELS_MAX; i++) {
		fanout_take(f, BPF_B, 2, 4);
		fanout_jump_if(f, BPF_JSET | BPF_K, 1, LABEL_INSIDE); /* bottom of the stack */
	}
	fanout_jump(f, LABEL_NONE);
	fanout_place(f, LABEL_INSIDE);
	fanout_load(f, BPF_B, 0);
	fanout_put(f, BPF_ALU | BPF_AND | BPF_K, 0xf0);
	fanout_jump_if(f, BPF_JEQ | BPF_K, 0x60, LABEL_NEXT);
	fanout_jump_unless(f, BPF_JEQ | BPF_K, 0x40, LABEL_NONE);
	fanout_load(f, BPF_H, 2);
	fanout_check_length(f, LABEL_IP4);
	fanout_place(f, LABEL_NEXT);
	fanout_load(f, BPF_H, 4);
	fanout_put(f, BPF_ALU | BPF_ADD | BPF_K, 40);
	fanout_check_length(f, LABEL_IP6);
}

/* ---- the hash: the same for both directions */

/* A, with every bit in every other; X is lost. */
static void fanout_mix(struct fanout *f)
{
	fanout_put(f, BPF_ALU | BPF_MUL | BPF_K, MIX_1);
	fanout_put(f, BPF_ST, MEM_MIX);
	fanout_put(f, BPF_ALU | BPF_RSH | BPF_K, 15);
	fanout_put(f, BPF_LDX | BPF_MEM, MEM_MIX);
	fanout_put(f, BPF_ALU | BPF_XOR | BPF_X, 0);
	fanout_put(f, BPF_ALU | BPF_MUL | BPF_K, MIX_2);
}

/* An address of some words at X + offset into memory; X stays. */
static void fanout_address(struct fanout *f, uint32_t offset, unsigned words, uint32_t to)
{
	fanout_put(f, BPF_STX, MEM_AT);
	fanout_put(f, BPF_LD | BPF_IMM, f->seed);
	fanout_put(f, BPF_ST, to);
	for (unsigned i = 0; i < words; i++) {
		fanout_load(f, BPF_W, offset + 4 * i);
		fanout_put(f, BPF_LDX | BPF_MEM, to);
		fanout_put(f, BPF_ALU | BPF_XOR | BPF_X, 0);
		fanout_mix(f);
		fanout_put(f, BPF_ST, to);
		fanout_put(f, BPF_LDX | BPF_MEM, MEM_AT);
	}
}

static void fanout_hash(struct fanout *f)
{
	fanout_place(f, LABEL_IP4);
	fanout_address(f, 12, 1, MEM_SRC);
	fanout_address(f, 16, 1, MEM_DST);
	fanout_jump(f, LABEL_HASH);
	fanout_place(f, LABEL_IP6);
	fanout_address(f, 8, 4, MEM_SRC);
	fanout_address(f, 24, 4, MEM_DST);
	fanout_place(f, LABEL_HASH);
	fanout_put(f, BPF_LD | BPF_MEM, MEM_SRC);
	fanout_put(f, BPF_LDX | BPF_MEM, MEM_DST);
	fanout_put(f, BPF_ALU | BPF_ADD | BPF_X, 0);
	fanout_mix(f);
	fanout_put(f, BPF_ALU | BPF_RSH | BPF_K, 8); /* the lowest bits of a product are its worst */
	fanout_put(f, BPF_RET | BPF_A, 0);
	fanout_place(f, LABEL_NONE);
	fanout_put(f, BPF_RET | BPF_K, 0);
}

unsigned capture_fanout_program(struct sock_filter program[CAPTURE_FANOUT_MAX], int link_type, uint32_t seed)
{
	struct fanout f = {
		.program = program,
		.base = link_type == LINKTYPE_RAW ? (uint32_t)SKF_NET_OFF : 0,
		.seed = seed,
	};

	fanout_begin(&f);
	fanout_tags(&f);
	fanout_pppoe(&f);
	fanout_snap(&f);
	fanout_mpls(&f);
	fanout_hash(&f);
	return f.n;
}

int capture_fanout_attach(int fd, int link_type, uint32_t seed)
{
	struct sock_filter program[CAPTURE_FANOUT_MAX];
	struct sock_fprog prog = {
		.len = (unsigned short)capture_fanout_program(program, link_type, seed),
		.filter = program,
	};

	return setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &prog, sizeof(prog)) < 0 ? -errno : 0;
}
