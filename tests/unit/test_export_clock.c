/* The clock of message headers: what collectors compute from it is exact, and it never goes back. */
#include "cm.h"

#include "export/export_clock.h"

#define MS NS_PER_MSEC

static struct clock_time at_ms(uint64_t wall_ms, uint64_t mono_ms)
{
	return (struct clock_time){.realtime_ns = wall_ms * MS, .monotonic_ns = mono_ms * MS};
}

static uint32_t shown(const struct export_clock *c, uint64_t ns)
{
	int64_t ms = (int64_t)(ns / MS), earliest = export_clock_earliest(c);

	ms = ms > c->header_ms ? c->header_ms : ms < earliest ? earliest : ms;
	return (uint32_t)(uint64_t)(ms - c->boot_ms);
}

/* A collector's view: the instant that a 32-bit uptime of a record means. */
static int64_t meant(struct export_clock_header h, uint32_t uptime)
{
	return (int64_t)h.seconds * 1000 + h.nanoseconds / 1000000 - (int32_t)(h.uptime_ms - uptime);
}

struct stream {
	struct export_clock c;
	uint32_t last_uptime;
	bool any;
	unsigned n, headers;
	struct flow_record records[8];
	uint32_t first[8], last[8];
};

static void end_message(struct stream *s, bool exact)
{
	struct export_clock_header h;

	if (!s->n)
		return;
	h = export_clock_finish(&s->c);
	if (s->any)
		assert_true((int32_t)(h.uptime_ms - s->last_uptime) >= 0);
	for (unsigned i = 0; i < s->n; i++) {
		assert_true((int32_t)(s->last[i] - s->first[i]) >= 0);
		assert_true((int32_t)(h.uptime_ms - s->last[i]) >= 0);
		assert_true((int32_t)(h.uptime_ms - s->first[i]) >= 0);
		if (!exact)
			continue;
		assert_int_equal(meant(h, s->last[i]), s->records[i].last_ns / MS);
		assert_int_equal(meant(h, s->first[i]), s->records[i].first_ns / MS);
	}
	assert_true(h.nanoseconds < 1000000000);
	s->last_uptime = h.uptime_ms;
	s->any = true;
	s->n = 0;
	s->headers++;
}

static void put(struct stream *s, uint64_t first_ms, uint64_t last_ms, const struct clock_time *now,
		bool exact)
{
	struct flow_record r = {.first_ns = first_ms * MS, .last_ns = last_ms * MS + 999999};

	if (s->n && (s->n == 8 || !export_clock_fits(&s->c, &r, now)))
		end_message(s, exact);
	if (!s->n)
		export_clock_begin(&s->c, &r, now);
	assert_true(export_clock_fits(&s->c, &r, now));
	export_clock_add(&s->c, &r, now);
	s->records[s->n] = r;
	s->first[s->n] = shown(&s->c, r.first_ns);
	s->last[s->n++] = shown(&s->c, r.last_ns);
}

static const enum export_clock_kind kinds[] = {EXPORT_CLOCK_UPTIME, EXPORT_CLOCK_UPTIME_SECONDS};

/* Records in any order, spread over up to a century, durations up to 20 days: exact to the millisecond. */
static void test_offline_any_order(void **state)
{
	static const uint64_t spans[] = {1, 60000, 86400000, UINT64_C(5000000000), UINT64_C(3000000000000)};
	struct clock_time now = at_ms(1, 1);
	uint64_t seed = 42;

	(void)state;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned i = 0; i < ARRAY_SIZE(spans); i++) {
			struct stream s = {.n = 0};

			export_clock_init(&s.c, kinds[k], true, 0);
			for (unsigned n = 0; n < 4000; n++) {
				uint64_t first = 1000000 + test_random(&seed) % spans[i];

				put(&s, first, first + test_random(&seed) % (n % 10 ? 5000 : 1728000000),
				    &now, true);
			}
			end_message(&s, true);
		}
}

/* In order of their ends, as they come: one line, as few messages as can be. */
static void test_offline_in_order(void **state)
{
	struct clock_time now = at_ms(1, 1);

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct stream s = {.n = 0};

		export_clock_init(&s.c, kinds[k], true, 0);
		for (uint64_t n = 0; n < 8000; n++)
			put(&s, UINT64_C(1700000000000) + n * 1000,
			    UINT64_C(1700000000000) + n * 1000 + 15000, &now, true);
		end_message(&s, true);
		assert_int_equal(s.headers, 1000);
	}
}

/* A month-long flow cannot be shown: it is cut at its beginning, and everything still holds. */
static void test_offline_too_long(void **state)
{
	struct clock_time now = at_ms(1, 1);

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct stream s = {.n = 0};

		export_clock_init(&s.c, kinds[k], true, 0);
		for (uint64_t n = 0; n < 100; n++)
			put(&s, 1000, UINT64_C(1000000000000) + n * 1000000, &now, false);
		end_message(&s, false);
	}
}

/* 1970: boot lies before it. */
static void test_offline_epoch(void **state)
{
	struct clock_time now = at_ms(1, 1);
	struct stream s = {.n = 0};

	(void)state;
	export_clock_init(&s.c, EXPORT_CLOCK_UPTIME_SECONDS, true, 0);
	put(&s, 0, 1, &now, true);
	put(&s, 2, 1500, &now, true);
	end_message(&s, true);
}

static void test_live(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct stream s = {.n = 0};
		struct export_clock_header h;

		export_clock_init(&s.c, kinds[k], false, 5000 * MS);
		for (uint64_t ms = 0; ms < 10000; ms += 7) {
			struct clock_time now = at_ms(UINT64_C(1700000000123) + ms, 5000 + ms);

			put(&s, UINT64_C(1700000000123) + ms - 2000, UINT64_C(1700000000123) + ms - 10, &now,
			    true);
		}
		h = export_clock_finish(&s.c);
		assert_in_range(h.uptime_ms, 3600000 + 9900, 3600000 + 11000);
		assert_int_equal(h.seconds, k ? 1700000011 : 1700000010);
		assert_int_equal(h.nanoseconds % 1000000, 0);
	}
}

/* The wall clock steps by an hour either way: sysUptime goes on, headers follow the wall, nothing is
 * inverted. */
static void test_live_steps(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 2; k++)
		for (int direction = -1; direction <= 1; direction += 2) {
			struct stream s = {.n = 0};
			uint64_t wall = UINT64_C(1700000000123);
			struct export_clock_header h;

			export_clock_init(&s.c, kinds[k], false, 5000 * MS);
			for (uint64_t ms = 0; ms < 20000; ms += 50) {
				uint64_t step = ms < 10000 ? 0 : (uint64_t)(direction * INT64_C(3600300));
				struct clock_time now = at_ms(wall + ms + step, 5000 + ms);

				/* a flow that goes on over the step */
				uint64_t a = wall + ms - 5000, b = wall + ms + step - 5;

				put(&s, a < b ? a : b, a < b ? b : a, &now, ms < 10000);
			}
			h = export_clock_finish(&s.c);
			assert_in_range(h.seconds, 1700000019 + direction * 3600,
					1700000022 + direction * 3600);
			assert_in_range(h.uptime_ms, 3600000 + 19900, 3600000 + 22000);
		}
}

/* Slewing is no step: one line, exact. */
static void test_live_slew(void **state)
{
	struct stream s = {.n = 0};

	(void)state;
	export_clock_init(&s.c, EXPORT_CLOCK_UPTIME_SECONDS, false, 0);
	for (uint64_t ms = 0; ms < 400000; ms += 100) {
		struct clock_time now = at_ms(UINT64_C(1700000000000) + ms + ms / 2000, ms);

		put(&s, now.realtime_ns / MS - 3000, now.realtime_ns / MS - 5, &now, true);
	}
	end_message(&s, true);
}

/* 49.7 days: the 32 bits wrap, differences stay right. */
static void test_live_wrap(void **state)
{
	struct stream s = {.n = 0};
	uint64_t wrap = (UINT64_C(1) << 32) - 3600000;

	(void)state;
	export_clock_init(&s.c, EXPORT_CLOCK_UPTIME, false, 0);
	for (uint64_t ms = 0; ms < wrap + 60000; ms += ms < wrap - 60000 ? 59999 : 100) {
		struct clock_time now = at_ms(UINT64_C(1700000000000) + ms, ms);

		put(&s, now.realtime_ns / MS - 1000, now.realtime_ns / MS - 5, &now, true);
		end_message(&s, true);
	}
	assert_in_range(s.last_uptime, 59000, 61000);
}

/* IPFIX: held after a step back, the latest end offline, rounded up. */
static void test_seconds(void **state)
{
	struct export_clock c;
	struct clock_time now = at_ms(5000999, 1), back = at_ms(4000000, 2);
	struct flow_record r = {.last_ns = 7000001 * MS}, older = {.last_ns = 6000000 * MS};

	(void)state;
	export_clock_init(&c, EXPORT_CLOCK_SECONDS, false, 0);
	export_clock_begin(&c, NULL, &now);
	export_clock_add(&c, NULL, &now);
	assert_int_equal(export_clock_finish(&c).seconds, 5000);
	export_clock_begin(&c, NULL, &back);
	export_clock_add(&c, NULL, &back);
	assert_int_equal(export_clock_finish(&c).seconds, 5000);
	export_clock_init(&c, EXPORT_CLOCK_SECONDS, true, 0);
	export_clock_begin(&c, &r, &now);
	export_clock_add(&c, &r, &now);
	export_clock_add(&c, &older, &now);
	assert_int_equal(export_clock_finish(&c).seconds, 7001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offline_any_order),
		cmocka_unit_test(test_offline_in_order),
		cmocka_unit_test(test_offline_too_long),
		cmocka_unit_test(test_offline_epoch),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_live_steps),
		cmocka_unit_test(test_live_slew),
		cmocka_unit_test(test_live_wrap),
		cmocka_unit_test(test_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
