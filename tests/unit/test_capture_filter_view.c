/*
 * capture_filter_view: a program seen through a view does with the octets where they are what it does with
 * them where libpcap thinks that they are.
 */
#include "cm.h"

#include <stdlib.h>
#include <string.h>

#include "capture/capture_filter_view.h"

enum { SHIFT = 8, FRAME = 64 };

/* Octets of `plain` as they are after the first 12: shifted, or two of them in a word. */
static const struct filter_piece as_it_is[] = {{0, FILTER_MOVED, 0}};
static const struct filter_piece moved[] = {{0, FILTER_MOVED, 0}, {12, FILTER_MOVED, SHIFT}};
static const struct filter_piece shifted[] = {{0, FILTER_MOVED, 0}, {12, FILTER_SHIFTED, 0}};
static const struct filter_piece in_word[] = {
	{0, FILTER_MOVED, 0}, {12, FILTER_WORD, FILTER_WORD_TYPE}, {14, FILTER_SHIFTED, 0}};
static const struct filter_piece word_first[] = {{0, FILTER_WORD, FILTER_WORD_SKIPPED},
						 {2, FILTER_SHIFTED, 0}};

struct views {
	const struct filter_piece *pieces;
	unsigned n;
	unsigned shifted_from; /* in the frame */
};

static const struct views views[] = {
	{as_it_is, 1, FRAME}, {moved, 2, 12}, {shifted, 2, 12}, {in_word, 3, 12}, {word_first, 2, 0},
};

static uint8_t plain_octet(unsigned i)
{
	return (uint8_t)(i * 37 + 11);
}

static uint32_t run(const struct views *v, const struct bpf_program *program)
{
	struct filter_view view = {.pieces = v->pieces, .n = v->n, .has_length = true};
	struct filter_code c = {0};
	struct sock_filter *insns = NULL;
	uint8_t frame[FRAME + SHIFT];
	uint32_t result;
	unsigned n;

	memset(frame, 0xee, sizeof(frame));
	for (unsigned i = 0; i < FRAME; i++)
		frame[i < v->shifted_from ? i : i + SHIFT] = plain_octet(i);
	filter_code_put(&c, BPF_LD | BPF_IMM, SHIFT);
	filter_code_put(&c, BPF_ST, FILTER_WORD_SHIFT);
	filter_code_put(&c, BPF_LD | BPF_IMM, 77);
	filter_code_put(&c, BPF_ST, FILTER_WORD_LENGTH);
	filter_code_put(&c, BPF_LD | BPF_IMM, (uint32_t)plain_octet(12) << 8 | plain_octet(13));
	filter_code_put(&c, BPF_ST, FILTER_WORD_TYPE);
	filter_code_put(&c, BPF_LD | BPF_IMM, (uint32_t)plain_octet(0) << 8 | plain_octet(1));
	filter_code_put(&c, BPF_ST, FILTER_WORD_SKIPPED);
	assert_int_equal(filter_view_put(&c, program, &view), 0);
	assert_int_equal(filter_code_assemble(&c, &insns, &n), 0);
	result = bpf_filter((struct bpf_insn *)insns, frame, sizeof(frame), sizeof(frame));
	free(insns);
	filter_code_deinit(&c);
	return result;
}

static uint32_t expected(unsigned at, unsigned octets)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < octets; i++)
		value = value << 8 | plain_octet(at + i);
	return value;
}

/* X is 5 all the time, and has to be that afterwards. */
static void expect_load(const struct views *v, unsigned mode, unsigned size, unsigned octets, unsigned at)
{
	struct bpf_insn insns[] = {
		BPF_STMT(BPF_LDX | BPF_IMM, 5),
		BPF_STMT((uint16_t)(BPF_LD | size | mode), mode == BPF_IND ? at - 5 : at),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct bpf_program program = {.bf_insns = insns, .bf_len = ARRAY_SIZE(insns)};

	assert_int_equal(run(v, &program), expected(at, octets) + 5);
}

static void every_load_in_every_view(void **state)
{
	static const struct {
		unsigned size, octets;
	} sizes[] = {{BPF_B, 1}, {BPF_H, 2}, {BPF_W, 4}};

	(void)state;
	for (unsigned v = 0; v < ARRAY_SIZE(views); v++)
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
			for (unsigned at = 0; at + 4 <= FRAME; at++) {
				expect_load(&views[v], BPF_ABS, sizes[s].size, sizes[s].octets, at);
				/* an address that only X can make is in a header of its own */
				if (at >= 5)
					expect_load(&views[v], BPF_IND, sizes[s].size, sizes[s].octets, at);
			}
}

/* A stays, X is 4 * the lower half of an octet. */
static void header_lengths(void **state)
{
	(void)state;
	for (unsigned v = 0; v < ARRAY_SIZE(views); v++)
		for (unsigned at = 0; at < FRAME; at++) {
			struct bpf_insn insns[] = {
				BPF_STMT(BPF_LD | BPF_IMM, 1000),
				BPF_STMT(BPF_LDX | BPF_MSH | BPF_B, at),
				BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
				BPF_STMT(BPF_RET | BPF_A, 0),
			};
			struct bpf_program program = {.bf_insns = insns, .bf_len = ARRAY_SIZE(insns)};

			assert_int_equal(run(&views[v], &program), 1000 + 4 * (plain_octet(at) & 15u));
		}
}

static void lengths(void **state)
{
	struct bpf_insn insns[] = {
		BPF_STMT(BPF_LD | BPF_LEN, 0),
		BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	(void)state;
	assert_int_equal(
		run(&views[2], &(struct bpf_program){.bf_insns = insns, .bf_len = ARRAY_SIZE(insns)}),
		2 * 77);
}

static int put(const struct filter_piece *pieces, unsigned n, struct bpf_insn in)
{
	struct filter_code c = {0};
	int r = filter_view_put(&c, &(struct bpf_program){.bf_insns = &in, .bf_len = 1},
				&(struct filter_view){.pieces = pieces, .n = n});

	filter_code_deinit(&c);
	return r;
}

static void refuses(void **state)
{
	static const struct filter_piece pieces[] = {
		{0, FILTER_MOVED, 0}, {4, FILTER_NOWHERE, 0}, {8, FILTER_MOVED, 0}};
	static const struct bpf_insn nowhere[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 4),	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 3),	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 7),
		BPF_STMT(BPF_LDX | BPF_MSH | BPF_B, 5),
	};
	static const struct bpf_insn deep[] = {
		BPF_STMT(BPF_ST, FILTER_WORDS_OURS),
		BPF_STMT(BPF_STX, 15),
		BPF_STMT(BPF_LD | BPF_MEM, 15),
		BPF_STMT(BPF_LDX | BPF_MEM, FILTER_WORDS_OURS),
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++)
		assert_int_equal(put(pieces, 3, nowhere[i]), FILTER_VIEW_E_NOWHERE);
	for (unsigned i = 0; i < ARRAY_SIZE(deep); i++)
		assert_int_equal(put(pieces, 3, deep[i]), FILTER_VIEW_E_DEEP);
	assert_int_equal(put(pieces, 3, (struct bpf_insn)BPF_STMT(BPF_ST, FILTER_WORDS_OURS - 1)), 0);
	assert_int_equal(put(pieces, 3, (struct bpf_insn)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 8)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_load_in_every_view),
		cmocka_unit_test(header_lengths),
		cmocka_unit_test(lengths),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
