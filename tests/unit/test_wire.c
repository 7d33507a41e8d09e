/*
 * The write cursor: big-endian stores of every size, sticky overflow, rewinding, and room that is never
 * negative. Covers include/pitot/wire.h, and the loads of include/pitot/ie.h.
 */
#include "cm.h"

#include <string.h>

#include "pitot/ie.h"
#include "pitot/wire.h"

static void test_sizes(void **state)
{
	static const uint8_t want[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
				       0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0xaa, 0xbb, 0x00, 0x00};
	uint8_t buffer[sizeof(want)];
	struct wire w;

	(void)state;
	wire_init(&w, buffer, sizeof(buffer));
	wire_put_u8(&w, 0x01);
	wire_put_u16(&w, 0x0203);
	wire_put_uint(&w, 0x040506, 3); /* a reduced size: RFC 7011 §6.2 */
	wire_put_u32(&w, 0x0708090a);
	wire_put_u64(&w, UINT64_C(0x0b0c0d0e0f101112));
	wire_put_bytes(&w, "\xaa\xbb", 2);
	wire_put_zeros(&w, 2);
	assert_false(wire_overflowed(&w));
	assert_int_equal(wire_size(&w), sizeof(want));
	assert_int_equal(wire_room(&w), 0);
	assert_memory_equal(buffer, want, sizeof(want));
}

/* What does not fit writes nothing, nor does anything after it, until the encoder rewinds. */
static void test_overflow_is_sticky(void **state)
{
	uint8_t buffer[8] = {0};
	struct wire w;
	uint8_t *mark;

	(void)state;
	wire_init(&w, buffer, 6);
	wire_put_u32(&w, 0x11223344);
	mark = wire_mark(&w);
	wire_put_u32(&w, 0x55667788);
	assert_true(wire_overflowed(&w));
	wire_put_u8(&w, 0x99);
	wire_put_zeros(&w, 1);
	wire_put_bytes(&w, "x", 1);
	assert_int_equal(wire_size(&w), 4);
	assert_int_equal(buffer[4], 0);
	wire_rewind(&w, mark);
	assert_false(wire_overflowed(&w));
	wire_put_u16(&w, 0x5566);
	assert_int_equal(wire_size(&w), 6);
	assert_int_equal(buffer[6], 0);
}

/* An encoder may lower the end below the cursor to keep octets for padding: then there is no room, not
 * endless room. */
static void test_room_behind_the_end(void **state)
{
	uint8_t buffer[16];
	struct wire w;

	(void)state;
	wire_init(&w, buffer, sizeof(buffer));
	wire_put_zeros(&w, 10);
	w.end = w.at - 2;
	assert_int_equal(wire_room(&w), 0);
	wire_put_u8(&w, 1);
	assert_true(wire_overflowed(&w));
	assert_int_equal(wire_size(&w), 10);
}

/* Numbers are stored and loaded by their value, whatever the byte order of the host. */
static void test_values(void **state)
{
	static const uint64_t value = UINT64_C(0x0102030405060708);
	uint8_t want[8], got[8], member[16];

	(void)state;
	for (unsigned size = 1; size <= 8; size++) {
		uint64_t v = value & (UINT64_MAX >> (64 - 8 * size));

		for (unsigned i = 0; i < size; i++)
			want[i] = (uint8_t)(value >> 8 * (size - 1 - i));
		wire_store(got, value, size);
		assert_memory_equal(got, want, size);

		memset(member, 0xee, sizeof(member)); /* what stands behind a member is not of it */
		for (unsigned i = 0; i < size; i++)
			member[BYTE_ORDER == BIG_ENDIAN ? i : size - 1 - i] = want[i];
		assert_int_equal(ie_load_uint(member, size), v);
	}
	assert_int_equal(wire_load32((const uint8_t *)"\x81\x02\x03\x04\x05"), 0x81020304);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_overflow_is_sticky),
		cmocka_unit_test(test_room_behind_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
