/*
 * capture_socket_code: a program in eBPF selects what the classic one selects, and counts the rest.  The
 * kernel runs both, each on a pair of sockets that the same frames go through.  Built where libbpf is; needs
 * CAP_BPF.
 */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_socket_code.h"
#include "capture/capture_socket_program.h"
#include "lacking.h"
#include "pitot/capture.h"

enum { PROGRAMS = 3000, FRAMES = 6, INSNS_MOST = 40, LINK_ETHERNET = 1, CUT = 96 };

#define BESIDE(what)   (uint32_t)(SKF_AD_OFF + SKF_AD_##what)
#define LINK_LAYER(at) (uint32_t)(SKF_LL_OFF + (at))

struct pair {
	int tx, rx;
};

static struct pair pair_open(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	return (struct pair){fds[0], fds[1]};
}

static void pair_close(struct pair p)
{
	close(p.tx);
	close(p.rx);
}

/* How much of it comes out; -1: nothing does. */
static ssize_t pair_pass(struct pair p, const uint8_t *data, size_t n)
{
	uint8_t got[65536];

	assert_int_equal(send(p.tx, data, n, 0), n);
	return recv(p.rx, got, sizeof(got), 0);
}

/* ---- whatever program */

static uint64_t seed = 4711;

static uint32_t draw(uint32_t below)
{
	return (uint32_t)(test_random(&seed) >> 32) % below;
}

/* Often the addresses, lengths and values that frames of these tests have. */
static uint32_t some_value(void)
{
	static const uint32_t values[] = {0,  1,  2,   3,     4,	  14,	      20,	  31,
					  60, 64, 255, 0x800, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff2};

	return draw(3) ? draw(70) : values[draw(ARRAY_SIZE(values))];
}

static struct sock_filter some_load(void)
{
	static const uint16_t sizes[] = {BPF_B, BPF_H, BPF_W};
	static const uint32_t beside[] = {
		BESIDE(PROTOCOL), BESIDE(PKTTYPE),	    BESIDE(MARK),     BESIDE(QUEUE), BESIDE(RXHASH),
		BESIDE(VLAN_TAG), BESIDE(VLAN_TAG_PRESENT), BESIDE(VLAN_TPID)};
	uint16_t size = sizes[draw(3)];

	switch (draw(10)) {
	case 0:
		return (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, some_value());
	case 1:
		return (struct sock_filter)BPF_STMT(BPF_LDX | BPF_IMM, draw(2) ? draw(20) : some_value());
	case 2:
		return (struct sock_filter)BPF_STMT(BPF_LD | BPF_MEM, draw(BPF_MEMWORDS));
	case 3:
		return (struct sock_filter)BPF_STMT(BPF_LDX | BPF_MEM, draw(BPF_MEMWORDS));
	case 4:
		return (struct sock_filter)BPF_STMT((draw(2) ? BPF_LD : BPF_LDX) | BPF_W | BPF_LEN, 0);
	case 5:
		return (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, draw(60));
	case 6:
	case 7:
		return (struct sock_filter)BPF_STMT(BPF_LD | BPF_IND | size, draw(40));
	case 8:
		return (struct sock_filter)BPF_STMT(BPF_LD | BPF_ABS | size,
						    beside[draw(ARRAY_SIZE(beside))]);
	default:
		return (struct sock_filter)BPF_STMT(BPF_LD | BPF_ABS | size, draw(50));
	}
}

static struct sock_filter some_arithmetic(void)
{
	static const uint16_t ops[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND,
				       BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD, BPF_XOR};
	uint16_t op = ops[draw(ARRAY_SIZE(ops))], by_x = draw(2) ? BPF_X : BPF_K;
	uint32_t k = op == BPF_LSH || op == BPF_RSH ? draw(32) : some_value();

	if (op == BPF_NEG)
		return (struct sock_filter)BPF_STMT(BPF_ALU | BPF_NEG, 0);
	return (struct sock_filter)BPF_STMT(BPF_ALU | op | by_x, by_x ? 0 : k ? k : 1);
}

static struct sock_filter some_insn(unsigned left)
{
	static const uint16_t tests[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};

	switch (draw(12)) {
	case 0:
		return (struct sock_filter)BPF_STMT(draw(2) ? BPF_ST : BPF_STX, draw(BPF_MEMWORDS));
	case 1:
		return (struct sock_filter)BPF_STMT(BPF_MISC | (draw(2) ? BPF_TAX : BPF_TXA), 0);
	case 2:
	case 3:
	case 4:
		return (struct sock_filter)BPF_JUMP(BPF_JMP | tests[draw(4)] | (draw(3) ? BPF_K : BPF_X),
						    some_value(), (uint8_t)draw(left < 8 ? left : 8),
						    (uint8_t)draw(left < 8 ? left : 8));
	case 5:
		return (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, draw(left < 3 ? left : 3));
	case 6:
	case 7:
		return some_arithmetic();
	default:
		return some_load();
	}
}

/* Any that the kernel takes: it wants scratch memory to be written before it is read. */
static unsigned some_program(struct sock_filter *insns)
{
	unsigned n = BPF_MEMWORDS + 1 + draw(INSNS_MOST - BPF_MEMWORDS - 2), i = 0;

	for (; i < BPF_MEMWORDS; i++)
		insns[i] = (struct sock_filter)BPF_STMT(BPF_ST, i);
	for (; i + 1 < n; i++) {
		insns[i] = some_insn(n - i - 1);
		if (draw(12) == 0)
			insns[i] =
				(struct sock_filter)BPF_STMT(BPF_RET | (draw(2) ? BPF_A : BPF_K), draw(40));
	}
	insns[i] = (struct sock_filter)BPF_STMT(BPF_RET | (draw(2) ? BPF_A : BPF_K), draw(40));
	return n;
}

static void print_program(const struct sock_filter *insns, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		print_message("%2u: code 0x%02x jt %u jf %u k 0x%x\n", i, insns[i].code, insns[i].jt,
			      insns[i].jf, insns[i].k);
}

static void selects_the_same(void **state)
{
	unsigned n_passed = 0, n_rejected = 0;

	(void)state;
	for (unsigned i = 0; i < PROGRAMS; i++) {
		struct pair classic = pair_open(), ours = pair_open();
		uint64_t rejected = 0, rejected_octets = 0;
		struct capture_socket_program *p;
		struct sock_filter insns[INSNS_MOST];
		struct capture_filter f = {.insns = insns, .n = some_program(insns)};
		struct capture_socket_program_config config = {.filter = &f};
		struct capture_left_out left_out;
		struct diag why;

		assert_int_equal(capture_filter_attach(classic.rx, &f), 0);
		if (capture_socket_program_new(&p, &config, &why) < 0) {
			print_program(insns, f.n);
			fail_msg("program %u: %s", i, why.text);
		}
		assert_int_equal(capture_socket_program_attach(p, ours.rx), 0);
		for (unsigned k = 0; k < FRAMES; k++) {
			uint8_t frame[80];
			size_t size = 1 + draw(sizeof(frame));
			ssize_t want, got;

			for (unsigned at = 0; at < size; at++)
				frame[at] = (uint8_t)(draw(2) ? draw(8) : draw(256));
			want = pair_pass(classic, frame, size);
			got = pair_pass(ours, frame, size);
			if (want != got) {
				print_program(insns, f.n);
				fail_msg("program %u: %zd octets, and not %zd, of %zu", i, got, want, size);
			}
			rejected += want < 0;
			rejected_octets += want < 0 ? size : 0;
			n_passed += want >= 0;
		}
		left_out = capture_socket_program_left_out(p);
		assert_int_equal(left_out.filtered, rejected);
		assert_int_equal(left_out.filtered_octets, rejected_octets);
		assert_int_equal(left_out.unselected, 0);
		n_rejected += (unsigned)rejected;
		capture_socket_program_free(p);
		pair_close(classic);
		pair_close(ours);
	}
	/* both are tried */
	assert_true(n_passed > PROGRAMS && n_rejected > PROGRAMS);
}

/* ---- pitot's programs */

static const char *const expressions[] = {
	"host 192.0.2.1",
	"not host 10.0.0.1",
	"net 10.0.0.0/8",
	"udp port 53",
	"not port 53",
	"port 53 or tcp",
	"ip6",
	"ip6 and udp port 53",
	"tcp[tcpflags] & tcp-syn != 0",
	"tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
	"udp[8:2] = 0x4142",
	"icmp",
	"icmp6",
	"arp",
	"not arp",
	"less 74",
	"greater 75",
	"len = 70",
	"ip[6:2] & 0x1fff != 0",
	"ip[0] & 0xf > 5",
	"ip[2:2] = len - 14",
	"ip[ip[0] / ip[1]] = 0",
	"ip[2:2] % ip[8] = 1",
	"vlan",
	"not vlan",
	"vlan 10",
	"vlan and tcp",
	"vlan and vlan and udp",
	"icmp or vlan 10",
	"vlan and greater 80",
	"ether src 02:00:00:00:00:01",
	"ether dst 02:00:00:00:00:02",
	"ether[12:2] = 0x86dd",
	"ether[ether[0] + 10:2] = 0x0806",
	"vlan and ether[ether[0] + 10:2] = 0x88a8",
	"mpls",
	"pppoes and ip",
	"geneve and udp",
	"ether[3000] = 1",
};

/* The frames of the file that are whole. */
static unsigned pass_file(const char *name, const char *expression, struct capture_filter *frames,
			  struct pair ours, uint64_t *rejected, uint64_t *rejected_octets)
{
	const char *root = getenv("PITOT_SOURCE_ROOT");
	char path[4096];
	struct capture_config config = {.path = path, .snap_len = 65535};
	struct frame_batch b;
	struct capture *c;
	struct diag diag;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
	assert_int_equal(capture_open(&c, &config, &diag), 0);
	while (capture_recv(c, &b, 100, &diag) == 0) {
		for (unsigned i = 0; i < b.n; i++) {
			const struct frame *f = &b.frames[i];
			ssize_t want = f->cap_len < CUT ? f->cap_len : CUT;

			if (f->cap_len != f->wire_len || !f->cap_len)
				continue;
			if (!capture_filter_passes(frames, f->data, f->wire_len, f->cap_len)) {
				want = -1;
				++*rejected;
				*rejected_octets += f->cap_len;
			}
			n++;
			if (pair_pass(ours, f->data, f->cap_len) != want)
				fail_msg("\"%s\": frame %u of %s: not %zd octets", expression, n, name, want);
		}
		capture_release(c, &b);
	}
	capture_close(c);
	return n;
}

static void selects_as_in_files(void **state)
{
	static const char *const files[] = {"mixed.pcap",     "vlan.pcap", "v6ext.pcap", "web.pcap",
					    "fragments.pcap", "icmp.pcap", "no-ip.pcap", "link-pppoe.pcap"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(expressions); i++) {
		const struct capture_filter_config compile = {
			.expression = expressions[i], .link_type = LINK_ETHERNET, .snap_len = CUT};
		struct capture_filter f, frames;
		const struct capture_socket_program_config config = {.filter = &f, .header = 5};
		struct pair ours = pair_open();
		uint64_t rejected = 0, rejected_octets = 0;
		struct capture_socket_program *p;
		struct capture_left_out left_out;
		struct diag diag;
		unsigned n = 0;

		assert_int_equal(capture_filter_compile(&f, &compile, &diag), 0);
		assert_int_equal(capture_filter_compile_frames(&frames, expressions[i], LINK_ETHERNET, &diag),
				 0);
		if (capture_socket_program_new(&p, &config, &diag) < 0)
			fail_msg("\"%s\": %s", expressions[i], diag.text);
		assert_int_equal(capture_socket_program_attach(p, ours.rx), 0);
		for (unsigned k = 0; k < ARRAY_SIZE(files); k++)
			n += pass_file(files[k], expressions[i], &frames, ours, &rejected, &rejected_octets);
		assert_true(n > 100);
		left_out = capture_socket_program_left_out(p);
		assert_int_equal(left_out.filtered, rejected);
		assert_int_equal(left_out.filtered_octets, rejected_octets + 5 * rejected);
		capture_socket_program_free(p);
		capture_filter_deinit(&f);
		capture_filter_deinit(&frames);
		pair_close(ours);
	}
}

/* Of all interfaces, too, with a draw and with a direction. */
static void kernel_takes_them(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(expressions); i++)
		for (unsigned k = 0; k < 6; k++) {
			const struct capture_filter_config compile = {
				.expression = expressions[i],
				.link_type = LINK_ETHERNET,
				.place = k % 2 ? FILTER_COOKED : FILTER_SOCKET,
				.direction = (enum capture_direction)(k / 2),
				.snap_len = CUT};
			struct capture_filter f;
			const struct capture_socket_program_config config = {
				.filter = &f, .draws = k > 2, .interval = 10};
			struct capture_socket_program *p;
			struct diag diag;

			assert_int_equal(capture_filter_compile(&f, &compile, &diag), 0);
			if (capture_socket_program_new(&p, &config, &diag) < 0)
				fail_msg("\"%s\", %u: %s", expressions[i], k, diag.text);
			assert_int_equal(capture_socket_program_draws(p), k > 2);
			capture_socket_program_free(p);
			capture_filter_deinit(&f);
		}
}

/* A long one is taken like a short one. */
static void kernel_takes_long_ones(void **state)
{
	static char text[40000];
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%slen = %u", i ? " or " : "", 2000 + i);
	for (unsigned k = 0; k < 2; k++) {
		const struct capture_filter_config compile = {.expression = text,
							      .link_type = LINK_ETHERNET,
							      .place = k ? FILTER_COOKED : FILTER_SOCKET,
							      .snap_len = CUT};
		struct capture_filter f;
		const struct capture_socket_program_config config = {.filter = &f};
		struct capture_socket_program *p;
		struct diag diag;

		assert_int_equal(capture_filter_compile(&f, &compile, &diag), 0);
		assert_true(f.n > 1000);
		if (capture_socket_program_new(&p, &config, &diag) < 0)
			fail_msg("%s", diag.text);
		capture_socket_program_free(p);
		capture_filter_deinit(&f);
	}
}

/* Then the socket has the classic program, and nothing is counted. */
static void refuses_what_it_does_not_know(void **state)
{
	static const struct sock_filter loads[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, BESIDE(HATYPE)),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, BESIDE(NLATTR)),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, (uint32_t)SKF_NET_OFF),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, INT32_MAX - 2),
		BPF_STMT(BPF_LD | BPF_MEM, BPF_MEMWORDS),
		BPF_STMT(BPF_ST, BPF_MEMWORDS),
		BPF_STMT(BPF_JMP | BPF_JA, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 200, 0),
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
		const struct sock_filter insns[] = {loads[i], BPF_STMT(BPF_RET | BPF_A, 0)};
		const struct socket_code_config config = {
			.insns = insns, .n = 2, .map_fd = 3, .n_counters = 4};
		struct diag why = {""};
		struct bpf_insn *out;
		unsigned n;

		assert_int_equal(socket_code_make(&out, &n, &config, &why), -EOPNOTSUPP);
		assert_non_null(strstr(why.text, "instruction 0"));
	}
	/* nothing that is never reached is asked for */
	{
		const struct sock_filter insns[] = {BPF_STMT(BPF_RET | BPF_K, 7), loads[0],
						    BPF_STMT(BPF_RET | BPF_A, 0)};
		const struct socket_code_config config = {
			.insns = insns, .n = 3, .map_fd = 3, .n_counters = 4};
		struct diag why = {""};
		struct bpf_insn *out;
		unsigned n;

		assert_int_equal(socket_code_make(&out, &n, &config, &why), 0);
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(selects_the_same),
		cmocka_unit_test(selects_as_in_files),
		cmocka_unit_test(kernel_takes_them),
		cmocka_unit_test(kernel_takes_long_ones),
		cmocka_unit_test(refuses_what_it_does_not_know),
	};
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, CUT);
	const struct capture_filter f = {.insns = &all, .n = 1};
	const struct capture_socket_program_config probe = {.filter = &f};
	struct capture_socket_program *p;
	struct diag why;

	if (capture_socket_program_new(&p, &probe, &why) < 0)
		return lacking("no eBPF socket filters here: %s", why.text);
	capture_socket_program_free(p);
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
