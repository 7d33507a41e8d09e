/* capture_filter_user: which tags a frame has, and what the program then sees.  Needs no privilege. */
#include "cm.h"

#include <stdlib.h>
#include <string.h>

#include "capture/capture_filter.h"
#include "frames.h"
#include "pitot/tag.h"

enum { ETHERNET = 1, SLL = 113, SLL2 = 276, LOOPBACK = 0 };

static struct capture_filter compile(const char *expression, int link_type)
{
	struct capture_filter f;
	struct diag diag;

	assert_int_equal(capture_filter_compile_frames(&f, expression, link_type, &diag), 0);
	return f;
}

static void udp(struct fb *b, uint16_t port)
{
	fb_init(b);
	fb_payload(b, 20);
	fb_udp(b, 1000, port);
	fb_ip4(b, "192.0.2.1", "192.0.2.2");
}

static bool passes(struct capture_filter *f, const struct fb *b)
{
	return capture_filter_passes(f, b->at, (uint32_t)b->len, (uint32_t)b->len);
}

static void user_sees_behind_tags(void **state)
{
	struct capture_filter f = compile("udp port 53 and len = 62", ETHERNET);
	struct fb b;

	(void)state;
	for (unsigned tags = 0; tags <= FILTER_TAGS_MAX + 1; tags++)
		for (uint16_t port = 52; port < 55; port++) {
			udp(&b, port);
			for (unsigned i = 0; i < tags; i++)
				fb_vlan(&b, tag_types[(tags + i) % TAG_TYPES], 10);
			fb_ether(&b);
			assert_int_equal(passes(&f, &b), port == 53 && tags <= FILTER_TAGS_MAX);
		}
	/* what it tests is beyond what there is: no */
	assert_false(capture_filter_passes(&f, b.at, (uint32_t)b.len, 20));
	capture_filter_deinit(&f);
}

/* At every length: nothing is read beyond the end (ASan), and a tag that is not there whole is none. */
static void user_takes_frames_that_are_cut(void **state)
{
	static const int links[] = {ETHERNET, SLL, SLL2, LOOPBACK, 101};
	struct fb b;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(links); k++) {
		struct capture_filter f = compile("ip or not ip", links[k]), h = compile("udp", links[k]);

		udp(&b, 53);
		fb_vlan(&b, 0x8100, 3);
		fb_vlan(&b, 0x88a8, 4);
		fb_ether(&b);
		for (uint32_t n = 0; n <= b.len; n++) {
			uint8_t *exact = malloc(n ? n : 1);

			memcpy(exact, b.at, n);
			(void)capture_filter_passes(&f, exact, n, n);
			(void)capture_filter_passes(&h, exact, 0, n);
			(void)capture_filter_passes(&h, exact, UINT32_MAX, n);
			free(exact);
		}
		capture_filter_deinit(&f);
		capture_filter_deinit(&h);
	}
}

/* type, then the rest of tags (inner EtherTypes, the last one first), then the packet */
static void cooked(struct fb *b, int link, uint16_t type, uint16_t inner, unsigned rest)
{
	uint8_t *p;

	for (unsigned i = 0; i < rest; i++) {
		p = fb_push(b, 4);
		fb_put16(p, 0x4500 + i); /* a value that could begin an IPv4 header */
		fb_put16(p + 2, i ? 0x8100 : inner);
	}
	p = fb_push(b, link == SLL ? 16 : 20);
	fb_put16(p + (link == SLL ? 14 : 0), type);
}

static void user_sees_behind_tags_of_cooked_frames(void **state)
{
	static const int links[] = {SLL, SLL2};
	struct fb b;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(links); k++) {
		struct capture_filter f = compile("udp port 53 and len = 62", links[k]);

		for (unsigned rest = 0; rest < 4; rest++) {
			udp(&b, 53); /* the header has the first tag's type */
			cooked(&b, links[k], rest ? 0x88a8 : 0x0800, 0x0800, rest);
			assert_true(passes(&f, &b));
			udp(&b, 53); /* the header has the packet's type */
			cooked(&b, links[k], 0x0800, 0x0800, rest);
			assert_true(passes(&f, &b));
			udp(&b, 54);
			cooked(&b, links[k], 0x0800, 0x0800, rest);
			assert_false(passes(&f, &b));
		}
		udp(&b, 53); /* that is a packet of 2048 octets, and no tag's rest */
		fb_put16(b.at + 2, 0x0800);
		b.at[4] = 0x45;
		cooked(&b, links[k], 0x0800, 0, 0);
		assert_true(passes(&f, &b));
		capture_filter_deinit(&f);
	}
}

static void user_knows_vlan_in_cooked_frames(void **state)
{
	static const int links[] = {SLL, SLL2};
	struct fb b;

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(links); k++) {
		struct capture_filter f = compile("vlan 1280 and udp port 53", links[k]); /* 0x4500 */

		udp(&b, 53);
		cooked(&b, links[k], 0x8100, 0x0800, 1);
		assert_true(passes(&f, &b));
		udp(&b, 53);
		cooked(&b, links[k], 0x0800, 0x0800, 0);
		assert_false(passes(&f, &b));
		capture_filter_deinit(&f);
	}
}

/* The address family is the capturing system's, in its byte order; the packet knows what it is. */
static void user_knows_bsd_families(void **state)
{
	static const uint32_t families[] = {0x18000000, 0x1c000000, 0x1e000000, 0x18, 0x1c, 0x1e, 0x0a};
	struct capture_filter six = compile("ip6 and udp port 53", LOOPBACK), four = compile("ip", LOOPBACK);
	struct fb b;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		uint8_t *p;

		fb_init(&b);
		fb_payload(&b, 20);
		fb_udp(&b, 1000, 53);
		fb_ip6(&b, "2001:db8::1", "2001:db8::2");
		p = fb_push(&b, 4);
		memcpy(p, &families[i], 4);
		assert_true(passes(&six, &b));
		assert_false(passes(&four, &b));
	}
	capture_filter_deinit(&six);
	capture_filter_deinit(&four);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_sees_behind_tags),
		cmocka_unit_test(user_takes_frames_that_are_cut),
		cmocka_unit_test(user_sees_behind_tags_of_cooked_frames),
		cmocka_unit_test(user_knows_vlan_in_cooked_frames),
		cmocka_unit_test(user_knows_bsd_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
