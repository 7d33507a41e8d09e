/*
 * export_hand_over: another exporter goes on in a session: from the same port, with the next sequence number,
 * and the collector needs no templates.  Covers export/export_hand_over.c, export/templated_hand_over.c.
 */
#include "sink.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/wire.h"

enum { MEMORY = 1 << 20, FORMATS = 4 };

static const enum export_format formats[FORMATS] = {FORMAT_IPFIX, FORMAT_NETFLOW9, FORMAT_NETFLOW5,
						    FORMAT_SFLOW};

struct fixture {
	int listeners[FORMATS];
	struct collector_config collectors[FORMATS];
	struct exporter *old, *new;
	uint8_t *memory;
	size_t size;
	int fds[FORMATS];
	unsigned n_fds;
	char said[1024];
};

static struct exporter *open_exporter(struct fixture *f, struct exporter_config config)
{
	struct exporter *e = NULL;
	struct diag diag = {""};

	config.collectors = f->collectors;
	config.n_collectors = FORMATS;
	if (exporter_new(&e, &config, &diag))
		fail_msg("%s", diag.text);
	return e;
}

static void listen_to(struct fixture *f, unsigned i)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);

	f->listeners[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->listeners[i], (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(f->listeners[i], (struct sockaddr *)&a, &size), 0);
	f->collectors[i] = (struct collector_config){.format = formats[i],
						     .transport = TRANSPORT_UDP,
						     .host = "127.0.0.1",
						     .port = ntohs(a.sin_port)};
	snprintf(f->collectors[i].url, sizeof(f->collectors[i].url), "%u://127.0.0.1:%u", i,
		 ntohs(a.sin_port));
}

static struct fixture *begin(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	for (unsigned i = 0; i < FORMATS; i++)
		listen_to(f, i);
	f->memory = calloc(1, MEMORY);
	assert_non_null(f->memory);
	f->old = open_exporter(f, sink_config());
	return f;
}

static void end(struct fixture *f)
{
	exporter_free(f->old);
	exporter_free(f->new);
	for (unsigned i = 0; i < FORMATS; i++)
		close(f->listeners[i]);
	free(f->memory);
	free(f);
}

static void say(void *ctx, const char *sentence)
{
	struct fixture *f = ctx;
	size_t n = strlen(f->said);

	snprintf(f->said + n, sizeof(f->said) - n, "%s\n", sentence);
}

static void send_records(struct exporter *e, uint64_t from, uint64_t n, uint64_t at_ns)
{
	struct clock_time now = sink_time(at_ns);

	exporter_tick(e, &now);
	for (uint64_t i = from; i < from + n; i++) {
		struct flow_record r = sink_record(i * 3, now.realtime_ns); /* IPv4 */

		exporter_record(e, &r, &now);
	}
	assert_true(exporter_settle(e, &now));
}

/* The last datagram's octets, how many there were, and the port that all of them are from. */
static unsigned receive(int fd, uint8_t *data, size_t size, uint16_t *port, uint64_t *templates)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	unsigned n = 0;

	while (recvfrom(fd, data, size, 0, (struct sockaddr *)&from, &length) > 0) {
		assert_true(*port == 0 || *port == from.sin_port);
		*port = from.sin_port;
		n++;
		/* the first set of an IPFIX message: templates */
		*templates += wire_load32(data) >> 16 == 10 && data[16] == 0 && data[17] == 2;
	}
	return n;
}

static void hand_over(struct fixture *f)
{
	struct sections_writer w;

	assert_true(exporter_hand_over_octets(f->old) <= MEMORY);
	sections_write_init(&w, f->memory, MEMORY);
	f->n_fds = exporter_hand_over(f->old, &w, f->fds, FORMATS);
	f->size = sections_finish(&w);
	assert_true(f->size > 0);
	for (unsigned i = 0; i < f->n_fds; i++)
		f->fds[i] = dup(f->fds[i]);
}

static uint64_t take_over(struct fixture *f, struct exporter_config config)
{
	struct sections_reader r;

	f->new = open_exporter(f, config);
	assert_int_equal(sections_read_init(&r, f->memory, f->size), 0);
	return exporter_take_over(f->new, &r, f->fds, f->n_fds, say, f);
}

static void test_goes_on(void **state)
{
	struct fixture *f = begin();
	uint8_t data[65536];
	uint16_t ports[FORMATS] = {0};
	uint64_t templates = 0, again = 0;
	uint32_t sequences[FORMATS];
	struct collector_stats stats;

	(void)state;
	send_records(f->old, 0, 100, NS_PER_SEC);
	for (unsigned i = 0; i < FORMATS; i++) {
		unsigned n = receive(f->listeners[i], data, sizeof(data), &ports[i], &templates);

		assert_true(n > 0 || formats[i] == FORMAT_SFLOW);
		sequences[i] = f->old->collectors[i].sequence;
	}
	assert_true(templates > 0);
	hand_over(f);
	assert_int_equal(f->n_fds, FORMATS);
	assert_int_equal(take_over(f, sink_config()), (1 << FORMATS) - 1);
	assert_string_equal(f->said, "");
	exporter_let_go(f->old, (1 << FORMATS) - 1);
	for (unsigned i = 0; i < FORMATS; i++) {
		assert_int_equal(f->new->collectors[i].sequence, sequences[i]);
		exporter_get_collector_stats(f->old, i, &stats);
		assert_int_equal(stats.taken.records, stats.sent.records + stats.unfit.records);
	}
	send_records(f->new, 100, 100, 2 * NS_PER_SEC);
	for (unsigned i = 0; i < FORMATS - 1; i++)
		assert_true(receive(f->listeners[i], data, sizeof(data), &ports[i], &again) > 0);
	assert_int_equal(again, 0); /* templates: not due yet */
	assert_int_equal(f->new->collectors[0].sequence - sequences[0], 100);
	assert_int_equal(f->new->collectors[2].sequence - sequences[2], 100);
	exporter_finish(f->old, &(struct clock_time){1, 1}); /* of what is not its own any more */
	end(f);
}

/* Another domain, other fields: a sentence each, and a session of its own. */
static void test_what_does_not(void **state)
{
	struct fixture *f = begin();
	struct exporter_config config = sink_config();

	(void)state;
	send_records(f->old, 0, 10, NS_PER_SEC);
	hand_over(f);
	config.fields = "octetDeltaCount,sourceIPv4Address";
	assert_int_equal(take_over(f, config), 4 | 8); /* those without templates */
	assert_non_null(strstr(f->said, "templates are others now; it gets a new one"));
	assert_false(f->new->collectors[0].started);
	exporter_free(f->new);
	config = sink_config();
	config.domain = 8;
	f->said[0] = '\0';
	for (unsigned i = 0; i < f->n_fds; i++)
		f->fds[i] = dup(f->old->collectors[i].transport->fd);
	assert_int_equal(take_over(f, config), 0);
	assert_non_null(strstr(f->said, "the observation domain (--domain) is another one"));
	exporter_let_go(f->old, 0); /* nobody took anything: all is as before */
	send_records(f->old, 10, 10, 2 * NS_PER_SEC);
	end(f);
}

/* Sections that are cut, and octets of them that are others: nothing but a refusal. */
static void test_broken(void **state)
{
	struct fixture *f = begin();
	uint64_t seed = 1;
	uint8_t *good;

	(void)state;
	send_records(f->old, 0, 10, NS_PER_SEC);
	hand_over(f);
	good = malloc(f->size);
	assert_non_null(good);
	memcpy(good, f->memory, f->size);
	for (unsigned turn = 0; turn < 300; turn++) {
		size_t whole = f->size;

		memcpy(f->memory, good, whole);
		for (unsigned i = 0; i < 1 + turn % 4; i++)
			f->memory[8 + test_random(&seed) % (whole - 8)] = (uint8_t)test_random(&seed);
		if (turn & 1)
			f->size = 8 + test_random(&seed) % (whole - 8);
		for (unsigned i = 0; i < f->n_fds; i++)
			f->fds[i] = dup(f->old->collectors[i].transport->fd);
		f->said[0] = '\0';
		(void)take_over(f, sink_config());
		for (unsigned i = 0; i < f->n_fds; i++)
			if (f->new->collectors[i].transport->fd != f->fds[i])
				close(f->fds[i]);
		exporter_free(f->new);
		f->new = NULL;
		f->size = whole;
	}
	free(good);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on),
		cmocka_unit_test(test_what_does_not),
		cmocka_unit_test(test_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
