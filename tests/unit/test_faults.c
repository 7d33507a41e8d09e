/*
 * The Nth system call fails, for each N and each error: a savefile through capture, decode, flow table and
 * the exporter with a collector of every kind, and a spool over a restart.  Nothing crashes, hangs, leaks a
 * descriptor or loses count.
 */
#include "cm.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "failcall.h"
#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/decode.h"
#include "pitot/exporter.h"
#include "pitot/flow_table.h"
#include "pitot/spool.h"

#if defined(PITOT_SANITIZED) /* all of it is tried without: here each call is hit by some of the errors */
enum { SPOOL_STEP = 3 };
#else
enum { SPOOL_STEP = 1 };
#endif

static const int errors[] = {ENOBUFS, ENOMEM, EINTR,  EAGAIN,	  ENETDOWN,
			     ENOSPC,  EIO,    EMFILE, ECONNRESET, FAILCALL_SHORT};

static char root[40];
static char savefile[4096];
static int udp_sink, tcp_sink, stop_pipe[2];
static uint16_t udp_port, tcp_port;
static pthread_t collector_thread;
static unsigned share, n_shares = 1; /* which of the errors are tried here, when they are shared out */

/* ---- what is around */

static int listen_on(int type, uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* A collector that reads and closes after its exporter. */
static void *collect(void *unused)
{
	struct pollfd p[18] = {{.fd = stop_pipe[0], .events = POLLIN}, {.fd = tcp_sink, .events = POLLIN}};
	unsigned n = 2;
	uint8_t buffer[16384];

	(void)unused;
	for (;;) {
		poll(p, n, -1);
		if (p[0].revents)
			break;
		for (unsigned i = n - 1; i >= 2; i--) {
			if (!p[i].revents || recv(p[i].fd, buffer, sizeof(buffer), 0) > 0)
				continue;
			close(p[i].fd);
			p[i] = p[--n];
		}
		if ((p[1].revents & POLLIN) && n < ARRAY_SIZE(p)) {
			p[n] = (struct pollfd){.fd = accept4(tcp_sink, NULL, NULL, SOCK_CLOEXEC),
					       .events = POLLIN};
			n += p[n].fd >= 0;
		}
	}
	for (unsigned i = 2; i < n; i++)
		close(p[i].fd);
	return NULL;
}

/* Descriptors of this process, but for those of the collector's connections. */
static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++) {
		struct sockaddr_in a = {0};
		socklen_t size = sizeof(a);

		if (fcntl(fd, F_GETFD) < 0)
			continue;
		if (getsockname(fd, (struct sockaddr *)&a, &size) == 0 && a.sin_family == AF_INET &&
		    ntohs(a.sin_port) == tcp_port)
			continue;
		n++;
	}
	return n;
}

/* No more than before; the thread of a file that took its time closes it when it is done. */
static void check_files(unsigned before, unsigned call, int error)
{
	for (unsigned i = 0; open_files() != before; i++) {
		if (i == 3000)
			fail_msg("%u descriptors, %u before: %s, call %u: %s", open_files(), before,
				 failcall_name(), call, strerror(error));
		usleep(10000);
	}
}

static void remove_below(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char name[700];

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (unlink(name) != 0) {
			remove_below(name);
			rmdir(name);
		}
	}
	if (dir)
		closedir(dir);
}

/* ---- the pipeline */

struct pipeline {
	struct exporter *exporter;
	uint64_t metered, out_packets, out_records;
	struct clock_time now;
};

static void on_record(void *ctx, const struct flow_record *r)
{
	struct pipeline *l = ctx;

	l->out_packets += r->packets;
	l->out_records++;
	exporter_record(l->exporter, r, &l->now);
	if (l->out_records % 16 == 0) {
		l->now = clock_now();
		exporter_tick(l->exporter, &l->now);
	}
}

/* All the packets of the savefile that can be read; 0 or what ended it. */
static int meter(struct pipeline *l, struct diag *diag)
{
	struct capture_config cc = {.path = savefile};
	struct decode_config dc = {.max_layers = 32};
	struct flow_table_config tc = {.max_flows = 16,
				       .active_ns = 60 * NS_PER_SEC,
				       .inactive_ns = 15 * NS_PER_SEC,
				       .tcp_end_ns = UINT64_MAX,
				       .on_record = on_record,
				       .ctx = l};
	static struct packet packets[BATCH_MAX];
	struct capture *capture = NULL;
	struct decoder *decoder = NULL;
	struct flow_table *table = NULL;
	struct frame_batch b;
	int r = capture_open(&capture, &cc, diag);

	hash_seed_fixed(&tc.seed, 1);
	if (r == 0)
		r = decoder_new(&decoder, capture->link_type, &dc, diag);
	if (r == 0)
		r = flow_table_new(&table, &tc, diag);
	while (r == 0 && (r = capture_recv(capture, &b, 0, diag)) == 0) {
		unsigned n = 0;

		for (unsigned i = 0; i < b.n; i++) {
			decode_frame(decoder, &b.frames[i], &packets[n]);
			n += packets[n].verdict == PACKET_METERED;
		}
		l->metered += n;
		flow_table_prefetch(table, packets, n);
		flow_table_update(table, packets, n);
		capture_release(capture, &b);
	}
	if (table)
		flow_table_flush(table, FLOW_END_FORCED);
	flow_table_free(table);
	decoder_free(decoder);
	capture_close(capture);
	return r == CAPTURE_E_END ? 0 : r;
}

static void check_ledger(const struct exporter *e, bool over)
{
	struct exporter_stats es;

	exporter_get_stats(e, &es);
	assert_int_equal(es.taken.records, es.exported + es.not_sent.records);
	for (unsigned i = 0; i < exporter_collectors(e); i++) {
		struct collector_stats s;

		exporter_get_collector_stats(e, i, &s);
		assert_int_equal(es.taken.records,
				 s.sent.records + s.lost.records + s.unfit.records + s.pending.records);
		if (over && !s.reliable) /* else they are in the spool */
			assert_int_equal(s.pending.records, 0);
	}
}

static void run_pipeline(bool offline, bool must_work)
{
	char spool[64];
	struct collector_config collectors[5] = {
		{.url = "udp",
		 .format = FORMAT_IPFIX,
		 .transport = TRANSPORT_UDP,
		 .host = "127.0.0.1",
		 .port = udp_port},
		{.url = "file", .format = FORMAT_IPFIX, .transport = TRANSPORT_FILE},
		{.url = "tcp",
		 .format = FORMAT_IPFIX,
		 .transport = TRANSPORT_TCP,
		 .host = "127.0.0.1",
		 .port = tcp_port},
		{.url = "json", .format = FORMAT_JSON, .transport = TRANSPORT_FILE},
		{.url = "v9",
		 .format = FORMAT_NETFLOW9,
		 .transport = TRANSPORT_UDP,
		 .host = "127.0.0.1",
		 .port = udp_port},
	};
	struct pipeline l = {.now = clock_now()};
	struct exporter_config config = {
		.collectors = collectors,
		.n_collectors = ARRAY_SIZE(collectors),
		.template_ns = 60 * NS_PER_SEC,
		.template_messages = 20,
		.flush_ns = NS_PER_SEC,
		.offline = offline,
		.start_ns = l.now.realtime_ns,
		.start_monotonic_ns = l.now.monotonic_ns,
		.transport = {.offline = offline,
			      .reconnect_ns = NS_PER_MSEC,
			      .spool_dir = spool,
			      .spool_octets = 1 << 20,
			      .replay_octets = 1 << 20},
	};
	struct diag diag = {""};
	struct exporter_stats es;
	int r;

	snprintf(spool, sizeof(spool), "%s/spool", root);
	snprintf(collectors[1].path, sizeof(collectors[1].path), "%s/out.ipfix", root);
	snprintf(collectors[3].path, sizeof(collectors[3].path), "%s/out.json", root);
	r = exporter_new(&l.exporter, &config, &diag);
	if (r) {
		assert_true(r < 0 && !must_work);
		assert_true(diag.text[0]);
		return;
	}
	l.now = clock_now();
	exporter_tick(l.exporter, &l.now);
	r = meter(&l, &diag);
	assert_true(r == 0 || (r < 0 && !must_work && diag.text[0]));
	assert_int_equal(l.metered, l.out_packets);
	check_ledger(l.exporter, false);
	l.now = clock_now();
	exporter_finish(l.exporter, &l.now);
	check_ledger(l.exporter, true);
	exporter_get_stats(l.exporter, &es);
	assert_int_equal(es.taken.records, l.out_records);
	assert_int_equal(es.taken.packets, l.out_packets);
	if (must_work)
		assert_int_equal(es.not_sent.records, 0);
	exporter_free(l.exporter);
}

static void drain_udp(void)
{
	uint8_t buffer[2048];

	while (recv(udp_sink, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
		;
}

/* Each call is hit by some of the errors: one error fails every step-th call only. */
static void fail_pipeline(bool offline, unsigned times, unsigned step)
{
	unsigned most = 0, before = open_files();

	run_pipeline(offline, true);
	for (unsigned i = share; i < ARRAY_SIZE(errors); i += n_shares) {
		bool failed = true;

		for (unsigned n = 1 + i % step; failed; n += step) {
			uint64_t begin = clock_monotonic_ns(), took;

			failcall_start(n, times, errors[i]);
			run_pipeline(offline, false);
			failed = failcall_stop();
			took = (clock_monotonic_ns() - begin) / NS_PER_MSEC;
			if (took > 30000) /* as long as no wait in here may take, however busy the machine */
				fail_msg("%u ms: %s, call %u: %s", (unsigned)took, failcall_name(), n,
					 strerror(errors[i]));
			check_files(before, n, errors[i]);
			drain_udp();
			remove_below(root);
			most = n > most ? n : most;
		}
	}
	assert_true(most > 50); /* there were calls to fail */
}

static void test_live(void **state)
{
	(void)state;
	fail_pipeline(false, 1, 3);
}

static void test_offline(void **state)
{
	(void)state;
	fail_pipeline(true, 1, 5);
}

/* Three in a row. */
static void test_repeated(void **state)
{
	(void)state;
	fail_pipeline(false, 3, 7);
}

/* All of them from there on: where it begins matters less, and these runs take the longest. */
static void test_forever(void **state)
{
	(void)state;
	fail_pipeline(false, FAILCALL_ALL, 11);
}

/* ---- the spool */

static struct spool_stats stats_of(const struct spool *s)
{
	struct spool_stats t;

	spool_get_stats(s, &t);
	assert_int_equal(t.appended.messages + t.recovered.messages,
			 t.done.messages + t.dropped.messages + t.held.messages);
	return t;
}

static bool seen[200];

/* Sends what there is, or most.  Messages are whole and in order; *last is the id of the last. */
static void send_all(struct spool *s, unsigned most, uint64_t *offset, uint64_t *now, uint64_t *last)
{
	const struct spool_message *m;

	for (unsigned tries = 0; stats_of(s).unsent.messages && most && tries < 20; tries++) {
		while (most && (m = spool_next(s))) {
			uint64_t id;

			memcpy(&id, m->data, sizeof(id));
			assert_true(id > *last);
			assert_int_equal(m->size, 8 + id % 1000);
			seen[id] = true;
			*last = id;
			*offset += m->size;
			spool_mark_sent(s, *offset, *now);
			most--;
		}
		spool_tick(s, *now += NS_PER_SEC); /* what could not be read is tried again */
	}
	assert_true(most == 0 || stats_of(s).unsent.messages == 0);
}

/* With one failure at most nothing is lost, nor sent again after it was forgotten. */
static void run_spool(bool failing, bool once)
{
	struct spool_config config = {.dir = root, .name = "c", .max_octets = 1 << 20, .memory_octets = 1};
	uint64_t offset = 0, now = NS_PER_SEC, id = 0, last = 0;
	uint8_t p[1100] = {0};
	struct spool *s = NULL;
	struct diag diag = {""};
	int r;

	memset(seen, 0, sizeof(seen));
	for (unsigned run = 0; run < 4; run++) {
		if (run == 3)
			failcall_hold();
		r = spool_open(&s, &config, &diag);
		if (r) { /* there is a reason, and another try works */
			assert_true(failing && diag.text[0]);
			continue;
		}
		offset = 0;
		for (unsigned i = 0; i < 40; i++) {
			id++;
			memcpy(p, &id, sizeof(id));
			r = spool_append(s, p, 8 + id % 1000, 1, 1, 1);
			assert_true(r == 0 || (failing && r == -ENOSPC));
			if (i % 20 == 0)
				spool_tick(s, now += NS_PER_SEC);
		}
		last = 0;
		if (run < 3) {
			send_all(s, 25, &offset, &now, &last);
			spool_acked(s, offset / 2);
			spool_tick(s, now);
		} else {
			send_all(s, UINT32_MAX, &offset, &now, &last);
			assert_int_equal(last, id);
			spool_acked(s, offset);
			spool_rewind(s, true);
			assert_int_equal(stats_of(s).held.messages, 0);
		}
		if (once)
			assert_int_equal(stats_of(s).dropped.messages, 0);
		spool_close(s);
	}
	for (uint64_t i = 1; once && i <= id; i++)
		if (!seen[i])
			fail_msg("message %u is lost: %s", (unsigned)i, failcall_name());
}

static void test_spool(void **state)
{
	(void)state;
	run_spool(false, true);
	for (unsigned times = 1; times <= 5; times += 2) {
		unsigned step = times * SPOOL_STEP;

		for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
			bool failed = true;

			for (unsigned n = 1 + i % step; failed; n += step) {
				unsigned before = open_files();

				remove_below(root);
				failcall_start(n, times, errors[i]);
				run_spool(true, times == 1);
				failed = failcall_stop();
				if (open_files() != before)
					fail_msg("a descriptor is left: %s, call %u: %s", failcall_name(), n,
						 strerror(errors[i]));
			}
		}
	}
}

static int set_up(void **state)
{
	(void)state;
	remove_below(root);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_live, set_up),     cmocka_unit_test_setup(test_offline, set_up),
		cmocka_unit_test_setup(test_repeated, set_up), cmocka_unit_test_setup(test_forever, set_up),
		cmocka_unit_test_setup(test_spool, set_up),
	};
	const char *source = getenv("PITOT_SOURCE_ROOT"), *directory = getenv("TMPDIR");
	int r;

	snprintf(savefile, sizeof(savefile), "%s/tests/data/mixed.pcap", source ? source : ".");
	snprintf(root, sizeof(root), "%s/XXXXXX", directory ? directory : "/tmp");
	if (!mkdtemp(root) || pipe(stop_pipe))
		return 1;
	udp_sink = listen_on(SOCK_DGRAM, &udp_port);
	tcp_sink = listen_on(SOCK_STREAM, &tcp_port);
	if (pthread_create(&collector_thread, NULL, collect, NULL))
		return 1;
	if (argc > 1) /* the parts of this test run side by side */
		cmocka_set_test_filter(argv[1]);
	if (argc > 3) {
		share = (unsigned)atoi(argv[2]);
		n_shares = (unsigned)atoi(argv[3]);
	}
	r = cmocka_run_group_tests_name("faults", tests, NULL, NULL);
	close(stop_pipe[1]);
	pthread_join(collector_thread, NULL);
	remove_below(root);
	rmdir(root);
	return r;
}
