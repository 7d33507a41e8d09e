/*
 * pcapng files that are damaged, cut short, or come through a pipe; and the same as libpcap reads.
 * Covers capture/capture_pcapng.c, capture/capture_walk.c.
 */
#include "pcapng_file.h"

#include <dirent.h>
#include <pcap/pcap.h>
#include <pthread.h>

#include "pitot/clock.h"

/* ---- damage and ends */

static void expect_damage(size_t good, const char *words)
{
	read_octets(f.at, f.len);
	if (got.outcome != -EBADMSG || got.n != good || !strstr(got.diag.text, words))
		fail_msg("\"%s\": %zu packets, outcome %d, \"%s\"", words, got.n, got.outcome, got.diag.text);
}

/* Three packets in blocks of 96 octets, from 48 on; then one octet group changes. */
static void spoil(size_t at, uint32_t value, size_t good, const char *words)
{
	for (int big = 0; big < 2; big++) {
		start(big);
		interface(1, 0);
		for (uint8_t i = 0; i < 3; i++)
			enhanced(0, i, i);
		assert_int_equal(f.len, 48 + 3 * 96);
		set32(at, value);
		expect_damage(good, words);
	}
}

static void test_damage(void **state)
{
	static const size_t second = 48 + 96;

	(void)state;
	spoil(second + 4, 8, 1, "packet 2 claims a length of 8 octets: the file is damaged");
	spoil(second + 4, 97, 1, "claims a length of 97 octets: the file is damaged");
	spoil(second + 4, 0, 1, "packet 2 claims a length of 0 octets");
	spoil(second + 4, 92, 1, "packet 2 claims 61 captured octets in a block of 92");
	spoil(second + 4, 100, 1, "packet 2 has a length of 100 octets at its start and of 6 at its end");
	spoil(second + 92, 95, 1, "packet 2 has a length of 96 octets at its start and of 95 at its end");
	spoil(second + 4, 28, 1, "packet 2 is in a block of 28 octets");
	spoil(second + 8, 1, 1, "packet 2 is of interface 1, and its section has 1");
	spoil(second + 8, UINT32_MAX, 1, "packet 2 is of interface 4294967295");
	spoil(second + 20, 262145, 1, "packet 2 claims 262145 captured octets (at most 262144)");
	spoil(second + 20, UINT32_MAX, 1, "packet 2 claims 4294967295 captured octets");
	spoil(second + 20, 65, 1, "packet 2 claims 65 captured octets in a block of 96");
	spoil(second + 4, 4 * 96, 1, "the file is cut short: it ends inside packet 2");
	spoil(second + 4, UINT32_MAX - 3, 2, "the file is cut short: it ends inside block 4");
}

static void test_damage_elsewhere(void **state)
{
	(void)state;
	spoil(8, 0x1a2b3c4e, 0, "not a capture file"); /* libpcap's */
	spoil(12, 2, 0, "pcapng version");
	spoil(28 + 4, 16, 0, "block 2");
	spoil(28 + 16, 24, 0, "block 2 has a length of 20 octets at its start and of 24 at its end");
	start(false);
	section(true, -1);
	set32(28 + 8, 0x12345678);
	expect_damage(0, "block 2 is a section of no byte order");
	start(false);
	begin(0x0a0d0d0a);
	put32(0x1a2b3c4d);
	put32(1);
	end_block();
	expect_damage(0, "block 2 is too short for a section header");
	start(false);
	begin(1);
	put32(1);
	end_block();
	expect_damage(0, "block 2 is too short for an interface");
	start(false);
	begin_interface(1, 0);
	option(9, "\6\6", 2);
	end_block();
	expect_damage(0, "block 2 has an option 9 of 2 octets");
	start(false);
	begin_interface(1, 0);
	option(14, "1234", 4);
	end_block();
	expect_damage(0, "block 2 has an option 14 of 4 octets");
	start(false);
	begin_interface(1, 0);
	put_number(1, 2);
	put_number(5, 2);
	put32(0);
	end_block();
	expect_damage(0, "block 2 has an option that ends behind it");
	start(false);
	interface(1, 100);
	simple(99, 100, 1);
	simple(95, 100, 1); /* 96 with the padding */
	expect_damage(1, "packet 2 claims 100 captured octets in a block of 112");
}

/* Whole at the end of a block, and nowhere else; never a packet that is not all there. */
static void test_every_prefix(void **state)
{
	static const char *const names[] = {"kinds.pcapng", "mixed-be.pcapng", "two-links.pcapng"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t size = load(data_file(names[i])), before = 0, ends = 0;

		for (size_t cut = 24; cut <= size; cut++) {
			read_octets(f.at, cut);
			assert_true(got.n == before || got.n == before + 1);
			if (got.outcome == CAPTURE_E_END)
				ends++;
			else if (got.outcome != -EBADMSG ||
				 !strstr(got.diag.text, "the file is cut short: it ends inside"))
				fail_msg("%s, %zu octets: %d %s", names[i], cut, got.outcome, got.diag.text);
			if (got.n > before)
				assert_int_equal(got.outcome, CAPTURE_E_END);
			before = got.n;
		}
		assert_int_equal(got.outcome, CAPTURE_E_END);
		assert_true(ends > before && before >= 20);
	}
}

/* ---- pipes */

struct writer {
	int fd;
	uint64_t random;
	size_t most;
	useconds_t pause_us;
};

static void *write_chunks(void *arg)
{
	struct writer *w = arg;

	for (size_t at = 0; at < f.len;) {
		size_t n = 1 + test_random(&w->random) % w->most;

		n = n < f.len - at ? n : f.len - at;
		if (write(w->fd, f.at + at, n) != (ssize_t)n)
			break;
		at += n;
		if (w->pause_us)
			usleep(w->pause_us);
	}
	close(w->fd);
	return NULL;
}

/* What is in f, through stdin. */
static void read_pipe(uint64_t seed, size_t most)
{
	struct writer w = {.random = seed, .most = most};
	int ends[2], saved = dup(STDIN_FILENO);
	pthread_t thread;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w.fd = ends[1];
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	assert_int_equal(pthread_create(&thread, NULL, write_chunks, &w), 0);
	read_path("-");
	dup2(saved, STDIN_FILENO);
	close(saved);
	pthread_join(thread, NULL);
}

static void test_pipe(void **state)
{
	static const char *const names[] = {"kinds.pcapng", "mixed.pcapng", "mixed-be.pcapng"};
	static struct result whole;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		load(data_file(names[i]));
		whole = *read_path(data_file(names[i]));
		for (uint64_t seed = 1; seed <= 12; seed++) {
			read_pipe(seed, seed % 3 == 0 ? 7 : seed % 3 == 1 ? 300 : 9000);
			assert_int_equal(got.outcome, CAPTURE_E_END);
			assert_int_equal(got.n, whole.n);
			assert_memory_equal(got.kept, whole.kept, whole.n * sizeof(whole.kept[0]));
		}
	}
	start(false);
	interface(1, 0);
	unknown(50, 2000000);
	enhanced(0, 1, 1);
	read_pipe(5, 60000);
	assert_int_equal(got.outcome, CAPTURE_E_END);
	assert_int_equal(got.n, 1);
}

static void slow_pipe(const char *name)
{
	struct writer w = {.random = 1, .most = 1, .pause_us = 4000};
	int ends[2], saved = dup(STDIN_FILENO);
	struct capture_config cc = {.path = "-"};
	struct capture *c = NULL;
	struct frame_batch b;
	struct diag diag;
	pthread_t thread;
	unsigned calls = 0, n = 0, late = 0;
	int r;

	load(data_file(name));
	f.len = f.len < 400 ? f.len : 400;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w.fd = ends[1];
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	assert_int_equal(pthread_create(&thread, NULL, write_chunks, &w), 0);
	assert_int_equal(capture_open(&c, &cc, &diag), 0);
	for (;; calls++) {
		uint64_t before = clock_monotonic_ns();

		r = capture_recv(c, &b, 30, &diag);
		late += clock_monotonic_ns() - before >= 300 * NS_PER_MSEC;
		if (r)
			break;
		n += b.n;
		capture_release(c, &b);
	}
	assert_int_equal(r, -EBADMSG); /* 400 octets end inside a packet */
	assert_in_range(n, 2, 4);
	assert_true(calls > n + 2);
	assert_true(late * 4 < calls); /* a busy machine may be late now and then */
	capture_close(c);
	dup2(saved, STDIN_FILENO);
	close(saved);
	pthread_join(thread, NULL);
}

/* Octets drip: no call waits longer than it should, whatever came meanwhile. */
static void test_slow_pipe(void **state)
{
	(void)state;
	slow_pipe("mixed.pcapng");
	slow_pipe("mixed.pcap");
}

/* An open pipe without a packet yet is opened when it has an interface that is decoded. */
static void test_pipe_opens(void **state)
{
	static const int known[] = {1};
	int ends[2], saved = dup(STDIN_FILENO);
	struct capture_config cc = {.path = "-", .link_types = known, .n_link_types = 1};
	struct capture *c = NULL;
	struct frame_batch b;
	struct diag diag;

	(void)state;
	start(true);
	interface(249, 0);
	interface(1, 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	assert_int_equal(write(ends[1], f.at, f.len), f.len);
	assert_int_equal(capture_open(&c, &cc, &diag), 0);
	assert_int_equal(c->link_type, 1);
	assert_false(c->is_file);
	assert_int_equal(capture_recv(c, &b, 0, &diag), 0);
	assert_int_equal(b.n, 0);
	f.len = 0;
	enhanced(1, 1, 1);
	assert_int_equal(write(ends[1], f.at, f.len), f.len);
	assert_int_equal(capture_recv(c, &b, 1000, &diag), 0);
	assert_int_equal(b.n, 1);
	capture_release(c, &b);
	close(ends[1]);
	assert_int_equal(capture_recv(c, &b, 1000, &diag), CAPTURE_E_END);
	capture_close(c);
	dup2(saved, STDIN_FILENO);
	close(saved);
}

/* ---- beside libpcap */

/* Compares with what libpcap reads; false where it refuses the file, and then only its packets count. */
static bool compare(const char *path)
{
	char error[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, error);
	struct pcap_pkthdr *h;
	const u_char *data;
	size_t n = 0;
	int r = PCAP_ERROR;

	read_path(path);
	while (p && (r = pcap_next_ex(p, &h, &data)) == 1) {
		const struct kept *k = &got.kept[n++];

		assert_true(n <= got.n);
		assert_int_equal(k->cap_len, h->caplen);
		assert_int_equal(k->wire_len, h->len);
		assert_int_equal(k->time_ns, (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec);
		assert_int_equal(k->sum, sum_of(data, h->caplen));
	}
	if (p)
		pcap_close(p);
	if (r != PCAP_ERROR_BREAK)
		return false;
	assert_int_equal(got.outcome, CAPTURE_E_END);
	assert_int_equal(n, got.n);
	return true;
}

static void test_libpcap(void **state)
{
	const char *corpus = getenv("PITOT_CORPUS");
	char path[8192];
	unsigned same = 0;
	struct dirent *e;
	DIR *dir;

	(void)state;
	assert_true(compare(data_file("mixed.pcapng")));
	assert_true(compare(data_file("mixed-be.pcapng")));
	assert_false(compare(data_file("two-links.pcapng")));
	assert_int_equal(got.n, 30);
	if (!corpus || !corpus[0])
		return;
	snprintf(path, sizeof(path), "%s/captures", corpus);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		size_t n = strlen(e->d_name);

		if (n < 7 || strcmp(e->d_name + n - 7, ".pcapng"))
			continue;
		snprintf(path, sizeof(path), "%s/captures/%s", corpus, e->d_name);
		same += compare(path);
		assert_int_equal(got.outcome, CAPTURE_E_END);
	}
	closedir(dir);
	printf("%u pcapng files of the corpus read as libpcap reads them\n", same);
	assert_true(same > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damage),	     cmocka_unit_test(test_damage_elsewhere),
		cmocka_unit_test(test_every_prefix), cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_slow_pipe),    cmocka_unit_test(test_pipe_opens),
		cmocka_unit_test(test_libpcap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
