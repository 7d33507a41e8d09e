/*
 * fragment: later fragments take the ports of their datagram's first one, and of no other.
 * Covers flow/fragment.c.
 */
#include "cm.h"

#include <string.h>

#include "pitot/clock.h"
#include "pitot/fragment.h"

#define T0	(UINT64_C(1700000000) * NS_PER_SEC)
#define TIMEOUT (30 * NS_PER_SEC)

static struct flow_stats stats;

static struct fragment_table *open_table(uint32_t max)
{
	struct fragment_table *t = NULL;
	struct hash_seed seed;
	struct diag diag = {""};

	hash_seed_fixed(&seed, 3);
	stats = (struct flow_stats){0};
	assert_int_equal(fragment_table_new(&t, max, TIMEOUT, &seed, &diag), 0);
	return t;
}

static struct packet fragment(uint8_t version, uint32_t id, enum packet_fragment kind, uint64_t time_ns)
{
	struct packet p = {.time_ns = time_ns, .fragment = (uint8_t)kind, .fragment_id = id};

	p.key.ip_version = version;
	p.key.protocol = 17;
	p.key.src[0] = 10;
	p.key.dst[0] = 11;
	if (kind == PACKET_FRAGMENT_FIRST) {
		p.key.src_port = (uint16_t)(1000 + id);
		p.key.dst_port = 53;
	}
	return p;
}

/* The packet's source port after tracking. */
static uint16_t track_packet(struct fragment_table *t, struct packet *p)
{
	fragment_track(t, p, &stats);
	return p->key.src_port;
}

static uint16_t track(struct fragment_table *t, uint8_t version, uint32_t id, enum packet_fragment kind,
		      uint64_t time_ns)
{
	struct packet p = fragment(version, id, kind, time_ns);

	return track_packet(t, &p);
}

static void test_joins(void **state)
{
	(void)state;
	for (uint8_t version = 4; version <= 6; version += 2) {
		struct fragment_table *t = open_table(64);
		struct packet p;

		p = fragment(version, 7, PACKET_FRAGMENT_FIRST, T0);
		track_packet(t, &p);
		assert_int_equal(p.key.src_port, 1007);
		for (unsigned i = 0; i < 3; i++) {
			p = fragment(version, 7, PACKET_FRAGMENT_LATER, T0 + i);
			track_packet(t, &p);
			assert_int_equal(p.key.src_port, 1007);
			assert_int_equal(p.key.dst_port, 53);
		}
		assert_int_equal(stats.fragments.tracked, 1);
		assert_int_equal(stats.fragments.joined, 3);
		assert_int_equal(stats.fragments.orphaned, 0);
		assert_int_equal(stats.fragments.evicted, 0);
		fragment_table_free(t);
	}
}

static void test_later_before_first(void **state)
{
	struct fragment_table *t = open_table(64);
	struct packet p = fragment(4, 7, PACKET_FRAGMENT_LATER, T0);

	(void)state;
	track_packet(t, &p);
	assert_int_equal(p.key.src_port, 0);
	assert_int_equal(p.key.dst_port, 0);
	assert_int_equal(stats.fragments.joined, 0);
	assert_int_equal(stats.fragments.orphaned, 1);
	fragment_table_free(t);
}

/* Another source, destination, identification, version, observation point (or protocol in IPv4) is another
 * datagram. */
static void test_identity(void **state)
{
	struct fragment_table *t = open_table(64);

	(void)state;
	for (unsigned what = 0; what < 6; what++) {
		struct packet p = fragment(4, 7, PACKET_FRAGMENT_LATER, T0);

		track(t, 4, 7, PACKET_FRAGMENT_FIRST, T0);
		switch (what) {
		case 0:
			p.key.src[3] = 1;
			break;
		case 1:
			p.key.dst[3] = 1;
			break;
		case 2:
			p.fragment_id = 8;
			break;
		case 3:
			p.key.ip_version = 6;
			break;
		case 4:
			p.key.point = 1;
			break;
		default:
			p.key.protocol = 6;
		}
		track_packet(t, &p);
		if (p.key.src_port || p.key.dst_port)
			fail_msg("difference %u was not seen", what);
	}
	fragment_table_free(t);
}

/* An identification that is used again belongs to the newest first fragment. */
static void test_used_again(void **state)
{
	struct fragment_table *t = open_table(64);
	struct packet again = fragment(4, 7, PACKET_FRAGMENT_FIRST, T0 + 10);

	(void)state;
	track(t, 4, 7, PACKET_FRAGMENT_FIRST, T0);
	again.key.src_port = 2000;
	track_packet(t, &again);
	assert_int_equal(track(t, 4, 7, PACKET_FRAGMENT_LATER, T0 + 20), 2000);
	fragment_table_free(t);
}

static void test_timeout(void **state)
{
	struct fragment_table *t = open_table(64);

	(void)state;
	track(t, 4, 7, PACKET_FRAGMENT_FIRST, T0);
	assert_int_equal(track(t, 4, 7, PACKET_FRAGMENT_LATER, T0 + TIMEOUT), 1007);
	assert_int_equal(track(t, 4, 7, PACKET_FRAGMENT_LATER, T0 + TIMEOUT + 1), 0);
	/* the same when the clock has stepped back */
	assert_int_equal(track(t, 4, 7, PACKET_FRAGMENT_LATER, T0 - 1000 * NS_PER_SEC), 0);
	fragment_table_free(t);
}

/* A flood of first fragments: bounded, counted, and what is remembered stays right. */
static void test_flood(void **state)
{
	enum { MAX = 64, FLOOD = 100000 };
	struct fragment_table *t = open_table(MAX);
	unsigned found = 0;

	(void)state;
	for (uint32_t id = 0; id < FLOOD; id++)
		track(t, 6, id, PACKET_FRAGMENT_FIRST, T0 + id);
	assert_int_equal(stats.fragments.tracked, FLOOD);
	assert_in_range(stats.fragments.evicted, FLOOD - 2 * MAX, FLOOD - 1);
	for (uint32_t id = 0; id < FLOOD; id++) {
		struct packet p = fragment(6, id, PACKET_FRAGMENT_LATER, T0 + FLOOD);
		track_packet(t, &p);

		if (!p.key.src_port)
			continue;
		assert_int_equal(p.key.src_port, (uint16_t)(1000 + id));
		found++;
	}
	assert_in_range(found, MAX / 2, 2 * MAX);
	fragment_table_free(t);
}

static void test_free_nothing(void **state)
{
	(void)state;
	fragment_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_joins),	     cmocka_unit_test(test_later_before_first),
		cmocka_unit_test(test_identity),     cmocka_unit_test(test_used_again),
		cmocka_unit_test(test_timeout),	     cmocka_unit_test(test_flood),
		cmocka_unit_test(test_free_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
