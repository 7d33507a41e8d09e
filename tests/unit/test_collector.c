/*
 * Collector URLs: what they mean, and the sentence for each that means nothing.
 * Covers config/collector_parse.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "pitot/clock.h"
#include "pitot/collector.h"

static void test_addresses(void **state)
{
	static const struct {
		const char *text;
		enum export_format preset, format;
		enum transport_kind transport;
		const char *host;
		uint16_t port;
		const char *url;
	} rows[] = {
		{"h", FORMAT_IPFIX, FORMAT_IPFIX, TRANSPORT_UDP, "h", 4739, "ipfix://h:4739"},
		{"h:1", FORMAT_NETFLOW9, FORMAT_NETFLOW9, TRANSPORT_UDP, "h", 1, "netflow9://h:1"},
		{"10.0.0.5", FORMAT_NETFLOW5, FORMAT_NETFLOW5, TRANSPORT_UDP, "10.0.0.5", 2055,
		 "netflow5://10.0.0.5:2055"},
		{"[2001:db8::5]", FORMAT_NETFLOW9, FORMAT_NETFLOW9, TRANSPORT_UDP, "2001:db8::5", 2055,
		 "netflow9://[2001:db8::5]:2055"},
		{"[fe80::1%eth0]:65535", FORMAT_IPFIX, FORMAT_IPFIX, TRANSPORT_UDP, "fe80::1%eth0", 65535,
		 "ipfix://[fe80::1%eth0]:65535"},
		{"ipfix://[::1]:4739", FORMAT_NETFLOW5, FORMAT_IPFIX, TRANSPORT_UDP, "::1", 4739,
		 "ipfix://[::1]:4739"},
		{"NetFlow9://Host.Example/", FORMAT_IPFIX, FORMAT_NETFLOW9, TRANSPORT_UDP, "Host.Example",
		 2055, "netflow9://Host.Example:2055"},
		{"sflow://h", FORMAT_IPFIX, FORMAT_SFLOW, TRANSPORT_UDP, "h", 6343, "sflow://h:6343"},
		{"netflow5+udp://h:2056/", FORMAT_IPFIX, FORMAT_NETFLOW5, TRANSPORT_UDP, "h", 2056,
		 "netflow5://h:2056"},
		{"ipfix+tcp://h", FORMAT_NETFLOW9, FORMAT_IPFIX, TRANSPORT_TCP, "h", 4739,
		 "ipfix+tcp://h:4739"},
		{"ipfix+tls://h", FORMAT_NETFLOW9, FORMAT_IPFIX, TRANSPORT_TLS, "h", 4740,
		 "ipfix+tls://h:4740"},
		{"ipfix+dtls://h:99", FORMAT_IPFIX, FORMAT_IPFIX, TRANSPORT_DTLS, "h", 99,
		 "ipfix+dtls://h:99"},
		{"netflow9+sctp://h", FORMAT_IPFIX, FORMAT_NETFLOW9, TRANSPORT_SCTP, "h", 2055,
		 "netflow9+sctp://h:2055"},
		{"ipfix:5", FORMAT_NETFLOW9, FORMAT_NETFLOW9, TRANSPORT_UDP, "ipfix", 5,
		 "netflow9://ipfix:5"},
	};
	struct collector_config c;
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (collector_parse(&c, rows[i].text, rows[i].preset, &diag))
			fail_msg("%s: %s", rows[i].text, diag.text);
		assert_int_equal(c.format, rows[i].format);
		assert_int_equal(c.transport, rows[i].transport);
		assert_string_equal(c.host, rows[i].host);
		assert_int_equal(c.port, rows[i].port);
		assert_string_equal(c.url, rows[i].url);
		assert_string_equal(c.path, "");
	}
}

static void test_files(void **state)
{
	static const struct {
		const char *text;
		enum export_format format;
		const char *path, *url;
	} rows[] = {
		{"json:-", FORMAT_JSON, "-", "json:-"},
		{"JSON:a:b", FORMAT_JSON, "a:b", "json:a:b"},
		{"text:/tmp/x y", FORMAT_TEXT, "/tmp/x y", "text:/tmp/x y"},
		{"text:///tmp/x", FORMAT_TEXT, "///tmp/x", "text:///tmp/x"},
		{"ipfix+file:out", FORMAT_IPFIX, "out", "ipfix+file:out"},
		{"netflow9+file:out", FORMAT_NETFLOW9, "out", "netflow9+file:out"},
		{"netflow5+file:-", FORMAT_NETFLOW5, "-", "netflow5+file:-"},
		{"json+file:x", FORMAT_JSON, "x", "json:x"},
		{"csv:a,b", FORMAT_CSV, "a,b", "csv:a,b"},
		{"json:a?b", FORMAT_JSON, "a?b", "json:a?b"},
		{"json:a?b?c=", FORMAT_JSON, NULL, "'?c=' is unknown"},
		{"json:/d.d/a.json?rotate=60s", FORMAT_JSON, "/d.d/a-%Y%m%d%H%M%S.json",
		 "json:/d.d/a.json?rotate=60s"},
		{"csv:/d.d/a?rotate=1M", FORMAT_CSV, "/d.d/a-%Y%m%d%H%M%S", "csv:/d.d/a?rotate=1M"},
		{"csv:.a?rotate=1M", FORMAT_CSV, ".a-%Y%m%d%H%M%S", "csv:.a?rotate=1M"},
		{"json:a.json?compress=gz", FORMAT_JSON, "a.json.gz", "json:a.json?compress=gz"},
		{"json:a.gz?compress=gz", FORMAT_JSON, "a.gz", "json:a.gz?compress=gz"},
		{"json:.gz?compress=gz", FORMAT_JSON, ".gz.gz", "json:.gz?compress=gz"},
		{"json:a?compress=zst", FORMAT_JSON, "a.zst", "json:a?compress=zst"},
		{"json:d.d/a.b.json.gz?rotate=1h&compress=gz", FORMAT_JSON, "d.d/a.b-%Y%m%d%H%M%S.json.gz",
		 "json:d.d/a.b.json.gz?rotate=1h&compress=gz"},
		{"json:a.json?compress=zst&rotate=1h,1G&rotate=2h", FORMAT_JSON, "a-%Y%m%d%H%M%S.json.zst",
		 "json:a.json?compress=zst&rotate=1h,1G&rotate=2h"},
		{"json:a?compress=gz&", FORMAT_JSON, NULL, "'?' is unknown"},
		{"json:a?compress=gzip", FORMAT_JSON, NULL, "there are gz and zst"},
		{"json:a?rotate=1h&level=9", FORMAT_JSON, NULL, "'?level=9' is unknown"},
		{"json:-?compress=gz", FORMAT_JSON, NULL, "pipe it to gzip"},
		{"ipfix+file:%Y-%%?rotate=1h|1G", FORMAT_IPFIX, "%Y-%%", "ipfix+file:%Y-%%?rotate=1h|1G"},
	};
	struct collector_config c;
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(collector_is_file(rows[i].text));
		if (collector_parse(&c, rows[i].text, FORMAT_NETFLOW9, &diag)) {
			if (rows[i].path || !strstr(diag.text, rows[i].url))
				fail_msg("%s: %s", rows[i].text, diag.text);
			continue;
		}
		assert_int_equal(c.format, rows[i].format);
		assert_int_equal(c.transport, TRANSPORT_FILE);
		assert_string_equal(c.path, rows[i].path);
		assert_string_equal(c.url, rows[i].url);
		assert_string_equal(c.host, "");
	}
}

static void test_rotate(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns, octets; /* 0 and 0: a mistake */
	} rows[] = {
		{"60s", 60 * NS_PER_SEC, 0},
		{"90", 90 * NS_PER_SEC, 0},
		{"1h30m", 5400 * NS_PER_SEC, 0},
		{"100M", 0, 100 << 20},
		{"16k", 0, 16384},
		{"60s,100M", 60 * NS_PER_SEC, 100 << 20},
		{"100M|60s", 60 * NS_PER_SEC, 100 << 20},
		{"1G&rotate=1d", 86400 * NS_PER_SEC, 1 << 30},
		{"", 0, 0},
		{"0", 0, 0},
		{"0.5s", 0, 0},
		{"15K", 0, 0},
		{"1M,", 0, 0},
		{"1M,x", 0, 0},
		{"1M&compress=zstd", 0, 0},
		{"99999999999999999999G", 0, 0},
		{"9000d", 0, 0},
	};
	struct collector_config c;
	struct diag diag;
	char text[80];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool good = rows[i].ns || rows[i].octets;

		snprintf(text, sizeof(text), "json:a?rotate=%s", rows[i].text);
		if (collector_parse(&c, text, FORMAT_IPFIX, &diag) != (good ? 0 : -EINVAL))
			fail_msg("%s: %s", text, diag.text);
		if (!good)
			continue;
		assert_int_equal(c.rotate_ns, rows[i].ns);
		assert_int_equal(c.rotate_octets, rows[i].octets);
	}
	assert_int_equal(collector_parse(&c, "json:-?rotate=1h", FORMAT_IPFIX, &diag), -EINVAL);
	assert_int_equal(collector_parse(&c, "json:a%x", FORMAT_IPFIX, &diag), -EINVAL);
	assert_int_equal(collector_parse(&c, "json:%Y/a", FORMAT_IPFIX, &diag), -EINVAL);
	assert_false(collector_is_file("h:1,csv:x"));
	assert_false(collector_is_file("csv"));
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"", "names no host"},
		{":4739", "names no host"},
		{"[]", "names no host"},
		{"ipfix://", "names no host"},
		{"ipfix://:4739", "names no host"},
		{"h:", "'' is not a port"},
		{"h:0", "'0' is not a port"},
		{"h:65536", "'65536' is not a port"},
		{"h:99999999999999999999999", "is not a port"},
		{"h:47a", "'47a' is not a port"},
		{"h:-5", "'-5' is not a port"},
		{"h: 5", "' 5' is not a port"},
		{"h/x", "'/x' after the host"},
		{"[::1]x", "'x' after the host"},
		{"[::1", "closing bracket"},
		{"[10.0.0.1]:5", "'[10.0.0.1]' is not an IPv6 address"},
		{"[fe80::1%]", "is not an IPv6 address"},
		{"[fe80::1%a b]", "is not an IPv6 address"},
		{"2001:db8::5:4739", "brackets"},
		{"ipfix://2001:db8::5", "brackets"},
		{"10.0.0", "'10.0.0' is not an IPv4 address"},
		{"10.0.0.256:99", "'10.0.0.256' is not an IPv4 address"},
		{"4739", "'4739' is not an IPv4 address"},
		{"a,b", "comma"},
		{"csv", "csv:FILE"},
		{"csv://h", "'//h' is not a file"},
		{"xml:x", "'xml' is not a format"},
		{"json", "json:FILE"},
		{"Text", "Text:FILE"},
		{"ipfix", "ipfix://HOST"},
		{"-x", "'-x' is not the name"},
		{"a..b", "'a..b' is not the name"},
		{"user@h", "'user@h' is not the name"},
		{"h\n", "is not the name"},
		{"\xff\xfe", "is not the name"},
		{"sflowx://h", "'sflowx' is not a format"},
		{"sflow+tcp://h", "sFlow goes over UDP only"},
		{"ipfix+quic://h", "no known transport"},
		{"ipfix+://h", "no known transport"},
		{"+tcp://h", "'' is not a format"},
		{"json://h", "'//h' is not a file"},
		{"ipfix+file://h", "'//h' is not a file"},
		{"json+tcp://h", "json goes to a file"},
		{"json:", "names no file"},
		{"ipfix+file:", "names no file"},
		{"json:/var/flows/", "names a directory"},
		{"csv:flows/?rotate=1h", "names a directory"},
		{"netflow5+tcp://h", "NetFlow v5 goes over UDP only"},
		{"netflow5+sctp://h", "NetFlow v5 goes over UDP only"},
		{"netflow9+tls://h", "NetFlow v9 goes over UDP or SCTP only"},
		{"ipfix+tcp:h:4739", "lacks the // before the host: ipfix+tcp://h:4739"},
		{"ipfix:127.0.0.1:4739", "lacks the // before the host: ipfix://127.0.0.1:4739"},
		{"netflow9:/h", "lacks the // before the host: netflow9://h"},
		{"sflow:h", "lacks the // before the host: sflow://h"},
		{"tcp://h", "'tcp' is a transport, and the format is missing: ipfix+tcp://HOST:PORT"},
		{"UDP://h:1", "'UDP' is a transport"},
	};
	struct collector_config c;
	struct diag diag;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		diag.text[0] = '\0';
		assert_int_equal(collector_parse(&c, rows[i].text, FORMAT_IPFIX, &diag), -EINVAL);
		if (!strstr(diag.text, rows[i].says))
			fail_msg("'%s': %s", rows[i].text, diag.text);
	}
}

/* Lengths around every limit; what is too long is refused, never cut. */
static void test_lengths(void **state)
{
	static char text[6000];
	struct collector_config c;
	struct diag diag;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), 0);
	assert_int_equal(strlen(c.host), 255);
	text[255] = 'a';
	text[256] = '\0';
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), -EINVAL);
	text[256] = 'a';
	text[5999] = '\0';
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), -EINVAL);
	memcpy(text, "json:", 5);
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), -EINVAL);
	text[5 + 4095] = '\0';
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), 0);
	assert_int_equal(strlen(c.path), 4095);
	text[0] = '[';
	assert_int_equal(collector_parse(&c, text, FORMAT_IPFIX, &diag), -EINVAL);
}

/* Every prefix of a URL, in a block of exactly its size: a sanitizer sees a read past its end. */
static void test_prefixes(void **state)
{
	static const char *const urls[] = {"ipfix+dtls://[2001:db8::5%eth0]:4739/",
					   "netflow9+sctp://host.example:2055/", "ipfix+file:///var/x",
					   "json:-", "[fe80::1%e]:1"};

	(void)state;
	for (unsigned i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		for (size_t n = 0; n <= strlen(urls[i]); n++) {
			char *exact = malloc(n + 1);
			struct collector_config c;
			struct diag diag;
			int r;

			assert_non_null(exact);
			memcpy(exact, urls[i], n);
			exact[n] = '\0';
			r = collector_parse(&c, exact, FORMAT_IPFIX, &diag);
			assert_true(r == 0 || r == -EINVAL);
			free(exact);
		}
	}
}

/* The words that url_settings.def has for ?compress= are the rows of compressions.def. */
static void test_settings(void **state)
{
	static const struct {
		const char *name, *value;
	} settings[] = {
#define URL_SETTING(name, value) {#name, value},
#include "pitot/url_settings.def"
	};
	const char *names = ""
#define COMPRESSION(NAME, name, library) "|" #name
#include "pitot/compressions.def"
		;
	unsigned seen = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (strcmp(settings[i].name, "compress") == 0) {
			assert_string_equal(settings[i].value, names + 1);
			seen++;
		}
	}
	assert_int_equal(seen, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses), cmocka_unit_test(test_settings),
		cmocka_unit_test(test_files),	  cmocka_unit_test(test_rotate),
		cmocka_unit_test(test_mistakes),  cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests_name("collector", tests, NULL, NULL);
}
