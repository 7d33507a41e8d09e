/* capture_filter_code: labels become distances, short and long. */
#include "cm.h"

#include <pcap/pcap.h>
#include <stdlib.h>

#include "capture/capture_filter_code.h"

static uint32_t run(const struct sock_filter *insns, uint32_t length)
{
	uint8_t frame[1] = {0};

	return bpf_filter((const struct bpf_insn *)insns, frame, length, sizeof(frame));
}

/* if (len == 7) return 1; `far` instructions; return 2 */
static void jump_over(unsigned far, bool on_true)
{
	struct filter_code c = {0};
	struct sock_filter *insns = NULL;
	unsigned near = filter_code_label(&c), away = filter_code_label(&c), n = 0;

	filter_code_put(&c, BPF_LD | BPF_W | BPF_LEN, 0);
	filter_code_jump(&c, BPF_JMP | BPF_JEQ | BPF_K, 7, on_true ? away : near, on_true ? near : away);
	filter_code_here(&c, near);
	for (unsigned i = 0; i < far; i++)
		filter_code_put(&c, BPF_LD | BPF_IMM, i);
	filter_code_put(&c, BPF_RET | BPF_K, 1);
	filter_code_here(&c, away);
	filter_code_put(&c, BPF_RET | BPF_K, 2);
	assert_int_equal(filter_code_assemble(&c, &insns, &n), 0);
	assert_int_equal(n, far + 4 + (far > 254 ? 2 : 0));
	assert_int_equal(run(insns, 7), on_true ? 2 : 1);
	assert_int_equal(run(insns, 8), on_true ? 1 : 2);
	free(insns);
	filter_code_deinit(&c);
}

static void jumps_reach_any_distance(void **state)
{
	static const unsigned distances[] = {0, 1, 253, 254, 255, 256, 5000};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(distances); i++) {
		jump_over(distances[i], true);
		jump_over(distances[i], false);
	}
}

/* Each of many jumps becomes long only because those behind it do. */
static void long_jumps_make_others_long(void **state)
{
	struct filter_code c = {0};
	struct sock_filter *insns = NULL;
	unsigned end = filter_code_label(&c), n = 0;

	(void)state;
	filter_code_put(&c, BPF_LD | BPF_W | BPF_LEN, 0);
	for (uint32_t i = 0; i < 600; i++) {
		unsigned next = filter_code_label(&c);

		filter_code_jump(&c, BPF_JMP | BPF_JEQ | BPF_K, i, end, next);
		filter_code_here(&c, next);
	}
	filter_code_put(&c, BPF_RET | BPF_K, 1);
	filter_code_here(&c, end);
	filter_code_put(&c, BPF_RET | BPF_K, 2);
	assert_int_equal(filter_code_assemble(&c, &insns, &n), 0);
	for (uint32_t i = 0; i < 600; i++)
		assert_int_equal(run(insns, i), 2);
	assert_int_equal(run(insns, 600), 1);
	free(insns);
	filter_code_deinit(&c);
}

/* libpcap's loops jump back. */
static void jumps_go_back(void **state)
{
	struct filter_code c = {0};
	struct sock_filter *insns = NULL;
	unsigned again = filter_code_label(&c), more = filter_code_label(&c), out = filter_code_label(&c),
		 n = 0;

	(void)state;
	filter_code_put(&c, BPF_LD | BPF_IMM, 0);
	filter_code_here(&c, again);
	filter_code_put(&c, BPF_ALU | BPF_ADD | BPF_K, 3);
	filter_code_jump(&c, BPF_JMP | BPF_JGE | BPF_K, 10, out, more);
	filter_code_here(&c, more);
	filter_code_goto(&c, again);
	filter_code_here(&c, out);
	filter_code_put(&c, BPF_RET | BPF_A, 0);
	assert_int_equal(filter_code_assemble(&c, &insns, &n), 0);
	assert_int_equal(run(insns, 1), 12);
	free(insns);
	filter_code_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jumps_reach_any_distance),
		cmocka_unit_test(long_jumps_make_others_long),
		cmocka_unit_test(jumps_go_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
