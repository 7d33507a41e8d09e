/*
 * Transports with a connection, against peers on loopback: transport/session.c, transport/session_connect.c,
 * transport/session_end.c, transport/session_queue.c, transport/tcp.c,
 * transport/sctp.c; what TLS refuses to begin with: transport/tls_client.c, transport/tls_files.c,
 * transport/tls_verify.c, transport/tls.c, transport/dtls.c, transport/tls_none.c (the rest is in
 * tests/e2e/transports.py, where certificates can be made).
 *
 * Time is the test's: ticks say what it is.  A message is 16 octets and numbers: restamp writes the session's
 * count into it, so a peer sees where it came from and where it stands.
 */
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/sctp.h> /* needs those before it */

#include "cm.h"
#include "transport/session.h"

#define MESSAGE	  1000u
#define TEMPLATES 77u	 /* the number of the message of templates */
#define MOST	  40000u /* messages in a world */

enum { UNTOLD, SENT, LOST };

struct world {
	struct transport *t;
	struct transport_stats last;
	struct collector_config collector;
	struct clock_time now;
	uint32_t sequence;
	uint64_t session;
	unsigned restamped;
	uint64_t sent, lost, revoked, kept; /* records */
	uint8_t fate[MOST];		    /* of each message: what was told of it */
	uint8_t came[MOST];		    /* how often the peers had it */
	int listener, peer;
	uint8_t *got; /* what the peer has of this session */
	size_t n_got;
};

static void on_outcome(void *context, const struct transport_load *load, size_t size, bool sent)
{
	struct world *w = context;

	(void)size;
	*(sent ? &w->sent : &w->lost) += load->flows.records;
	if (load->flows.records) {
		assert_int_equal(w->fate[load->lost.records], UNTOLD);
		w->fate[load->lost.records] = sent ? SENT : LOST;
	}
}

static void on_revoked(void *context, const struct transport_load *load, size_t size)
{
	struct world *w = context;

	(void)size;
	w->sent -= load->flows.records;
	w->lost += load->flows.records;
	w->revoked += load->flows.records;
	assert_int_equal(w->fate[load->lost.records], SENT);
	w->fate[load->lost.records] = LOST;
}

static void on_kept(void *context, const struct transport_load *load, size_t size)
{
	struct world *w = context;

	(void)size;
	w->sent -= load->flows.records;
	w->kept += load->flows.records;
	assert_int_equal(w->fate[load->lost.records], SENT);
}

static void on_restamp(void *context, uint8_t *message, size_t size, uint32_t records)
{
	struct world *w = context;

	assert_in_range(size, 16, 65535);
	if (w->session != w->t->session)
		w->sequence = 0;
	w->session = w->t->session;
	memcpy(message + 4, &w->sequence, 4);
	w->sequence += records;
	w->restamped++;
}

static void listen_on(struct world *w, int backlog)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(w->collector.port)};
	int on = 1, buffer = 32768;
	socklen_t size = sizeof(a);

	w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(w->listener >= 0);
	setsockopt(w->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(w->listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	assert_int_equal(bind(w->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(w->listener, backlog), 0);
	assert_int_equal(getsockname(w->listener, (struct sockaddr *)&a, &size), 0);
	w->collector.port = ntohs(a.sin_port);
}

static enum transport_kind world_transport = TRANSPORT_TCP;

/* On TCP, or by a layer of the test's. */
static struct world *world_of(struct transport_config config, const struct session_layer *layer,
			      const struct transport_ops *ops)
{
	struct world *w = calloc(1, sizeof(*w));
	struct session *s = NULL;
	struct diag diag = {""};

	assert_non_null(w);
	w->collector = (struct collector_config){.url = "ipfix+tcp://127.0.0.1",
						 .format = FORMAT_IPFIX,
						 .transport = world_transport,
						 .host = "127.0.0.1"};
	w->peer = -1;
	w->got = malloc(64 << 20);
	w->now = (struct clock_time){1700000000 * NS_PER_SEC, clock_monotonic_ns()};
	listen_on(w, 8);
	config.collector = &w->collector;
	if (layer ? session_open(&s, ops, layer, &config, &diag) : transport_open(&w->t, &config, &diag))
		fail_msg("%s", diag.text);
	if (layer)
		w->t = &s->t;
	assert_true(w->t->limits.spooled && w->t->limits.reliable);
	w->t->outcome = on_outcome;
	w->t->revoked = on_revoked;
	w->t->kept = on_kept;
	w->t->restamp = on_restamp;
	w->t->context = w;
	return w;
}

static struct world *world_new(struct transport_config config)
{
	struct world *w = world_of(config, NULL, NULL);
	uint8_t templates[16] = {TEMPLATES};

	assert_int_equal(w->t->ops->announce(w->t, templates, sizeof(templates), 1), 0);
	return w;
}

static void tick(struct world *w, uint64_t ms)
{
	w->now.monotonic_ns += ms * NS_PER_MSEC;
	w->now.realtime_ns += ms * NS_PER_MSEC;
	w->t->ops->tick(w->t, &w->now);
	w->t->ops->flush(w->t);
}

static void world_free(struct world *w, uint64_t deadline_ms)
{
	if (w->t)
		w->t->ops->close(w->t, w->now.monotonic_ns + deadline_ms * NS_PER_MSEC, &w->last);
	w->t = NULL;
	if (w->peer >= 0)
		close(w->peer);
	if (w->listener >= 0)
		close(w->listener);
	free(w->got);
	free(w);
}

static void commit(struct world *w, unsigned first, unsigned n)
{
	for (unsigned i = first; i < first + n; i++) {
		struct transport_load load = {.flows = {1, 2, 3},
					      .lost = {.records = i}}; /* tells them apart */
		uint8_t *m = w->t->ops->reserve(w->t);

		assert_non_null(m);
		memset(m, 0, MESSAGE);
		memcpy(m + 8, &i, 4);
		w->t->ops->commit(w->t, MESSAGE, &load);
	}
}

static void accept_peer(struct world *w)
{
	struct timeval wait = {.tv_usec = 50000};

	for (unsigned i = 0; i < 200 && w->t->state != TRANSPORT_STATE_UP; i++)
		tick(w, 1);
	assert_int_equal(w->t->state, TRANSPORT_STATE_UP);
	w->peer = accept(w->listener, NULL, NULL);
	assert_true(w->peer >= 0);
	setsockopt(w->peer, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	w->n_got = 0;
}

/* Until there is as much, or nothing more comes. */
static void hear(struct world *w, size_t octets)
{
	for (unsigned quiet = 0; w->n_got < octets && quiet < 10;) {
		ssize_t n;

		tick(w, 1);
		n = recv(w->peer, w->got + w->n_got, (64 << 20) - w->n_got, 0);
		if (n == 0)
			return;
		quiet += n < 0;
		w->n_got += n > 0 ? (size_t)n : 0;
	}
}

/* The peer's session is templates, then the messages [first, first + n) that count from 0. */
static void check_heard(const struct world *w, unsigned first, unsigned n)
{
	assert_int_equal(w->n_got, 16 + n * MESSAGE);
	assert_int_equal(w->got[0], TEMPLATES);
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *m = w->got + 16 + i * MESSAGE;
		uint32_t sequence, number;

		memcpy(&sequence, m + 4, 4);
		memcpy(&number, m + 8, 4);
		assert_int_equal(sequence, i);
		assert_int_equal(number, first + i);
	}
}

/* Marks what this session's peer has got, behind the templates. */
static void note_heard(struct world *w)
{
	for (size_t at = 16; at + MESSAGE <= w->n_got; at += MESSAGE) {
		uint32_t number;

		memcpy(&number, w->got + at + 8, 4);
		assert_in_range(number, 0, MOST - 1);
		w->came[number]++;
	}
}

/* Each message was told of, as what it was: lost are those, and only those, that never came. */
static void check_fates(const struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if ((w->fate[i] == SENT) != (w->came[i] > 0) || w->fate[i] == UNTOLD)
			fail_msg("message %u was told of as %s and came %u times", i,
				 w->fate[i] == SENT   ? "sent"
				 : w->fate[i] == LOST ? "lost"
						      : "nothing",
				 w->came[i]);
}

static void die(struct world *w, bool reset)
{
	struct linger now = {.l_onoff = 1};

	if (reset)
		setsockopt(w->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(w->peer);
	w->peer = -1;
}

enum answer { ANSWER_CLOSE, ANSWER_NOT, ANSWER_RESET };

/* The end, as the exporting process has it; the peer reads until FIN, and does what is asked for. */
static void finish(struct world *w, enum answer answer)
{
	w->t->ops->finish(w->t);
	for (unsigned i = 0; i < 600 && !w->t->ops->idle(w->t, w->now.monotonic_ns); i++) {
		ssize_t n = w->peer < 0 ? -1 : recv(w->peer, w->got + w->n_got, 65536, MSG_DONTWAIT);

		tick(w, 1);
		poll(NULL, 0, 1);
		w->n_got += n > 0 ? (size_t)n : 0;
		if (n == 0 && answer != ANSWER_NOT)
			die(w, answer == ANSWER_RESET);
	}
	w->t->ops->close(w->t, w->now.monotonic_ns, &w->last);
	w->t = NULL;
}

static struct transport_config quick(void)
{
	return (struct transport_config){.reconnect_ns = NS_PER_SEC,
					 .buffer_octets = 16 << 20,
					 .replay_octets = 4 << 20,
					 .replay_ns = 10 * NS_PER_SEC};
}

static struct transport_config small_spool(char *dir)
{
	struct transport_config config = quick();

	assert_non_null(mkdtemp(dir));
	config.spool_dir = dir;
	config.spool_octets = 4 << 20;
	config.buffer_octets = 256 << 10; /* 240 messages */
	return config;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void remove_directory(const char *dir)
{
	assert_int_equal(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* What is committed before there is a session waits for it; at the end comes FIN, behind whole messages. */
static void test_begin_and_end(void **state)
{
	struct world *w = world_new(quick());

	(void)state;
	commit(w, 0, 20);
	assert_int_equal(w->sent + w->lost, 0);
	accept_peer(w);
	hear(w, 16 + 20 * MESSAGE);
	check_heard(w, 0, 20);
	assert_int_equal(w->sent, 20);
	commit(w, 20, 5);
	assert_int_equal(w->t->ops->due_ns(w->t), 0);
	finish(w, ANSWER_CLOSE);
	check_heard(w, 0, 25);
	assert_int_equal(w->last.errors, 0);
	assert_int_equal(w->sent, 25);
	assert_int_equal(w->lost, 0);
	assert_int_equal(w->last.records, 25);
	world_free(w, 0);
}

/* After a FIN or a reset of the peer everything in the window comes again, templates first and counted anew.
 */
static void test_fin_and_reset(void **state)
{
	struct world *w = world_new(quick());

	(void)state;
	accept_peer(w);
	commit(w, 0, 10);
	hear(w, 16 + 10 * MESSAGE);
	check_heard(w, 0, 10);
	tick(w, 1);
	die(w, false);
	tick(w, 1500);
	accept_peer(w);
	commit(w, 10, 10);
	hear(w, 16 + 20 * MESSAGE);
	check_heard(w, 0, 20);
	die(w, true);
	tick(w, 1500);
	tick(w, 1500);
	accept_peer(w);
	commit(w, 20, 1);
	hear(w, 16 + 21 * MESSAGE);
	check_heard(w, 0, 21);
	assert_int_equal(w->sent, 21);
	assert_int_equal(w->t->stats.resent_records, 30);
	assert_int_equal(w->t->stats.sessions, 3);
	world_free(w, 100);
}

/* An end that the peer has not answered, or answered by a reset, says nothing of what was read. */
static void test_bad_ends(void **state)
{
	(void)state;
	for (enum answer answer = ANSWER_NOT; answer <= ANSWER_RESET; answer++) {
		struct world *w = world_new(quick());

		accept_peer(w);
		close(w->listener);
		w->listener = -1;
		commit(w, 0, 10);
		hear(w, 16 + 10 * MESSAGE);
		finish(w, answer);
		assert_int_equal(w->sent, 0);
		assert_int_equal(w->lost, 10);
		assert_non_null(strstr(w->last.reason, answer == ANSWER_NOT ? "answer" : "reset"));
		world_free(w, 0);
	}
}

/* One that could still be followed by another session is: the end comes when that one has ended well. */
static void test_end_again(void **state)
{
	struct world *w = world_new(quick());

	(void)state;
	accept_peer(w);
	commit(w, 0, 10);
	hear(w, 16 + 10 * MESSAGE);
	w->t->ops->finish(w->t);
	die(w, true);
	tick(w, 1500);
	assert_false(w->t->ops->idle(w->t, w->now.monotonic_ns + NS_PER_SEC));
	accept_peer(w);
	finish(w, ANSWER_CLOSE);
	check_heard(w, 0, 10);
	assert_int_equal(w->sent, 10);
	assert_int_equal(w->last.resent_records, 10);
	assert_int_equal(w->lost, 0);
	world_free(w, 0);
}

/* The table: every layer has every way, and only one of them says that everything was read. */
static void test_table(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < SESSION_KINDS; kind++)
		for (unsigned way = 0; way < SESSION_WAYS; way++) {
			assert_non_null(session_ends[kind][way].what);
			assert_int_equal(session_ends[kind][way].read, way == SESSION_WAY_ANSWERED);
		}
	assert_int_equal(session_way_of(SESSION_E_CLOSED), SESSION_WAY_CLOSED);
	assert_int_equal(session_way_of(SESSION_E_GOODBYE), SESSION_WAY_GOODBYE);
	assert_int_equal(session_way_of(-ECONNRESET), SESSION_WAY_RESET);
	assert_int_equal(session_way_of(-ECONNREFUSED), SESSION_WAY_RESET);
	assert_int_equal(session_way_of(-EPROTO), SESSION_WAY_ALERT);
	assert_int_equal(session_way_of(-ETIMEDOUT), SESSION_WAY_SILENT);
}

/* What nobody knows to have been read stays in the files for the next run, and does not count as sent. */
static void test_kept_at_the_end(void **state)
{
	char dir[] = "/tmp/pitot-session-XXXXXX";
	struct transport_config config = small_spool(dir);
	struct world *w = world_new(config);

	(void)state;
	accept_peer(w);
	commit(w, 0, 10);
	hear(w, 16 + 10 * MESSAGE);
	finish(w, ANSWER_NOT);
	assert_int_equal(w->kept, 10);
	assert_int_equal(w->sent + w->lost, 0);
	assert_int_equal(w->last.records, 0);
	world_free(w, 0);
	w = world_new(config); /* the same URL: the same files */
	accept_peer(w);
	hear(w, 16 + 10 * MESSAGE);
	finish(w, ANSWER_CLOSE);
	check_heard(w, 0, 10);
	world_free(w, 0);
	remove_directory(dir);
}

/* The window passes: what is old and far back is not sent again. */
static void test_window(void **state)
{
	struct transport_config config = quick();
	struct world *w;

	(void)state;
	config.replay_octets = 3000;
	config.replay_ns = NS_PER_SEC;
	w = world_new(config);
	accept_peer(w);
	commit(w, 0, 10);
	hear(w, 16 + 10 * MESSAGE);
	tick(w, 2000);
	tick(w, 200);
	die(w, true);
	tick(w, 1500);
	tick(w, 1500);
	accept_peer(w);
	hear(w, 16 + 3 * MESSAGE);
	assert_in_range(w->n_got, 16 + 3 * MESSAGE, 16 + 4 * MESSAGE);
	world_free(w, 100);
}

static unsigned attempts(struct world *w, unsigned seconds)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 10 * seconds; i++) {
		uint64_t before = w->t->stats.errors;

		tick(w, 100);
		n += w->t->stats.errors > before;
	}
	return n;
}

/* RFC 7011 10.4.4: once a minute; at once when the last attempt is older. */
static void test_schedule(void **state)
{
	struct transport_config config = quick();
	struct world *w;

	(void)state;
	config.reconnect_ns = 60 * NS_PER_SEC;
	w = world_new(config);
	accept_peer(w);
	assert_true(w->t->ops->due_ns(w->t) == UINT64_MAX); /* it is up, and nothing waits */
	close(w->listener);
	tick(w, 90000);
	die(w, true);
	assert_in_range(attempts(w, 1), 1, 2); /* the end, and an attempt that was refused */
	assert_int_equal(w->t->state, TRANSPORT_STATE_FAILED);
	assert_int_equal(attempts(w, 58), 0);
	assert_in_range(w->t->ops->due_ns(w->t), w->now.monotonic_ns + 1,
			w->now.monotonic_ns + 3 * NS_PER_SEC);
	assert_int_equal(attempts(w, 3), 1);
	assert_int_equal(attempts(w, 240), 4);
	assert_int_equal(w->t->stats.last_error, ECONNREFUSED);
	listen_on(w, 8);
	w->t->ops->refresh(w->t); /* SIGHUP */
	accept_peer(w);
	world_free(w, 100);
}

/* A peer that reads nothing: memory is bounded, the oldest are lost and counted, nothing ever waits. */
static void test_slow_reader(void **state)
{
	struct transport_config config = quick();
	struct transport_stats *s;
	uint64_t begun;
	struct world *w;

	(void)state;
	config.buffer_octets = 1 << 20;
	config.replay_octets = 0;
	config.replay_ns = 0;
	w = world_new(config);
	accept_peer(w);
	begun = clock_monotonic_ns();
	for (unsigned i = 0; i < 200; i++) {
		commit(w, i * 50, 50);
		tick(w, 1);
	}
	assert_true(clock_monotonic_ns() - begun < 60 * NS_PER_SEC); /* of 200, if each waited */
	s = &w->t->stats;
	assert_true(w->lost > 5000);
	assert_true(w->sent > 30);
	assert_true(10000 - w->sent - w->lost <= 1200);
	assert_int_equal(s->records, w->sent);
	/* it wakes: what was not lost comes, whole and in order */
	hear(w, SIZE_MAX);
	assert_int_equal((w->n_got - 16) % MESSAGE, 0);
	assert_int_equal((w->n_got - 16) / MESSAGE, w->sent);
	assert_int_equal(w->sent + w->lost, 10000);
	assert_int_equal(w->revoked, 0);
	world_free(w, 100);
}

/* What has not been taken when the time is up is lost, and what had been sent in a session that broke, too.
 */
static void test_lost_at_the_end(void **state)
{
	struct world *w = world_new(quick());
	uint64_t begun;

	(void)state;
	accept_peer(w);
	commit(w, 0, 10);
	hear(w, 16 + 10 * MESSAGE);
	close(w->listener);
	w->listener = -1;
	die(w, true);
	tick(w, 1500);
	commit(w, 10, 5);
	tick(w, 100);
	assert_int_equal(w->sent, 10);
	begun = clock_monotonic_ns();
	w->t->ops->close(w->t, w->now.monotonic_ns + 500 * NS_PER_MSEC, &w->last);
	w->t = NULL;
	assert_true(clock_monotonic_ns() - begun < 9 * NS_PER_SEC);
	assert_int_equal(w->sent, 0);
	assert_int_equal(w->lost, 15);
	assert_int_equal(w->last.records, 0);
	world_free(w, 0);
}

/* A host that answers no SYN costs nothing but the time until it is given up. */
static void test_half_open(void **state)
{
	struct world *w = world_new(quick());
	int others[8];
	uint64_t begun;

	(void)state;
	listen(w->listener, 0); /* a full queue: further SYNs are dropped */
	for (unsigned i = 0; i < 8; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					.sin_port = htons(w->collector.port)};

		others[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(others[i], (struct sockaddr *)&a, sizeof(a));
	}
	begun = clock_monotonic_ns();
	tick(w, 1);
	for (unsigned i = 0; i < 50; i++) {
		commit(w, i, 1);
		tick(w, 100);
	}
	assert_int_equal(w->t->state, TRANSPORT_STATE_CONNECTING);
	for (unsigned i = 0; i < 60; i++)
		tick(w, 100);
	assert_int_equal(w->t->stats.last_error, ETIMEDOUT);
	assert_true(clock_monotonic_ns() - begun < 60 * NS_PER_SEC); /* of 111 turns, if each waited */
	assert_int_equal(w->lost, 0);
	for (unsigned i = 0; i < 8; i++)
		close(others[i]);
	world_free(w, 0);
}

/* Messages that belong to a session never leave it. */
static void test_direct(void **state)
{
	struct transport_load options = {.options = 1};
	struct world *w = world_new(quick());

	(void)state;
	memset(w->t->ops->reserve(w->t), 0, 100);
	w->t->ops->commit(w->t, 100, &options); /* there is none */
	assert_int_equal(w->t->stats.lost_messages, 1);
	accept_peer(w);
	memset(w->t->ops->reserve(w->t), 0, 100);
	w->t->ops->commit(w->t, 100, &options);
	hear(w, 116);
	assert_int_equal(w->n_got, 116);
	assert_int_equal(w->got[0], TEMPLATES);
	assert_int_equal(w->t->stats.messages, 2);
	assert_int_equal(w->t->stats.lost_messages, 1);
	assert_true(w->t->ops->idle(w->t, w->now.monotonic_ns));
	world_free(w, 100);
}

/* A layer that keeps messages apart, as SCTP does; here on TCP. */
static size_t writes[16];
static unsigned n_writes;

static ssize_t whole_write(struct session *s, const uint8_t *data, size_t size)
{
	assert_in_range(n_writes, 0, 15);
	writes[n_writes++] = size;
	s->units++;
	return send(s->t.fd, data, size, MSG_NOSIGNAL);
}

static int whole_read(struct session *s)
{
	(void)s;
	return 0;
}

static uint64_t whole_written(const struct session *s)
{
	return s->units;
}

static uint64_t whole_unacked(const struct session *s)
{
	(void)s;
	return 0;
}

static size_t withdraw(void *context, uint8_t *message)
{
	(void)context;
	memset(message, 0, 32);
	return 32;
}

/* Withdrawals, templates and data: one message in each write. */
static void test_whole(void **state)
{
	const struct session_layer layer = {.name = "whole",
					    .socktype = SOCK_STREAM,
					    .protocol = IPPROTO_TCP,
					    .whole = true,
					    .reliable = true,
					    .max_message = 1400,
					    .write = whole_write,
					    .read = whole_read,
					    .written = whole_written,
					    .unacked = whole_unacked};
	const size_t expected[] = {16, MESSAGE, MESSAGE, 32, 16, MESSAGE, MESSAGE};
	const struct transport_ops ops = SESSION_OPS("whole", NULL);
	char dir[] = "/tmp/pitot-session-XXXXXX";
	struct transport_config config = small_spool(dir);
	uint8_t templates[16] = {TEMPLATES};

	(void)state;
	n_writes = 0;
	for (unsigned run = 0; run < 2; run++) { /* the second one has other templates */
		struct world *w = world_of(config, &layer, &ops);

		templates[1] = (uint8_t)run;
		w->t->withdraw = withdraw;
		assert_int_equal(w->t->ops->announce(w->t, templates, sizeof(templates), 1), 0);
		commit(w, 2 * run, 2);
		if (run)
			accept_peer(w);
		for (unsigned i = 0; i < 50 && run; i++)
			tick(w, 1);
		if (!run) { /* nobody is there: they stay for the next one */
			close(w->listener);
			w->listener = -1;
		}
		world_free(w, 100);
	}
	assert_int_equal(n_writes, 7);
	assert_memory_equal(writes, expected, sizeof(expected));
	remove_directory(dir);
}

/* A layer with a word for goodbye, as TLS has. */
static bool hides_errors;

static int word_read(struct session *s)
{
	char c;

	if (!s->said) /* the two cross */
		return 0;
	return recv(s->t.fd, &c, 1, MSG_DONTWAIT) == 1 && c == 'B' ? SESSION_E_GOODBYE : 0;
}

static int word_shut(struct session *s)
{
	return send(s->t.fd, "B", 1, MSG_NOSIGNAL) < 0 && !hides_errors ? -errno : 0;
}

static ssize_t word_write(struct session *s, const uint8_t *data, size_t size)
{
	ssize_t n = send(s->t.fd, data, size, MSG_NOSIGNAL);

	s->units += n > 0 ? (size_t)n : 0;
	return n < 0 ? -errno : n;
}

static uint64_t word_unacked(const struct session *s)
{
	return socket_unacked(s->t.fd);
}

/* A goodbye that crossed ours and was followed by a reset before ours could be said is no answer to it. */
static void test_crossed_goodbyes(void **state)
{
	const struct session_layer layer = {.kind = SESSION_TLS,
					    .name = "word",
					    .socktype = SOCK_STREAM,
					    .protocol = IPPROTO_TCP,
					    .reliable = true,
					    .max_message = 1400,
					    .write = word_write,
					    .read = word_read,
					    .written = whole_written,
					    .unacked = word_unacked,
					    .shut = word_shut};
	const struct transport_ops ops = SESSION_OPS("word", NULL);
	uint8_t templates[16] = {TEMPLATES};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world *w = world_of(quick(), &layer, &ops);

		hides_errors = i;
		assert_int_equal(w->t->ops->announce(w->t, templates, sizeof(templates), 1), 0);
		accept_peer(w);
		close(w->listener);
		w->listener = -1;
		commit(w, 0, 10);
		tick(w, 1);
		assert_int_equal(send(w->peer, "B", 1, 0), 1);
		shutdown(w->peer, SHUT_WR);
		die(w, false); /* unread, so it is reset */
		finish(w, ANSWER_NOT);
		assert_int_equal(w->sent, 0);
		assert_int_equal(w->lost, 10);
		assert_non_null(strstr(w->last.reason, "reset"));
		world_free(w, 0);
	}
}

/* With limit 0 no file grows. */
static void limit_files(rlim_t limit)
{
	struct rlimit l;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = limit < l.rlim_max ? limit : l.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* The disk breaks, and memory is full: what is lost are the oldest in memory alone, not the older ones on the
 * disk. */
static void test_broken_disk(void **state)
{
	char dir[] = "/tmp/pitot-session-XXXXXX";
	struct world *w = world_new(small_spool(dir));

	(void)state;
	commit(w, 0, 100);
	limit_files(0);
	commit(w, 100, 500);
	assert_in_range(w->lost, 200, 400);
	accept_peer(w);
	hear(w, 16 + 600 * MESSAGE);
	note_heard(w);
	assert_int_equal(w->n_got, 16 + (600 - w->lost) * MESSAGE);
	check_fates(w, 600);
	assert_true(w->fate[0] == SENT && w->fate[100] == LOST);
	limit_files(RLIM_INFINITY);
	world_free(w, 100);
	remove_directory(dir);
}

/* As above, in a session that breaks: between what can be sent again there is what cannot, and is lost, as
 * nobody knows whether it was read. */
static void test_broken_disk_and_reset(void **state)
{
	char dir[] = "/tmp/pitot-session-XXXXXX";
	struct world *w = world_new(small_spool(dir));
	uint64_t lost;

	(void)state;
	accept_peer(w);
	commit(w, 0, 100);
	hear(w, 16 + 100 * MESSAGE);
	limit_files(0);
	for (unsigned i = 100; i < 600; i += 50) { /* in memory alone, and not for long */
		commit(w, i, 50);
		hear(w, 16 + (i + 50) * MESSAGE);
	}
	note_heard(w);
	die(w, true);
	tick(w, 100);
	lost = w->lost; /* those that memory had no room for any more */
	assert_in_range(lost, 200, 300);
	assert_int_equal(w->revoked, lost);
	commit(w, 600,
	       100); /* in the place of some that would be sent again: those are lost, although they came */
	assert_int_equal(w->lost, lost + 100);
	for (unsigned i = 0; i < 700; i++)
		w->came[i] -= w->fate[i] == LOST;
	tick(w, 1500);
	tick(w, 1500);
	accept_peer(w);
	hear(w, 16 + 700 * MESSAGE);
	note_heard(w);
	check_fates(w, 700);
	assert_int_equal(w->came[99], 2);
	assert_int_equal(w->fate[100], LOST);
	assert_int_equal(w->came[599], 2);
	assert_int_equal(w->came[699], 1);
	assert_true(w->t->ops->idle(w->t, w->now.monotonic_ns));
	limit_files(RLIM_INFINITY);
	world_free(w, 100);
	remove_directory(dir);
}

/* A message that waits for its turn in the pace is dropped meanwhile, and sent all the same. */
static void test_dropped_while_lent(void **state)
{
	struct transport_config config = quick();
	struct world *w;
	ssize_t n;

	(void)state;
	config.buffer_octets = 9 << 20;
	config.replay_octets = config.replay_ns = 0;
	w = world_new(config);
	commit(w, 0, 8000);
	accept_peer(w);
	do { /* a burst; time stands still, so what follows waits */
		w->t->ops->flush(w->t);
		n = recv(w->peer, w->got + w->n_got, (64 << 20) - w->n_got, 0);
		w->n_got += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	assert_in_range(w->n_got, 4000000, 5000000);
	commit(w, 8000, 20000);
	assert_in_range(w->lost, 10000, 25000);
	hear(w, SIZE_MAX);
	note_heard(w);
	check_fates(w, 28000);
	world_free(w, 100);
}

/* What stays in the files at the end is not lost; what a broken disk did not take is. */
static void test_left_at_the_end(void **state)
{
	char dir[] = "/tmp/pitot-session-XXXXXX";
	struct world *w = world_new(small_spool(dir));

	(void)state;
	commit(w, 0, 100);
	limit_files(0);
	commit(w, 100, 50);
	close(w->listener);
	w->listener = -1;
	tick(w, 100); /* that the disk is broken is noticed */
	w->t->ops->close(w->t, w->now.monotonic_ns, &w->last);
	w->t = NULL;
	limit_files(RLIM_INFINITY);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(w->fate[i], i < 100 ? UNTOLD : LOST);
	assert_int_equal(w->lost, 50);
	world_free(w, 0);
	remove_directory(dir);
}

/*
 * ---- SCTP, also where the kernel has none: TCP stands in, and the test says how many chunks are not
 * acknowledged.  This program is linked with --wrap.
 */

static bool sctp_stands_in;
static int sctp_unacked_chunks, sctp_pending_chunks; /* negative: the kernel does not tell */

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);

int __wrap_socket(int family, int type, int protocol)
{
	return __real_socket(family, type,
			     sctp_stands_in && protocol == IPPROTO_SCTP ? IPPROTO_TCP : protocol);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	struct sctp_status status = {.sstat_unackdata = (uint16_t)sctp_unacked_chunks,
				     .sstat_penddata = (uint16_t)sctp_pending_chunks};

	if (!sctp_stands_in || level != IPPROTO_SCTP || name != SCTP_STATUS)
		return __real_getsockopt(fd, level, name, value, size);
	assert_int_equal(*size, sizeof(status));
	if (sctp_unacked_chunks < 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(value, &status, sizeof(status));
	return 0;
}

/* The first n messages, and no more, are with the collector's system, as far as is known. */
static void check_acked(struct world *w, int unacked, int pending, uint64_t n)
{
	const struct session *s = (const struct session *)w->t;

	sctp_unacked_chunks = unacked;
	sctp_pending_chunks = pending;
	tick(w, 1);
	assert_int_equal(s->acked_entry, n);
	assert_int_equal(s->backlog, (5 - n) * MESSAGE);
}

/* A chunk or more for each message: what is acknowledged is known from their number, and never too early. */
static void test_sctp(void **state)
{
	struct world *w;

	(void)state;
	sctp_stands_in = true;
	world_transport = TRANSPORT_SCTP;
	sctp_unacked_chunks = 100; /* more than there are messages: of some that are cut in pieces */
	w = world_new(quick());
	assert_int_equal(w->t->limits.max_message, 1400);
	commit(w, 0, 5);
	accept_peer(w);
	hear(w, 16 + 5 * MESSAGE);
	check_heard(w, 0, 5);
	assert_int_equal(w->sent, 5);
	check_acked(w, 100, 0, 0);
	check_acked(w, 2, 4, 0); /* the templates are one, too */
	check_acked(w, 1, 1, 3);
	check_acked(w, -1, 0, 3);
	check_acked(w, 0, 1, 4);
	check_acked(w, 0, 0, 5);
	finish(w, ANSWER_CLOSE);
	assert_int_equal(w->last.errors, 0);
	assert_int_equal(w->sent, 5);
	assert_int_equal(w->lost, 0);
	world_free(w, 0);
	sctp_stands_in = false;
	world_transport = TRANSPORT_TCP;
}

/* What cannot work is said at once. */
static void test_refused(void **state)
{
	struct collector_config c = {
		.url = "ipfix+x://127.0.0.1:9", .format = FORMAT_IPFIX, .host = "127.0.0.1", .port = 9};
	struct transport_config config = {.collector = &c, .source_host = "nonsense"};
	struct diag diag = {""};
	struct transport *t;
	int fd;

	(void)state;
	c.transport = TRANSPORT_TCP;
	assert_int_equal(transport_open(&t, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "--source"));
	config.source_host = NULL;
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
	c.transport = TRANSPORT_SCTP;
	if (fd < 0) {
		assert_true(transport_open(&t, &config, &diag) < 0);
		assert_non_null(strstr(diag.text, "SCTP"));
		print_message("note: this kernel has no SCTP\n");
	} else {
		close(fd);
	}
	for (int tls = 0; tls < 2; tls++) {
		c.transport = tls ? TRANSPORT_TLS : TRANSPORT_DTLS;
		config.tls_ca = "/does/not/exist";
		assert_true(transport_open(&t, &config, &diag) < 0);
		assert_true(strstr(diag.text, "--tls-ca") || strstr(diag.text, "without TLS"));
		config.tls_ca = NULL;
		config.tls_key = "/does/not/exist";
		assert_true(transport_open(&t, &config, &diag) < 0);
		assert_true(strstr(diag.text, "--tls-key") || strstr(diag.text, "without TLS"));
		config.tls_key = NULL;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begin_and_end),
		cmocka_unit_test(test_fin_and_reset),
		cmocka_unit_test(test_bad_ends),
		cmocka_unit_test(test_end_again),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_kept_at_the_end),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_schedule),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_lost_at_the_end),
		cmocka_unit_test(test_half_open),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_broken_disk),
		cmocka_unit_test(test_broken_disk_and_reset),
		cmocka_unit_test(test_dropped_while_lent),
		cmocka_unit_test(test_left_at_the_end),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_crossed_goodbyes),
		cmocka_unit_test(test_sctp),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
