/*
 * compress: members that the libraries themselves read back, behind each other.
 * Covers transport/compress.c, transport/compress_gz.c, transport/compress_zst.c.
 */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/compress.h"

enum { LARGEST = (1 << 20) + 65535 };

static uint8_t data[LARGEST];

/* What the reader of that kind makes of a file. */
static size_t read_back(enum compression kind, const char *path, uint8_t *out, size_t size)
{
	char command[128];
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command), "%s <%s", kind == COMPRESSION_GZ ? "zcat" : "zstdcat", path);
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(out, 1, size, f);
	assert_int_equal(pclose(f), 0);
	return n;
}

static void put(struct compress *c, FILE *f, const uint8_t *from, size_t size)
{
	size_t length;
	const uint8_t *member = compress_member(c, from, size, &length);

	assert_non_null(member);
	assert_int_equal(fwrite(member, 1, length, f), length);
}

static void check_kind(enum compression kind)
{
	static uint8_t back[3 * LARGEST];
	char path[] = "/tmp/pitot-compress-XXXXXX";
	struct compress *c = NULL;
	FILE *f;
	int r = compress_new(&c, kind, LARGEST);

	if (r == -EOPNOTSUPP)
		return; /* a build without it */
	assert_int_equal(r, 0);
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	put(c, f, NULL, 0);
	put(c, f, data, LARGEST); /* as large as a run gets, and nothing in it repeats */
	put(c, f, (const uint8_t *)"a line\n", 7);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(read_back(kind, path, back, sizeof(back)), LARGEST + 7);
	assert_memory_equal(back, data, LARGEST);
	assert_memory_equal(back + LARGEST, "a line\n", 7);
	unlink(path);
	compress_free(c);
}

static void test_kinds(void **state)
{
	uint64_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		data[i] = (uint8_t)(x >> 56);
	}
	for (unsigned kind = COMPRESSION_NONE + 1; kind < COMPRESSION_COUNT; kind++)
		check_kind((enum compression)kind);
}

/* The same octets each time: no clock and no name is in them. */
static void test_same(void **state)
{
	uint8_t first[256];
	size_t length, again;

	(void)state;
	for (unsigned kind = COMPRESSION_NONE + 1; kind < COMPRESSION_COUNT; kind++) {
		struct compress *c = NULL;

		if (compress_new(&c, (enum compression)kind, 100) < 0)
			continue;
		memcpy(first, compress_member(c, data, 100, &length), 100);
		assert_memory_equal(compress_member(c, data, 100, &again), first, 100);
		assert_int_equal(length, again);
		compress_free(c);
	}
	compress_free(NULL);
}

static void test_none(void **state)
{
	struct compress *c = NULL;

	(void)state;
	assert_int_equal(compress_new(&c, COMPRESSION_NONE, 100), -EOPNOTSUPP);
	assert_null(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
