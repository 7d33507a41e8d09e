/*
 * Savefiles: every kind gives the same frames, files that end too early say so after what was good.
 * Covers capture/capture.c, capture/capture_source.c, capture/capture_walk.c, capture/capture_file.c,
 * capture/capture_savefile.c.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pitot/capture.h"
#include "pitot/clock.h"

#define T0 (UINT64_C(1700000000) * NS_PER_SEC)

struct kept {
	uint32_t cap_len, wire_len;
	uint64_t time_ns;
	uint16_t point;
	uint8_t data[2048];
};

struct result {
	size_t n;
	int link_type;
	int outcome; /* CAPTURE_E_END, or negative errno */
	struct capture_stats stats;
	struct diag diag;
	struct kept kept[200];
};

static char path[4096];

static const char *data_file(const char *name)
{
	const char *root = getenv("PITOT_SOURCE_ROOT");

	snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
	return path;
}

static struct result *read_config(const struct capture_config *config)
{
	static struct result r;
	struct capture *c = NULL;
	struct frame_batch b;

	r = (struct result){.n = 0};
	r.outcome = capture_open(&c, config, &r.diag);
	if (r.outcome < 0) {
		assert_null(c);
		return &r;
	}
	r.link_type = c->link_type;
	while ((r.outcome = capture_recv(c, &b, 100, &r.diag)) == 0) {
		assert_in_range(b.n, 0, BATCH_MAX); /* 0: of the next chunk nothing was wanted */
		for (unsigned i = 0; i < b.n; i++) {
			const struct frame *f = &b.frames[i];
			struct kept *k = &r.kept[r.n++];

			assert_true(r.n <= ARRAY_SIZE(r.kept) && f->cap_len <= sizeof(k->data));
			*k = (struct kept){f->cap_len, f->wire_len, f->time_ns, f->point, {0}};
			memcpy(k->data, f->data, f->cap_len);
			assert_int_equal(f->flags, 0);
			assert_int_equal(f->ifindex, 0);
		}
		capture_release(c, &b);
	}
	assert_int_equal(capture_get_stats(c, &r.stats), 0);
	capture_close(c);
	return &r;
}

static struct result *read_name(const char *name)
{
	return read_config(&(struct capture_config){.path = data_file(name), .point = 3});
}

/* The same 76 frames in six kinds of file. */
static void test_kinds(void **state)
{
	static const struct {
		const char *name;
		uint64_t off_ns;
		uint32_t snap;
	} kinds[] = {{"mixed.pcap", 0, 65535},	 {"mixed-be.pcap", 0, 65535},	{"mixed-ns.pcap", 123, 65535},
		     {"mixed.pcapng", 0, 65535}, {"mixed-be.pcapng", 0, 65535}, {"mixed-snap64.pcap", 0, 64}};
	static struct result first;

	(void)state;
	first = *read_name("mixed.pcap");
	assert_int_equal(first.n, 76);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct result *r = read_name(kinds[i].name);

		if (r->n != 76 || r->outcome != CAPTURE_E_END || r->link_type != 1)
			fail_msg("%s: %zu frames, outcome %d", kinds[i].name, r->n, r->outcome);
		for (size_t n = 0; n < r->n; n++) {
			uint32_t cap =
				first.kept[n].cap_len < kinds[i].snap ? first.kept[n].cap_len : kinds[i].snap;

			assert_int_equal(r->kept[n].cap_len, cap);
			assert_int_equal(r->kept[n].wire_len, first.kept[n].wire_len);
			assert_int_equal(r->kept[n].time_ns, T0 + n * 10 * NS_PER_MSEC + kinds[i].off_ns);
			assert_int_equal(r->kept[n].point, 3);
			assert_memory_equal(r->kept[n].data, first.kept[n].data, cap);
		}
	}
}

static void test_filter(void **state)
{
	static const char *const names[] = {"mixed.pcap", "mixed.pcapng"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct capture_config config = {.path = data_file(names[i]), .filter = "ip6"};
		struct result *r = read_config(&config);
		uint64_t octets = r->stats.filtered_octets;

		assert_int_equal(r->outcome, CAPTURE_E_END);
		assert_int_equal(r->n, 21);
		assert_int_equal(r->stats.filtered, 76 - 21);
		for (size_t n = 0; n < r->n; n++)
			octets += r->kept[n].wire_len;
		assert_int_equal(octets, 12345 - 24 - 76 * 16); /* all that is in the file */
	}
}

/* Raw IP has one number in files and another one in libpcap. */
static void test_filter_raw(void **state)
{
	struct capture_config config = {.path = data_file("link-raw.pcap"), .filter = "ip6"};
	struct result *r = read_config(&config);

	(void)state;
	assert_int_equal(r->outcome, CAPTURE_E_END);
	assert_int_equal(r->n, 5);
	assert_int_equal(r->stats.filtered, 5);
}

/* A pipe, which may give a few octets at a time. */
static void test_pipe(void **state)
{
	static const char *const names[] = {"mixed.pcap", "mixed.pcapng"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct capture_config config = {.path = "-"};
		char command[4200];
		int saved = dup(STDIN_FILENO);
		FILE *pipe;
		struct result *r;

		snprintf(command, sizeof(command), "dd bs=7 status=none if='%s'", data_file(names[i]));
		pipe = popen(command, "r");
		assert_non_null(pipe);
		dup2(fileno(pipe), STDIN_FILENO);
		r = read_config(&config);
		dup2(saved, STDIN_FILENO);
		close(saved);
		pclose(pipe);
		assert_int_equal(r->outcome, CAPTURE_E_END);
		assert_int_equal(r->n, 76);
	}
}

static void test_cut_short(void **state)
{
	static const struct {
		const char *name;
		size_t good;
	} files[] = {{"bad-truncated.pcap", 75},
		     {"bad-truncated-record.pcap", 1},
		     {"bad-record-length.pcap", 0},
		     {"bad-truncated.pcapng", 75}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct result *r = read_name(files[i].name);

		if (r->outcome >= 0 || r->n != files[i].good)
			fail_msg("%s: outcome %d after %zu frames", files[i].name, r->outcome, r->n);
		assert_non_null(strstr(r->diag.text, files[i].name));
	}
}

static void test_no_savefile(void **state)
{
	static const char *const names[] = {"bad-empty.pcap", "bad-short-header.pcap", "bad-magic.pcap",
					    "none.pcap", "."};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct result *r = read_name(names[i]);

		assert_true(r->outcome < 0);
		assert_int_equal(r->n, 0);
		assert_non_null(strstr(r->diag.text, "--read"));
	}
	assert_int_equal(read_name("none.pcap")->outcome, -ENOENT);
	assert_int_equal(read_name("bad-header-only.pcap")->outcome, CAPTURE_E_END);
	capture_close(NULL);
}

/* Cut after every octet: an error or an end, never more frames than are whole. */
static void test_every_prefix(void **state)
{
	static const char *const names[] = {"icmp.pcap", "two-links.pcapng"};
	static uint8_t octets[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int in = open(data_file(names[i]), O_RDONLY), fd = memfd_create("prefix", 0);
		ssize_t size = read(in, octets, sizeof(octets));
		size_t before = 0;

		assert_true(size > 0 && size < (ssize_t)sizeof(octets));
		close(in);
		for (ssize_t cut = 0; cut <= size; cut++) {
			struct capture_config config = {.path = path};
			struct result *r;

			assert_int_equal(ftruncate(fd, 0), 0);
			assert_int_equal(pwrite(fd, octets, (size_t)cut, 0), cut);
			snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
			r = read_config(&config);
			assert_true(r->outcome == CAPTURE_E_END || (r->outcome < 0 && r->diag.text[0]));
			assert_true(r->n >= before && r->n <= before + 1);
			before = r->n;
		}
		close(fd);
	}
}

enum old_kind { LENGTHS_SWAPPED, KUZNETZOV };

/*
 * mixed.pcap as one of the kinds that libpcap reads for us: version 2.2, whose two lengths stand the other
 * way round, or the one of a kernel patch, with 8 octets more in front of each packet.  Its file: path.
 */
static int old_kind(enum old_kind kind, size_t *size)
{
	static uint8_t octets[16384], old[32768];
	const uint32_t magic = 0xa1b2cd34;
	int in = open(data_file("mixed.pcap"), O_RDONLY), fd = memfd_create("old", 0);
	ssize_t have = read(in, octets, sizeof(octets));
	size_t n = 24;

	assert_true(in >= 0 && fd >= 0 && have > 24 && have < (ssize_t)sizeof(octets));
	close(in);
	memcpy(old, octets, 24);
	if (kind == KUZNETZOV)
		memcpy(old, &magic, 4);
	else
		old[6] = 2;
	for (const uint8_t *p = octets + 24; p < octets + have;) {
		uint32_t cap_len;

		memcpy(&cap_len, p + 8, 4);
		memcpy(old + n, p, 16);
		if (kind == LENGTHS_SWAPPED) {
			memcpy(old + n + 8, p + 12, 4);
			memcpy(old + n + 12, p + 8, 4);
		}
		n += kind == KUZNETZOV ? 24 : 16;
		memcpy(old + n, p + 16, cap_len);
		n += cap_len;
		p += 16 + cap_len;
	}
	assert_int_equal(write(fd, old, n), n);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	*size = n;
	return fd;
}

/* The head of an old kind has to be told apart first, and libpcap gets it all the same; also from a pipe. */
static void test_old_kinds(void **state)
{
	static struct result first;

	(void)state;
	first = *read_name("mixed.pcap");
	for (enum old_kind kind = LENGTHS_SWAPPED; kind <= KUZNETZOV; kind++) {
		struct capture_config config = {.path = path};
		size_t size;
		int fd = old_kind(kind, &size), saved;
		struct result *r = read_config(&config);
		uint64_t octets;

		assert_int_equal(r->n, 76);
		assert_int_equal(r->outcome, CAPTURE_E_END);
		for (size_t n = 0; n < r->n; n++)
			assert_memory_equal(&r->kept[n].cap_len, &first.kept[n].cap_len, 16);
		for (size_t n = 0; n < r->n; n++)
			assert_memory_equal(r->kept[n].data, first.kept[n].data, r->kept[n].cap_len);

		config.filter = "ip6";
		r = read_config(&config);
		octets = r->stats.filtered_octets;
		assert_int_equal(r->n, 21);
		assert_int_equal(r->stats.filtered, 76 - 21);
		for (size_t n = 0; n < r->n; n++)
			octets += r->kept[n].wire_len;
		assert_int_equal(octets, 12345 - 24 - 76 * 16);

		config = (struct capture_config){.path = "-"};
		saved = dup(STDIN_FILENO);
		assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
		dup2(fd, STDIN_FILENO);
		assert_int_equal(read_config(&config)->n, 76);
		dup2(saved, STDIN_FILENO);
		close(saved);

		config = (struct capture_config){.path = path, .filter = "no such word"};
		assert_int_equal(read_config(&config)->outcome, -EINVAL);

		config.filter = NULL;
		assert_int_equal(ftruncate(fd, (off_t)size - 5), 0);
		r = read_config(&config);
		assert_int_equal(r->n, 75);
		assert_int_equal(r->outcome, -EBADMSG);
		assert_non_null(strstr(r->diag.text, "after packet 75"));
		close(fd);
	}
}

/* A file of one packet with these seconds and fraction of one; its path: path. */
static int one_packet(uint32_t magic, uint16_t minor, uint32_t link_type, uint32_t seconds, uint32_t fraction)
{
	uint32_t head[6] = {magic, 2 | (uint32_t)minor << 16, 0, 0, 65535, link_type};
	uint32_t packet[4 + 12] = {seconds, fraction, 20, 20};
	size_t size = (magic == 0xa1b2cd34 ? 24 : 16) + 20;
	int fd = memfd_create("one", 0);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
	assert_int_equal(write(fd, packet, size), size);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	return fd;
}

/* Seconds and fractions have 32 bits and no sign, whoever reads them. */
static void test_late_times(void **state)
{
	static const struct {
		uint32_t magic;
		uint16_t minor;
		unsigned unit_ns;
	} kinds[] = {{0xa1b2c3d4, 4, 1000}, {0xa1b2c3d4, 3, 1000}, {0xa1b2c3d4, 2, 1000},
		     {0xa1b2cd34, 4, 1000}, {0xa1b23c4d, 4, 1},	   {0xa1b23c4d, 3, 1}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		static const uint32_t fractions[] = {0, 999999, 0x80000001};

		for (size_t n = 0; n < ARRAY_SIZE(fractions); n++) {
			struct capture_config config = {.path = path};
			int fd = one_packet(kinds[i].magic, kinds[i].minor, 1, 0x80000001, fractions[n]);
			struct result *r = read_config(&config);

			if (r->outcome != CAPTURE_E_END)
				fail_msg("%x %u: %s", kinds[i].magic, kinds[i].minor, r->diag.text);
			assert_int_equal(r->n, 1);
			assert_int_equal(r->kept[0].time_ns,
					 UINT64_C(2147483649) * NS_PER_SEC +
						 (uint64_t)fractions[n] * kinds[i].unit_ns);
			close(fd);
		}
	}
}

/* The upper bits of the link type field: of a frame check sequence, or reserved. */
static void test_link_type_field(void **state)
{
	struct capture_config config = {.path = path};
	int fd = one_packet(0xa1b2c3d4, 4, 0x54000071, 1, 1);
	struct result *r = read_config(&config);

	(void)state;
	assert_int_equal(r->outcome, CAPTURE_E_END);
	assert_int_equal(r->link_type, 0x71);
	close(fd);
	for (uint16_t minor = 3; minor <= 4; minor++) { /* libpcap's word for it, and ours */
		fd = one_packet(0xa1b2c3d4, minor, 0x00300001, 1, 1);
		r = read_config(&config);
		assert_int_equal(r->outcome, -EBADMSG);
		assert_non_null(strstr(r->diag.text, "reserved bits"));
		assert_non_null(strstr(r->diag.text, "0x00300"));
		close(fd);
	}
}

/* What is no savefile is named, with the command that makes one of it. */
static void test_foreign(void **state)
{
	static const struct {
		const char *octets;
		size_t n;
		const char *name, *command;
	} files[] = {
		{"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03", 11, "gzip", "zcat"},
		{"\x28\xb5\x2f\xfd\x04\x00", 6, "zstd", "zstdcat"},
		{"\xfd\x37zXZ\0\0\x04", 8, "xz", "xzcat"},
		{"BZh91AY&SY", 10, "bzip2", "bzcat"},
		{"\x04\x22\x4d\x18\x64\x40", 6, "lz4", "lz4cat"},
		{"PK\3\4\x14", 5, "zip", "unzip -p"},
		{"snoop\0\0\0\0\0\0\2\0\0\0\4", 16, "snoop", "editcap -F pcap"},
		{"\0\0\0\x80\x5e\xd1\x2a\x5f\x02\x04\x00\x40\0\0\0\x3c", 16, "Endace ERF", "editcap -F pcap"},
		{"GMBU\0\2\0\0", 8, "Network Monitor", "editcap -F pcap"},
		{"TRSNIFF data    \x1a", 17, "Sniffer", "editcap -F pcap"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		for (unsigned padded = 0; padded < 2; padded++) { /* a short file as well */
			struct capture_config config = {.path = path};
			char pad[64] = {0}, words[4200];
			int fd = memfd_create("foreign", 0);
			struct result *r;

			assert_int_equal(write(fd, files[i].octets, files[i].n), files[i].n);
			if (padded)
				assert_int_equal(write(fd, pad, sizeof(pad)), sizeof(pad));
			snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
			snprintf(words, sizeof(words), "%s %s", files[i].command, path);
			r = read_config(&config);
			assert_int_equal(r->outcome, -EBADMSG);
			if (!strstr(r->diag.text, files[i].name) || !strstr(r->diag.text, words))
				fail_msg("%s: %s", files[i].name, r->diag.text);
			close(fd);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),	    cmocka_unit_test(test_filter),
		cmocka_unit_test(test_pipe),	    cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_no_savefile), cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_filter_raw),  cmocka_unit_test(test_old_kinds),
		cmocka_unit_test(test_late_times),  cmocka_unit_test(test_link_type_field),
		cmocka_unit_test(test_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
