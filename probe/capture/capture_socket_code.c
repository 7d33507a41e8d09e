/*
 * capture_socket_code: see capture_socket_code.h.
 *
 * Registers are as the kernel has them when it translates a classic program itself: A is R0, X is R7, R6 is
 * the packet, and the scratch memory is on the stack.  R8 is the length that the socket sees.
 *
 * In the kernel a load beyond the end of the packet ends the program, with 0, and nothing could count that.
 * So each load that may do so is led up to by a comparison with the length.  In front of an address that was
 * computed the comparison is of 32 bits without a sign, as in libpcap's interpreter.  Octets of the link
 * layer's header, which a socket for all interfaces asks for by negative addresses, are copied by a function
 * that says whether they are there.
 *
 * The draw takes 64 random bits and compares them with 2^64 / interval; the lower half is only drawn when the
 * upper one does not decide, so a packet costs one call in all but one case of 2^32.  The limit stands in the
 * memory that is shared, in front of the counters, so that whoever has that can change it without a system
 * call.
 */
#include "capture/capture_socket_code.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "capture/capture_ebpf.h"

#define NOT_REACHED UINT32_MAX
#define NO_LABEL    UINT32_MAX

enum {
	REG_A = BPF_REG_0,
	REG_PACKET = BPF_REG_6,
	REG_X = BPF_REG_7,
	REG_LENGTH = BPF_REG_8,
	REG_KEPT = BPF_REG_9, /* over a call: A, or what the filter says */
};

enum { STACK_WORDS = -4 * BPF_MEMWORDS, STACK_OCTETS = STACK_WORDS - 8 };
enum { LINK_LAYER_MOST = 0xffff }; /* octets of what the kernel copies for us */

static_assert(sizeof(struct socket_counters) == 1 << SOCKET_COUNTERS_SHIFT, "they are found by a shift");

/* Labels behind those of the classic program's instructions. */
enum {
	LABEL_REJECTED,
	LABEL_REJECTED_END,
	LABEL_DRAW,
	LABEL_UNSELECTED,
	LABEL_UNSELECTED_END,
	LABEL_TAKEN,
	LABELS,
};

struct socket_code_insn {
	struct bpf_insn in;
	unsigned label; /* where it jumps to */
};

struct socket_code {
	const struct socket_code_config *config;
	struct socket_code_insn *insns;
	unsigned n, room;
	unsigned *labels; /* the instruction that each one is in front of */
	uint32_t *known;  /* of each classic instruction: so long are packets that get there; NOT_REACHED */
	bool failed;
};

static void code_put_to(struct socket_code *c, struct bpf_insn in, unsigned label)
{
	if (c->n == c->room) {
		unsigned room = 2 * c->room + 256;
		struct socket_code_insn *larger = reallocarray(c->insns, room, sizeof(*larger));

		if (!larger) {
			c->failed = true;
			return;
		}
		c->insns = larger;
		c->room = room;
	}
	c->insns[c->n++] = (struct socket_code_insn){.in = in, .label = label};
}

static void code_put(struct socket_code *c, struct bpf_insn in)
{
	code_put_to(c, in, NO_LABEL);
}

static unsigned code_label(const struct socket_code *c, unsigned number)
{
	return c->config->n + number;
}

static void code_here(struct socket_code *c, unsigned label)
{
	c->labels[label] = c->n;
}

static void code_goto(struct socket_code *c, unsigned label)
{
	code_put_to(c, EBPF_INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0), label);
}

/* 32 bits: a register and a constant, or two. */
static void code_jump(struct socket_code *c, unsigned kind, unsigned reg, uint32_t k, unsigned label)
{
	code_put_to(c, EBPF_INSN(BPF_JMP32 | kind | BPF_K, reg, 0, 0, k), label);
}

static void code_jump_by(struct socket_code *c, unsigned kind, unsigned reg, unsigned by, unsigned label)
{
	code_put_to(c, EBPF_INSN(BPF_JMP32 | kind | BPF_X, reg, by, 0, 0), label);
}

static void code_alu(struct socket_code *c, unsigned op, unsigned reg, uint32_t k)
{
	code_put(c, EBPF_INSN(BPF_ALU | op | BPF_K, reg, 0, 0, k));
}

static void code_copy(struct socket_code *c, unsigned to, unsigned from)
{
	code_put(c, EBPF_INSN(BPF_ALU | BPF_MOV | BPF_X, to, from, 0, 0));
}

static void code_return(struct socket_code *c, uint32_t value)
{
	code_put(c, EBPF_INSN(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value));
	code_put(c, EBPF_EXIT);
}

static void code_load_field(struct socket_code *c, unsigned reg, size_t offset)
{
	code_put(c, EBPF_LOAD(BPF_W, reg, REG_PACKET, offset));
}

#define FIELD(name) offsetof(struct __sk_buff, name)

/* ---- loads */

static uint32_t code_octets(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

/* From the network's order. */
static void code_to_host(struct socket_code *c, uint32_t octets)
{
	if (octets > 1)
		code_put(c, EBPF_INSN(BPF_ALU | BPF_END | BPF_TO_BE, REG_A, 0, 0, 8 * octets));
}

/* What the kernel has beside the packet.  false: not in eBPF, or not asked for by anybody. */
static bool code_load_beside(struct socket_code *c, uint32_t what)
{
	static const struct beside {
		uint8_t what;
		bool network_order;
		size_t field;
	} fields[] = {
		{SKF_AD_PROTOCOL, true, FIELD(protocol)},
		{SKF_AD_PKTTYPE, false, FIELD(pkt_type)},
		{SKF_AD_IFINDEX, false, FIELD(ifindex)},
		{SKF_AD_MARK, false, FIELD(mark)},
		{SKF_AD_QUEUE, false, FIELD(queue_mapping)},
		{SKF_AD_RXHASH, false, FIELD(hash)},
		{SKF_AD_VLAN_TAG, false, FIELD(vlan_tci)},
		{SKF_AD_VLAN_TAG_PRESENT, false, FIELD(vlan_present)},
		{SKF_AD_VLAN_TPID, true, FIELD(vlan_proto)},
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (fields[i].what == what) {
			code_load_field(c, REG_A, fields[i].field);
			if (fields[i].network_order)
				code_to_host(c, 2);
			return true;
		}
	if (what == SKF_AD_CPU)
		code_put(c, EBPF_CALL(BPF_FUNC_get_smp_processor_id));
	else if (what == SKF_AD_RANDOM)
		code_put(c, EBPF_CALL(BPF_FUNC_get_prandom_u32));
	return what == SKF_AD_CPU || what == SKF_AD_RANDOM;
}

/* R2 is where. */
static void code_load_link_layer(struct socket_code *c, uint16_t code)
{
	code_put(c, EBPF_COPY(BPF_REG_1, REG_PACKET));
	code_put(c, EBPF_COPY(BPF_REG_3, BPF_REG_10));
	code_put(c, EBPF_INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, STACK_OCTETS));
	code_put(c, EBPF_MOVE(BPF_REG_4, code_octets(code)));
	code_put(c, EBPF_MOVE(BPF_REG_5, BPF_HDR_START_MAC));
	code_put(c, EBPF_CALL(BPF_FUNC_skb_load_bytes_relative));
	code_jump(c, BPF_JNE, BPF_REG_0, 0, code_label(c, LABEL_REJECTED));
	code_put(c, EBPF_LOAD(BPF_SIZE(code), REG_A, BPF_REG_10, STACK_OCTETS));
	code_to_host(c, code_octets(code));
}

/* *known: so long is the packet, and it may be found to be longer. */
static bool code_load_absolute(struct socket_code *c, uint16_t code, uint32_t k, uint32_t *known)
{
	uint32_t link_layer = k - (uint32_t)SKF_LL_OFF, end = k + code_octets(code);

	if (k >= (uint32_t)SKF_AD_OFF)
		return code_load_beside(c, k - (uint32_t)SKF_AD_OFF);
	if (link_layer <= LINK_LAYER_MOST) {
		code_put(c, EBPF_MOVE(BPF_REG_2, link_layer));
		code_load_link_layer(c, code);
		return true;
	}
	if (end > INT32_MAX)
		return false;
	if (*known < end)
		code_jump(c, BPF_JLT, REG_LENGTH, end, code_label(c, LABEL_REJECTED));
	if (*known < end)
		*known = end;
	code_put(c, EBPF_INSN(BPF_LD | BPF_ABS | BPF_SIZE(code), 0, 0, 0, k));
	return true;
}

/* X + k, modulo 2^32. */
static bool code_load_indirect(struct socket_code *c, uint16_t code, uint32_t k)
{
	int32_t link_layer = (int32_t)(k - (uint32_t)SKF_LL_OFF);
	bool is_link_layer = link_layer >= -LINK_LAYER_MOST && link_layer <= LINK_LAYER_MOST;

	if (!is_link_layer && (int32_t)k < -LINK_LAYER_MOST)
		return false;
	code_copy(c, BPF_REG_2, REG_X);
	code_alu(c, BPF_ADD, BPF_REG_2, is_link_layer ? (uint32_t)link_layer : k);
	if (is_link_layer) {
		code_jump(c, BPF_JGT, BPF_REG_2, LINK_LAYER_MOST, code_label(c, LABEL_REJECTED));
		code_load_link_layer(c, code);
		return true;
	}
	/* 64 bits: no overflow */
	code_put(c, EBPF_INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, code_octets(code)));
	code_put_to(c, EBPF_INSN(BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, REG_LENGTH, 0, 0),
		    code_label(c, LABEL_REJECTED));
	code_put(c, EBPF_INSN(BPF_LD | BPF_IND | BPF_SIZE(code), 0, REG_X, 0, k));
	return true;
}

static bool code_put_load(struct socket_code *c, const struct sock_filter *in, uint32_t *known)
{
	unsigned to = BPF_CLASS(in->code) == BPF_LD ? REG_A : REG_X;

	switch (BPF_MODE(in->code)) {
	case BPF_IMM:
		code_put(c, EBPF_INSN(BPF_ALU | BPF_MOV | BPF_K, to, 0, 0, in->k));
		return true;
	case BPF_MEM:
		if (in->k >= BPF_MEMWORDS)
			return false;
		code_put(c, EBPF_LOAD(BPF_W, to, BPF_REG_10, STACK_WORDS + 4 * (int)in->k));
		return true;
	case BPF_LEN:
		code_copy(c, to, REG_LENGTH);
		return true;
	case BPF_ABS:
		return to == REG_A && code_load_absolute(c, in->code, in->k, known);
	case BPF_IND:
		return to == REG_A && code_load_indirect(c, in->code, in->k);
	case BPF_MSH: /* X = 4 * (octet k & 15); A stays what it is */
		code_copy(c, REG_KEPT, REG_A);
		if (to != REG_X || !code_load_absolute(c, BPF_B, in->k, known))
			return false;
		code_alu(c, BPF_AND, REG_A, 15);
		code_alu(c, BPF_LSH, REG_A, 2);
		code_copy(c, REG_X, REG_A);
		code_copy(c, REG_A, REG_KEPT);
		return true;
	default:
		return false;
	}
}

/* ---- everything else */

static bool code_put_store(struct socket_code *c, const struct sock_filter *in)
{
	unsigned from = BPF_CLASS(in->code) == BPF_ST ? REG_A : REG_X;

	if (in->k >= BPF_MEMWORDS)
		return false;
	code_put(c, EBPF_INSN(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, from, STACK_WORDS + 4 * (int)in->k, 0));
	return true;
}

static bool code_put_alu(struct socket_code *c, const struct sock_filter *in)
{
	unsigned op = BPF_OP(in->code);
	bool by_x = BPF_SRC(in->code) == BPF_X;

	if (op > BPF_XOR)
		return false;
	if (op == BPF_NEG) {
		code_put(c, EBPF_INSN(BPF_ALU | BPF_NEG, REG_A, 0, 0, 0));
		return true;
	}
	/* a division by 0 rejects the packet */
	if ((op == BPF_DIV || op == BPF_MOD) && by_x)
		code_jump(c, BPF_JEQ, REG_X, 0, code_label(c, LABEL_REJECTED));
	if (by_x)
		code_put(c, EBPF_INSN(BPF_ALU | op | BPF_X, REG_A, REG_X, 0, 0));
	else
		code_alu(c, op, REG_A, in->k);
	return true;
}

/* So long is every packet that gets there. */
static void code_reach(struct socket_code *c, unsigned target, uint32_t known)
{
	if (known < c->known[target])
		c->known[target] = known;
}

static bool code_put_jump(struct socket_code *c, unsigned i, uint32_t known)
{
	const struct sock_filter *in = &c->config->insns[i];
	uint64_t left = c->config->n - i - 1;
	unsigned op = BPF_OP(in->code);

	if (op == BPF_JA) {
		if (in->k >= left)
			return false;
		code_reach(c, i + 1 + in->k, known);
		code_goto(c, i + 1 + in->k);
		return true;
	}
	if (in->jt >= left || in->jf >= left || op > BPF_JSET)
		return false;
	code_reach(c, i + 1 + in->jt, known);
	code_reach(c, i + 1 + in->jf, known);
	if (BPF_SRC(in->code) == BPF_X)
		code_jump_by(c, op, REG_A, REG_X, i + 1 + in->jt);
	else
		code_jump(c, op, REG_A, in->k, i + 1 + in->jt);
	if (in->jf)
		code_goto(c, i + 1 + in->jf);
	return true;
}

static bool code_put_return(struct socket_code *c, unsigned i)
{
	const struct sock_filter *in = &c->config->insns[i];
	bool is_a = BPF_RVAL(in->code) == BPF_A;

	if (!is_a && !in->k && i < c->config->n_uncounted) {
		code_return(c, 0);
		return true;
	}
	if (!is_a && !in->k) {
		code_goto(c, code_label(c, LABEL_REJECTED));
		return true;
	}
	if (is_a)
		code_jump(c, BPF_JEQ, REG_A, 0, code_label(c, LABEL_REJECTED));
	else
		code_put(c, EBPF_INSN(BPF_ALU | BPF_MOV | BPF_K, REG_A, 0, 0, in->k));
	if (!c->config->draws) {
		code_put(c, EBPF_EXIT);
		return true;
	}
	code_copy(c, REG_KEPT, REG_A);
	code_goto(c, code_label(c, LABEL_DRAW));
	return true;
}

static bool code_put_classic(struct socket_code *c, unsigned i)
{
	const struct sock_filter *in = &c->config->insns[i];
	uint32_t known = c->known[i];
	bool good;

	switch (BPF_CLASS(in->code)) {
	case BPF_JMP:
		return code_put_jump(c, i, known);
	case BPF_RET:
		return code_put_return(c, i);
	case BPF_LD:
	case BPF_LDX:
		good = code_put_load(c, in, &known);
		break;
	case BPF_ST:
	case BPF_STX:
		good = code_put_store(c, in);
		break;
	case BPF_ALU:
		good = code_put_alu(c, in);
		break;
	default: /* BPF_MISC */
		good = true;
		if (BPF_MISCOP(in->code) == BPF_TAX)
			code_copy(c, REG_X, REG_A);
		else
			code_copy(c, REG_A, REG_X);
	}
	if (!good || i + 1 == c->config->n)
		return false;
	code_reach(c, i + 1, known);
	return true;
}

/* The end of a packet that is left out: counted by the processor that has it. */
static void code_put_count(struct socket_code *c, size_t counter, unsigned end)
{
	size_t at = offsetof(struct socket_memory, counters) + counter;

	code_put(c, EBPF_CALL(BPF_FUNC_get_smp_processor_id));
	code_put_to(c, EBPF_INSN(BPF_JMP | BPF_JGE | BPF_K, BPF_REG_0, 0, 0, c->config->n_counters),
		    code_label(c, end)); /* there is no counter */
	code_put(c, EBPF_INSN(BPF_ALU64 | BPF_LSH | BPF_K, BPF_REG_0, 0, 0, SOCKET_COUNTERS_SHIFT));
	code_put(c, EBPF_LOAD_MAP(BPF_REG_1, BPF_PSEUDO_MAP_VALUE, c->config->map_fd));
	code_put(c, EBPF_LOAD_MAP_REST);
	code_put(c, EBPF_ADD(BPF_REG_1, BPF_REG_0));
	code_put(c, EBPF_MOVE(BPF_REG_2, 1));
	code_put(c, EBPF_ATOMIC_ADD(BPF_REG_1, BPF_REG_2, at + offsetof(struct socket_counter, packets)));
	code_load_field(c, BPF_REG_2, FIELD(len));
	code_load_field(c, BPF_REG_3, FIELD(vlan_present));
	code_put(c, EBPF_INSN(BPF_JMP32 | BPF_JEQ | BPF_K, BPF_REG_3, 0, 1, 0));
	code_put(c, EBPF_INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, 4));
	if (c->config->header)
		code_put(c, EBPF_INSN(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, c->config->header));
	code_put(c, EBPF_ATOMIC_ADD(BPF_REG_1, BPF_REG_2, at + offsetof(struct socket_counter, octets)));
	code_here(c, code_label(c, end));
	code_return(c, 0);
}

/* REG_KEPT is what the filter returned. */
static void code_put_draw(struct socket_code *c)
{
	unsigned taken = code_label(c, LABEL_TAKEN), unselected = code_label(c, LABEL_UNSELECTED);
	enum { UPPER = BPF_REG_7, LIMIT = BPF_REG_8 };

	code_here(c, code_label(c, LABEL_DRAW));
	code_put(c, EBPF_LOAD_MAP(BPF_REG_1, BPF_PSEUDO_MAP_VALUE, c->config->map_fd));
	code_put(c, EBPF_LOAD_MAP_REST);
	code_put(c, EBPF_LOAD(BPF_DW, LIMIT, BPF_REG_1, offsetof(struct socket_memory, limit)));
	code_put_to(c, EBPF_INSN(BPF_JMP | BPF_JEQ | BPF_K, LIMIT, 0, 0, -1), taken); /* all are */
	code_put_to(c, EBPF_INSN(BPF_JMP | BPF_JEQ | BPF_K, LIMIT, 0, 0, 0), unselected);
	code_put(c, EBPF_COPY(UPPER, LIMIT));
	code_put(c, EBPF_INSN(BPF_ALU64 | BPF_RSH | BPF_K, UPPER, 0, 0, 32));
	code_put(c, EBPF_CALL(BPF_FUNC_get_prandom_u32));
	code_jump_by(c, BPF_JLT, BPF_REG_0, UPPER, taken);
	code_jump_by(c, BPF_JGT, BPF_REG_0, UPPER, unselected);
	code_put(c, EBPF_CALL(BPF_FUNC_get_prandom_u32));
	code_jump_by(c, BPF_JLT, BPF_REG_0, LIMIT, taken);
	code_here(c, unselected);
	code_put_count(c, offsetof(struct socket_counters, unselected), LABEL_UNSELECTED_END);
	code_here(c, taken);
	code_copy(c, BPF_REG_0, REG_KEPT);
	code_put(c, EBPF_EXIT);
}

static bool code_is_used(const struct socket_code *c, unsigned label)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->insns[i].label == label)
			return true;
	return false;
}

/* What is never reached is left out: the kernel takes no program that has such. */
static int code_write(struct socket_code *c, struct diag *why)
{
	code_put(c, EBPF_COPY(REG_PACKET, BPF_REG_1));
	code_load_field(c, REG_LENGTH, FIELD(len));
	code_put(c, EBPF_MOVE(REG_A, 0));
	code_put(c, EBPF_MOVE(REG_X, 0));
	for (unsigned i = 1; i < c->config->n; i++)
		c->known[i] = NOT_REACHED;
	for (unsigned i = 0; i < c->config->n; i++) {
		const struct sock_filter *in = &c->config->insns[i];

		code_here(c, i);
		if (c->known[i] != NOT_REACHED && !code_put_classic(c, i))
			return diag_set(
				why, -EOPNOTSUPP,
				"instruction %u of the filter, code 0x%x with 0x%x, is not one that is "
				"translated to eBPF",
				i, in->code, in->k);
	}
	if (code_is_used(c, code_label(c, LABEL_DRAW)))
		code_put_draw(c);
	code_here(c, code_label(c, LABEL_REJECTED));
	if (code_is_used(c, code_label(c, LABEL_REJECTED)))
		code_put_count(c, offsetof(struct socket_counters, filtered), LABEL_REJECTED_END);
	return c->failed ? diag_set(why, -ENOMEM, "out of memory") : 0;
}

static int code_assemble(const struct socket_code *c, struct bpf_insn *out, struct diag *why)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct socket_code_insn *in = &c->insns[i];

		out[i] = in->in;
		if (in->label == NO_LABEL)
			continue;
		if (c->labels[in->label] - i - 1 > INT16_MAX)
			return diag_set(why, -EOPNOTSUPP, "a filter of %u instructions is too long for eBPF",
					c->config->n);
		out[i].off = (int16_t)(c->labels[in->label] - i - 1);
	}
	return 0;
}

int socket_code_make(struct bpf_insn **insns, unsigned *n, const struct socket_code_config *config,
		     struct diag *why)
{
	struct socket_code c = {.config = config};
	struct bpf_insn *out = NULL;
	int r = -ENOMEM;

	c.labels = calloc((size_t)config->n + LABELS, sizeof(*c.labels));
	c.known = calloc((size_t)config->n + 1, sizeof(*c.known));
	if (c.labels && c.known)
		r = code_write(&c, why);
	else
		diag_set(why, r, "out of memory");
	if (r == 0) {
		out = calloc(c.n, sizeof(*out));
		r = out ? code_assemble(&c, out, why) : diag_set(why, -ENOMEM, "out of memory");
	}
	free(c.insns);
	free(c.labels);
	free(c.known);
	if (r < 0) {
		free(out);
		return r;
	}
	*insns = out;
	*n = c.n;
	return 0;
}
