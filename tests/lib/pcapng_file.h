/*
 * pcapng_file: pcapng files block by block, and what capture makes of them.  For the tests that include it.
 */
#ifndef TEST_PCAPNG_FILE_H
#define TEST_PCAPNG_FILE_H

#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pitot/capture.h"

enum { KEPT_MAX = 4096 };

/* ---- writing a file */

static struct builder {
	bool big;
	size_t len, block;
	uint8_t at[3 << 20];
} f;

static void put(const void *data, size_t n)
{
	assert_true(f.len + n <= sizeof(f.at));
	if (n)
		memcpy(f.at + f.len, data, n);
	f.len += n;
}

static void put_number(uint64_t v, unsigned size)
{
	uint8_t out[8];

	for (unsigned i = 0; i < size; i++)
		out[f.big ? size - 1 - i : i] = (uint8_t)(v >> 8 * i);
	put(out, size);
}

static void put32(uint32_t v)
{
	put_number(v, 4);
}

static void set32(size_t at, uint32_t v)
{
	size_t len = f.len;

	f.len = at;
	put32(v);
	f.len = len;
}

static void begin(uint32_t type)
{
	f.block = f.len;
	put32(type);
	put32(0);
}

static void end_block(void)
{
	while (f.len % 4)
		put("", 1);
	set32(f.block + 4, (uint32_t)(f.len + 4 - f.block));
	put32((uint32_t)(f.len + 4 - f.block));
}

__attribute__((unused)) static void option(unsigned code, const void *value, unsigned n)
{
	put_number(code, 2);
	put_number(n, 2);
	put(value, n);
	while (f.len % 4)
		put("", 1);
}

__attribute__((unused)) static void section(bool big, int64_t length)
{
	f.big = big;
	begin(0x0a0d0d0a);
	put32(0x1a2b3c4d);
	put_number(1, 2);
	put_number(0, 2);
	put_number((uint64_t)length, 8);
	end_block();
}

static void begin_interface(unsigned link_type, uint32_t snap_len)
{
	begin(1);
	put_number(link_type, 2);
	put_number(0, 2);
	put32(snap_len);
}

__attribute__((unused)) static void interface(unsigned link_type, uint32_t snap_len)
{
	begin_interface(link_type, snap_len);
	end_block();
}

__attribute__((unused)) static void clocked(unsigned link_type, uint8_t resolution, int64_t offset_s)
{
	begin_interface(link_type, 0);
	option(9, &resolution, 1);
	if (offset_s) {
		put_number(14, 2);
		put_number(8, 2);
		put_number((uint64_t)offset_s, 8);
	}
	option(0, "", 0);
	end_block();
}

/* 60 octets and more, the first of which tells packets apart. */
static const uint8_t *octets(uint8_t first)
{
	static uint8_t frame[2048];

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(first + i);
	return frame;
}

static void packet_head(unsigned type, uint32_t number, uint64_t ticks, uint32_t cap_len, uint32_t wire_len)
{
	begin(type);
	if (type == 6) {
		put32(number);
	} else {
		put_number(number, 2);
		put_number(7, 2); /* drops */
	}
	put32((uint32_t)(ticks >> 32));
	put32((uint32_t)ticks);
	put32(cap_len);
	put32(wire_len);
}

__attribute__((unused)) static void enhanced(uint32_t number, uint64_t ticks, uint8_t first)
{
	packet_head(6, number, ticks, 61, 99);
	put(octets(first), 61);
	end_block();
}

__attribute__((unused)) static void simple(uint32_t cap_len, uint32_t wire_len, uint8_t first)
{
	begin(3);
	put32(wire_len);
	put(octets(first), cap_len);
	end_block();
}

__attribute__((unused)) static void unknown(uint32_t type, size_t n)
{
	begin(type);
	memset(f.at + f.len, 0xee, n);
	f.len += n;
	end_block();
}

static void start(bool big)
{
	f.len = 0;
	section(big, -1);
}

/* ---- reading it */

struct kept {
	uint32_t cap_len, wire_len;
	uint64_t time_ns, sum;
	int link_type;
	uint8_t first;
	uint16_t flags;
};

static struct result {
	size_t n;
	int link_type; /* when it was opened */
	bool also_ethernet, opened;
	int outcome;
	struct capture_stats stats;
	struct diag diag;
	struct kept kept[KEPT_MAX];
} got;

static struct capture_config config; /* without a path */

static uint64_t sum_of(const uint8_t *data, size_t n)
{
	uint64_t sum = 1469598103934665603u;

	for (size_t i = 0; i < n; i++)
		sum = (sum ^ data[i]) * 1099511628211u;
	return sum;
}

static void keep(const struct capture *c, const struct frame_batch *b)
{
	assert_true(b->n <= BATCH_MAX && got.n + b->n <= KEPT_MAX);
	for (unsigned i = 0; i < b->n; i++) {
		const struct frame *x = &b->frames[i];

		got.kept[got.n++] = (struct kept){x->cap_len,	x->wire_len,
						  x->time_ns,	sum_of(x->data, x->cap_len),
						  c->link_type, x->cap_len ? x->data[0] : 0,
						  x->flags};
		assert_int_equal(x->flags & ~FRAME_MOVED, 0);
		assert_int_equal(x->ifindex, 0);
		assert_int_equal(x->point, config.point);
	}
}

static const struct result *read_path(const char *path)
{
	struct capture_config cc = config;
	struct capture *c = NULL;
	struct frame_batch b;

	cc.path = path;
	got = (struct result){.n = 0};
	got.outcome = capture_open(&c, &cc, &got.diag);
	if (got.outcome < 0)
		return &got;
	got.opened = true;
	got.link_type = c->link_type;
	got.also_ethernet = c->also_ethernet;
	while ((got.outcome = capture_recv(c, &b, 20, &got.diag)) == 0) {
		keep(c, &b);
		capture_release(c, &b);
	}
	if (got.outcome < 0) { /* said once */
		struct diag diag;

		assert_true(got.diag.text[0] != '\0');
		assert_true(capture_recv(c, &b, 0, &diag) != 0);
	}
	capture_get_stats(c, &got.stats);
	capture_close(c);
	return &got;
}

__attribute__((unused)) static const struct result *read_octets(const uint8_t *data, size_t n)
{
	int fd = memfd_create("pcapng", MFD_CLOEXEC);
	char path[64];

	assert_true(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_path(path);
	close(fd);
	return &got;
}

__attribute__((unused)) static void read_all(size_t n)
{
	read_octets(f.at, f.len);
	if (got.outcome != CAPTURE_E_END || got.n != n)
		fail_msg("%zu packets instead of %zu, outcome %d %s", got.n, n, got.outcome, got.diag.text);
}

__attribute__((unused)) static void check_packet(size_t i, uint8_t first, uint32_t cap_len, uint32_t wire_len,
						 uint64_t time_ns)
{
	const struct kept *k = &got.kept[i];

	if (k->first != first || k->cap_len != cap_len || k->wire_len != wire_len || k->time_ns != time_ns ||
	    k->sum != sum_of(octets(first), cap_len))
		fail_msg("packet %zu: first %u, %u of %u octets at %llu", i, k->first, k->cap_len,
			 k->wire_len, (unsigned long long)k->time_ns);
}

__attribute__((unused)) static const char *data_file(const char *name)
{
	static char path[4096];
	const char *root = getenv("PITOT_SOURCE_ROOT");

	snprintf(path, sizeof(path), "%s/tests/data/%s", root ? root : ".", name);
	return path;
}

__attribute__((unused)) static size_t load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, f.at, sizeof(f.at));

	assert_true(n > 0 && n < (ssize_t)sizeof(f.at));
	close(fd);
	f.len = (size_t)n;
	return f.len;
}

#endif
