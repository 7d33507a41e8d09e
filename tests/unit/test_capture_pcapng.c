/*
 * pcapng files: every block, clock, byte order and link type.
 * Covers capture/capture_pcapng.c, capture/capture_pcapng_interface.c.
 */
#include "pcapng_file.h"

#include <sys/resource.h>

/* ---- what is in a file */

static void test_packets(void **state)
{
	(void)state;
	for (int big = 0; big < 2; big++) {
		start(big);
		interface(1, 70);
		clocked(1, 9, 5);
		enhanced(0, 1700000000123456, 1);
		enhanced(1, 1700000000123456789, 2);
		packet_head(2, 1, 77, 61, 99);
		put(octets(3), 61);
		end_block();
		packet_head(6, 0, 1, 3, 3); /* with options: flags, drops, a comment */
		put(octets(4), 3);
		put("", 1);
		option(2, "\1\0\0\0", 4);
		option(4, "\0\0\0\0\0\0\0\1", 8);
		option(1, "comment", 7);
		option(0, "", 0);
		end_block();
		packet_head(6, 0, 2, 0, 0);
		end_block();
		simple(20, 20, 5);
		simple(70, 1500, 6);
		packet_head(6, 0, 3, 200, 200); /* longer than the snap length says: it is there */
		put(octets(7), 200);
		end_block();
		read_all(8);
		check_packet(0, 1, 61, 99, 1700000000123456000);
		check_packet(1, 2, 61, 99, 1700000005123456789);
		check_packet(2, 3, 61, 99, 5000000077);
		check_packet(3, 4, 3, 3, 1000);
		assert_int_equal(got.kept[4].cap_len, 0);
		check_packet(5, 5, 20, 20, 0);
		check_packet(6, 6, 70, 1500, 0);
		check_packet(7, 7, 200, 200, 3000);
	}
}

/* A simple packet has no time, so the interface's offset has nothing to be added to; snap length 0 is none.
 */
static void test_simple(void **state)
{
	static const uint8_t large[262144];

	(void)state;
	start(false);
	clocked(1, 6, 3);
	simple(1500, 1500, 9);
	read_all(1);
	check_packet(0, 9, 1500, 1500, 0);
	start(false);
	clocked(1, 6, -3); /* nothing is moved from before 1970 either */
	simple(1500, 1500, 9);
	read_all(1);
	check_packet(0, 9, 1500, 1500, 0);
	assert_int_equal(got.kept[0].flags, 0);
	start(true);
	interface(1, 1 << 30);
	begin(3);
	put32(262145);
	put(large, sizeof(large));
	end_block();
	read_all(1);
	assert_int_equal(got.kept[0].cap_len, 262144);
	assert_int_equal(got.kept[0].wire_len, 262145);
}

static void test_sections(void **state)
{
	static const bool orders[] = {false, true, true, false, false, true};

	(void)state;
	f.len = 0;
	config.point = 3;
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		section(orders[i], i % 2 ? -1 : 12345);
		clocked(1, i % 2 ? 9 : 6, 0);
		interface(101, 0);
		enhanced(0, 1000 + i, (uint8_t)(2 * i));
		enhanced(1, 1000 + i, (uint8_t)(2 * i + 1));
	}
	section(false, 0);
	read_all(2 * ARRAY_SIZE(orders));
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		check_packet(2 * i, (uint8_t)(2 * i), 61, 99, (1000 + i) * (i % 2 ? 1 : 1000));
		check_packet(2 * i + 1, (uint8_t)(2 * i + 1), 61, 99, (1000 + i) * 1000);
		assert_int_equal(got.kept[2 * i].link_type, 1);
		assert_int_equal(got.kept[2 * i + 1].link_type, 101);
	}
	config.point = 0;
	section(true, -1); /* its interfaces begin at 0 again */
	interface(1, 0);
	enhanced(1, 0, 0);
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, -EBADMSG);
	assert_non_null(strstr(got.diag.text, "packet 13 is of interface 1, and its section has 1"));
}

static void test_clocks(void **state)
{
	static const struct {
		uint8_t resolution;
		int64_t offset_s;
		uint64_t ticks, time_ns;
		bool moved; /* that is not the time of the packet */
	} clocks[] = {
		{6, 0, 1700000000123456, 1700000000123456000},
		{0, 0, 1700000000, 1700000000000000000},
		{3, 0, 1700000000123, 1700000000123000000},
		{9, 0, 1700000000123456789, 1700000000123456789},
		{10, 0, 12345678909, 1234567890},
		{19, 0, 17000000001234567890u, 1700000000},
		{28, 0, UINT64_MAX, 1},
		{29, 0, UINT64_MAX, 0},
		{127, 0, UINT64_MAX, 0},
		{0, 0, UINT64_MAX, INT64_MAX, true},
		{6, 0, UINT64_MAX / 1000, INT64_MAX, true},
		{9, 0, UINT64_MAX, INT64_MAX, true},
		{9, 0, INT64_MAX, INT64_MAX},
		{9, 0, (uint64_t)INT64_MAX - 1, INT64_MAX - 1},
		{6, 0, INT64_MAX / 1000, INT64_MAX / 1000 * 1000},
		{6, 0, INT64_MAX / 1000 + 1, INT64_MAX, true},
		{0x80, 0, 1700000000, 1700000000000000000},
		{0x80 | 1, 0, 7, 3500000000},
		{0x80 | 10, 0, 1700000000u * UINT64_C(1024) + 512, 1700000000500000000},
		{0x80 | 32, 0, UINT64_C(1700000000) << 32 | 0x80000001, 1700000000500000000},
		{0x80 | 63, 0, UINT64_C(1) << 63 | UINT64_C(1) << 62, 1500000000},
		{0x80 | 64, 0, UINT64_C(1) << 63, 500000000},
		{0x80 | 93, 0, UINT64_MAX, 1},
		{0x80 | 94, 0, UINT64_MAX, 0},
		{0xff, 0, UINT64_MAX, 0},
		{0x80, 0, UINT64_MAX, INT64_MAX, true},
		{6, 1000, 5000000, 1005000000000},
		{6, -3, 5000000, 2000000000},
		{6, -6, 5000000, 0, true},
		{9, INT64_MIN, UINT64_MAX, 0, true},
		{9, INT64_MAX, 0, INT64_MAX, true},
		{6, 1700000000, 0, 1700000000000000000},
		{0x80 | 20, 1700000000, 1 << 19, 1700000000500000000},
	};

	(void)state;
	for (int big = 0; big < 2; big++) {
		start(big);
		for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++)
			clocked(1, clocks[i].resolution, clocks[i].offset_s);
		for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++)
			enhanced(i, clocks[i].ticks, (uint8_t)i);
		read_all(ARRAY_SIZE(clocks));
		for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++)
			if (got.kept[i].time_ns != clocks[i].time_ns ||
			    (got.kept[i].flags == FRAME_MOVED) != clocks[i].moved)
				fail_msg("clock %u: %llu, not %llu", i,
					 (unsigned long long)got.kept[i].time_ns,
					 (unsigned long long)clocks[i].time_ns);
	}
}

/* Every exponent against numbers of another kind: no trap, no jump. */
static void test_every_resolution(void **state)
{
	static const uint64_t ticks = UINT64_C(0x123456789abcdef1);

	(void)state;
	start(false);
	for (unsigned i = 0; i < 256; i++)
		clocked(1, (uint8_t)i, 0);
	for (unsigned i = 0; i < 256; i++)
		enhanced(i, ticks, (uint8_t)i);
	read_all(256);
	for (unsigned i = 0; i < 256; i++) {
		long double ns = (long double)ticks * 1e9L, off;

		for (unsigned n = 0; n < (i & 127); n++)
			ns /= i & 128 ? 2 : 10;
		if (ns > (long double)INT64_MAX)
			ns = (long double)INT64_MAX;
		off = ns - (long double)got.kept[i]
				   .time_ns; /* cut off, not rounded; and what long double cannot tell */
		assert_true(off < 1 + ns * 1e-17L && off > -ns * 1e-17L - 1e-9L);
	}
}

static void test_passed_over(void **state)
{
	static const uint32_t types[] = {4, 5, 7, 8, 9, 10, 0xbad, 0x40000bad, 0x80000001, 0};

	(void)state;
	start(true);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		unknown(types[i], 4 * i);
		if (i == 2)
			interface(1, 0);
		if (i > 2)
			enhanced(0, i, (uint8_t)i);
	}
	unknown(77, 700000); /* more than the buffer has */
	enhanced(0, 99, 99);
	read_all(ARRAY_SIZE(types) - 2);
	check_packet(7, 99, 61, 99, 99000);
	f.at[f.len - 4 - 4 * 25] ^=
		1; /* the tail of the long one is in front of the last block, of 96 octets */
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, CAPTURE_E_END); /* that was its body */
	f.at[f.len - 96 - 1] ^= 1;
	read_octets(f.at, f.len);
	assert_int_equal(got.n, ARRAY_SIZE(types) - 3);
	assert_non_null(
		strstr(got.diag.text,
		       "block 20 has a length of 700012 octets at its start and of 700013 at its end"));
}

/* A gibibyte, in front of all packets and behind one: it is walked through, not kept. */
static void test_huge_block(void **state)
{
	static const uint32_t size = 1u << 30;
	int fd = memfd_create("huge", MFD_CLOEXEC);
	struct rusage before, after;
	char path[64];
	off_t at = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		f.len = 0;
		if (i == 0)
			section(false, -1);
		else
			enhanced(0, 1, 1);
		begin(1000);
		set32(f.block + 4, size);
		assert_int_equal(pwrite(fd, f.at, f.len, at), f.len);
		at += (off_t)f.block + size;
		f.len = 0;
		put32(size);
		if (i == 0)
			interface(1, 0);
		assert_int_equal(pwrite(fd, f.at, f.len, at - 4), f.len);
		at += (off_t)f.len - 4;
	}
	f.len = 0;
	enhanced(0, 2, 2);
	assert_int_equal(pwrite(fd, f.at, f.len, at), f.len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	getrusage(RUSAGE_SELF, &before);
	read_path(path);
	getrusage(RUSAGE_SELF, &after);
	close(fd);
	assert_int_equal(got.outcome, CAPTURE_E_END);
	assert_int_equal(got.n, 2);
	check_packet(1, 2, 61, 99, 2000);
	assert_true(after.ru_maxrss - before.ru_maxrss < 16 << 10); /* KiB */
}

/* Options without end: of a packet they are passed over, of an interface there is a limit. */
static void test_long_options(void **state)
{
	static uint8_t comment[65000];

	(void)state;
	start(false);
	begin_interface(1, 0);
	for (unsigned i = 0; i < 4; i++)
		option(1, comment, sizeof(comment));
	option(9, "\x09", 1);
	end_block();
	for (unsigned p = 0; p < 3; p++) {
		packet_head(6, 0, p, 64, 64);
		put(octets((uint8_t)p), 64);
		for (unsigned i = 0; i < 9; i++)
			option(1, comment, sizeof(comment));
		end_block();
	}
	enhanced(0, 3, 3);
	read_all(4);
	for (unsigned p = 0; p < 3; p++)
		check_packet(p, (uint8_t)p, 64, 64, p);
	check_packet(3, 3, 61, 99, 3);
	start(false);
	begin_interface(1, 0);
	for (unsigned i = 0; i < 5; i++)
		option(1, comment, sizeof(comment));
	end_block();
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, -EBADMSG);
	assert_non_null(strstr(got.diag.text, "block 2 is an interface in"));
}

static void test_many_interfaces(void **state)
{
	(void)state;
	for (unsigned n = 65536; n <= 65537; n++) {
		start(false);
		for (unsigned i = 0; i < n; i++)
			interface(1, 0);
		enhanced(65535, 1, 1);
		read_octets(f.at, f.len);
		assert_int_equal(got.n, n == 65536 ? 1 : 0);
		assert_int_equal(got.outcome, n == 65536 ? CAPTURE_E_END : -EBADMSG);
	}
	assert_non_null(strstr(got.diag.text, "block 65538 is one more interface"));
}

/* ---- link types and filters */

static void test_link_types(void **state)
{
	static const int known[] = {0, 1, 101};

	(void)state;
	start(false);
	interface(249, 0);
	interface(101, 0);
	interface(1, 0);
	for (unsigned i = 0; i < 300; i++)
		enhanced(i < 100 ? i % 3 : i < 200 ? 1 : 2, i, (uint8_t)i);
	interface(0, 0);
	enhanced(3, 300, 44);
	read_all(301);
	assert_int_equal(got.link_type, 249);
	assert_true(got.also_ethernet);
	for (unsigned i = 0; i < 300; i++) {
		static const int types[] = {249, 101, 1};

		assert_int_equal(got.kept[i].link_type, types[i < 100 ? i % 3 : i < 200 ? 1 : 2]);
		check_packet(i, (uint8_t)i, 61, 99, i * 1000);
	}
	assert_int_equal(got.kept[300].link_type, 0);
	config.link_types = known;
	config.n_link_types = ARRAY_SIZE(known);
	read_all(301);
	assert_int_equal(got.link_type, 101); /* the first that the caller decodes */
	start(false);
	interface(249, 0);
	interface(147, 0);
	enhanced(0, 0, 0);
	interface(1, 0);
	read_all(1);
	assert_int_equal(got.link_type, 249);
	assert_false(got.also_ethernet);
	config.n_link_types = 0;
}

static void test_nothing(void **state)
{
	(void)state;
	start(false);
	read_all(0);
	assert_int_equal(got.link_type, -1);
	section(true, 0);
	unknown(5, 12);
	read_all(0);
	interface(113, 0);
	read_all(0);
	assert_int_equal(got.link_type, 113);
	start(true);
	enhanced(0, 0, 0);
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, -EBADMSG);
	assert_non_null(strstr(got.diag.text, "packet 1 is of interface 0, and its section has 0"));
}

/* An IPv4 or IPv6 packet of 61 octets behind n octets of link layer. */
static void ip_packet(uint32_t number, unsigned version, const char *link, size_t n)
{
	uint8_t ip[61] = {(uint8_t)(version << 4 | 5)};

	packet_head(6, number, 0, (uint32_t)(n + sizeof(ip)), (uint32_t)(n + sizeof(ip)));
	put(link, n);
	put(ip, sizeof(ip));
	end_block();
}

static void filter_file(void)
{
	start(false);
	interface(1, 0);
	interface(101, 0);
	interface(249, 0);
	ip_packet(0, 4, "123456123456\x08\x00", 14);
	ip_packet(0, 6, "123456123456\x86\xdd", 14);
	ip_packet(1, 4, "", 0);
	ip_packet(1, 6, "", 0);
	ip_packet(2, 6, "", 0);
	interface(113, 0); /* cooked */
	ip_packet(3, 6, "\0\0\0\1\0\6\0\0\0\0\0\0\0\0\x86\xdd", 16);
	ip_packet(3, 4, "\0\0\0\1\0\6\0\0\0\0\0\0\0\0\x08\0", 16);
}

static void test_filters(void **state)
{
	static const int known[] = {1, 101, 113};

	(void)state;
	config.link_types = known;
	config.n_link_types = ARRAY_SIZE(known);
	config.filter = "ip6";
	filter_file();
	read_all(4);
	assert_int_equal(got.stats.filtered, 3);
	assert_int_equal(got.stats.filtered_octets, 14 + 0 + 16 + 3 * 61);
	assert_int_equal(got.kept[2].link_type,
			 249);		      /* nobody decodes it: not filtered, to be counted by name */
	config.filter = "ip6 and greater 75"; /* a length on the wire */
	read_all(3);
	config.filter = "ether src 01:02:03:04:05:06 or ip"; /* raw IP has no such addresses */
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, -EINVAL);
	assert_int_equal(got.n, 1);
	assert_non_null(strstr(got.diag.text, "--filter"));
	start(false); /* an interface without packets is no reason */
	interface(1, 0);
	interface(101, 0);
	ip_packet(0, 4, "123456123456\x08\x00", 14);
	read_all(1);
	start(false);
	interface(101, 0);
	interface(1, 0);
	read_octets(f.at, f.len);
	assert_int_equal(got.outcome, -EINVAL);
	assert_false(got.opened);
	config.filter = "ip6"; /* without a list: as the interfaces come */
	config.n_link_types = 0;
	start(false);
	for (unsigned i = 0; i < 40; i++) {
		interface(i % 2 ? 1 : 101, 0);
		ip_packet(i, 6, "123456123456\x86\xdd", i % 2 ? 14 : 0);
	}
	read_all(40);
	config.filter = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),		 cmocka_unit_test(test_simple),
		cmocka_unit_test(test_sections),	 cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_every_resolution), cmocka_unit_test(test_passed_over),
		cmocka_unit_test(test_huge_block),	 cmocka_unit_test(test_long_options),
		cmocka_unit_test(test_many_interfaces),	 cmocka_unit_test(test_link_types),
		cmocka_unit_test(test_nothing),		 cmocka_unit_test(test_filters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
