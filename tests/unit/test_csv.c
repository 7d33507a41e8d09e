/*
 * csv, export/lines.c: a column for each element of any flow, quoting, instants, and headings where a file
 * begins.
 */
#include <stdio.h>
#include <time.h>

#include "sink.h"

static char *all_text(const struct sink *sink)
{
	size_t n = 0;
	char *text;

	for (unsigned i = 0; i < sink->n; i++)
		n += sink->messages[i].size;
	text = calloc(1, n + 1);
	assert_non_null(text);
	n = 0;
	for (unsigned i = 0; i < sink->n; i++) {
		memcpy(text + n, sink->messages[i].data, sink->messages[i].size);
		n += sink->messages[i].size;
	}
	return text;
}

static char *rows_of(const char *fields, const char *interface, bool local, unsigned n, bool continues)
{
	const struct export_interface odd[] = {{1, "", ""}};
	struct export_interface interfaces[1];
	struct exporter_config config = sink_config();
	struct clock_time now = sink_time(0);
	struct sink *sink = sink_new(2000, true);
	struct exporter *e;
	char *text;

	memcpy(interfaces, odd, sizeof(odd));
	snprintf(interfaces[0].name, sizeof(interfaces[0].name), "%s", interface);
	config.interfaces = interfaces;
	config.n_interfaces = 1;
	config.fields = fields;
	e = sink_exporter(config, 1, (enum export_format[]){FORMAT_CSV}, &sink);
	e->collectors[0].config.local_time = local;
	e->collectors[0].transport->continues = continues;
	for (unsigned i = 0; i < n; i++) {
		struct flow_record r = sink_record(2 * i, now.realtime_ns + 123456789);

		exporter_record(e, &r, &now);
	}
	exporter_finish(e, &now);
	text = all_text(sink);
	exporter_free(e);
	sink_free(sink);
	return text;
}

static void test_columns(void **state)
{
	char *text = rows_of("sourceIPv4Address,octetDeltaCount,destinationIPv6Address,8,sourceMacAddress",
			     "eth0", false, 2, false);

	(void)state;
	assert_string_equal(text,
			    "sourceIPv4Address,sourceIPv6Address,octetDeltaCount,destinationIPv4Address,"
			    "destinationIPv6Address,sourceMacAddress\n"
			    "1.4.7.10,,40,2.3.4.5,,02:03:04:05:06:07\n"
			    ",306:90c:f12:1518:1b1e:2124:272a:2d30,126,,"
			    "1011:1213:1415:1617:1819:1a1b:1c1d:1e1f,04:05:06:07:08:09\n");
	free(text);
}

static void test_quoting(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{"eth0", "eth0"}, {"a,b", "\"a,b\""}, {"say \"x\"", "\"say \"\"x\"\"\""},
		{"", ""},	  {"a;b c", "a;b c"},
	};
	char want[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = rows_of("interfaceName,protocolIdentifier", rows[i].name, false, 1, false);

		snprintf(want, sizeof(want), "interfaceName,protocolIdentifier\n%s,6\n", rows[i].value);
		assert_string_equal(text, want);
		free(text);
	}
}

static void test_instants(void **state)
{
	char *text = rows_of("151,153,155,157", "", false, 1, false), *line = strchr(text, '\n') + 1;

	(void)state;
	assert_string_equal(line, "2023-11-14T22:13:20Z,2023-11-14T22:13:20.123Z,2023-11-14T22:13:20.123456Z,"
				  "2023-11-14T22:13:20.123456789Z\n");
	free(text);
	setenv("TZ", "NPT-05:45", 1);
	tzset();
	text = rows_of("153", "", true, 1, false);
	assert_string_equal(text, "flowEndMilliseconds\n2023-11-15T03:58:20.123+05:45\n");
	free(text);
	setenv("TZ", "NST03:30", 1);
	tzset();
	text = rows_of("153", "", true, 1, false);
	assert_string_equal(text, "flowEndMilliseconds\n2023-11-14T18:43:20.123-03:30\n");
	free(text);
}

/* One heading, however many messages; none where a file has it; a heading alone where there was no flow. */
static void test_headings(void **state)
{
	char *text = rows_of(NULL, "", false, 300, false);
	unsigned lines = 0;

	(void)state;
	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 301);
	assert_null(strstr(text + 1, "sourceIPv4Address"));
	free(text);
	text = rows_of("protocolIdentifier", "", false, 2, true);
	assert_string_equal(text, "6\n58\n");
	free(text);
	text = rows_of("protocolIdentifier", "", false, 0, false);
	assert_string_equal(text, "protocolIdentifier\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_instants),
		cmocka_unit_test(test_headings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
