/*
 * capture_filter_code: a BPF program while it is put together.
 *
 * Jumps name labels, and how far they are is worked out at the end: a conditional jump of BPF reaches 255
 * instructions, and one that has to go further gets two long jumps behind it.
 *
 * Running out of memory is remembered and told by filter_code_assemble().
 */
#ifndef PITOT_CAPTURE_FILTER_CODE_H
#define PITOT_CAPTURE_FILTER_CODE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

struct filter_code_insn {
	struct sock_filter f;
	unsigned if_true, if_false; /* labels, of jumps */
	bool is_long;
};

struct filter_code {
	struct filter_code_insn *insns;
	unsigned n, room;
	unsigned *labels; /* the instruction that each one is in front of */
	unsigned n_labels, labels_room;
	bool failed;
};

void filter_code_deinit(struct filter_code *c);

void filter_code_put(struct filter_code *c, uint16_t code, uint32_t k);
/* A conditional jump. */
void filter_code_jump(struct filter_code *c, uint16_t code, uint32_t k, unsigned if_true, unsigned if_false);
void filter_code_goto(struct filter_code *c, unsigned label);

unsigned filter_code_label(struct filter_code *c);
/* The label is in front of the next instruction. */
void filter_code_here(struct filter_code *c, unsigned label);

/* The program, to be freed by the caller; every label that is used has to have its place.  0 or -ENOMEM. */
int filter_code_assemble(struct filter_code *c, struct sock_filter **insns, unsigned *n);

#endif
