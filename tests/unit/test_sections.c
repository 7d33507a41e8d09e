/* sections: what is written is read, and nothing else is believed.  Covers base/sections.c. */
#include "cm.h"

#include <stdlib.h>
#include <string.h>

#include "pitot/sections.h"

enum { ROOM = 1024 };

static size_t write_two(void *memory, size_t size)
{
	struct sections_writer w;

	sections_write_init(&w, memory, size);
	sections_begin(&w, "first", 1);
	sections_put(&w, "abc", 3);
	sections_put(&w, "defghi", 6);
	sections_end(&w);
	sections_begin(&w, "second", 7);
	sections_end(&w);
	return sections_finish(&w);
}

static void test_what_is_written_is_read(void **state)
{
	_Alignas(8) uint8_t memory[ROOM];
	size_t size = write_two(memory, sizeof(memory));
	struct sections_reader r;
	struct section s;
	char text[9];

	(void)state;
	assert_true(size > 0 && size % 8 == 0);
	assert_int_equal(sections_read_init(&r, memory, size), 0);
	assert_true(sections_find(&r, "second", 7, &s));
	assert_false(sections_find(&r, "second", 8, &s));
	assert_false(sections_find(&r, "third", 7, &s));
	assert_true(sections_next(&r, &s)); /* a search moved nothing */
	assert_string_equal(s.name, "first");
	assert_int_equal(s.version, 1);
	assert_int_equal(s.left, 9);
	assert_null(section_take(&s, 10));
	assert_memory_equal(section_take(&s, 4), "abcd", 4);
	assert_false(section_get(&s, text, 6));
	assert_true(section_get(&s, text, 5));
	assert_memory_equal(text, "efghi", 5);
	assert_int_equal(s.left, 0);
	assert_true(sections_next(&r, &s));
	assert_string_equal(s.name, "second");
	assert_int_equal(s.left, 0);
	assert_false(sections_next(&r, &s));
	assert_false(r.broken);
}

/* Whatever the room, nothing is written behind it, and what did not fit is told. */
static void test_room(void **state)
{
	_Alignas(8) uint8_t memory[ROOM];
	size_t needed = write_two(memory, sizeof(memory));

	(void)state;
	for (size_t size = 0; size < needed; size++) {
		uint8_t *exact = malloc(size ? size : 1);

		assert_non_null(exact);
		assert_int_equal(write_two(exact, size), 0);
		free(exact);
	}
}

/* Every prefix, in memory of just that size: a reader that goes too far is seen. */
static void test_every_prefix(void **state)
{
	_Alignas(8) uint8_t memory[ROOM];
	size_t whole = write_two(memory, sizeof(memory));

	(void)state;
	for (size_t size = 0; size < whole; size++) {
		uint8_t *cut = malloc(size ? size : 1);
		struct sections_reader r;
		struct section s;
		unsigned n = 0;

		assert_non_null(cut);
		memcpy(cut, memory, size);
		if (sections_read_init(&r, cut, size) == 0) {
			while (sections_next(&r, &s)) {
				size_t left = s.left;

				assert_true(left == 0 || section_take(&s, left));
				n++;
			}
			assert_true(n < 2);
		} else {
			assert_true(size < 8);
		}
		free(cut);
	}
}

/* A length that is more than there is, up to the largest number. */
static void test_lengths(void **state)
{
	static const uint64_t lengths[] = {10000, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
	_Alignas(8) uint8_t memory[ROOM];
	size_t whole = write_two(memory, sizeof(memory));

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct sections_reader r;
		struct section s;

		memcpy(memory + 8 + 32, &lengths[i], 8);
		assert_int_equal(sections_read_init(&r, memory, whole), 0);
		assert_false(sections_next(&r, &s));
		assert_true(r.broken);
		assert_false(sections_next(&r, &s));
	}
	assert_int_not_equal(sections_read_init(&(struct sections_reader){0}, "no-magic", 8), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
