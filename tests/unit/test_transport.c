/*
 * The transports, each through its ops: transport/transport.c, transport/file.c, transport/file_place.c,
 * transport/file_writer.c, transport/udp.c,
 * transport/udp_sent.c, transport/udp_slots.c, base/resolve.c.  Sockets are on
 * loopback.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cm.h"
#include "lacking.h"
#include "pitot/clock.h"
#include "pitot/transport.h"
#include "transport/file_writer.h"
#include "pitot/resolve.h"

static struct transport *t;
static struct diag diag;
static struct transport_stats last;
static uint64_t told_sent, told_lost, told_revoked, told_packets;

static void on_outcome(void *context, const struct transport_load *load, size_t size, bool sent)
{
	assert_ptr_equal(context, &diag);
	assert_true(size > 0);
	*(sent ? &told_sent : &told_lost) += load->flows.records;
	told_packets += load->flows.packets;
}

static void on_revoked(void *context, const struct transport_load *load, size_t size)
{
	assert_ptr_equal(context, &diag);
	assert_true(size > 0);
	told_revoked += load->flows.records;
}

static int open_with(const struct collector_config *c, struct transport_config config)
{
	int r;

	config.collector = c;
	config.buffer_octets = 1 << 20;
	told_sent = told_lost = told_revoked = told_packets = 0;
	diag.text[0] = '\0';
	r = transport_open(&t, &config, &diag);
	if (r == 0) {
		t->outcome = on_outcome;
		t->revoked = on_revoked;
		t->context = &diag;
	}
	return r;
}

/* A message of n octets of value v with 3 records; false: no room was lent. */
static bool put(size_t n, int v)
{
	struct transport_load load = {.flows = {.records = 3, .packets = 30}};
	uint8_t *p = t->ops->reserve(t);

	if (!p)
		return false;
	assert_in_range(n, 1, t->limits.max_message);
	memset(p, v, n);
	t->ops->commit(t, n, &load);
	return true;
}

static void tick(void)
{
	struct clock_time now = clock_now();

	t->ops->tick(t, &now);
}

static void close_transport(void)
{
	t->ops->close(t, clock_monotonic_ns() + NS_PER_SEC, &last);
}

/* ---- file */

/* Until so many messages have come to an end. */
static void settle(uint64_t messages)
{
	for (int i = 0; i < 10000 && t->stats.messages + t->stats.lost_messages < messages; i++) {
		t->ops->flush(t);
		poll(NULL, 0, 1);
	}
	assert_int_equal(t->stats.messages + t->stats.lost_messages, messages);
}

static char directory[] = "/tmp/pitot-test-XXXXXX";

static struct collector_config file_collector(const char *name)
{
	struct collector_config c = {
		.url = "ipfix+file:x", .format = FORMAT_IPFIX, .transport = TRANSPORT_FILE};

	snprintf(c.path, sizeof(c.path), name[0] == '/' ? "%s%s" : "%s/%s", name[0] == '/' ? "" : directory,
		 name);
	return c;
}

static off_t size_of(const char *path, const char *suffix)
{
	char whole[4200];
	struct stat st;

	snprintf(whole, sizeof(whole), "%s%s", path, suffix);
	return stat(whole, &st) ? -1 : st.st_size;
}

static void test_file(void **state)
{
	struct collector_config c = file_collector("a.ipfix");
	uint64_t octets = 0;

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){.offline = true}), 0);
	assert_true(t->limits.reliable);
	assert_int_equal(t->session, 1);
	assert_int_equal(t->limits.max_message, 65535);
	for (unsigned i = 1; i <= 3000; i++) {
		size_t n = i * 37 % 65535 + 1;

		while (t->ops->crowded(t))
			t->ops->flush(t);
		assert_true(put(n, (int)i));
		octets += n;
		if (i % 100 == 0)
			t->ops->flush(t);
	}
	assert_int_equal(size_of(c.path, ""), -1);
	close_transport();
	assert_int_equal(last.octets, octets);
	assert_int_equal(last.messages, 3000);
	assert_int_equal(told_sent, 9000);
	assert_int_equal(told_packets, 90000);
	assert_int_equal(size_of(c.path, ""), octets);
	assert_int_equal(size_of(c.path, ".part"), -1);
	/* each message is where it should be */
	FILE *f = fopen(c.path, "rb");
	assert_non_null(f);
	for (unsigned i = 1; i <= 3000; i++)
		for (size_t k = 0; k < i * 37 % 65535 + 1; k++)
			if (fgetc(f) != (int)(i & 255))
				fail_msg("message %u octet %zu", i, k);
	fclose(f);
}

/* Live a file has its name at once; what fits is continued, anything else is put aside. */
static void test_file_continued(void **state)
{
	struct collector_config c = file_collector("live.csv");
	struct transport_config config = {.heading = "a,b\n"};
	char aside[4200];
	struct stat st;
	struct tm tm;
	int fd;

	(void)state;
	assert_int_equal(open_with(&c, config), 0);
	assert_false(t->continues);
	assert_true(put(4, 'a'));
	settle(1);
	assert_int_equal(size_of(c.path, ".part"), -1);
	assert_int_equal(size_of(c.path, ""), 4);
	close_transport();
	fd = open(c.path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, "a,b\n1,", 6), 6);
	close(fd);
	assert_int_equal(open_with(&c, config), 0);
	assert_true(t->continues);
	assert_true(put(2, 'x'));
	close_transport();
	assert_int_equal(size_of(c.path, ""), 9); /* the half line was ended */
	config.heading = "a,c\n";
	assert_int_equal(stat(c.path, &st), 0);
	assert_int_equal(open_with(&c, config), 0);
	assert_false(t->continues);
	assert_int_equal(t->notices, 1);
	assert_int_equal(size_of(c.path, ""), 0);
	close_transport();
	gmtime_r(&st.st_mtime, &tm);
	snprintf(aside, sizeof(aside), "%s/live-%04d%02d%02d%02d%02d%02d.csv", directory, tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	assert_int_equal(size_of(aside, ""), 9);
	unlink(aside);
	unlink(c.path);
}

static void check_file(const char *path, const char *text)
{
	char got[64] = "";
	FILE *f = fopen(path, "re");

	assert_non_null(f);
	(void)!fread(got, 1, sizeof(got) - 1, f);
	fclose(f);
	assert_string_equal(got, text);
}

static void append(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* A process that follows one that died goes on behind what was whole, of messages, too. */
static void test_file_again(void **state)
{
	struct transport_mark mark = {0};
	struct transport_config first = {.mark = &mark}, again = {.mark = &mark, .again = true};

	(void)state;
	for (unsigned series = 0; series < 2; series++) {
		struct collector_config c = file_collector(series ? "s-%S.ipfix" : "live.ipfix");
		char now[4200], aside[4200];
		struct transport *dead[2];
		unsigned second;

		assert_int_equal(open_with(&c, first), 0);
		second = (unsigned)(atomic_load(&mark.seconds) % 60);
		snprintf(now, sizeof(now), series ? "%s/s-%02u.ipfix.part" : "%s/live.ipfix", directory,
			 second);
		assert_true(put(4, 'a'));
		settle(1);
		assert_int_equal(atomic_load(&mark.octets), 4);
		/* it dies in the middle of another one: nobody closes anything */
		append(now, "bb");
		dead[0] = t;
		assert_int_equal(open_with(&c, again), 0);
		assert_true(t->continues);
		check_file(now, "aaaa");
		assert_true(put(4, 'b'));
		settle(1);
		check_file(now, "aaaabbbb");
		/* it was moved away: another one is begun, and that one is left alone */
		append(now, "cc");
		snprintf(aside, sizeof(aside), "%s/moved", directory);
		assert_int_equal(rename(now, aside), 0);
		dead[1] = t;
		assert_int_equal(open_with(&c, again), 0);
		assert_false(t->continues);
		assert_int_equal(t->notices, 1);
		check_file(aside, "aaaabbbbcc");
		unlink(aside);
		close_transport();
		unlink(now);
		second = (unsigned)(atomic_load(&mark.seconds) % 60);
		snprintf(now, sizeof(now), "%s/s-%02u.ipfix", directory, second);
		unlink(now);
		for (unsigned i = 0; i < 2; i++) { /* for who looks for leaks */
			t = dead[i];
			close_transport();
		}
	}
}

/* The next file of a series is another session, and the one before is complete. */
static void test_file_series(void **state)
{
	struct collector_config c = file_collector("s-%S%%.csv");
	struct collector_config first = file_collector("s-01%.csv"), second = file_collector("s-07%.csv"),
				third = file_collector("s-07%-1.csv");

	(void)state;
	c.rotate_ns = 5 * NS_PER_SEC;
	assert_int_equal(open_with(&c, (struct transport_config){.offline = true, .heading = ""}), 0);
	assert_true(t->rotates);
	assert_int_equal(t->session, 0);
	assert_int_equal(t->rotate_ns, 0); /* before the first record */
	t->ops->rotate(t, 1 * NS_PER_SEC);
	assert_int_equal(t->session, 1);
	assert_int_equal(t->rotate_ns, 5 * NS_PER_SEC);
	assert_true(put(10, 'a'));
	assert_int_equal(size_of(first.path, ".part"), 0);
	t->ops->rotate(t, 7 * NS_PER_SEC);
	assert_int_equal(t->session, 2);
	assert_int_equal(t->rotate_ns, 10 * NS_PER_SEC);
	assert_true(put(20, 'b'));
	close_transport();
	assert_int_equal(told_sent, 6);
	assert_int_equal(size_of(first.path, ""), 10);
	snprintf(second.path, sizeof(second.path), "%s/s-05%%.csv",
		 directory); /* where its 5 seconds begin */
	assert_int_equal(size_of(second.path, ""), 20);
	snprintf(third.path, sizeof(third.path), "%s/s-05%%-1.csv", directory);
	/* what is there is not replaced, and what was cut short is not complete */
	assert_int_equal(open_with(&c, (struct transport_config){.offline = true, .heading = ""}), 0);
	t->ops->rotate(t, 5 * NS_PER_SEC);
	assert_true(put(30, 'c'));
	t->incomplete = true;
	close_transport();
	assert_int_equal(size_of(second.path, ""), 20);
	assert_int_equal(size_of(third.path, ""), -1);
	assert_int_equal(size_of(third.path, ".part"), 30);
	unlink(first.path);
	unlink(second.path);
	snprintf(third.path, sizeof(third.path), "%s/s-05%%-1.csv.part", directory);
	unlink(third.path);
}

/* Live another file is looked for beside the writing: SIGHUP takes it when the name is not that file's any
 * more. */
static void test_file_reopened(void **state)
{
	struct collector_config c = file_collector("live.json");
	char moved[4200];

	(void)state;
	snprintf(moved, sizeof(moved), "%s.1", c.path);
	assert_int_equal(open_with(&c, (struct transport_config){.heading = ""}), 0);
	assert_true(put(10, 'a'));
	settle(1);
	t->ops->refresh(t); /* nothing has moved */
	for (int i = 0; i < 100; i++) {
		tick();
		poll(NULL, 0, 1);
	}
	assert_int_equal(t->rotate_ns, UINT64_MAX);
	assert_int_equal(rename(c.path, moved), 0);
	t->ops->refresh(t);
	for (int i = 0; i < 10000 && t->rotate_ns; i++) {
		tick();
		poll(NULL, 0, 1);
	}
	assert_int_equal(t->rotate_ns, 0);
	assert_true(put(20, 'b')); /* still for the old one */
	t->ops->rotate(t, 0);
	assert_int_equal(t->session, 2);
	assert_true(put(30, 'c'));
	close_transport();
	assert_int_equal(size_of(moved, ""), 30);
	assert_int_equal(size_of(c.path, ""), 30);
	unlink(moved);
	unlink(c.path);
}

/* What is lent stays where it is while older messages are written. */
static void test_file_flush_between(void **state)
{
	struct collector_config c = file_collector("b.ipfix");
	struct transport_load load = {.flows = {.records = 3}};
	char text[16] = "";
	uint8_t *p;
	int fd;

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_true(put(2, 'a'));
	p = t->ops->reserve(t);
	memcpy(p, "bcd", 3);
	t->ops->flush(t);
	p[3] = 'e';
	t->ops->commit(t, 4, &load);
	assert_true(put(1, 'f'));
	close_transport();
	fd = open(c.path, O_RDONLY);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_string_equal(text, "aabcdef");
	close(fd);
}

static void test_file_full(void **state)
{
	struct collector_config c = file_collector("/dev/full");

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_true(put(100, 1));
	assert_true(put(100, 2));
	settle(2);
	assert_int_equal(t->stats.lost_messages, 2);
	assert_int_equal(t->stats.last_error, ENOSPC);
	assert_int_equal(told_lost, 6);
	close_transport();
	assert_true(last.errors >= 1);
}

/* The reader of a pipe goes away: counted, no signal. */
static unsigned told_of;

static void note_written(void *ctx, const struct transport_load *load, size_t size, bool written)
{
	(void)load;
	(void)size;
	((bool *)ctx)[told_of++] = written;
}

static void commit_text(struct file_writer *w, const char *text, unsigned templates)
{
	uint8_t *room = file_writer_reserve(w);

	assert_non_null(room);
	memcpy(room, text, strlen(text));
	file_writer_commit(w, strlen(text), &(struct transport_load){.templates = templates});
	file_writer_flush(w);
}

static void await_written(struct file_writer *w)
{
	struct pollfd p = {.fd = file_writer_fd(w), .events = POLLIN};
	uint64_t drained;

	assert_int_equal(poll(&p, 1, 30000), 1);
	assert_int_equal(read(p.fd, &drained, sizeof(drained)), sizeof(drained));
}

/* Records whose templates found no room are not written: nobody could read them.  Those that come later are.
 */
static void test_file_without_templates(void **state)
{
	struct collector_config c = file_collector("templates");
	struct file_place place = {.kind = FILE_RESULT};
	struct file_piece piece = {.fd = open(c.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
	struct rlimit before, none;
	struct file_writer_news news;
	struct file_writer *w = NULL;
	bool written[8] = {false};

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(file_writer_new(&w, &place, &piece, true, 0), 0);
	signal(SIGXFSZ, SIG_IGN);
	none = (struct rlimit){0, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	commit_text(w, "templates,", 3);
	await_written(w);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	commit_text(w, "records of them,", 0);
	await_written(w);
	commit_text(w, "more of them,", 0); /* before the loss is told */
	told_of = 0;
	file_writer_collect(w, &news, note_written, written);
	assert_int_equal(news.error, EFBIG);
	commit_text(w, "templates again, records", 3);
	assert_int_equal(
		file_writer_end(w, clock_monotonic_ns() + 30 * NS_PER_SEC, &news, note_written, written), 0);
	assert_int_equal(told_of, 4);
	assert_false(written[0] || written[1] || written[2]);
	assert_true(written[3]);
	check_file(c.path, "templates again, records");
	unlink(c.path);
}

static void test_file_pipe(void **state)
{
	struct collector_config c = file_collector("fifo");
	char buffer[8];
	int fd;

	(void)state;
	assert_int_equal(mkfifo(c.path, 0600), 0);
	fd = open(c.path, O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_true(put(5, 'x'));
	settle(1);
	assert_int_equal(read(fd, buffer, sizeof(buffer)), 5);
	close(fd);
	assert_true(put(5, 'y'));
	settle(2);
	assert_int_equal(t->stats.last_error, EPIPE);
	assert_int_equal(told_sent, 3);
	assert_int_equal(told_lost, 3);
	close_transport();
	assert_int_equal(size_of(c.path, ".part"), -1);
}

static void test_file_errors(void **state)
{
	struct collector_config c = file_collector("no/such/folder");

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), -ENOENT);
	assert_non_null(strstr(diag.text, "no/such/folder"));
	for (unsigned kind = TRANSPORT_TCP; kind <= TRANSPORT_SCTP; kind++) {
		c.transport = (enum transport_kind)kind;
		if (open_with(&c, (struct transport_config){0}) == 0) {
			close_transport(); /* this build has it */
			continue;
		}
		assert_non_null(strstr(diag.text, c.url));
	}
}

/* ---- udp */

static int sink_fd;

static struct collector_config udp_collector(const char *host, bool listening)
{
	struct collector_config c = {.url = "ipfix://h", .format = FORMAT_IPFIX, .transport = TRANSPORT_UDP};
	bool v6 = strchr(host, ':') != NULL;
	struct sockaddr_storage ss = {.ss_family = v6 ? AF_INET6 : AF_INET};
	socklen_t size = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int octets = 8 << 20;

	snprintf(c.host, sizeof(c.host), "%s", host);
	sink_fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (v6)
		((struct sockaddr_in6 *)&ss)->sin6_addr = in6addr_loopback;
	else
		((struct sockaddr_in *)&ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(sink_fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof(octets));
	if (sink_fd < 0 || bind(sink_fd, (struct sockaddr *)&ss, size))
		return c; /* no IPv6 here: port 0 */
	assert_int_equal(getsockname(sink_fd, (struct sockaddr *)&ss, &size), 0);
	c.port = ntohs(v6 ? ((struct sockaddr_in6 *)&ss)->sin6_port : ((struct sockaddr_in *)&ss)->sin_port);
	if (!listening)
		close(sink_fd);
	return c;
}

static ssize_t take(uint8_t *buffer, size_t size)
{
	struct pollfd p = {.fd = sink_fd, .events = POLLIN};

	poll(&p, 1, 1000);
	return recv(sink_fd, buffer, size, 0);
}

static void test_udp(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	static uint8_t buffer[65536];
	struct clock_time now;

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_int_equal(t->state, TRANSPORT_STATE_UP);
	assert_int_equal(t->limits.max_message, 1472); /* loopback has more; at most 1500 */
	assert_false(t->limits.reliable);
	assert_int_equal(t->self.family, AF_INET);
	assert_int_equal(t->self.remote_port, c.port);
	assert_true(t->self.local_port != 0);
	for (unsigned i = 0; i < 100; i++)
		assert_true(put(100 + i, (int)i));
	assert_int_equal(t->ops->due_ns(t), 0);
	t->ops->flush(t);
	assert_int_equal(t->stats.messages, 100);
	now = clock_now();
	t->ops->tick(t, &now);
	assert_in_range(t->ops->due_ns(t), now.monotonic_ns + 1, now.monotonic_ns + 10 * NS_PER_SEC);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(take(buffer, sizeof(buffer)), 100 + i);
		assert_int_equal(buffer[0], i);
		assert_int_equal(buffer[99 + i], i);
	}
	assert_int_equal(told_sent, 300);
	close_transport();
	close(sink_fd);
}

/* Bulk: runs in one call arrive as the datagrams that they are. */
static void test_udp_bulk(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	static uint8_t buffer[65536];

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (unsigned i = 0; i < 4000; i++) {
		size_t size = i % 19 == 0 ? 700 : i % 23 == 0 ? 1472 : 1400;

		assert_true(put(size, (int)(i % 251)));
		if (i % 32 != 31)
			continue;
		t->ops->flush(t);
		for (unsigned k = i - 31; k <= i; k++) {
			assert_int_equal(take(buffer, sizeof(buffer)), k % 19 == 0   ? 700
								       : k % 23 == 0 ? 1472
										     : 1400);
			assert_int_equal(buffer[0], k % 251);
			assert_int_equal(buffer[699], k % 251);
		}
	}
	close_transport();
	assert_int_equal(last.messages, 4000);
	assert_int_equal(last.lost_messages + last.errors, 0);
	close(sink_fd);
}

static void test_udp_flush_between(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	struct transport_load load = {.flows = {.records = 3}};
	uint8_t buffer[64], *p;

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (unsigned i = 0; i < 70; i++) {
		assert_true(put(10, 'a'));
		p = t->ops->reserve(t);
		p[0] = (uint8_t)i;
		t->ops->flush(t);
		p[1] = 'z';
		t->ops->commit(t, 2, &load);
		t->ops->flush(t);
		assert_int_equal(take(buffer, sizeof(buffer)), 10);
		assert_int_equal(take(buffer, sizeof(buffer)), 2);
		assert_int_equal(buffer[0], i);
		assert_int_equal(buffer[1], 'z');
	}
	close_transport();
	close(sink_fd);
}

static void listen_again(const struct collector_config *c)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	in.sin_port = htons(c->port);
	sink_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(sink_fd, (struct sockaddr *)&in, sizeof(in)), 0);
}

/* Nobody listens: every datagram is sent, each ICMP error takes back the records of the one it is about, none
 * stops the next datagram. */
static void test_udp_refused(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", false);

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (int i = 0; i < 20; i++) {
		assert_true(put(100, i));
		t->ops->flush(t);
	}
	tick();
	assert_int_equal(told_sent, 60);
	assert_int_equal(told_revoked, 60);
	assert_int_equal(t->stats.messages, 0);
	assert_int_equal(t->stats.lost_messages, 20);
	assert_in_range(t->stats.errors, 20, 20);
	assert_int_equal(t->stats.last_error, ECONNREFUSED);
	assert_int_equal(t->state, TRANSPORT_STATE_UP);
	listen_again(&c);
	for (int i = 0; i < 20; i++)
		assert_true(put(100, i)); /* the same octets: the old errors were about others */
	t->ops->flush(t);
	tick();
	assert_int_equal(told_sent, 120);
	assert_int_equal(told_revoked, 60);
	close_transport();
	close(sink_fd);
}

/* One error for all that left by one call. */
static void test_udp_refused_in_bulk(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	static uint8_t buffer[65536];
	uint64_t taken = 0;

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (unsigned i = 0; i < 3200; i++) {
		uint8_t *p = t->ops->reserve(t);

		memset(p, 0, 1000);
		memcpy(p, &i, sizeof(i));
		t->ops->commit(t, 1000, &(struct transport_load){.flows = {3, 30, 300}});
		if (i % 32 != 31)
			continue;
		if (i == 1599) {
			close(sink_fd);
			sink_fd = -1;
		}
		if (i == 2399)
			listen_again(&c);
		t->ops->flush(t);
		while (sink_fd >= 0 && recv(sink_fd, buffer, sizeof(buffer), 0) > 0)
			taken++;
	}
	tick();
	assert_int_equal(taken, 2400);
	assert_int_equal(told_sent - told_revoked, 3 * taken);
	assert_int_equal(t->stats.records, 3 * taken);
	close_transport();
	close(sink_fd);
}

static void test_udp_refused6(void **state)
{
	struct collector_config c = udp_collector("::1", false);

	(void)state;
	if (c.port == 0)
		return;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (int i = 0; i < 5; i++)
		assert_true(put(100, i));
	t->ops->flush(t);
	tick();
	assert_int_equal(told_revoked, 15);
	close_transport();
}

/* A collector is asked with nothing in the datagram. */
static void test_udp_probe(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", false);

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_true(put(100, 1));
	t->ops->flush(t);
	tick();
	assert_int_equal(told_revoked, 3);
	t->ops->probe(t);
	tick();
	assert_int_equal(t->stats.errors, 2);
	assert_int_equal(told_revoked, 3);
	/* its refusal is about no other datagram that arrived, although nothing is quoted */
	listen_again(&c);
	assert_true(put(100, 2));
	t->ops->flush(t);
	close(sink_fd);
	t->ops->probe(t);
	tick();
	assert_int_equal(t->stats.errors, 3);
	assert_int_equal(told_revoked, 3);
	close_transport();
}

/* Live, what is not there yet is waited for: an address, a device. */
static void test_udp_waits(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	static const struct transport_config missing[] = {{.source_host = "192.0.2.77"},
							  {.bind_device = "nosuchdev0"}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(missing); i++) {
		assert_int_equal(open_with(&c, missing[i]), 0);
		assert_int_equal(t->state, TRANSPORT_STATE_FAILED);
		assert_non_null(
			strstr(t->stats.reason, i ? "--bind-device nosuchdev0" : "--source 192.0.2.77"));
		assert_false(put(10, 1));
		for (unsigned k = 0; k < 100; k++)
			tick();
		assert_int_equal(t->stats.errors, 1); /* tried again later, or when the network changes */
		t->ops->network_changed(t);
		for (unsigned k = 0; k < 1000 && t->stats.errors < 2; k++) {
			nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
			tick();
		}
		assert_int_equal(t->stats.errors, 2);
		close_transport();
	}
	close(sink_fd);
}

static void test_udp_mtu(void **state)
{
	static const struct {
		uint32_t mtu;
		size_t v4, v6;
	} cases[] = {{0, 1472, 1452}, {512, 484, 464}, {1400, 1372, 1352}, {9000, 8972, 8952}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct collector_config c = udp_collector("127.0.0.1", true);

		assert_int_equal(open_with(&c, (struct transport_config){.mtu = cases[i].mtu}), 0);
		assert_int_equal(t->limits.max_message, cases[i].v4);
		assert_true(put(cases[i].v4, 1));
		close_transport();
		assert_int_equal(last.messages, 1);
		close(sink_fd);
		c = udp_collector("::1", true);
		if (c.port == 0)
			continue;
		assert_int_equal(open_with(&c, (struct transport_config){.mtu = cases[i].mtu}), 0);
		assert_int_equal(t->limits.max_message, cases[i].v6);
		assert_true(put(cases[i].v6, 1));
		close_transport();
		assert_int_equal(last.messages, 1);
		close(sink_fd);
	}
}

static void test_udp_source(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	struct pollfd p = {.fd = sink_fd, .events = POLLIN};
	uint8_t buffer[8];

	(void)state;
	assert_int_equal(open_with(&c, (struct transport_config){.source_host = "127.0.0.2", .ttl = 7}), 0);
	assert_true(put(4, 1));
	t->ops->flush(t);
	poll(&p, 1, 1000);
	assert_int_equal(recvfrom(sink_fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &size), 4);
	assert_int_equal(ntohl(from.sin_addr.s_addr), 0x7f000002);
	assert_int_equal(ntohs(from.sin_port), t->self.local_port);
	close_transport();
	assert_int_equal(open_with(&c, (struct transport_config){.source_host = "not.an.address"}), -EINVAL);
	assert_non_null(strstr(diag.text, "--source not.an.address"));
	assert_int_equal(
		open_with(&c, (struct transport_config){.source_host = "192.0.2.77", .offline = true}),
		-EADDRNOTAVAIL);
	assert_non_null(strstr(diag.text, "--source 192.0.2.77"));
	assert_int_equal(open_with(&c, (struct transport_config){.source_host = "::1"}), -EAFNOSUPPORT);
	assert_non_null(strstr(diag.text, "--source ::1"));
	assert_true(open_with(&c, (struct transport_config){.bind_device = "nosuchdev0", .offline = true}) <
		    0);
	assert_non_null(strstr(diag.text, "--bind-device nosuchdev0"));
	assert_int_equal(open_with(&c, (struct transport_config){.mtu = 10}), -EINVAL);
	close(sink_fd);
}

/* A name: the exporting thread never waits; until it resolves nothing is lent. */
static void test_udp_name(void **state)
{
	struct collector_config c = udp_collector("127.0.0.1", true);
	const struct timespec step = {.tv_nsec = 10000000};
	uint64_t begin;

	(void)state;
	snprintf(c.host, sizeof(c.host), "localhost");
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	for (unsigned i = 0; i < 500 && !t->session; i++) {
		begin = clock_monotonic_ns();
		tick();
		assert_true(clock_monotonic_ns() - begin < 3 * NS_PER_SEC);
		nanosleep(&step, NULL);
	}
	if (t->session) { /* may be ::1, where nobody listens */
		assert_true(put(5, 1));
		t->ops->refresh(t);
		for (unsigned i = 0; i < 50; i++) {
			tick();
			nanosleep(&step, NULL);
		}
		assert_int_equal(t->session, 1); /* the same address: the same session */
	}
	close_transport();
	snprintf(c.host, sizeof(c.host), "no-such-host.invalid");
	begin = clock_monotonic_ns();
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_false(put(5, 1));
	tick();
	assert_true(clock_monotonic_ns() - begin < 3 * NS_PER_SEC);
	assert_int_equal(t->session, 0);
	close_transport(); /* while the lookup may still run */
	close(sink_fd);
}

static void test_resolve(void **state)
{
	struct resolve_result result;
	struct resolve *r = NULL;

	(void)state;
	assert_true(resolve_numeric(&result, "2001:db8::1", 4739, SOCK_DGRAM));
	assert_int_equal(result.n, 1);
	assert_int_equal(ntohs(((struct sockaddr_in6 *)&result.addresses[0])->sin6_port), 4739);
	assert_false(resolve_numeric(&result, "localhost", 1, SOCK_DGRAM));
	assert_int_equal(resolve_start(&r, "127.0.0.1", 5, SOCK_DGRAM), 0);
	assert_true(resolve_take(&r, &result, 5000));
	assert_null(r);
	assert_int_equal(result.error, 0);
	assert_int_equal(resolve_start(&r, "127.0.0.1", 5, SOCK_DGRAM), 0);
	resolve_drop(&r);
	assert_null(r);
	resolve_drop(&r);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"a.ipfix", "b.ipfix", "fifo"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	return rmdir(directory);
}

/* A router says that an earlier datagram was too long for a path that takes 600 octets. */
static void say_narrow(const struct transport_local *self)
{
	uint8_t p[36] = {3,    4, 0, 0, 0, 0, 600 >> 8, 600 & 255, /* RFC 1191 */
			 0x45, 0, 5, 0, 0, 0, 0x40,	0,	   64, IPPROTO_UDP};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	uint32_t sum = 0;

	memcpy(p + 20, self->local, 4);
	memcpy(p + 24, self->remote, 4);
	p[28] = (uint8_t)(self->local_port >> 8);
	p[29] = (uint8_t)self->local_port;
	p[30] = (uint8_t)(self->remote_port >> 8);
	p[31] = (uint8_t)self->remote_port;
	for (unsigned i = 0; i < sizeof(p); i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~(sum + (sum >> 16));
	p[2] = (uint8_t)(sum >> 8);
	p[3] = (uint8_t)sum;
	assert_int_equal(sendto(fd, p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)sizeof(p));
	close(fd);
}

/* That costs no later datagram that is short enough.  In a network of its own: the last test. */
static void test_udp_narrower(void **state)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	struct collector_config c;
	int control;

	(void)state;
	if (unshare(CLONE_NEWNET) != 0)
		lacking_here("a path that becomes narrower needs root");
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(control, SIOCSIFFLAGS, &up), 0);
	close(control);
	c = udp_collector("127.0.0.1", true);
	assert_int_equal(open_with(&c, (struct transport_config){0}), 0);
	assert_int_equal(t->limits.max_message, 1472);
	assert_true(put(1400, 1));
	t->ops->flush(t);
	say_narrow(&t->self);
	assert_true(put(500, 2));
	assert_true(put(1000, 3));
	t->ops->flush(t);
	assert_int_equal(told_sent, 6);
	assert_int_equal(told_lost, 3);
	assert_int_equal(t->limits.max_message, 572);
	close_transport();
	close(sink_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_flush_between),
		cmocka_unit_test(test_file_full),
		cmocka_unit_test(test_file_without_templates),
		cmocka_unit_test(test_file_pipe),
		cmocka_unit_test(test_file_continued),
		cmocka_unit_test(test_file_again),
		cmocka_unit_test(test_file_series),
		cmocka_unit_test(test_file_reopened),
		cmocka_unit_test(test_file_errors),
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_udp_bulk),
		cmocka_unit_test(test_udp_flush_between),
		cmocka_unit_test(test_udp_refused),
		cmocka_unit_test(test_udp_mtu),
		cmocka_unit_test(test_udp_refused_in_bulk),
		cmocka_unit_test(test_udp_refused6),
		cmocka_unit_test(test_udp_probe),
		cmocka_unit_test(test_udp_waits),
		cmocka_unit_test(test_udp_source),
		cmocka_unit_test(test_udp_name),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_udp_narrower),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
