/* top: sums by flow, host and port, their order, and what there is no room for. */
#include <stdio.h>

#include "export/top.h"
#include "sink.h"

static char text[8192];

static void note(void *ctx, const char *line)
{
	size_t n = strlen(text);

	(void)ctx;
	snprintf(text + n, sizeof(text) - n, "%s\n", line);
}

static struct flow_record record(uint8_t src, uint8_t dst, uint16_t src_port, uint16_t dst_port,
				 uint64_t octets)
{
	struct flow_record r = {.packets = 2, .octets = octets};

	r.key.ip_version = 4;
	r.key.protocol = 6;
	memcpy(r.key.src, (uint8_t[]){10, 0, 0, src}, 4);
	memcpy(r.key.dst, (uint8_t[]){10, 0, 0, dst}, 4);
	r.key.src_port = src_port;
	r.key.dst_port = dst_port;
	return r;
}

static void test_sums(void **state)
{
	const struct flow_record records[] = {record(1, 2, 1000, 80, 300), record(2, 1, 80, 1000, 500),
					      record(1, 2, 1000, 80, 100), record(3, 3, 53, 53, 100)};
	struct top *t;

	(void)state;
	assert_int_equal(top_new(&t), 0);
	for (unsigned i = 0; i < 4; i++)
		top_count(t, &records[i]);
	text[0] = '\0';
	top_print(t, 2, note, NULL);
	assert_string_equal(text,
			    "\n"
			    "top 2 of 3 flows, by octets\n"
			    "           500  50.0 %          2 packets  tcp 10.0.0.2:80 -> 10.0.0.1:1000\n"
			    "           400  40.0 %          4 packets  tcp 10.0.0.1:1000 -> 10.0.0.2:80\n"
			    "\n"
			    "top 2 of 3 hosts, sent or received, by octets\n"
			    "           900  90.0 %          6 packets  10.0.0.1\n"
			    "           900  90.0 %          6 packets  10.0.0.2\n"
			    "\n"
			    "top 2 of 3 ports, of either end, by octets\n"
			    "           900  90.0 %          6 packets  tcp 80\n"
			    "           900  90.0 %          6 packets  tcp 1000\n");
	top_free(t);
}

static void test_nothing(void **state)
{
	struct top *t;

	(void)state;
	assert_int_equal(top_new(&t), 0);
	text[0] = '\0';
	top_print(t, 5, note, NULL);
	assert_non_null(strstr(text, "top 0 of 0 flows, by octets\n"));
	top_free(t);
	top_free(NULL);
}

/* What comes when the table is full is counted together; what is in it goes on being exact. */
static void test_full(void **state)
{
	struct flow_record r = record(1, 1, 1, 1, 10);
	struct top *t;

	(void)state;
	assert_int_equal(top_new(&t), 0);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < TOP_ROOM + 100; i++) {
			r.key.src[1] = r.key.dst[1] = (uint8_t)(i >> 16);
			r.key.src[2] = r.key.dst[2] = (uint8_t)(i >> 8);
			r.key.src[3] = r.key.dst[3] = (uint8_t)i;
			r.octets = i < 3 ? 1000 - i : 10;
			top_count(t, &r);
		}
	text[0] = '\0';
	top_print(t, 1, note, NULL);
	assert_non_null(strstr(
		text, "top 1 of the first 98304 flows, by octets; 200 records with 2000 octets of others "
		      "came later\n          2000 "));
	assert_non_null(strstr(text, "top 1 of the first 98304 hosts"));
	assert_non_null(strstr(text, "top 1 of 1 ports"));
	top_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sums),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
