/* capture_filter_user: programs of packet sockets run here, and what only the kernel could.  Needs no
 * privilege. */
#include "cm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture_filter_user.h"
#include "frames.h"

/* What libpcap has for a live handle: present? then the TCI; the test of the frame comes after. */
#define LOAD_PRESENT BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT))
#define LOAD_TCI     BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG))
#define RETURN(n)    BPF_STMT(BPF_RET | BPF_K, n)

static struct capture_filter filter_of(const struct sock_filter *insns, unsigned n)
{
	struct capture_filter f = {.insns = malloc(n * sizeof(*insns)), .n = n};

	memcpy(f.insns, insns, n * sizeof(*insns));
	return f;
}

static int localize(struct capture_filter *f, struct diag *diag)
{
	return capture_filter_localize(f, "vlan 5", diag);
}

static void user_filters_frames(void **state)
{
	const struct capture_filter_config config = {
		.expression = "udp port 53", .link_type = 1, .snap_len = 64, .direction = CAPTURE_BOTH};
	struct capture_filter f;
	struct diag diag;
	struct fb b;

	(void)state;
	assert_int_equal(capture_filter_compile(&f, &config, &diag), 0);
	assert_int_equal(localize(&f, &diag), 0);
	for (uint16_t port = 52; port < 55; port++) {
		fb_init(&b);
		fb_payload(&b, 20);
		fb_udp(&b, 1000, port);
		fb_ip4(&b, "192.0.2.1", "192.0.2.2");
		fb_ether(&b);
		assert_int_equal(capture_filter_passes(&f, b.at, (uint32_t)b.len, (uint32_t)b.len, false, 0),
				 port == 53);
	}
	/* what it tests is beyond what there is: no */
	assert_false(capture_filter_passes(&f, b.at, (uint32_t)b.len, 20, false, 0));
	capture_filter_deinit(&f);
}

static void user_knows_the_tag(void **state)
{
	static const struct sock_filter program[] = {
		LOAD_PRESENT,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 4),
		LOAD_TCI,
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5, 0, 1),
		RETURN(96),
		RETURN(0),
	};
	struct capture_filter f = filter_of(program, ARRAY_SIZE(program));
	uint8_t frame[64] = {0};
	struct diag diag;

	(void)state;
	assert_int_equal(localize(&f, &diag), 0);
	assert_true(capture_filter_passes(&f, frame, 64, 64, true, 5));
	assert_true(capture_filter_passes(&f, frame, 64, 64, true, 0x6005));
	assert_false(capture_filter_passes(&f, frame, 64, 64, true, 6));
	assert_false(capture_filter_passes(&f, frame, 64, 64, false, 5));
	assert_false(
		capture_filter_passes(&f, frame, 64, 64, false, 0)); /* of the frame before nothing is left */
	capture_filter_deinit(&f);
}

/* Every frame came in. */
static void user_knows_the_direction(void **state)
{
	static const struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 1),
		RETURN(0),
		RETURN(96),
	};
	struct capture_filter f = filter_of(program, ARRAY_SIZE(program));
	uint8_t frame[64] = {0};
	struct diag diag;

	(void)state;
	assert_int_equal(localize(&f, &diag), 0);
	assert_true(capture_filter_passes(&f, frame, 64, 64, false, 0));
	capture_filter_deinit(&f);
}

static void user_refuses_the_rest(void **state)
{
	static const struct sock_filter programs[][2] = {
		{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_IFINDEX)), RETURN(1)},
		{BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)SKF_LL_OFF), RETURN(1)},
		{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF), RETURN(1)},
		{BPF_STMT(BPF_ST, 15), RETURN(1)}, /* words that are ours */
		{BPF_STMT(BPF_STX, 14), RETURN(1)},
		{BPF_STMT(BPF_LD | BPF_MEM, 15), RETURN(1)},
		{BPF_STMT(BPF_LDX | BPF_MEM, 14), RETURN(1)},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(programs); i++) {
		struct capture_filter f = filter_of(programs[i], 2);
		struct diag diag = {""};

		assert_int_equal(localize(&f, &diag), -EOPNOTSUPP);
		assert_non_null(strstr(diag.text, "vlan 5"));
		assert_memory_equal(f.insns, programs[i], sizeof(programs[i])); /* as it was */
		capture_filter_deinit(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_filters_frames),
		cmocka_unit_test(user_knows_the_tag),
		cmocka_unit_test(user_knows_the_direction),
		cmocka_unit_test(user_refuses_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
