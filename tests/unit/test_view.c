/*
 * pitotctl top without a terminal: screens as text, with and without UTF-8; and keys.
 * Covers ctl/view.c.
 */
#include "cm.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/view.h"

static struct view top;
static struct view_screen screen;

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, 0, NULL);

	assert_non_null(j);
	return j;
}

static void take(const char *statistics, double now_s)
{
	json_t *s = parse(statistics);

	view_take_statistics(&top, s, now_s);
	json_decref(s);
}

static void flows(const char *text)
{
	json_t *f = parse(text), *sum = parse("{\"looked\": 9, \"selected\": 3, \"listed\": 3}");

	view_begin_flows(&top);
	view_take_flows(&top, f);
	view_take_flows(&top, sum);
	view_end_flows(&top);
	json_decref(f);
	json_decref(sum);
}

#define STATISTICS(packets, octets)                                                                          \
	"{\"version\":\"0.1.0\",\"seconds\":61.2,\"packets\":{\"received\":" packets                         \
	",\"dropped_by_kernel\":0,\"ignored\":{\"not_ip\":3,\"cut_ip\":4}},\"octets\":{\"received\":" octets \
	"},\"flows\":{\"active\":1234,\"queued\":0,\"not_sent\":0},\"ledger\":{\"balanced\":true},"          \
	"\"collectors\":[{\"url\":\"ipfix://192.0.2.9:4739\",\"state\":\"up\",\"records\":4567,"             \
	"\"pending\":3,\"not_sent\":{\"records\":0}}]}"
#define FLOW(protocol, src, sport, dst, dport, packets, octets, age, rate)                                   \
	"{\"protocol\":" #protocol ",\"src\":\"" src "\",\"src_port\":" #sport ",\"dst\":\"" dst             \
	"\",\"dst_port\":" #dport ",\"packets\":" #packets ",\"octets\":" #octets ",\"age\":" #age           \
	",\"rate\":" #rate "}"
#define FLOWS                                                                                                \
	"[" FLOW(6, "10.0.0.1", 40000, "192.0.2.7", 443, 10, 9000, 5.1,                                      \
		 14400) "," FLOW(17, "10.0.0.2", 5353, "192.0.2.8", 53, 20, 2000, 7,                         \
				 160000) "," FLOW(6, "10.0.0.1", 40001, "192.0.2.7", 443, 1, 60, 1, 480) "]"

static void begin(void)
{
	top = (struct view){.cpu = 12};
	take(STATISTICS("1000", "100000"), 1);
	take(STATISTICS("3000", "300000"), 2);
	take(STATISTICS("4000", "400000"), 3);
	view_take_interface(&top, "eth0", 1000, 500, 0);
	view_take_interface(&top, "eth0", 2000, 750, 1);
	flows(FLOWS);
}

static const char *draw(unsigned width, unsigned height)
{
	static char text[TOP_LINES * 256];

	view_draw(&top, width, height, &screen);
	text[0] = '\0';
	for (unsigned i = 0; i < screen.n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\n", screen.lines[i].text);
	return text;
}

static void test_screen(void **state)
{
	(void)state;
	begin();
	assert_string_equal(
		draw(80, 12),
		"pitot 0.1.0  up 61 s  by rate\n"
		"packets/s   1.00k  █▄\n"
		"bit/s        800k  █▄\n"
		"flows 1.23k active, 0 queued, 0 not sent   packets 0 dropped, 7 ignored   cpu 12\n"
		"eth0             in   8.00k bit/s  out   2.00k bit/s\n"
		"ipfix://192.0.2.9:4739               up           4.57k sent      3 wait      0 \n"
		"flows                                            bit/s  octets  packets   age s\n"
		"udp   10.0.0.2:5353 > 192.0.2.8:53                160k   2.00k       20       7\n"
		"tcp   10.0.0.1:40000 > 192.0.2.7:443             14.4k   9.00k       10       5\n"
		"tcp   10.0.0.1:40001 > 192.0.2.7:443               480      60        1       1\n"
		"\n"
		"v view  s sort  / filter  Enter drill down  p pause  h help  q quit\n");
	top.ascii = true;
	top.view = TOP_TALKERS;
	top.sort = TOP_BY_OCTETS;
	flows(FLOWS);
	assert_string_equal(draw(44, 10), "pitot 0.1.0  up 61 s  by octets\n"
					  "packets/s   1.00k  @=\n"
					  "bit/s        800k  @=\n"
					  "flows 1.23k active, 0 queued, 0 not sent   p\n"
					  "eth0             in   8.00k bit/s  out   2.0\n"
					  "ipfix://192.0.2.9:4739               up     \n"
					  "talkers            bit/s  octets  packets   \n"
					  "10.0.0.1           14.9k   9.06k       11   \n"
					  "10.0.0.2            160k   2.00k       20   \n"
					  "v view  s sort  / filter  Enter drill down  \n");
}

/* The two ends as the table of flows has them: no ports where there are none, type and code of ICMP. */
static void test_ends(void **state)
{
	(void)state;
	begin();
	flows("[" FLOW(1, "10.0.0.1", 0, "192.0.2.7", 771, 10, 9000, 5, 3000) "," FLOW(
		47, "10.0.0.2", 0, "192.0.2.8", 0, 20, 2000, 7,
		2000) "," FLOW(6, "2001:db8::1", 40001, "2001:db8::2", 443, 1, 60, 1, 1000) "]");
	assert_int_equal(top.n_rows, 3);
	assert_string_equal(top.rows[0].name, "icmp  10.0.0.1 > 192.0.2.7:3.3");
	assert_string_equal(top.rows[1].name, "gre   10.0.0.2 > 192.0.2.8");
	assert_string_equal(top.rows[2].name, "tcp   [2001:db8::1]:40001 > [2001:db8::2]:443");
}

/* Whatever the size: as many lines as the terminal has, none wider. */
static void test_sizes(void **state)
{
	(void)state;
	begin();
	top.ascii = true;
	for (unsigned i = 0; i < 300; i++)
		take(STATISTICS("4000", "400000"), 4 + i);
	for (unsigned help = 0; help < 2; help++) {
		top.help = help;
		for (unsigned width = 1; width < 210; width += 3) {
			for (unsigned height = 1; height < 70; height++) {
				view_draw(&top, width, height, &screen);
				assert_int_equal(screen.n, height);
				for (unsigned i = 0; i < screen.n; i++)
					assert_in_range(strlen(screen.lines[i].text), 0, width);
			}
		}
	}
}

static void test_keys(void **state)
{
	(void)state;
	begin();
	assert_false(view_key(&top, 'q'));
	for (unsigned i = 0; i < 9; i++)
		view_key(&top, TOP_KEY_DOWN);
	assert_int_equal(top.cursor, 2);
	view_key(&top, TOP_KEY_ENTER); /* drill down */
	assert_string_equal(top.filter, "host 10.0.0.1");
	view_key(&top, TOP_KEY_ESCAPE);
	assert_string_equal(top.filter, "");
	for (const char *p = "/port 5q3"; *p; p++)
		assert_true(view_key(&top, *p)); /* q is a letter here */
	assert_non_null(strstr(draw(80, 24), "filter: port 5q3_"));
	view_key(&top, TOP_KEY_BACKSPACE);
	view_key(&top, TOP_KEY_BACKSPACE);
	view_key(&top, '3');
	view_key(&top, TOP_KEY_ENTER);
	assert_string_equal(top.filter, "port 53");
	view_key(&top, 's');
	assert_int_equal(top.sort, TOP_BY_OCTETS);
	view_key(&top, 'v');
	view_key(&top, 'v');
	view_key(&top, 'v');
	assert_int_equal(top.view, TOP_PROTOCOLS);
	flows(FLOWS);
	assert_int_equal(top.n_rows, 2); /* tcp and udp */
	assert_string_equal(top.rows[0].filter, "proto 6");
	view_key(&top, 'p');
	assert_non_null(strstr(draw(80, 24), "filter: port 53  PAUSED"));
	view_key(&top, 'h');
	assert_non_null(strstr(draw(80, 24), "the screen stands still"));
}

/* Counters that fall belong to another pitot; and answers that are none. */
static void test_begins_again(void **state)
{
	(void)state;
	begin();
	take(STATISTICS("10", "1000"), 5);
	take(STATISTICS("20", "2000"), 6);
	assert_int_equal(top.pps, 10);
	take("{}", 7);
	take("{\"collectors\": 5, \"packets\": []}", 8);
	assert_int_equal(top.n_collectors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_screen), cmocka_unit_test(test_ends),
					   cmocka_unit_test(test_sizes), cmocka_unit_test(test_keys),
					   cmocka_unit_test(test_begins_again)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
