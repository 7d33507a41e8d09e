/*
 * Every frame of the catalogue, cut after every octet, in a heap block that ends there: under
 * AddressSanitizer the first octet that is read too many ends the test.  What a shorter capture tells must
 * agree with what the whole frame tells: a fact is there or it is not, never a different one.
 */
#include "cm.h"

#include <string.h>

#include "catalogue.h"
#include "exact.h"
#include "pitot/decode.h"

static const struct decode_config plain = {.max_layers = 64};
static struct fb b;

static struct packet decode_cut(const struct decoder *d, size_t cap)
{
	struct packet p;
	struct exact x;

	exact_init(&x, b.at, cap, b.len);
	decode_frame(d, &x.frame, &p);
	exact_deinit(&x);
	return p;
}

static void check_cut(const char *name, size_t cap, const struct packet *p, const struct packet *whole)
{
	if (p->verdict == PACKET_CUT_LINK || p->verdict == PACKET_CUT_IP)
		return;
	if (p->verdict != PACKET_METERED) {
		/* a reason that needs fewer octets than the frame has stays the reason */
		if (p->verdict != whole->verdict)
			fail_msg("%s: cut to %zu octets the verdict is %u instead of %u", name, cap,
				 p->verdict, whole->verdict);
		return;
	}
	if (whole->verdict != PACKET_METERED)
		fail_msg("%s: metered when cut to %zu octets, ignored as a whole", name, cap);
	assert_memory_equal(p->key.src, whole->key.src, 16);
	assert_memory_equal(p->key.dst, whole->key.dst, 16);
	assert_int_equal(p->key.ip_version, whole->key.ip_version);
	if (p->octets != whole->octets && !(whole->notes & PACKET_NOTE_JUMBOGRAM))
		fail_msg("%s: cut to %zu octets it counts %u octets instead of %u", name, cap,
			 (unsigned)p->octets, (unsigned)whole->octets);
	if (p->key.ip_version == 4 || !(p->notes & PACKET_NOTE_CUT_EXTENSIONS))
		assert_int_equal(p->key.protocol, whole->key.protocol);
	if (p->key.src_port != 0 || p->key.dst_port != 0) {
		assert_int_equal(p->key.src_port, whole->key.src_port);
		assert_int_equal(p->key.dst_port, whole->key.dst_port);
	}
	assert_int_equal(p->tcp_flags & ~whole->tcp_flags, 0);
	assert_true(p->fragment == PACKET_FRAGMENT_NONE || p->fragment == whole->fragment);
}

/* More octets never take a fact away. */
static void check_growth(const char *name, size_t cap, const struct packet *less, const struct packet *more)
{
	if (less->verdict == PACKET_METERED && more->verdict != PACKET_METERED)
		fail_msg("%s: metered with %zu octets, not with one more", name, cap);
	if (less->verdict != PACKET_METERED)
		return;
	if ((less->key.src_port && !more->key.src_port) || (less->key.dst_port && !more->key.dst_port) ||
	    (less->tcp_flags & ~more->tcp_flags) || (less->fragment && !more->fragment))
		fail_msg("%s: %zu octets tell more than one more does", name, cap);
}

static void test_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < catalogue_size; i++) {
		const struct catalogue_frame *c = &catalogue[i];
		struct packet whole, before = {.verdict = PACKET_CUT_LINK};
		struct decoder *d = NULL;
		struct diag diag;

		assert_int_equal(decoder_new(&d, c->link_type, &plain, &diag), 0);
		fb_init(&b);
		c->build(&b);
		whole = decode_cut(d, b.len);
		for (size_t cap = 0; cap <= b.len; cap++) {
			struct packet p = decode_cut(d, cap);

			assert_true(p.verdict < PACKET_VERDICTS);
			assert_int_equal(p.link_octets, b.len);
			check_cut(c->name, cap, &p, &whole);
			if (cap)
				check_growth(c->name, cap - 1, &before, &p);
			before = p;
		}
		decoder_free(d);
	}
}

/* The same with every octet in turn set to 0, to 255 and to one more: lengths and types that lie. */
static void test_every_octet_spoilt(void **state)
{
	(void)state;
	for (size_t i = 0; i < catalogue_size; i++) {
		const struct catalogue_frame *c = &catalogue[i];
		struct decoder *d = NULL;
		struct diag diag;

		assert_int_equal(decoder_new(&d, c->link_type, &plain, &diag), 0);
		fb_init(&b);
		c->build(&b);
		for (size_t at = 0; at < b.len && at < 256; at++) {
			uint8_t was = b.at[at];
			const uint8_t spoilt[] = {0, 255, (uint8_t)(was + 1), (uint8_t)(was ^ 0x80)};

			for (size_t s = 0; s < ARRAY_SIZE(spoilt); s++) {
				b.at[at] = spoilt[s];
				assert_true(decode_cut(d, b.len).verdict < PACKET_VERDICTS);
				assert_true(decode_cut(d, at + 1).verdict < PACKET_VERDICTS);
			}
			b.at[at] = was;
		}
		decoder_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_every_octet_spoilt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
