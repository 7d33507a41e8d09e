/*
 * capture_filter: programs, and the check of an expression at start.  capture/capture_filter_socket.c: that
 * the kernel takes them; what they select is in tests/e2e/filter.py.  Needs no privilege.
 */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_filter.h"

static int compile(struct capture_filter *f, const char *expression, enum capture_direction direction,
		   int link_type)
{
	struct capture_filter_config config = {
		.expression = expression, .link_type = link_type, .snap_len = 96, .direction = direction};
	struct diag diag = {""};
	int r = capture_filter_compile(f, &config, &diag);

	if (r)
		assert_true(diag.text[0]);
	return r;
}

/* The value of every instruction that lets a frame pass is the snap length. */
static void filter_returns_snap_length(void **state)
{
	static const char *const expressions[] = {NULL, "", "ip", "tcp port 80 or udp port 53", "vlan 5"};

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
		assert_int_equal(passes,
				 i < 2 ? 1 : 2); /* one copy for frames without tags, one for those with */
		assert_null(f.tagged);
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
	assert_int_equal(both.n_direction, 0);
	assert_int_equal(in.n_direction, 3);
	assert_int_equal(out.n_direction, 3);
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

/* What can be nowhere on a link selects nothing there; on Ethernet, where everything can be, it is a mistake.
 */
static void filter_selects_nothing(void **state)
{
	struct capture_filter f;

	(void)state;
	assert_int_equal(compile(&f, "arp", CAPTURE_BOTH, 101), 0);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.insns[0].k, 0);
	capture_filter_deinit(&f);
	assert_int_equal(compile(&f, "ip and ip6", CAPTURE_BOTH, 1), -EINVAL);
}

static char *long_expression(unsigned tests)
{
	static char expression[120000];
	size_t n = 0;

	for (unsigned i = 0; i < tests; i++)
		n += (size_t)snprintf(expression + n, sizeof(expression) - n, "%slen = %u", i ? " or " : "",
				      i);
	return expression;
}

static void filter_too_much_for_the_kernel(void **state)
{
	const struct capture_filter_config config = {
		.expression = long_expression(5000), .link_type = 1, .snap_len = 96};
	struct capture_filter f;
	struct diag diag;
	uint8_t frame[60] = {0};

	(void)state;
	assert_int_equal(capture_filter_compile(&f, &config, &diag), CAPTURE_FILTER_E_KERNEL);
	assert_null(f.insns);
	assert_non_null(strstr(diag.text, "make it shorter"));
	assert_int_equal(compile(&f, "ip6 protochain 17", CAPTURE_BOTH, 1), CAPTURE_FILTER_E_KERNEL);
	assert_null(f.insns);
	/* here it runs, however long it is */
	assert_int_equal(capture_filter_compile_frames(&f, config.expression, 1, &diag), 0);
	assert_true(capture_filter_passes(&f, frame, 4999, sizeof(frame)));
	assert_false(capture_filter_passes(&f, frame, 5000, sizeof(frame)));
	capture_filter_deinit(&f);
	assert_int_equal(capture_filter_compile_frames(&f, "ip6 protochain 17", 1, &diag), 0);
	capture_filter_deinit(&f);
}

/* Programs for two kinds of frames, with jumps over more than 255 instructions. */
static void filter_jumps_far(void **state)
{
	struct capture_filter f;

	(void)state;
	assert_int_equal(compile(&f, long_expression(900), CAPTURE_BOTH, 1), 0);
	for (unsigned i = 0; i < f.n; i++) {
		const struct sock_filter *in = &f.insns[i];

		if (BPF_CLASS(in->code) != BPF_JMP)
			continue;
		if (BPF_OP(in->code) == BPF_JA) {
			assert_true(i + 1 + in->k < f.n);
		} else {
			assert_true(i + 1 + in->jt < f.n);
			assert_true(i + 1 + in->jf < f.n);
		}
	}
	capture_filter_deinit(&f);
}

/* Any socket will do for that. */
static void kernel_takes_them(void **state)
{
	static const char *const expressions[] = {
		"",
		"host 192.0.2.1",
		"not host 192.0.2.1 and tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
		"ip6 and udp port 53",
		"vlan",
		"vlan and vlan and udp port 53",
		"icmp or vlan 10 and greater 100",
		"ether src 02:00:00:00:00:01",
		"ether[10:4] = 1 or ether[ether[0] + 3:4] = 7",
		"geneve and udp",
		"pppoes and host 192.0.2.1",
		"mpls 5 and mpls and ip",
		"inbound and port 80",
		"ether dst 02:00:00:00:00:01",
		"outbound and not host 192.0.2.1",
		"vlan and ether[ether[0]:2] = 1",
	};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_true(fd >= 0);
	for (unsigned i = 0; i < ARRAY_SIZE(expressions); i++)
		for (unsigned place = FILTER_SOCKET; place <= FILTER_COOKED; place++) {
			struct capture_filter_config config = {.expression = expressions[i],
							       .place = (enum filter_place)place,
							       .link_type = 1,
							       .snap_len = 96,
							       .direction = CAPTURE_IN};
			struct capture_filter f;
			struct diag diag;
			int r = capture_filter_compile(&f, &config, &diag);

			if (r)
				fail_msg("\"%s\": %s", expressions[i], diag.text);
			assert_int_equal(capture_filter_attach(fd, &f), 0);
			capture_filter_deinit(&f);
		}
	close(fd);
}

static int refused(const char *expression, int link_type, struct diag *diag)
{
	struct capture_filter f;
	int r = capture_filter_compile_frames(&f, expression, link_type, diag);

	assert_null(f.insns);
	assert_null(f.tagged);
	return r;
}

static void filter_refuses_what_is_not_there(void **state)
{
	struct diag diag;

	(void)state;
	assert_int_equal(refused("inbound", 1, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "which way"));
	assert_int_equal(refused("vlan and ether dst 02:00:00:00:00:01", 276, &diag), -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "does not have"));
	assert_int_equal(refused("(ip[11] - (ip[10] - (ip[9] - (ip[8] - (ip[7] - (ip[6] - (ip[5] - (ip[4] - "
				 "(ip[3] - (ip[2] - (ip[1] - ip[0]))))))))))) = 1",
				 1, &diag),
			 -EOPNOTSUPP);
	assert_non_null(strstr(diag.text, "too deep"));
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
		cmocka_unit_test(filter_returns_snap_length),
		cmocka_unit_test(filter_direction_is_a_prefix),
		cmocka_unit_test(filter_knows_raw),
		cmocka_unit_test(filter_selects_nothing),
		cmocka_unit_test(filter_too_much_for_the_kernel),
		cmocka_unit_test(filter_jumps_far),
		cmocka_unit_test(kernel_takes_them),
		cmocka_unit_test(filter_refuses_what_is_not_there),
		cmocka_unit_test(check_filter_tells_typos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
