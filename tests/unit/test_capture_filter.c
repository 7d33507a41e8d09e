/* capture_filter: programs, and the check of an expression at start.  Needs no privilege. */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "capture/capture_filter.h"

static int compile(struct capture_filter *f, const char *expression, enum capture_direction direction,
		   int link_type)
{
	struct capture_filter_config config = {
		.expression = expression, .link_type = link_type, .snap_len = 96, .direction = direction};
	struct diag diag = {""};
	int r = capture_filter_compile(f, &config, &diag);

	if (r < 0)
		assert_true(diag.text[0]);
	return r;
}

/* The value of every instruction that lets a frame pass is the snap length. */
static void filter_returns_snap_length(void **state)
{
	static const char *const expressions[] = {NULL, "", "ip", "tcp port 80 or udp port 53"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(expressions); i++) {
		struct capture_filter f;
		unsigned passes = 0;

		assert_int_equal(compile(&f, expressions[i], CAPTURE_BOTH, 1), 0);
		for (unsigned j = 0; j < f.n; j++) {
			if (BPF_CLASS(f.insns[j].code) != BPF_RET || f.insns[j].k == 0)
				continue;
			assert_int_equal(f.insns[j].k, 96);
			passes++;
		}
		assert_int_equal(passes, 1);
		capture_filter_deinit(&f);
		assert_null(f.insns);
	}
}

static void filter_direction_is_a_prefix(void **state)
{
	struct capture_filter both, in, out;

	(void)state;
	assert_int_equal(compile(&both, "ip", CAPTURE_BOTH, 1), 0);
	assert_int_equal(compile(&in, "ip", CAPTURE_IN, 1), 0);
	assert_int_equal(compile(&out, "ip", CAPTURE_OUT, 1), 0);
	assert_int_equal(in.n, both.n + 3);
	assert_memory_equal(in.insns + 3, both.insns, both.n * sizeof(*both.insns));
	assert_int_equal(in.insns[1].jt, out.insns[1].jf);
	assert_int_equal(in.insns[1].jf, out.insns[1].jt);
	capture_filter_deinit(&both);
	capture_filter_deinit(&in);
	capture_filter_deinit(&out);
}

/* Without a link layer the IP header is at the front: LINKTYPE_RAW is not DLT_RAW's number. */
static void filter_knows_raw(void **state)
{
	struct capture_filter f;

	(void)state;
	assert_int_equal(compile(&f, "udp port 53", CAPTURE_BOTH, 101), 0);
	assert_int_equal(f.insns[0].k, 0);
	capture_filter_deinit(&f);
	assert_int_equal(compile(&f, "vlan 5", CAPTURE_BOTH, 101), -EINVAL);
	assert_null(f.insns);
}

static void filter_too_long(void **state)
{
	static char expression[120000];
	struct capture_filter f;
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		n += (size_t)snprintf(expression + n, sizeof(expression) - n, "%slen = %u", i ? " or " : "",
				      i);
	assert_int_equal(compile(&f, expression, CAPTURE_BOTH, 1), -E2BIG);
	assert_null(f.insns);
}

static void check_filter_tells_typos(void **state)
{
	struct diag diag = {""};

	(void)state;
	assert_int_equal(capture_check_filter(NULL, &diag), 0);
	assert_int_equal(capture_check_filter("", &diag), 0);
	assert_int_equal(capture_check_filter("not port 22", &diag), 0);
	assert_int_equal(capture_check_filter("vlan 5 and ip6", &diag), 0);
	assert_int_equal(capture_check_filter("inbound", &diag), 0);
	/* right on another link type */
	assert_int_equal(capture_check_filter("type mgt subtype beacon", &diag), 0);
	assert_int_equal(capture_check_filter("tcp porrt 80", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "tcp porrt 80"));
	assert_null(strchr(diag.text, '\n'));
	assert_int_equal(capture_check_filter("host 1.2.3.4.5", &diag), -EINVAL);
	assert_int_equal(capture_check_filter("(tcp", &diag), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filter_returns_snap_length), cmocka_unit_test(filter_direction_is_a_prefix),
		cmocka_unit_test(filter_knows_raw),	      cmocka_unit_test(filter_too_long),
		cmocka_unit_test(check_filter_tells_typos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
