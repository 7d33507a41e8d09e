/*
 * capture_filter_code: see capture_filter_code.h.
 */
#include "capture/capture_filter_code.h"

#include <errno.h>
#include <stdlib.h>

enum { LONG_JUMP = 3, REACH = 255 };

void filter_code_deinit(struct filter_code *c)
{
	free(c->insns);
	free(c->labels);
	*c = (struct filter_code){0};
}

static void *filter_code_grow(struct filter_code *c, void *array, unsigned n, unsigned *room, size_t size)
{
	void *larger;

	if (n < *room)
		return array;
	larger = reallocarray(array, 2 * (size_t)n + 64, size);
	if (!larger) {
		c->failed = true;
		return array;
	}
	*room = 2 * n + 64;
	return larger;
}

static void filter_code_add(struct filter_code *c, struct filter_code_insn insn)
{
	c->insns = filter_code_grow(c, c->insns, c->n, &c->room, sizeof(*c->insns));
	if (c->n < c->room)
		c->insns[c->n++] = insn;
}

void filter_code_put(struct filter_code *c, uint16_t code, uint32_t k)
{
	filter_code_add(c, (struct filter_code_insn){.f = BPF_STMT(code, k)});
}

void filter_code_jump(struct filter_code *c, uint16_t code, uint32_t k, unsigned if_true, unsigned if_false)
{
	filter_code_add(c, (struct filter_code_insn){
				   .f = BPF_STMT(code, k), .if_true = if_true, .if_false = if_false});
}

void filter_code_goto(struct filter_code *c, unsigned label)
{
	filter_code_add(c, (struct filter_code_insn){.f = BPF_STMT(BPF_JMP | BPF_JA, 0), .if_true = label});
}

unsigned filter_code_label(struct filter_code *c)
{
	c->labels = filter_code_grow(c, c->labels, c->n_labels, &c->labels_room, sizeof(*c->labels));
	if (c->n_labels == c->labels_room)
		return 0;
	c->labels[c->n_labels] = 0;
	return c->n_labels++;
}

void filter_code_here(struct filter_code *c, unsigned label)
{
	if (label < c->n_labels)
		c->labels[label] = c->n;
}

static bool filter_code_is_conditional(const struct filter_code_insn *in)
{
	return BPF_CLASS(in->f.code) == BPF_JMP && BPF_OP(in->f.code) != BPF_JA;
}

/* From the instruction behind i to the label, in instructions of the finished program. */
static long filter_code_distance(const struct filter_code *c, const unsigned *at, unsigned i, unsigned label)
{
	return (long)at[c->labels[label]] - (long)at[i] - 1;
}

/* Where each instruction will be.  Making one jump long may put another one out of reach. */
static void filter_code_lay_out(struct filter_code *c, unsigned *at)
{
	bool changed;

	do {
		changed = false;
		at[0] = 0;
		for (unsigned i = 0; i < c->n; i++)
			at[i + 1] = at[i] + (c->insns[i].is_long ? LONG_JUMP : 1);
		for (unsigned i = 0; i < c->n; i++) {
			struct filter_code_insn *in = &c->insns[i];
			long t, f;

			if (in->is_long || !filter_code_is_conditional(in))
				continue;
			t = filter_code_distance(c, at, i, in->if_true);
			f = filter_code_distance(c, at, i, in->if_false);
			in->is_long = t < 0 || t > REACH || f < 0 || f > REACH;
			changed |= in->is_long;
		}
	} while (changed);
}

static void filter_code_write(const struct filter_code *c, const unsigned *at, struct sock_filter *out)
{
	for (unsigned i = 0; i < c->n; i++) {
		const struct filter_code_insn *in = &c->insns[i];
		struct sock_filter *f = &out[at[i]];
		long t, e;

		*f = in->f;
		if (BPF_CLASS(in->f.code) != BPF_JMP)
			continue;
		t = filter_code_distance(c, at, i, in->if_true);
		if (!filter_code_is_conditional(in)) {
			f->k = (uint32_t)t;
			continue;
		}
		e = filter_code_distance(c, at, i, in->if_false);
		f->jt = in->is_long ? 0 : (uint8_t)t;
		f->jf = in->is_long ? 1 : (uint8_t)e;
		if (!in->is_long)
			continue;
		f[1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(t - 1));
		f[2] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(e - 2));
	}
}

int filter_code_assemble(struct filter_code *c, struct sock_filter **insns, unsigned *n)
{
	unsigned *at = calloc((size_t)c->n + 1, sizeof(*at));
	struct sock_filter *out = NULL;

	if (at && !c->failed) {
		filter_code_lay_out(c, at);
		out = calloc((size_t)at[c->n] + 1, sizeof(*out));
	}
	if (!out) {
		free(at);
		return -ENOMEM;
	}
	filter_code_write(c, at, out);
	*insns = out;
	*n = at[c->n];
	free(at);
	return 0;
}
