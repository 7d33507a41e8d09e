/*
 * capture_filter_view: see capture_filter_view.h.
 */
#include "capture/capture_filter_view.h"

#include <linux/filter.h>

struct view_writer {
	struct filter_code *code;
	const struct filter_view *view;
	bool keep_x; /* the program uses X: it is saved where a load needs it */
};

static bool view_is_load(const struct bpf_insn *in, unsigned mode)
{
	return (BPF_CLASS(in->code) == BPF_LD || BPF_CLASS(in->code) == BPF_LDX) &&
	       BPF_MODE(in->code) == mode;
}

static bool view_uses_x(const struct bpf_program *program)
{
	for (unsigned i = 0; i < program->bf_len; i++)
		if (BPF_CLASS(program->bf_insns[i].code) == BPF_LDX ||
		    BPF_CLASS(program->bf_insns[i].code) == BPF_MISC)
			return true;
	return false;
}

static bool view_uses_our_words(const struct bpf_insn *in)
{
	if (BPF_CLASS(in->code) == BPF_ST || BPF_CLASS(in->code) == BPF_STX || view_is_load(in, BPF_MEM))
		return in->k >= FILTER_WORDS_OURS;
	return false;
}

static unsigned view_load_octets(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

static const struct filter_piece *view_find(const struct filter_view *v, uint32_t k)
{
	unsigned i = v->n - 1;

	while (i > 0 && v->pieces[i].from > k)
		i--;
	return &v->pieces[i];
}

/* The octets of a piece; the last one has no end. */
static uint64_t view_end(const struct filter_view *v, const struct filter_piece *p)
{
	return p == &v->pieces[v->n - 1] ? UINT64_MAX : p[1].from;
}

static void view_save_x(struct view_writer *w, bool restore)
{
	if (w->keep_x)
		filter_code_put(w->code, restore ? BPF_LDX | BPF_MEM : BPF_STX, FILTER_WORD_X);
}

static void view_put_shifted(struct view_writer *w, unsigned size, uint32_t k)
{
	view_save_x(w, false);
	filter_code_put(w->code, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
	filter_code_put(w->code, (uint16_t)(BPF_LD | size | BPF_IND), k);
	view_save_x(w, true);
}

/* One octet of a value that is loaded as a whole. */
static void view_put_part(struct view_writer *w, const struct filter_piece *p, uint32_t k)
{
	uint32_t octets = p[1].from - p->from, behind = octets - 1 - (k - p->from);

	if (p->kind == FILTER_WORD)
		filter_code_put(w->code, BPF_LD | BPF_MEM, p->value);
	else
		filter_code_put(w->code, BPF_LD | BPF_W | BPF_ABS, p->value);
	if (behind)
		filter_code_put(w->code, BPF_ALU | BPF_RSH | BPF_K, 8 * behind);
	filter_code_put(w->code, BPF_ALU | BPF_AND | BPF_K, 0xff);
}

static int view_put_octet(struct view_writer *w, uint32_t k)
{
	const struct filter_piece *p = view_find(w->view, k);

	switch (p->kind) {
	case FILTER_MOVED:
		filter_code_put(w->code, BPF_LD | BPF_B | BPF_ABS, k + p->value);
		return 0;
	case FILTER_SHIFTED:
		filter_code_put(w->code, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
		filter_code_put(w->code, BPF_LD | BPF_B | BPF_IND, k);
		return 0;
	case FILTER_NOWHERE:
		return FILTER_VIEW_E_NOWHERE;
	default:
		view_put_part(w, p, k);
		return 0;
	}
}

/* A load over the border of two pieces: octet by octet. */
static int view_put_pieced(struct view_writer *w, unsigned octets, uint32_t k)
{
	int r;

	view_save_x(w, false);
	filter_code_put(w->code, BPF_LD | BPF_IMM, 0);
	for (unsigned i = 0; i < octets; i++) {
		filter_code_put(w->code, BPF_ALU | BPF_LSH | BPF_K, 8);
		filter_code_put(w->code, BPF_ST, FILTER_WORD_ACC);
		r = view_put_octet(w, k + i);
		if (r)
			return r;
		filter_code_put(w->code, BPF_LDX | BPF_MEM, FILTER_WORD_ACC);
		filter_code_put(w->code, BPF_ALU | BPF_OR | BPF_X, 0);
	}
	view_save_x(w, true);
	return 0;
}

static int view_put_absolute(struct view_writer *w, const struct bpf_insn *in)
{
	const struct filter_piece *p = view_find(w->view, in->k);
	unsigned octets = view_load_octets(in->code);
	uint64_t end = view_end(w->view, p);

	if (in->k >= (uint32_t)SKF_LL_OFF) { /* beside the frame already: the direction, say */
		filter_code_put(w->code, in->code, in->k);
		return 0;
	}
	if ((uint64_t)in->k + octets > end)
		return view_put_pieced(w, octets, in->k);
	switch (p->kind) {
	case FILTER_MOVED:
		filter_code_put(w->code, in->code, in->k + p->value);
		return 0;
	case FILTER_SHIFTED:
		view_put_shifted(w, BPF_SIZE(in->code), in->k);
		return 0;
	case FILTER_NOWHERE:
		return FILTER_VIEW_E_NOWHERE;
	default:
		if (in->k != p->from || octets != end - p->from)
			return view_put_pieced(w, octets, in->k);
		filter_code_put(w->code, p->kind == FILTER_WORD ? BPF_LD | BPF_MEM : in->code, p->value);
		return 0;
	}
}

/* A, X: an address in front of `end`, which is compared with each one from `from` on. */
static int view_put_each(struct view_writer *w, unsigned size, uint32_t from, uint32_t end, unsigned done)
{
	int r = 0;

	for (uint32_t k = from; r == 0 && k < end; k++) {
		unsigned here = filter_code_label(w->code), next = filter_code_label(w->code);

		filter_code_jump(w->code, BPF_JMP | BPF_JEQ | BPF_K, k, here, next);
		filter_code_here(w->code, here);
		r = view_put_absolute(
			w, &(struct bpf_insn){.code = (uint16_t)(BPF_LD | size | BPF_ABS), .k = k});
		if (r == FILTER_VIEW_E_NOWHERE) {
			filter_code_put(w->code, BPF_RET | BPF_K, 0);
			r = 0;
		}
		filter_code_goto(w->code, done);
		filter_code_here(w->code, next);
	}
	filter_code_put(w->code, BPF_RET | BPF_K, 0);
	return r;
}

/* X: an address in the last piece. */
static void view_put_last(struct view_writer *w, uint16_t code, const struct filter_piece *last)
{
	if (last->kind == FILTER_SHIFTED) {
		filter_code_put(w->code, BPF_LDX | BPF_MEM, FILTER_WORD_SHIFT);
		filter_code_put(w->code, BPF_ALU | BPF_ADD | BPF_X, 0);
		filter_code_put(w->code, BPF_MISC | BPF_TAX, 0);
	}
	filter_code_put(w->code, code, last->kind == FILTER_SHIFTED ? 0 : last->value);
}

/*
 * From X + k, of which only the program knows what it is.  Behind the link layer's header it is in the last
 * piece.  What may be in front of that ("ether[...]" with a computed place) is looked at when it runs.
 */
static int view_put_indirect(struct view_writer *w, const struct bpf_insn *in)
{
	const struct filter_piece *first = w->view->pieces, *last = &first[w->view->n - 1];
	uint32_t octets = view_load_octets(in->code), plain = 0;
	unsigned high, low, done;
	bool keep_x = w->keep_x;
	int r;

	if (last->kind == FILTER_MOVED && in->k >= last->from) {
		filter_code_put(w->code, in->code, in->k + last->value);
		return 0;
	}
	high = filter_code_label(w->code);
	low = filter_code_label(w->code);
	done = filter_code_label(w->code);
	filter_code_put(w->code, BPF_STX, FILTER_WORD_INDEX);
	filter_code_put(w->code, BPF_MISC | BPF_TXA, 0);
	filter_code_put(w->code, BPF_ALU | BPF_ADD | BPF_K, in->k);
	filter_code_put(w->code, BPF_MISC | BPF_TAX, 0);
	filter_code_jump(w->code, BPF_JMP | BPF_JGE | BPF_K, last->from, high, low);
	filter_code_here(w->code, low);
	if (first != last && first->kind == FILTER_MOVED) {
		unsigned lowest = filter_code_label(w->code), border = filter_code_label(w->code);

		plain = first[1].from - octets + 1;
		filter_code_jump(w->code, BPF_JMP | BPF_JGE | BPF_K, plain, border, lowest);
		filter_code_here(w->code, lowest);
		filter_code_put(w->code, in->code, first->value);
		filter_code_goto(w->code, done);
		filter_code_here(w->code, border);
	}
	w->keep_x = false; /* it is saved */
	r = view_put_each(w, BPF_SIZE(in->code), plain, last->from, done);
	w->keep_x = keep_x;
	filter_code_here(w->code, high);
	view_put_last(w, in->code, last);
	filter_code_here(w->code, done);
	filter_code_put(w->code, BPF_LDX | BPF_MEM, FILTER_WORD_INDEX);
	return r;
}

/* X = 4 * (octet k & 15); A stays what it is. */
static int view_put_header_length(struct view_writer *w, const struct bpf_insn *in)
{
	const struct filter_piece *p = view_find(w->view, in->k);
	bool keep_x = w->keep_x;
	int r;

	if (p->kind == FILTER_MOVED) {
		filter_code_put(w->code, in->code, in->k + p->value);
		return 0;
	}
	filter_code_put(w->code, BPF_ST, FILTER_WORD_A);
	w->keep_x = false;
	r = view_put_octet(w, in->k);
	w->keep_x = keep_x;
	filter_code_put(w->code, BPF_ALU | BPF_AND | BPF_K, 15);
	filter_code_put(w->code, BPF_ALU | BPF_LSH | BPF_K, 2);
	filter_code_put(w->code, BPF_MISC | BPF_TAX, 0);
	filter_code_put(w->code, BPF_LD | BPF_MEM, FILTER_WORD_A);
	return r;
}

static int view_put_load(struct view_writer *w, const struct bpf_insn *in)
{
	switch (BPF_MODE(in->code)) {
	case BPF_ABS:
		return view_put_absolute(w, in);
	case BPF_IND:
		return view_put_indirect(w, in);
	case BPF_MSH:
		return view_put_header_length(w, in);
	case BPF_LEN:
		if (w->view->has_length) {
			filter_code_put(w->code, BPF_CLASS(in->code) | BPF_MEM, FILTER_WORD_LENGTH);
			return 0;
		}
		/* fall through */
	default:
		filter_code_put(w->code, in->code, in->k);
		return 0;
	}
}

static void view_put_jump(struct view_writer *w, const struct bpf_insn *in, unsigned label)
{
	/* a jump to an instruction of the program has the label of that */
	if (BPF_OP(in->code) == BPF_JA)
		filter_code_goto(w->code, label + in->k);
	else
		filter_code_jump(w->code, in->code, in->k, label + in->jt, label + in->jf);
}

int filter_view_put(struct filter_code *c, const struct bpf_program *program, const struct filter_view *view)
{
	struct view_writer w = {.code = c, .view = view, .keep_x = view_uses_x(program)};
	unsigned first_label = c->n_labels;
	int r = 0;

	for (unsigned i = 0; i < program->bf_len; i++)
		(void)filter_code_label(c);
	for (unsigned i = 0; r == 0 && i < program->bf_len; i++) {
		const struct bpf_insn *in = &program->bf_insns[i];

		filter_code_here(c, first_label + i);
		if (view_uses_our_words(in))
			return FILTER_VIEW_E_DEEP;
		if (BPF_CLASS(in->code) == BPF_LD || BPF_CLASS(in->code) == BPF_LDX)
			r = view_put_load(&w, in);
		else if (BPF_CLASS(in->code) == BPF_JMP)
			view_put_jump(&w, in, first_label + i + 1);
		else
			filter_code_put(c, in->code, in->k);
	}
	return r;
}
