/*
 * The spool: order, bounds, the replay window, restarts, kill -9, damage, disks that take nothing.  Covers
 * spool/spool.c, spool/spool_drop.c, spool/spool_next.c, spool/spool_window.c, spool/spool_block.c,
 * spool/spool_file.c, spool/spool_ring.c and spool/spool_scan.c.
 */
#include "cm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "failalloc.h"
#include "lacking.h"
#include "pitot/clock.h"
#include "pitot/spool.h"

#define MIB (UINT64_C(1) << 20)

static char root[] = "/tmp/pitot-spool-XXXXXX";
static char spool_path[64]; /* root/c */

/* ---- messages: what is in one follows from its id */

static size_t message_size(uint64_t id)
{
	return 24 + (size_t)(id * 7919 % 1400);
}

static size_t put_message(uint8_t *p, uint64_t id)
{
	size_t size = message_size(id);
	uint64_t state = id + 1;

	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)(test_random(&state) >> 32);
	p[0] = 0;
	p[1] = 10;
	p[2] = (uint8_t)(size >> 8);
	p[3] = (uint8_t)size;
	memcpy(p + 16, &id, sizeof(id));
	return size;
}

static int append(struct spool *s, uint64_t id)
{
	uint8_t p[2048];
	size_t size = put_message(p, id);

	return spool_append(s, p, size, (uint32_t)(id % 30), id % 1000, id % 100000);
}

/* The id of a message that is exactly as it was appended. */
static uint64_t message_id(const struct spool_message *m)
{
	uint8_t p[2048];
	uint64_t id;

	assert_true(m->size >= 24);
	memcpy(&id, m->data + 16, sizeof(id));
	assert_int_equal(m->size, put_message(p, id));
	assert_memory_equal(m->data, p, m->size);
	assert_int_equal(m->records, id % 30);
	assert_int_equal(m->packets, id % 1000);
	assert_int_equal(m->octets, id % 100000);
	return id;
}

static void check_identity(const struct spool *s)
{
	struct spool_stats t;

	spool_get_stats(s, &t);
#define IDENTITY(member)                                                                                     \
	assert_int_equal(t.appended.member + t.recovered.member,                                             \
			 t.done.member + t.dropped.member + t.held.member)
	IDENTITY(messages);
	IDENTITY(flows.records);
	IDENTITY(flows.packets);
	IDENTITY(flows.octets);
	assert_true(t.unsent.messages <= t.held.messages);
}

static struct spool_stats stats_of(const struct spool *s)
{
	struct spool_stats t;

	check_identity(s);
	spool_get_stats(s, &t);
	return t;
}

/* ---- spools */

static struct spool_config on_disk(void)
{
	return (struct spool_config){.dir = root, .name = "c", .max_octets = 64 * MIB, .memory_octets = MIB};
}

static struct spool *open_spool(struct spool_config config)
{
	struct spool *s = NULL;
	struct diag diag = {""};
	int r = spool_open(&s, &config, &diag);

	if (r)
		fail_msg("%d %s", r, diag.text);
	check_identity(s);
	return s;
}

static void remove_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	char name[400];

	while (dir && (e = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.')
			unlink(name);
	}
	if (dir)
		closedir(dir);
}

/* The only segment's path and size; fails when there is not one. */
static size_t find_segment(char *path, size_t room)
{
	DIR *dir = opendir(spool_path);
	unsigned n = 0;
	struct dirent *e;
	struct stat st = {0};

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		if (!strstr(e->d_name, ".ipfix"))
			continue;
		n++;
		snprintf(path, room, "%s/%s", spool_path, e->d_name);
		assert_int_equal(stat(path, &st), 0);
	}
	closedir(dir);
	assert_int_equal(n, 1);
	return (size_t)st.st_size;
}

static unsigned count_segments(uint64_t *octets)
{
	DIR *dir = opendir(spool_path);
	unsigned n = 0;
	struct dirent *e;

	*octets = 0;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char path[400];
		struct stat st;

		if (!strstr(e->d_name, ".ipfix"))
			continue;
		n++;
		snprintf(path, sizeof(path), "%s/%s", spool_path, e->d_name);
		assert_int_equal(stat(path, &st), 0);
		*octets += (uint64_t)st.st_size;
	}
	closedir(dir);
	return n;
}

static int set_up(void **state)
{
	(void)state;
	remove_files(spool_path);
	return 0;
}

/* Sends n messages or all there are; the id of the first, and that they follow one another. */
static uint64_t send_some(struct spool *s, uint64_t n, uint64_t *offset, uint64_t now, uint64_t *count)
{
	const struct spool_message *m;
	uint64_t first = 0, last = 0;

	*count = 0;
	while (*count < n && (m = spool_next(s))) {
		uint64_t id = message_id(m);

		assert_ptr_equal(m, spool_next(s));
		if (*count == 0)
			first = id;
		else
			assert_int_equal(id, last + 1);
		last = id;
		*offset += m->size;
		spool_mark_sent(s, *offset, now);
		++*count;
	}
	check_identity(s);
	return first;
}

/* ---- tests */

static void check_order(struct spool *s)
{
	uint64_t offset = 0, count, to_send = 1;

	for (uint64_t id = 1; id <= 20000; id++) {
		assert_int_equal(append(s, id), 0);
		if (id % 100 == 0) {
			assert_int_equal(send_some(s, 90, &offset, id, &count), to_send);
			to_send += count;
			spool_acked(s, offset);
			spool_tick(s, id);
		}
	}
	assert_int_equal(send_some(s, 100000, &offset, 1, &count), to_send);
	assert_int_equal(to_send + count, 20001);
	spool_acked(s, offset);
	spool_tick(s, 1);
	assert_int_equal(stats_of(s).done.messages, 20000);
	assert_int_equal(stats_of(s).held.messages, 0);
	assert_int_equal(stats_of(s).dropped.messages, 0);
	assert_null(spool_next(s));
}

static void test_order(void **state)
{
	struct spool_config config = on_disk();
	struct spool *s = open_spool(config);
	uint64_t octets;

	(void)state;
	check_order(s);
	spool_close(s);
	assert_int_equal(count_segments(&octets), 0);
	config.memory_octets = 1; /* what is not in memory any more is read from the files */
	s = open_spool(config);
	assert_int_equal(stats_of(s).recovered.messages, 0);
	check_order(s);
	spool_close(s);
	config.dir = NULL;
	config.memory_octets = 16 * MIB;
	s = open_spool(config);
	check_order(s);
	spool_close(s);
}

static void test_sizes(void **state)
{
	static uint8_t p[SPOOL_MESSAGE_MOST + 1];
	struct spool_config config = on_disk();
	const struct spool_message *m;
	uint64_t offset = 0;

	(void)state;
	config.memory_octets = config.max_octets = 1;
	for (unsigned disk = 0; disk < 2; disk++) {
		struct spool *s;

		config.dir = disk ? root : NULL;
		s = open_spool(config);
		assert_int_equal(spool_append(s, p, 0, 0, 0, 0), -EMSGSIZE);
		assert_int_equal(spool_append(s, p, sizeof(p), 0, 0, 0), -EMSGSIZE);
		assert_int_equal(stats_of(s).appended.messages, 0);
		for (size_t size = 1; size < sizeof(p); size = size < 65000 ? size * 2 + 1 : size + 1) {
			memset(p, (int)size, size);
			assert_int_equal(spool_append(s, p, size, 1, 1, 1), 0);
			m = spool_next(s);
			assert_non_null(m);
			assert_int_equal(m->size, size);
			assert_memory_equal(m->data, p, size);
			spool_mark_sent(s, offset += size, 1);
			spool_acked(s, offset);
			spool_tick(s, 2);
		}
		spool_close(s);
	}
}

static void test_bound_memory(void **state)
{
	struct spool_config config = {.memory_octets = MIB};
	struct spool *s = open_spool(config);
	uint64_t offset = 0, count, first, appended = 0;

	(void)state;
	while (append(s, ++appended) == 0)
		assert_true(appended < 2000);
	assert_int_equal(stats_of(s).dropped.messages > 0, 1);
	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(append(s, ++appended) == 0 || true, 1);
		assert_true(stats_of(s).memory_octets <= MIB);
	}
	assert_true(stats_of(s).held.messages > 1000);
	first = send_some(s, 10000, &offset, 1, &count);
	assert_int_equal(first + count - 1, appended); /* the newest are there, the oldest are not */
	assert_int_equal(stats_of(s).dropped.messages, first - 1);
	spool_close(s);
}

static void test_bound_disk(void **state)
{
	struct spool_config config = on_disk();
	uint64_t offset = 0, count, first, octets, dropped = 0;
	struct spool *s;

	(void)state;
	config.max_octets = 2 * MIB;
	s = open_spool(config);
	for (uint64_t id = 1; id <= 10000; id++) {
		int r = append(s, id);
		struct spool_stats t = stats_of(s);

		assert_int_equal(r, t.dropped.messages > dropped ? -ENOSPC : 0);
		dropped = t.dropped.messages;
		assert_true(t.disk_octets <= config.max_octets);
	}
	count_segments(&octets);
	assert_int_equal(octets, stats_of(s).disk_octets);
	assert_true(octets > config.max_octets * 9 / 10);
	first = send_some(s, 20000, &offset, 1, &count);
	assert_int_equal(first, dropped + 1);
	assert_int_equal(first + count - 1, 10000);
	spool_close(s);
	config.max_octets = MIB; /* smaller: the oldest go */
	s = open_spool(config);
	assert_int_equal(stats_of(s).recovered.messages, count);
	assert_true(stats_of(s).disk_octets <= MIB);
	first = send_some(s, 20000, &offset, 1, &count);
	assert_int_equal(first + count - 1, 10000);
	dropped = stats_of(s).recovered.messages - count;
	assert_int_equal(stats_of(s).dropped_recovered.messages, dropped);
	for (uint64_t id = 10001; id <= 20000; id++)
		append(s, id);
	assert_true(stats_of(s).dropped.messages > dropped); /* these are of this run */
	assert_int_equal(stats_of(s).dropped_recovered.messages, dropped);
	spool_close(s);
}

/* A message that is lent stays whole while it is dropped, and counts once whatever becomes of it. */
static void test_lent(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 6; way++) {
		struct spool_config config = on_disk();
		const struct spool_message *m;
		uint64_t done;
		struct spool *s;

		if (way & 1)
			config.dir = NULL;
		config.max_octets = config.memory_octets = MIB;
		s = open_spool(config);
		for (uint64_t id = 1; id < 10; id++)
			append(s, id);
		m = spool_next(s);
		assert_int_equal(message_id(m), 1);
		for (uint64_t id = 10; id < 5000; id++) {
			append(s, id);
			check_identity(s);
		}
		assert_int_equal(message_id(spool_next(s)), 1);
		if (way / 2 > 0)
			spool_mark_sent(s, 1000, 1);
		check_identity(s);
		if (way / 2 > 1)
			spool_acked(s, 1000);
		done = stats_of(s).dropped.messages;
		spool_rewind(s, false);
		assert_int_equal(stats_of(s).dropped.messages, done + (way / 2 < 2));
		assert_int_equal(stats_of(s).done.messages, way / 2 == 2);
		assert_true(message_id(spool_next(s)) > 10);
		spool_close(s);
		remove_files(spool_path);
	}
}

static void test_rewind(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 4; way++) {
		struct spool_config config = on_disk();
		uint64_t offset = 0, half, count;
		const struct spool_message *m;
		struct spool *s;

		config.replay_octets = 4 * MIB;
		config.memory_octets = way & 2 ? 1 : MIB;
		s = open_spool(config);
		for (uint64_t id = 1; id <= 1000; id++)
			append(s, id);
		send_some(s, 400, &offset, 1, &count);
		half = offset;
		send_some(s, 200, &offset, 2, &count);
		spool_acked(s, half);
		spool_acked(s, half - 1);
		spool_acked(s, half + 10); /* within the next one */
		spool_tick(s, 1000 * NS_PER_SEC);
		assert_int_equal(stats_of(s).acked.messages, 400);
		assert_int_equal(stats_of(s).held.messages, 1000);
		spool_rewind(s, way & 1);
		assert_int_equal(stats_of(s).done.messages, way & 1 ? 400 : 0);
		m = spool_next(s);
		assert_true(m->replayed);
		offset = 0;
		assert_int_equal(send_some(s, 100000, &offset, 1, &count), way & 1 ? 401 : 1);
		assert_int_equal(count, way & 1 ? 600 : 1000);
		assert_int_equal(stats_of(s).replayed.messages, way & 1 ? 200 : 600);
		spool_close(s);
		remove_files(spool_path);
	}
}

static void test_window(void **state)
{
	struct spool_config config = on_disk();
	uint64_t offset = 0, count, now = NS_PER_SEC;
	struct spool *s;

	(void)state;
	config.replay_octets = 100000;
	config.replay_ns = 10 * NS_PER_SEC;
	s = open_spool(config);
	for (uint64_t id = 1; id <= 1000; id++)
		append(s, id);
	send_some(s, 1000, &offset, now, &count);
	spool_tick(s, now + 20 * NS_PER_SEC);
	assert_int_equal(stats_of(s).held.messages, 1000); /* old and far back, but nobody has it */
	spool_acked(s, offset);
	spool_tick(s, now + 10 * NS_PER_SEC - 1);
	assert_int_equal(stats_of(s).held.messages, 1000); /* not old enough */
	spool_tick(s, now + 10 * NS_PER_SEC);
	assert_in_range(stats_of(s).held.messages, 100000 / 1424, 100000 / 400);
	count = stats_of(s).held.messages;
	spool_tick(s, now + 1000 * NS_PER_SEC);
	assert_int_equal(stats_of(s).held.messages, count); /* old, but not far back */
	spool_close(s);
	/* another run: what is not forgotten, and nothing else, is there */
	s = open_spool(config);
	assert_int_equal(stats_of(s).recovered.messages, count);
	assert_true(spool_next(s)->replayed);
	assert_int_equal(message_id(spool_next(s)), 1000 - count + 1);
	spool_close(s);
	s = open_spool(config);
	assert_int_equal(append(s, 1001), 0);
	offset = 0;
	send_some(s, 1000, &offset, 1, &count);
	spool_acked(s, offset);
	spool_rewind(s, true);
	spool_close(s);
	s = open_spool(config);
	assert_int_equal(stats_of(s).recovered.messages, 0);
	assert_int_equal(append(s, 1002), 0);
	assert_false(spool_next(s)->replayed);
	assert_int_equal(spool_next(s)->number, 1002);
	spool_close(s);
}

static void test_window_full(void **state)
{
	struct spool_config config = {.memory_octets = 64 * MIB};
	struct spool *s = open_spool(config);
	uint64_t count = 0;

	(void)state;
	for (unsigned i = 0; i < SPOOL_WINDOW_MOST + 10; i++)
		assert_int_equal(spool_append(s, "x", 1, 1, 1, 1), 0);
	for (; spool_next(s); count++)
		spool_mark_sent(s, count + 1, 1);
	assert_int_equal(count, SPOOL_WINDOW_MOST);
	spool_acked(s, 5);
	for (; spool_next(s); count++)
		spool_mark_sent(s, count + 1, 1);
	assert_int_equal(count, SPOOL_WINDOW_MOST + 5);
	check_identity(s);
	spool_close(s);
}

static void test_preamble(void **state)
{
	static const char old[] = "templates of the first run", new[] = "those of the second";
	struct spool_config config = on_disk();
	const struct spool_message *m;
	struct spool *s = open_spool(config);

	(void)state;
	assert_int_equal(spool_set_preamble(s, old, sizeof(old)), 0);
	append(s, 1);
	append(s, 2);
	assert_int_equal(spool_set_preamble(s, new, sizeof(new)), -EBUSY);
	assert_int_equal(spool_set_preamble(s, old, sizeof(old)), 0);
	spool_close(s);
	s = open_spool(config);
	assert_int_equal(spool_set_preamble(s, new, sizeof(new)), 0);
	append(s, 3);
	for (unsigned session = 0; session < 2; session++) {
		for (unsigned i = 0; i < 5; i++) {
			m = spool_next(s);
			assert_non_null(m);
			assert_int_equal(m->preamble, i == 0 || i == 3);
			if (i == 0 || i == 3)
				assert_string_equal((const char *)m->data, i ? new : old);
			else
				assert_int_equal(message_id(m), i < 3 ? i : 3);
			spool_mark_sent(s, i, 1);
		}
		assert_null(spool_next(s));
		assert_int_equal(stats_of(s).sent.messages, 3 * (session + 1));
		spool_rewind(s, false);
	}
	spool_acked(s, 100);
	for (unsigned i = 0; i < 5; i++) {
		spool_next(s);
		spool_mark_sent(s, i, 1);
	}
	spool_acked(s, 100);
	spool_rewind(s, true);
	for (uint64_t id = 4; id < 6; id++) { /* the same again, but for another session */
		append(s, id);
		m = spool_next(s);
		assert_non_null(m);
		assert_string_equal((const char *)m->data, new);
		spool_mark_sent(s, 1, 1);
		assert_int_equal(message_id(spool_next(s)), id);
		spool_mark_sent(s, 2, 1);
		spool_acked(s, 2);
		spool_rewind(s, true);
	}
	spool_close(s);
}

static void test_one_process(void **state)
{
	struct spool_config config = on_disk();
	struct spool *s = open_spool(config), *other = NULL;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(spool_open(&other, &config, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "another process uses it"));
	assert_null(other);
	spool_close(s);
	spool_close(open_spool(config));
}

static void test_names(void **state)
{
	static const char *const names[] = {"", ".", "..", "a/b", ".hidden", NULL};
	struct spool_config config = on_disk();
	struct spool *s = NULL;
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		config.name = names[i];
		assert_int_equal(spool_open(&s, &config, &diag), -EINVAL);
		assert_true(diag.text[0]);
	}
	config.name = "c";
	config.dir = "/nonexistent/spool";
	assert_int_equal(spool_open(&s, &config, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/nonexistent/spool"));
	config.dir = root;
	assert_int_equal(chmod(spool_path, 0777), 0);
	assert_int_equal(spool_open(&s, &config, &diag), -EPERM);
	assert_int_equal(chmod(spool_path, 0700), 0);
}

/* What was appended when the process died is there, what was forgotten is not, and nothing is twice. */
struct progress {
	volatile uint64_t appended, forgotten;
};

static void killed_child(struct progress *p, uint64_t first)
{
	struct spool_config config = on_disk();
	struct diag diag;
	struct spool *s = NULL;
	uint64_t offset = 0;

	config.memory_octets = 1;
	if (spool_open(&s, &config, &diag))
		_exit(1);
	for (uint64_t id = first;; id++) {
		const struct spool_message *m;

		if (append(s, id) == 0)
			p->appended = id;
		if (id % 3 == 0 && (m = spool_next(s))) {
			uint64_t sent;

			memcpy(&sent, m->data + 16, sizeof(sent));
			spool_mark_sent(s, offset += m->size, 1);
			spool_acked(s, offset);
			spool_tick(s, 1);
			p->forgotten = sent;
		}
	}
}

static void test_kill(void **state)
{
	struct progress *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t random = 42, next = 1;

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	for (unsigned round = 0; round < 100; round++) {
		struct timespec ts = {.tv_nsec = (long)(test_random(&random) % 8000000)};
		pid_t pid = fork();
		uint64_t offset = 0, count, first;
		struct spool_config config = on_disk();
		struct spool *s;
		int status;

		assert_true(pid >= 0);
		if (pid == 0)
			killed_child(p, next);
		nanosleep(&ts, NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		s = open_spool(config);
		first = send_some(s, round % 10 == 9 ? UINT64_MAX : 20, &offset, 1, &count);
		if (count) {
			/* the next may be forgotten, and the child died before it said so */
			assert_in_range(first, p->forgotten + 1, p->forgotten + 2);
		} else {
			assert_in_range(p->appended, p->forgotten, p->forgotten + 1);
		}
		next = count ? stats_of(s).recovered.messages + first : p->appended + 1;
		assert_true(next > p->appended); /* nothing is missing ... */
		assert_true(next <=
			    p->appended + 2); /* ... and at most the one that was at work is there too */
		assert_int_equal(stats_of(s).dropped.messages, 0);
		if (round % 10 == 9) {
			spool_acked(s, offset);
			spool_rewind(s, true);
			p->forgotten = next - 1;
		}
		p->appended = next - 1;
		spool_close(s);
	}
	munmap(p, sizeof(*p));
}

/* ---- damage */

static void write_file(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	close(fd);
}

static size_t make_segment(char *path, size_t room, uint8_t *data, size_t most, unsigned messages)
{
	struct spool *s = open_spool(on_disk());
	size_t size;
	int fd;

	assert_int_equal(spool_set_preamble(s, "0123456789", 10), 0);
	for (unsigned id = 1; id <= messages; id++) {
		uint8_t p[2048];

		put_message(p, id);
		assert_int_equal(spool_append(s, p, message_size(id) % 97 + 24, id, id, id), 0);
	}
	spool_close(s);
	size = find_segment(path, room);
	assert_true(size <= most);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, data, most), size);
	close(fd);
	return size;
}

/* How many messages are found, each of them whole. */
static unsigned count_whole(struct spool_stats *stats)
{
	struct spool *s = open_spool(on_disk());
	const struct spool_message *m;
	uint64_t last = 0;
	unsigned n = 0;

	while ((m = spool_next(s))) {
		if (!m->preamble) {
			uint8_t p[2048];

			put_message(p, m->number);
			assert_true(m->number > last);
			last = m->number;
			assert_int_equal(m->records, m->number);
			assert_int_equal(m->size, message_size(m->number) % 97 + 24);
			assert_memory_equal(m->data, p, m->size);
			n++;
		} else {
			assert_memory_equal(m->data, "0123456789", m->size);
		}
		spool_mark_sent(s, 1, 1);
		check_identity(s);
	}
	*stats = stats_of(s);
	assert_int_equal(stats->recovered.messages, n);
	assert_int_equal(stats->dropped.messages, 0);
	spool_close(s);
	return n;
}

static void test_torn(void **state)
{
	static uint8_t data[8192];
	char path[400];
	size_t size = make_segment(path, sizeof(path), data, sizeof(data), 5);
	unsigned last = 0;

	(void)state;
	for (size_t cut = 0; cut <= size; cut++) {
		struct spool_stats stats;
		unsigned n;

		write_file(path, data, cut);
		n = count_whole(&stats);
		assert_true(n == last || n == last + 1);
		if (n) {
			struct stat st;

			assert_int_equal(stats.torn_octets == 0,
					 n != last); /* it ends here: nothing is torn */
			assert_int_equal(stat(path, &st), 0);
			assert_int_equal(st.st_size, cut - stats.torn_octets);
		}
		last = n;
	}
	assert_int_equal(last, 5);
}

static void test_flips(void **state)
{
	static uint8_t data[8192];
	char path[400], position[400];
	size_t size = make_segment(path, sizeof(path), data, sizeof(data), 5);
	uint64_t random = 7;
	struct spool_stats stats;

	(void)state;
	snprintf(position, sizeof(position), "%s/position", spool_path);
	for (size_t at = 0; at < size; at++) {
		uint8_t bit = (uint8_t)(1u << (test_random(&random) % 8));
		unsigned n;

		data[at] ^= bit;
		write_file(path, data, size);
		data[at] ^= bit;
		unlink(position); /* the last round may have gone over a message for good */
		n = count_whole(&stats);
		assert_true(n >= 4); /* one message at most is hit */
		assert_true(n == 5 || stats.torn_octets > 0);
	}
	/* a position that is damaged: everything is sent again */
	write_file(path, data, size);
	unlink(position);
	assert_int_equal(count_whole(&stats), 5);
	for (unsigned i = 0; i < 32; i++) {
		uint8_t p[32];
		int fd = open(position, O_RDWR);

		assert_int_equal(pread(fd, p, 32, 0), 32);
		p[i] ^= 0x10;
		assert_int_equal(pwrite(fd, p, 32, 0), 32);
		close(fd);
		assert_int_equal(count_whole(&stats), 5);
	}
}

/* ---- disks that take nothing */

static void quiet_signal(int sig)
{
	(void)sig;
}

/* Appends while the disk takes nothing: no call fails, nothing is out of order, then it is mended. */
static void check_full(struct spool *s, uint64_t most_memory, bool gap, void (*mend)(void))
{
	uint64_t offset = 0, count, first, id = 0, now = NS_PER_SEC;

	while (!stats_of(s).degraded) {
		append(s, ++id);
		assert_true(id < 20000);
	}
	assert_true(stats_of(s).disk_errors > 0);
	assert_true(stats_of(s).last_error != 0);
	for (unsigned i = 0; i < 3000; i++) {
		append(s, ++id);
		assert_true(stats_of(s).memory_octets <= most_memory);
		if (i % 500 == 0)
			spool_tick(s, now += NS_PER_SEC);
	}
	assert_true(stats_of(s).disk_errors < 200); /* it is not tried for every message */
	mend();
	spool_tick(s, now += 2 * NS_PER_SEC);
	assert_false(stats_of(s).degraded);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(append(s, ++id), 0);
	count = 0;
	for (uint64_t last = 0;;) { /* there may be a gap, but the order holds and the newest are there */
		first = send_some(s, 1, &offset, now, &count);
		if (!count)
			break;
		assert_true(first > last);
		assert_true(gap || last == 0 || first == last + 1);
		last = first;
		if (first == id)
			break;
	}
	assert_null(spool_next(s));
	assert_int_equal(first, id);
	assert_int_equal(stats_of(s).sent.messages + stats_of(s).dropped.messages, id);
}

static void mend_limit(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void test_file_limit(void **state)
{
	struct spool_config config = on_disk();
	struct rlimit limit;
	struct sigaction quiet = {.sa_handler = quiet_signal};
	struct spool *s;

	(void)state;
	sigaction(SIGXFSZ, &quiet, NULL);
	config.max_octets = 256 * MIB; /* segments are larger than what a file may be */
	s = open_spool(config);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = 40000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	check_full(s, MIB, true, mend_limit);
	spool_close(s);
	s = open_spool(config);
	assert_int_equal(stats_of(s).torn_octets, 0); /* what was written in part was taken back */
	assert_true(stats_of(s).recovered.messages > 0);
	spool_close(s);
}

static char mounted[64];

static void mend_tmpfs(void)
{
	assert_int_equal(mount("none", mounted, NULL, MS_REMOUNT, "size=64m"), 0);
}

static void remount(unsigned long flags)
{
	assert_int_equal(mount("none", mounted, NULL, MS_REMOUNT | flags, NULL), 0);
}

static void mend_read_only(void)
{
	remount(0);
}

static bool mount_tmpfs(const char *options)
{
	snprintf(mounted, sizeof(mounted), "%s/mnt", root);
	mkdir(mounted, 0700);
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", mounted, "tmpfs", 0, options) == 0;
}

/* The queue's order when the file system is full: its oldest go before the newer ones in memory. */
static void test_full(void **state)
{
	struct spool_config config = on_disk();
	struct spool *s;

	(void)state;
	if (!mount_tmpfs("size=1m,mode=700"))
		lacking_here("no mount namespace: %s", strerror(errno));
	config.dir = mounted;
	config.max_octets = 2 * MIB; /* segments of 64 KiB */
	config.memory_octets = MIB / 2;
	s = open_spool(config);
	check_full(s, MIB, false, mend_tmpfs);
	spool_close(s);
	assert_int_equal(umount2(mounted, MNT_DETACH), 0);
}

static void test_read_only(void **state)
{
	struct spool_config config = on_disk();
	struct spool *s = NULL;
	struct diag diag = {""};
	uint64_t offset = 0, count;
	char new_dir[sizeof(mounted) + 8];

	(void)state;
	if (!mount_tmpfs("size=8m,mode=700"))
		lacking_here("no mount namespace: %s", strerror(errno));
	config.dir = mounted;
	s = open_spool(config);
	for (uint64_t id = 1; id <= 10; id++)
		append(s, id);
	spool_close(s);
	remount(MS_RDONLY);
	snprintf(new_dir, sizeof(new_dir), "%s/new", mounted); /* which cannot be made there */
	config.dir = new_dir;
	assert_int_equal(spool_open(&s, &config, &diag), -EROFS);
	assert_non_null(strstr(diag.text, "Read-only"));
	config.dir = mounted;
	assert_int_equal(spool_open(&s, &config, &diag), 0);
	assert_non_null(strstr(diag.text, "Read-only"));
	assert_true(stats_of(s).degraded);
	for (uint64_t id = 11; id <= 20; id++)
		assert_int_equal(append(s, id), 0);
	assert_int_equal(send_some(s, 100, &offset, 1, &count), 1);
	assert_int_equal(count, 20);
	spool_acked(s, offset);
	spool_rewind(s, true);
	assert_int_equal(stats_of(s).held.messages, 0);
	spool_close(s);
	mend_read_only();
	assert_int_equal(umount2(mounted, MNT_DETACH), 0);
}

static void test_no_rights(void **state)
{
	struct spool_config config = on_disk();
	char name[] = "/tmp/pitot-spool-rights-XXXXXX";
	pid_t pid;
	int status;

	(void)state;
	assert_non_null(mkdtemp(name));
	assert_int_equal(chmod(name, 0500), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(name, 65534, 65534), 0);
	config.dir = name;
	pid = fork();
	if (pid == 0) {
		struct spool *s = NULL;
		struct diag diag = {""};

		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(2);
		_exit(spool_open(&s, &config, &diag) == -EACCES && strstr(diag.text, name) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	rmdir(name);
}

static void test_allocations(void **state)
{
	(void)state;
	for (unsigned disk = 0; disk < 2; disk++) {
		struct spool_config config = on_disk();
		unsigned failures = 0;

		if (!disk)
			config.dir = NULL;
		spool_close(open_spool(config));
		for (unsigned n = 1;; n++) {
			struct spool *s = NULL;
			struct diag diag = {""};
			bool failed;
			int r;

			failalloc_start(n);
			r = spool_open(&s, &config, &diag);
			failed = failalloc_stop();
			if (!failed) {
				assert_int_equal(r, 0);
				spool_close(s);
				break;
			}
			assert_int_equal(r, -ENOMEM);
			assert_null(s);
			assert_true(diag.text[0]);
			failures++;
		}
		assert_true(failures >= (disk ? 5u : 3u));
	}
}

/* ---- anything in any order, against what must hold */

/* What the spool has told to be lost, message by message. */
static struct told {
	uint8_t numbers[8192];
	struct spool_totals sum;
} told;

static void on_lost(void *context, uint64_t first, uint64_t last)
{
	struct told *t = context;

	for (; first <= last; first++) {
		assert_in_range(first, 1, sizeof(t->numbers) - 1);
		assert_int_equal(t->numbers[first]++, 0);
		t->sum.messages++;
		t->sum.flows.records += first % 30;
		t->sum.flows.packets += first % 1000;
		t->sum.flows.octets += first % 100000;
	}
}

static void limit_files(bool broken)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = broken ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A message that the disk has spoilt is told of by its own number. */
static void test_spoilt(void **state)
{
	struct spool_config config = on_disk();
	uint64_t offset = 0, ids = 1000;
	bool came[1001] = {false};
	const struct spool_message *m;
	uint8_t octet;
	char path[400];
	struct spool *s;
	int fd;

	(void)state;
	config.memory_octets = 1;
	config.lost = on_lost;
	config.context = &told;
	told = (struct told){0};
	s = open_spool(config);
	for (uint64_t id = 1; id <= ids; id++)
		append(s, id);
	find_segment(path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &octet, 1, 5000), 1);
	octet ^= 1;
	assert_int_equal(pwrite(fd, &octet, 1, 5000), 1);
	close(fd);
	while ((m = spool_next(s))) {
		assert_int_equal(m->number, message_id(m));
		came[m->number] = true;
		spool_mark_sent(s, offset += m->size, NS_PER_SEC);
	}
	for (uint64_t id = 1; id <= ids; id++)
		assert_true(came[id] != told.numbers[id]);
	assert_int_equal(told.sum.messages, 1);
	assert_int_equal(stats_of(s).dropped.flows.octets, told.sum.flows.octets);
	spool_close(s);
}

static void test_anything(void **state)
{
	uint64_t random = 12345;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct spool_config config = on_disk();
		uint64_t id = 0, offset = 0, now = 1, last = 0, high = 0;
		bool breaks = round % 3 == 1; /* the disk, now and then */
		struct spool *s;

		if (round % 3 == 0)
			config.dir = NULL;
		config.max_octets = round % 2 ? MIB : 64 * MIB;
		config.memory_octets = round % 4 < 2 ? 1 : MIB;
		config.replay_octets = round % 5 * 50000;
		config.replay_ns = round % 7 * NS_PER_SEC;
		config.lost = on_lost;
		config.context = &told;
		told = (struct told){0};
		s = open_spool(config);
		for (unsigned step = 0; step < 6000; step++) {
			uint64_t what = test_random(&random) >> 20;
			const struct spool_message *m;

			switch (what % 16) {
			default:
				append(s, ++id);
				break;
			case 6:
			case 7:
			case 8:
			case 9:
			case 10:
				m = spool_next(s);
				if (!m)
					break;
				assert_true(message_id(m) > last);
				assert_int_equal(told.numbers[m->number], 0);
				assert_true(m->replayed || message_id(m) > high);
				assert_int_equal(m->number, message_id(m));
				if (what & 1024) /* else it will be lent again */
					break;
				last = m->number;
				high = last > high ? last : high;
				spool_mark_sent(s, offset += m->size, now);
				break;
			case 11:
			case 12:
				spool_acked(s,
					    what & 256 ? offset : offset - (offset > 4000 ? 4000 : offset));
				break;
			case 13:
				spool_tick(s, now += what / 64 % NS_PER_SEC);
				if (breaks && !(what & 0x700))
					limit_files(what & 0x800);
				break;
			case 14:
				if (what & 0x3f00)
					break;
				spool_rewind(s, what & 64);
				offset = last = 0;
				break;
			case 15:
				if (what & 0x7f00)
					break;
				if (config.dir && !breaks) {
					struct spool_stats t = stats_of(s);

					spool_close(s);
					told.sum = (struct spool_totals){0};
					s = open_spool(config);
					/* of the window, some may be gone */
					assert_in_range(stats_of(s).recovered.messages, t.unsent.messages,
							t.held.messages);
					if (!t.dropped.messages && config.max_octets > MIB)
						assert_int_equal(stats_of(s).recovered.flows.octets,
								 t.held.flows.octets);
					offset = last = 0;
				}
				break;
			}
			if (step % 16 == 0) {
				struct spool_stats t = stats_of(s);

				assert_memory_equal(&told.sum, &t.dropped, sizeof(told.sum));
			}
		}
		limit_files(false);
		spool_rewind(s, false);
		assert_int_equal(stats_of(s).held.messages, stats_of(s).unsent.messages);
		for (uint64_t left = stats_of(s).unsent.messages; left; left--) {
			assert_non_null(spool_next(s));
			spool_mark_sent(s, 1, now);
		}
		assert_null(spool_next(s));
		spool_acked(s, 1);
		spool_rewind(s, true);
		assert_int_equal(stats_of(s).held.messages, 0);
		assert_int_equal(stats_of(s).head, stats_of(s).tail);
		spool_close(s);
		remove_files(spool_path);
	}
}

#define REMOVED_MOST 6000u

static bool told_lost[REMOVED_MOST + 1];

static void on_told_lost(void *context, uint64_t first, uint64_t last)
{
	(void)context;
	for (uint64_t number = first; number <= last && number <= REMOVED_MOST; number++)
		told_lost[number] = true;
}

/* Removes some of the segments, or all, or cuts them; returns how many. */
static unsigned spoil_segments(uint64_t *random, unsigned of_eight)
{
	DIR *dir = opendir(spool_path);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char path[400];

		if (!strstr(e->d_name, ".ipfix") || test_random(random) % 8 >= of_eight)
			continue;
		snprintf(path, sizeof(path), "%s/%s", spool_path, e->d_name);
		assert_int_equal(test_random(random) % 4 ? unlink(path) : truncate(path, 100), 0);
		n++;
	}
	closedir(dir);
	return n;
}

/* Of n messages each came, or was told of as lost; those that came in a session that ended badly may be both.
 */
static void check_removed(struct spool *s, unsigned n, unsigned forgotten)
{
	static bool came[REMOVED_MOST + 1];
	uint64_t offset = 0;
	const struct spool_message *m;

	memset(came, 0, sizeof(came));
	while ((m = spool_next(s))) {
		came[message_id(m)] = true;
		offset += m->size;
		spool_mark_sent(s, offset, 1);
	}
	for (unsigned id = forgotten + 1; id <= n; id++)
		if (came[id] == told_lost[id])
			fail_msg("message %u of %u came: %d, told of as lost: %d", id, n, came[id],
				 told_lost[id]);
	spool_acked(s, offset);
	spool_rewind(s, true);
	assert_int_equal(stats_of(s).held.messages, 0);
}

/* Somebody removes files while they are used: what memory has is written again, the rest is told as lost. */
static void test_removed(void **state)
{
	uint64_t random = 7;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct spool_config config = on_disk();
		uint64_t offset = 0, count, now = NS_PER_SEC;
		unsigned n = 1 + (unsigned)(test_random(&random) % 3000), removed;
		struct spool *s;

		memset(told_lost, 0, sizeof(told_lost));
		config.max_octets = 8 * MIB;
		config.memory_octets = MIB;
		config.replay_octets = 64 * MIB;
		config.replay_ns = UINT64_MAX;
		config.lost = on_told_lost;
		s = open_spool(config);
		for (unsigned id = 1; id <= n; id++)
			append(s, id);
		send_some(s, test_random(&random) % (n + 1), &offset, now, &count);
		spool_acked(s, offset / 2);
		if (round & 1)
			(void)spool_next(s); /* one is lent */
		removed = spoil_segments(&random, round % 3 ? 3 : 8);
		if (round % 4 == 3)
			spool_check(s);
		now += 2 * NS_PER_SEC;
		spool_tick(s, now);
		if (removed) /* a change within the tick of the file system's clock is seen at the end */
			spool_check(s);
		assert_int_equal(stats_of(s).missing_files > 0, removed > 0);
		for (unsigned id = n + 1; id <= n + 500; id++)
			append(s, id);
		check_identity(s);
		spool_rewind(s, false);
		check_removed(s, n + 500, 0);
		spool_close(s);
		s = open_spool(config);
		assert_int_equal(stats_of(s).recovered.messages, 0);
		spool_close(s);
		remove_files(spool_path);
	}
}

/* The same at the very end, and the directory with them: nothing is left, and nothing is said to be. */
static void test_removed_at_the_end(void **state)
{
	(void)state;
	for (unsigned way = 0; way < 2; way++) {
		struct spool_config config = on_disk();
		struct spool *s;

		memset(told_lost, 0, sizeof(told_lost));
		config.lost = on_told_lost;
		s = open_spool(config);
		for (unsigned id = 1; id <= 5000; id++)
			append(s, id);
		remove_files(spool_path);
		if (way)
			assert_int_equal(rmdir(spool_path), 0);
		spool_close(s);
		s = open_spool(config);
		for (unsigned id = 1; id + stats_of(s).recovered.messages <= 5000; id++)
			assert_true(told_lost[id]);
		assert_int_equal(stats_of(s).recovered.messages > 0, !way); /* what memory still had */
		spool_close(s);
		remove_files(spool_path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, set_up),
		cmocka_unit_test_setup(test_sizes, set_up),
		cmocka_unit_test_setup(test_bound_memory, set_up),
		cmocka_unit_test_setup(test_bound_disk, set_up),
		cmocka_unit_test_setup(test_lent, set_up),
		cmocka_unit_test_setup(test_rewind, set_up),
		cmocka_unit_test_setup(test_window, set_up),
		cmocka_unit_test_setup(test_window_full, set_up),
		cmocka_unit_test_setup(test_preamble, set_up),
		cmocka_unit_test_setup(test_one_process, set_up),
		cmocka_unit_test_setup(test_names, set_up),
		cmocka_unit_test_setup(test_kill, set_up),
		cmocka_unit_test_setup(test_torn, set_up),
		cmocka_unit_test_setup(test_flips, set_up),
		cmocka_unit_test_setup(test_file_limit, set_up),
		cmocka_unit_test_setup(test_full, set_up),
		cmocka_unit_test_setup(test_read_only, set_up),
		cmocka_unit_test_setup(test_no_rights, set_up),
		cmocka_unit_test_setup(test_allocations, set_up),
		cmocka_unit_test_setup(test_spoilt, set_up),
		cmocka_unit_test_setup(test_anything, set_up),
		cmocka_unit_test_setup(test_removed, set_up),
		cmocka_unit_test_setup(test_removed_at_the_end, set_up),
	};
	char path[80];
	int r;

	if (!mkdtemp(root))
		return 1;
	snprintf(spool_path, sizeof(spool_path), "%s/c", root);
	r = cmocka_run_group_tests_name("spool", tests, NULL, NULL);
	remove_files(spool_path);
	rmdir(spool_path);
	snprintf(path, sizeof(path), "%s/mnt", root);
	rmdir(path);
	rmdir(root);
	return r;
}
