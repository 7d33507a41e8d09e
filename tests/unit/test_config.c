/*
 * Options: command line, configuration file, defaults, and the sentence for each mistake.
 * Covers config/config_args.c, config/config_check.c, config/config_compare.c, config/config_file.c,
 * config/config_help.c, config/config_list.c, config/config_rows.c, config/config_set.c,
 * config/config_value.c, config/timeouts_parse.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "config/config_internal.h"
#include "failalloc.h"
#include "pitot/capture.h"
#include "pitot/clock.h"
#include "pitot/config.h"
#include "pitot/exporter.h"

_Static_assert((int)CONFIG_CAPTURE_AUTO == (int)CAPTURE_AUTO, "main passes it on");
_Static_assert((int)CONFIG_CAPTURE_AFPACKET == (int)CAPTURE_AFPACKET, "main passes it on");
_Static_assert((int)CONFIG_CAPTURE_PCAP == (int)CAPTURE_PCAP, "main passes it on");
_Static_assert((int)CONFIG_CAPTURE_XDP == (int)CAPTURE_XDP, "main passes it on");
_Static_assert((int)CONFIG_DIRECTION_BOTH == (int)CAPTURE_BOTH, "main passes it on");
_Static_assert((int)CONFIG_DIRECTION_IN == (int)CAPTURE_IN, "main passes it on");
_Static_assert((int)CONFIG_FANOUT_ROLLOVER == (int)CAPTURE_FANOUT_ROLLOVER, "main passes it on");
_Static_assert((int)CONFIG_DIRECTION_OUT == (int)CAPTURE_OUT, "main passes it on");
_Static_assert((int)CONFIG_KEY_TOS == (int)FLOW_KEY_TOS, "main passes it on");
_Static_assert((int)CONFIG_KEY_VLAN == (int)FLOW_KEY_VLAN, "main passes it on");
_Static_assert((int)CONFIG_KEY_MAC == (int)FLOW_KEY_MAC, "main passes it on");
_Static_assert((int)CONFIG_KEY_TUNNEL == (int)FLOW_KEY_TUNNEL, "main passes it on");

static struct config config;
static struct diag diag;

/* Parses "pitot" and the words of a line; | stands for a blank inside a word. */
static int parse(const char *line)
{
	static char text[8192];
	char *argv[256], *save = NULL;
	int argc = 0;

	argv[argc++] = (char *)"pitot";
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		for (char *p = word; *p; p++)
			*p = *p == '|' ? ' ' : *p;
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	diag.text[0] = '\0';
	return config_parse_again(&config, argc, argv, &diag);
}

static void good(const char *line)
{
	int r = parse(line);

	if (r)
		fail_msg("'%s': %d: %s", line, r, diag.text);
}

/* The sentence has both parts. */
static void bad(const char *line, const char *names, const char *says)
{
	if (parse(line) != CONFIG_E_USAGE)
		fail_msg("'%s' is taken", line);
	if (!strstr(diag.text, names) || !strstr(diag.text, says))
		fail_msg("'%s': %s", line, diag.text);
	if (strchr(diag.text, '\n'))
		fail_msg("'%s': two lines: %s", line, diag.text);
}

static int parse_file(const char *text)
{
	diag.text[0] = '\0';
	return config_parse_text(&config, "pitot.conf", text, strlen(text), &diag);
}

static void bad_file(const char *text, const char *sentence)
{
	assert_int_equal(parse_file(text), CONFIG_E_USAGE);
	if (!strstr(diag.text, sentence))
		fail_msg("'%s': %s", text, diag.text);
}

static void test_defaults(void **state)
{
	(void)state;
	good("-r a.pcap");
	assert_int_equal(config.action, CONFIG_RUN);
	assert_int_equal(config.n_files, 1);
	assert_string_equal(config.files[0], "a.pcap");
	assert_int_equal(config.n_interfaces, 0);
	assert_null(config.filter);
	assert_int_equal(config.capture, CAPTURE_AUTO);
	assert_int_equal(config.direction, CAPTURE_BOTH);
	assert_int_equal(config.buffer_octets, 0); /* auto */
	assert_int_equal(config.snap_len, 256);
	assert_false(config.no_promiscuous);
	assert_false(config.include_own);
	assert_int_equal(config.active_ns, 60 * NS_PER_SEC);
	assert_int_equal(config.inactive_ns, 15 * NS_PER_SEC);
	assert_int_equal(config.tcp_end_ns, 2 * NS_PER_SEC);
	assert_int_equal(config.max_flows, 1048576);
	assert_int_equal(config.flow_key, 0);
	assert_false(config.no_fragment_tracking);
	assert_int_equal(config.max_fragments, 65536);
	assert_int_equal(config.fragment_timeout_ns, 60 * NS_PER_SEC);
	assert_int_equal(config.max_layers, 16);
	assert_int_equal(config.workers, 1);
	assert_int_equal(config.n_collectors, 1);
	assert_int_equal(config.collectors[0].format, FORMAT_TEXT);
	assert_string_equal(config.collectors[0].path, "-");
	assert_int_equal(config.format, FORMAT_IPFIX);
	assert_null(config.source_host);
	assert_int_equal(config.ttl, 0);
	assert_int_equal(config.mtu, 0);
	assert_int_equal(config.domain, 0);
	assert_int_equal(config.template_ns, 60 * NS_PER_SEC);
	assert_int_equal(config.template_messages, 20);
	assert_int_equal(config.flush_ns, NS_PER_SEC);
	assert_null(config.fields);
	assert_null(config.stats_path);
	assert_false(config.quiet || config.daemon || config.debug || config.foreground);
	config_deinit(&config);
}

static void test_every_option(void **state)
{
	(void)state;
	good("-i eth0 --interface 7:eth1 -f tcp|port|80 --capture pcap -B 2M -C 128 -N --direction in "
	     "--include-own "
	     "-n 10.0.0.5 --collector=json:out.json -v 9 --source [2001:db8::1]:99 --bind-device eth2 -L 3 "
	     "--mtu 1400 "
	     "--domain 77 --template-refresh 5 --template-packets 7 --flush-interval 0.25 --fields "
	     "1,2,octetDeltaCount "
	     "-t active=1.5 -t inactive=2m,tcp-end=off -m 10 -T tos,mac --no-fragment-tracking "
	     "--max-fragments 5 "
	     "--fragment-timeout 1 --max-layers 4 -w auto --stats - -q --daemon -p p.pid -u nobody:nogroup "
	     "-D "
	     "--dry-run");
	assert_int_equal(config.action, CONFIG_DRY_RUN);
	assert_int_equal(config.n_interfaces, 2);
	assert_string_equal(config.interfaces[0].name, "eth0");
	assert_int_equal(config.interfaces[0].ifindex, 0);
	assert_string_equal(config.interfaces[1].name, "eth1");
	assert_int_equal(config.interfaces[1].ifindex, 7);
	assert_string_equal(config.filter, "tcp port 80");
	assert_int_equal(config.capture, CAPTURE_PCAP);
	assert_int_equal(config.direction, CAPTURE_IN);
	assert_int_equal(config.buffer_octets, 2 << 20);
	assert_int_equal(config.snap_len, 128);
	assert_true(config.no_promiscuous && config.include_own);
	assert_int_equal(config.n_collectors, 2);
	assert_string_equal(config.collectors[0].url, "netflow9://10.0.0.5:2055");
	assert_string_equal(config.collectors[1].url, "json:out.json");
	assert_string_equal(config.source_host, "2001:db8::1");
	assert_int_equal(config.source_port, 99);
	assert_string_equal(config.bind_device, "eth2");
	assert_int_equal(config.ttl, 3);
	assert_int_equal(config.mtu, 1400);
	assert_int_equal(config.domain, 77);
	assert_int_equal(config.template_ns, 5 * NS_PER_SEC);
	assert_int_equal(config.template_messages, 7);
	assert_int_equal(config.flush_ns, NS_PER_SEC / 4);
	assert_string_equal(config.fields, "1,2,octetDeltaCount");
	assert_int_equal(config.active_ns, 1500 * NS_PER_MSEC);
	assert_int_equal(config.inactive_ns, 120 * NS_PER_SEC);
	assert_true(config.tcp_end_ns == UINT64_MAX);
	assert_int_equal(config.max_flows, 10);
	assert_int_equal(config.flow_key, FLOW_KEY_TOS | FLOW_KEY_MAC);
	assert_true(config.no_fragment_tracking);
	assert_int_equal(config.max_fragments, 5);
	assert_int_equal(config.fragment_timeout_ns, NS_PER_SEC);
	assert_int_equal(config.max_layers, 4);
	assert_int_equal(config.workers, 0);
	assert_string_equal(config.stats_path, "-");
	assert_true(config.quiet && config.daemon && config.debug);
	assert_string_equal(config.pidfile, "p.pid");
	assert_string_equal(config.user, "nobody:nogroup");
	config_deinit(&config);
}

static void test_ways_to_write(void **state)
{
	(void)state;
	good("-Nqi eth0 -m5 not port 22");
	assert_true(config.no_promiscuous && config.quiet);
	assert_int_equal(config.max_flows, 5);
	assert_string_equal(config.filter, "not port 22");
	config_deinit(&config);

	good("udp -i eth0 -- -q");
	assert_string_equal(config.filter, "udp -q");
	assert_false(config.quiet);
	config_deinit(&config);

	good("-r - -r a -r b");
	assert_int_equal(config.n_files, 3);
	config_deinit(&config);

	good("-r a -q --quiet=no --daemon -d --active-timeout 5 -t active=6 -m 1 -m 2");
	assert_false(config.quiet);
	assert_false(config.daemon);
	assert_true(config.foreground);
	assert_int_equal(config.active_ns, 6 * NS_PER_SEC);
	assert_int_equal(config.max_flows, 2);
	config_deinit(&config);

	good("-r a -v 10 -n h");
	assert_int_equal(config.collectors[0].format, FORMAT_IPFIX);
	config_deinit(&config);
	good("-n h -r a -v netflow5");
	assert_string_equal(config.collectors[0].url, "netflow5://h:2055");
	config_deinit(&config);
	good("-r a --filter |");
	assert_null(config.filter);
	config_deinit(&config);
	good("-r a --source 10.0.0.1");
	assert_int_equal(config.source_port, 0);
	config_deinit(&config);
	good("-r a -n 224.0.0.1 -n [ff02::1%lo]:2055 --source 0.0.0.0:5 --agent 192.0.2.1");
	config_deinit(&config);
	good("-r a --source ::1");
	assert_string_equal(config.source_host, "::1");
	config_deinit(&config);
}

static void test_actions(void **state)
{
	(void)state;
	good("--help");
	assert_int_equal(config.action, CONFIG_HELP);
	good("-V");
	assert_int_equal(config.action, CONFIG_VERSION);
	good("-m 0 -h");
	assert_int_equal(config.action, CONFIG_HELP);
	good("--list-fields");
	assert_int_equal(config.action, CONFIG_LIST_FIELDS);
	config_deinit(&config);
	good("--print-template -v 9");
	assert_int_equal(config.action, CONFIG_PRINT_TEMPLATE);
	assert_int_equal(config.collectors[0].format, FORMAT_NETFLOW9);
	config_deinit(&config);
	bad("--list-fields=yes", "--list-fields", "no value");
	bad("--dry-run", "--interface", "nothing to measure");
}

static void test_timeouts(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} values[] = {{"30", 30 * NS_PER_SEC},	       {"0.001", NS_PER_MSEC},
		      {"1.000000001", NS_PER_SEC + 1}, {"1h30m", 5400 * NS_PER_SEC},
		      {"1.5h", 5400 * NS_PER_SEC},     {"2D", 172800 * NS_PER_SEC},
		      {"1w", 604800 * NS_PER_SEC},     {"10s", 10 * NS_PER_SEC}};
	static const char *const wrong[] = {
		"",    "0",   "-1",	  "1e3", "1.",	  ".5",	 "1s|",		 "0x10",
		"inf", "nan", "99999999", "1y",	 "1.5.5", "off", "0.0000000001", "18446744073709551616"};
	char line[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		snprintf(line, sizeof(line), "-r a -t maxlife=%s,general=%s", values[i].text, values[i].text);
		good(line);
		assert_int_equal(config.active_ns, values[i].ns);
		assert_int_equal(config.inactive_ns, values[i].ns);
		config_deinit(&config);
	}
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(line, sizeof(line), "-r a -t active=%s", wrong[i]);
		bad(line, "--timeout (-t): active", "is not a time");
	}
	good("-r a -t tcp.fin=7");
	assert_int_equal(config.tcp_end_ns, 7 * NS_PER_SEC);
	config_deinit(&config);
	good("-r a -t tcp.rst=9 -t tcp-end=off");
	assert_true(config.tcp_end_ns == UINT64_MAX);
	config_deinit(&config);
	bad("-r a -t 30", "--timeout (-t)", "active=SECONDS");
	bad("-r a -t active=1,30", "--timeout (-t)", "'30'");
	bad("-r a -t active=1,", "--timeout (-t)", "empty part");
	bad("-r a -t lifetime=30", "--timeout (-t)", "'lifetime'");
	bad("-r a -t udp=30", "--timeout (-t)", "use inactive");
	bad("-r a -t tcp=30", "--timeout (-t)", "tcp-end");
	bad("-r a -t icmp=30", "--timeout (-t)", "use inactive");
	bad("-r a -t expint=0", "--timeout (-t)", "leave it out");
	bad("-r a --active-timeout off", "--active-timeout", "is not a time");
}

static void test_mistakes(void **state)
{
	(void)state;
	bad("", "--read (-r)", "nothing to measure");
	bad("-i eth0 -r a", "--read (-r)", "do not go together");
	bad("-r - -r -", "--read (-r)", "only once");
	bad("-r", "--read (-r)", "missing");
	bad("-i eth0 -i 3:eth0", "--interface (-i)", "twice");
	bad("-i eth0 -i any", "--interface (-i)", "twice");
	bad("-i 0:eth0", "--interface (-i)", "from 1 to 4294967295");
	bad("-i 4294967296:eth0", "--interface (-i)", "from 1 to 4294967295");
	bad("-i 5:", "--interface (-i)", "not the name");
	bad("-r a -m 0", "--max-flows (-m)", "'0'");
	bad("-r a -m 1k", "--max-flows (-m)", "'1k'");
	bad("-r a -m -1", "--max-flows (-m)", "'-1'");
	bad("-r a -m 99999999999999999999", "--max-flows (-m)", "not a number");
	bad("-r a -B 64X", "--buffer (-B)", "K, M or G");
	bad("-r a -B 1", "--buffer (-B)", "256K");
	bad("-r a -B 1T", "--buffer (-B)", "16G");
	bad("-r a -B 18446744073709551615G", "--buffer (-B)", "not a size");
	bad("-r a --cpus 3-1", "--cpus", "no list of processors");
	bad("--read= -n a:1", "--read (-r)", "no name");
	bad("-r a -C 0", "--snaplen (-C)", "64");
	bad("-r a -v 1", "--format (-v)", "netflow9");
	bad("-r a --capture xyz", "--capture", "afpacket");
	bad("-r a --direction up", "--direction", "in|out|both");
	bad("-r a --mtu 10", "--mtu", "auto");
	bad("-r a -w 0", "--workers (-w)", "auto");
	bad("-r a -L 256", "--ttl (-L)", "255");
	bad("-r a --domain x", "--domain", "'x'");
	bad("-r a -T ether", "--flow-key (-T)", "vlan,mac");
	bad("-r a -T tos,,mac", "--flow-key (-T)", "''");
	bad("-r a --source host", "--source", "'host'");
	bad("-r a --source [10.0.0.1]:5", "--source", "address");
	bad("-r a --source 10.0.0.1:70000", "--source", "65535");
	bad("-r a --source 224.0.0.1", "--source", "a multicast address");
	bad("-r a --source [ff02::1%lo]:5", "--source", "a multicast address");
	bad("-r a --source 255.255.255.255:5", "--source", "the broadcast address");
	bad("-r a -n 0.0.0.0", "--collector (-n)", "'0.0.0.0' is the unspecified address");
	bad("-r a -n ipfix+tcp://[::]", "--collector (-n)", "'::' is the unspecified address");
	bad("-r a -n 255.255.255.255:5", "--collector (-n)", "the broadcast address");
	bad("-r a -n ipfix+tcp://224.0.0.1", "--collector (-n)", "a multicast address");
	bad("-r a -n ipfix+dtls://[ff02::1%lo]", "--collector (-n)", "a multicast address");
	bad("-r a --quiet=perhaps", "--quiet (-q)", "neither yes nor no");
	bad("-r a --template-refresh 0", "--template-refresh", "not a time");
	bad("-r a --template-packets 0", "--template-packets", "'0'");
	bad("-r a --stats=", "--stats", "empty");
	bad("-r a -n 10.0.0.1:0", "--collector (-n)", "'0' is not a port");
	bad("-r a -u daemon --stay-root", "--user (-u)", "--stay-root");
	bad("-r a/b -n json:a/b", "--collector a/b", "--read");
	bad("-r a/b -n json:a/c --stats a/c", "--stats a/c", "--collector");
	bad("-r a/b --stats a/c -p a/c", "--stats a/c", "--pidfile");
	bad("-r a -n json:- -n text:-", "--collector (-n)", "same destination");
	bad("-r a -n h -n ipfix://H:4739", "--collector (-n)", "same destination");
	bad("-r a -f udp tcp", "--filter (-f)", "tcp");
	bad("-r a.pcap b.pcap", "--read (-r)", "b.pcap");
	bad("-r a --daemon", "--daemon", "text:-");
	bad("-r a --live -n h", "--live", "--interface (-i)");
	bad("-i a --live --daemon -n h", "--live", "--daemon");
	bad("-i a --live -n json:-", "--live", "json:-");
	bad("-r - --daemon -n h", "--daemon", "standard input");
	bad("-r a --max-flow 5", "--max-flow ", "--max-flows meant");
	bad("-r a --colector h", "--colector", "--collector meant");
	bad("-r a --templ 5", "--templ", "--template-refresh meant");
	bad("-r a --zzzzzzzz", "--zzzzzzzz", "--help");
	bad("--in a.pcap", "--in", "--interface meant");
	bad("--out a.ipfix", "--out", "--help lists");
	bad("-i a --live --foo", "--foo", "--help lists");
	bad("-i a --polite 30", "--polite", "'30' is none of cpu=PERCENT");
	bad("-i a --polite 30% udp", "--polite", "'30%' is none of cpu=PERCENT");
	bad("-r a -Z", "-Z", "--help");
	bad("-r a -s 16777217", "--sample", "from 1 to 16777216");
	bad("-r a -s often", "--sample", "number");
	bad("-r a -s often:5", "--sample", "systematic:N");
	bad("-r a -s 20000 -n netflow5://h", "--sample", "16383");
	bad("-r a --agent host", "--agent", "address");
	bad("-r a --agent 0.0.0.0", "--agent: '0.0.0.0' is the unspecified address", "one of a host");
	bad("-r a --agent ::", "--agent: '::' is the unspecified address", "one of a host");
	bad("-r a --agent ::ffff:0.0.0.0", "--agent", "unspecified");
	bad("-r a --agent 224.0.0.1", "--agent", "a multicast address");
	bad("-r a --agent 239.255.255.255", "--agent", "a multicast address");
	bad("-r a --agent ff02::1", "--agent", "a multicast address");
	bad("-r a --agent ::ffff:224.0.0.1", "--agent", "a multicast address");
	bad("-r a --agent 255.255.255.255", "--agent", "the broadcast address");
	bad_file("agent = 0.0.0.0\n", "pitot.conf:1: agent: '0.0.0.0' is the unspecified address");
	bad("-r a -P tcp", "-P", "URL");
	bad("-r a -A micro", "-A", "flowStartMicroseconds");
	bad("-r a -b", "-b", "of its own");
	bad("-r a -x 1", "-x", "no MPLS labels");
	bad("-r a -s", "--sample", "missing");
	bad("-r a -n a:1,,b:2", "--collector (-n)", "empty part");
	bad("-r a -n a:1,b:x", "--collector (-n)", "'x' is not a port");
}

/* A command line of softflowd does what it says where pitot has the same. */
static void test_sample(void **state)
{
	static const struct {
		const char *text;
		int kind;
		uint32_t interval;
	} rows[] = {{"1", CONFIG_SAMPLE_ALL, 1},
		    {"0", CONFIG_SAMPLE_ALL, 1},
		    {"100", CONFIG_SAMPLE_RANDOM, 100},
		    {"random:7", CONFIG_SAMPLE_RANDOM, 7},
		    {"systematic:16777216", CONFIG_SAMPLE_SYSTEMATIC, 16777216},
		    {"hash:2", CONFIG_SAMPLE_HASH, 2},
		    {"hash:1", CONFIG_SAMPLE_ALL, 1}};
	char line[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(line, sizeof(line), "-r a -s %s --agent 2001:db8::1", rows[i].text);
		good(line);
		assert_int_equal(config.sample.kind, rows[i].kind);
		assert_int_equal(config.sample.interval, rows[i].interval);
		assert_string_equal(config.agent, "2001:db8::1");
		config_deinit(&config);
	}
}

static void test_polite(void **state)
{
	static const struct {
		const char *text;
		bool on;
		uint32_t cpu, yield, spare;
		const char *pressure, *filter;
	} rows[] = {{"-i a", false, 0, 0, 0, "", NULL},
		    {"-i a --polite", true, 30, 20, 1, "", NULL},
		    {"-i a --polite udp", true, 30, 20, 1, "", "udp"},
		    {"-i a --polite -- tcp", true, 30, 20, 1, "", "tcp"},
		    {"-i a --polite=off", false, 0, 0, 0, "", NULL},
		    {"-i a --polite cpu=5", true, 5, 20, 1, "", NULL},
		    {"-i a --polite=yield=7,spare=0,cpu=300", true, 300, 7, 0, "", NULL},
		    {"-i a --polite pressure=/x/y,yield=100 port 53", true, 30, 100, 1, "/x/y", "port 53"},
		    {"-i a --polite cpu=5 --polite yield=6", true, 30, 6, 1, "", NULL},
		    {"-i a --polite=pressure=none", true, 30, 20, 1, "none", NULL}};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		good(rows[i].text);
		assert_int_equal(config.polite.on, rows[i].on);
		assert_int_equal(config.polite.cpu, rows[i].cpu);
		assert_int_equal(config.polite.yield, rows[i].yield);
		assert_int_equal(config.polite.spare, rows[i].spare);
		assert_string_equal(config.polite.pressure, rows[i].pressure);
		assert_true(!config.filter == !rows[i].filter);
		if (rows[i].filter)
			assert_string_equal(config.filter, rows[i].filter);
		config_deinit(&config);
	}
	good("-i a --polite");
	assert_true(config.polite.slice);
	config_deinit(&config);
	good("-i a --polite slice=off,cpu=5");
	assert_false(config.polite.slice);
	assert_int_equal(config.polite.cpu, 5);
	config_deinit(&config);
	bad("-i a --polite slice=16", "--polite: slice", "neither yes nor no");
	bad("-i a --polite cpu=0", "--polite: cpu", "from 1 to 100000");
	bad("-i a --polite yield=101", "--polite: yield", "from 1 to 100");
	bad("-i a --polite spare=-1", "--polite: spare", "from 0 to 100");
	bad("-i a --polite=pressure=", "--polite: pressure", "not the name of a file");
	bad("-i a --polite cpus=5", "--polite", "cpu=PERCENT");
	bad("-i a --polite=5", "--polite", "cpu=PERCENT");
	bad("-i a --polite=cpu=5,,yield=3", "--polite", "none of");
	bad("-i a --polite -s 10", "--polite", "--sample");
}

static void test_softflowd(void **state)
{
	(void)state;
	good("-6a -r a -P udp -A milli -s 1 -T full -n a:1,b:2 -v 9 -t maxlife=120");
	assert_int_equal(config.n_collectors, 2);
	assert_string_equal(config.collectors[0].url, "netflow9://a:1");
	assert_string_equal(config.collectors[1].url, "netflow9://b:2");
	assert_int_equal(config.flow_key, 0);
	assert_int_equal(config.n_files, 1);
	assert_null(config.filter);
	assert_int_equal(config.collector_group, CONFIG_GROUP_REPLICATE);
	config_deinit(&config);
	good("-r a -Pudp -s1 -l -n a,b udp port 53");
	assert_int_equal(config.collector_group, CONFIG_GROUP_HASH);
	assert_string_equal(config.filter, "udp port 53");
	config_deinit(&config);
	good("-r a -n json:x,y -n ipfix+file:v,w");
	assert_int_equal(config.n_collectors, 2);
	assert_string_equal(config.collectors[0].path, "x,y");
	config_deinit(&config);
}

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static char mistakes[64][512];
static unsigned n_mistakes;

static void test_on_mistake(const char *sentence)
{
	if (n_mistakes < N_OF(mistakes))
		snprintf(mistakes[n_mistakes++], sizeof(mistakes[0]), "%s", sentence);
}

static unsigned test_on_check(const struct config *c, void (*mistake)(const char *sentence))
{
	mistake(c->filter ? c->filter : "no filter");
	return 1;
}

static int parse_all(int argc, const char *const *words, bool check)
{
	static char copies[64][64];
	char *argv[65] = {0};
	const struct config_listener listener = {.mistake = test_on_mistake,
						 .check = check ? test_on_check : NULL};

	for (int i = 0; i < argc; i++) {
		snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
		argv[i] = copies[i];
	}
	n_mistakes = 0;
	return config_parse_all(&config, argc, argv, &listener, &diag);
}

/* All mistakes are told, in their order, each once; and what else is wrong with what was understood. */
static void test_all_mistakes(void **state)
{
	static const char *const words[] = {"pitot", "-t",    "foo=1", "-Q",	  "-w", "0",   "--zork",
					    "-n",    "xml:-", "-n",    "h:1,h:1", "-P", "tcp", "udp"};
	static const char *const says[] = {
		"'foo'", "-Q", "'0'", "--zork", "softflowd", "xml", "same destination", "no filter"};
	static const char *const zero[] = {"pitot", "-r", "a", "-w", "0", "udp"};
	static const char *const none[] = {"pitot", "-r", "a", "--filter", "udp", "-n", "h"};
	static const char *const help[] = {"pitot", "-Q", "--help"};

	(void)state;
	assert_int_equal(parse_all(N_OF(words), words, true), CONFIG_E_USAGE);
	assert_int_equal(n_mistakes, N_OF(says));
	for (unsigned i = 0; i < n_mistakes; i++)
		if (!strstr(mistakes[i], says[i]))
			fail_msg("%u: %s", i, mistakes[i]);
	/* words behind an unknown option may be its value, and are no filter; behind another mistake they are
	 */
	assert_int_equal(parse_all(N_OF(zero), zero, true), CONFIG_E_USAGE);
	assert_int_equal(n_mistakes, 2);
	assert_string_equal(mistakes[1], "udp");
	assert_int_equal(parse_all(N_OF(none), none, false), 0);
	assert_int_equal(n_mistakes, 0);
	config_deinit(&config);
	assert_int_equal(parse_all(N_OF(none), none, true), CONFIG_E_USAGE);
	assert_int_equal(parse_all(N_OF(help), help, false), 0);
	assert_int_equal(config.action, CONFIG_HELP);
	config_deinit(&config);
}

/* What ends the reading at once is told, too: exit status 2 without a sentence helps nobody. */
static void test_no_mistake_is_silent(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		const char *says;
	} files[] = {{"quiet = yes\nwor\0kers = 2\n", 25, ":2: the line has a NUL octet"},
		     {NULL, 9000, ":1: the line is longer than"},
		     {NULL, 3 << 20, "longer than 1 MiB"}};
	static const char *const no_name[] = {"pitot", "-r", "a", "--config="};
	static const char *const help[] = {"pitot", "--help=3", "-r", "a"};
	char path[] = "/tmp/pitot-config-XXXXXX";
	const char *words[] = {"pitot", "-r", "a", "--config", path};
	char spaces[1000];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	memset(spaces, ' ', sizeof(spaces));
	for (unsigned i = 0; i < N_OF(files); i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		if (files[i].text)
			assert_int_equal(pwrite(fd, files[i].text, files[i].size, 0), files[i].size);
		else
			for (size_t at = 0; at < files[i].size; at += 1000)
				assert_int_equal(pwrite(fd, spaces, 1000, (off_t)at), 1000);
		assert_int_equal(parse_all(N_OF(words), words, false), CONFIG_E_USAGE);
		assert_int_equal(n_mistakes, 1);
		assert_non_null(strstr(mistakes[0], files[i].says));
	}
	close(fd);
	unlink(path);
	assert_int_equal(parse_all(N_OF(no_name), no_name, false), CONFIG_E_USAGE);
	assert_int_equal(n_mistakes, 1);
	assert_int_equal(parse_all(N_OF(help), help, false), CONFIG_E_USAGE);
	assert_int_equal(n_mistakes, 1);
}

/* A file that is none has no end of them. */
static void test_too_many_mistakes(void **state)
{
	const char *words[60] = {"pitot"};

	(void)state;
	for (unsigned i = 1; i < N_OF(words); i++)
		words[i] = "-Q";
	assert_int_equal(parse_all(N_OF(words), words, true), CONFIG_E_USAGE);
	assert_int_equal(n_mistakes, 20);
}

static void test_file(void **state)
{
	(void)state;
	assert_int_equal(parse_file("# comment\n"
				    "\n"
				    "interface = eth0\r\n"
				    "  interface=9:eth1   # the other\n"
				    "filter = \"not port 22 # no comment\"   # comment\n"
				    "collector = ipfix://[2001:db8::5]:4739\n"
				    "collector = netflow9://h\n"
				    "timeout = active=5,inactive=6\n"
				    "timeout = tcp-end=off\n"
				    "no-promiscuous = yes\n"
				    "quiet = off\n"
				    "max-flows = 17"),
			 0);
	assert_int_equal(config.n_interfaces, 2);
	assert_string_equal(config.interfaces[1].name, "eth1");
	assert_string_equal(config.filter, "not port 22 # no comment");
	assert_int_equal(config.n_collectors, 2);
	assert_int_equal(config.active_ns, 5 * NS_PER_SEC);
	assert_true(config.tcp_end_ns == UINT64_MAX);
	assert_true(config.no_promiscuous);
	assert_false(config.quiet);
	assert_int_equal(config.max_flows, 17);
	config_deinit(&config);

	bad_file("interface = eth0\n\nmax-flow = 5\n",
		 "pitot.conf:3: 'max-flow' is not an option; is max-flows meant?");
	bad_file("xyzzyxyzzy = 5\n", "pitot.conf:1: 'xyzzyxyzzy' is not an option");
	bad_file("max-flows = 0\n", "pitot.conf:1: max-flows: '0'");
	bad_file("max-flows = 1\nmax-flows = 2\n", "pitot.conf:2: max-flows was already set in line 1");
	bad_file("max-flows\n", "pitot.conf:1: 'max-flows' is not a NAME = VALUE line");
	bad_file("max-flows =\n", "pitot.conf:1: max-flows: the value is missing");
	bad_file("filter = \"x\n", "pitot.conf:1: filter: the closing quote");
	bad_file("filter = \"x\" y\n", "pitot.conf:1: filter: text after");
	bad_file("help = yes\n", "pitot.conf:1: help belongs on the command line");
	bad_file("config = x\n", "pitot.conf:1: config belongs on the command line");
	bad_file("read = a\ncollector = h:99999\n", "pitot.conf:2: collector: '99999' is not a port");
	bad_file("read = -\nread = -\n", "pitot.conf:2: read: standard input");
	assert_int_equal(config_parse_text(&config, "x", "a\0b", 3, &diag), CONFIG_E_USAGE);
	assert_non_null(strstr(diag.text, "x:1: the line has a NUL"));
}

static void test_command_line_wins(void **state)
{
	char path[] = "/tmp/pitot_test_configXXXXXX";
	static const char text[] =
		"interface = eth9\ncollector = a\ncollector = b\nmax-flows = 3\nquiet = yes\n"
		"timeout = active=5,inactive=6\nfilter = udp\ndaemon = yes\n";
	char line[256];
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);

	snprintf(line, sizeof(line), "--config %s", path);
	good(line);
	assert_int_equal(config.n_interfaces, 1);
	assert_int_equal(config.n_collectors, 2);
	assert_true(config.quiet && config.daemon);
	config_deinit(&config);

	snprintf(line, sizeof(line), "-r a -n c -m 4 --quiet=no -t active=7 -d --config %s tcp", path);
	good(line);
	assert_int_equal(config.n_interfaces, 0);
	assert_int_equal(config.n_files, 1);
	assert_int_equal(config.n_collectors, 1);
	assert_string_equal(config.collectors[0].host, "c");
	assert_int_equal(config.max_flows, 4);
	assert_false(config.quiet || config.daemon);
	assert_int_equal(config.active_ns, 7 * NS_PER_SEC);
	assert_int_equal(config.inactive_ns, 6 * NS_PER_SEC);
	assert_string_equal(config.filter, "tcp");
	config_deinit(&config);
	unlink(path);

	assert_int_equal(parse("--config /nonexistent/pitot.conf"), -ENOENT);
	assert_non_null(strstr(diag.text, "--config: /nonexistent/pitot.conf: No such file"));
	assert_int_equal(parse("--config /tmp"), -EISDIR);
}

/* Every default is what its row says: what the user writes when they write it out. */
static void test_presets_parse(void **state)
{
	char text[256];

	(void)state;
	for (unsigned i = 0; i < config_rows_count; i++) {
		const struct config_row *row = &config_rows[i];

		if (row->kind == KIND_GROUP)
			continue;
		assert_true(strlen(row->help) > 5);
		if (row->letter)
			assert_ptr_equal(config_row_by_letter(row->letter), row);
		assert_ptr_equal(config_row_by_name(row->name, strlen(row->name)), row);
		if (!row->preset[0])
			continue;
		snprintf(text, sizeof(text), "read = a\n%s = %s\n", row->name, row->preset);
		if (parse_file(text))
			fail_msg("%s: %s", row->name, diag.text);
		config_deinit(&config);
	}
}

/* What the documents say that an option takes is what it takes, in that order. */
static void test_choices(void **state)
{
	(void)state;
	for (unsigned i = 0; i < config_rows_count; i++) {
		const struct config_row *row = &config_rows[i];
		char words[128] = "";

		if (row->kind == KIND_GROUP || config_row_manner(row) != MANNER_CHOICE)
			continue;
		for (unsigned k = 0; k < config_choices_count; k++) {
			const struct config_choice *c = &config_choices[k];
			size_t n = strlen(words);

			if (c->kind == row->kind && c->word)
				snprintf(words + n, sizeof(words) - n, "%s%s", n ? "|" : "", c->word);
		}
		assert_string_equal(words, row->argument);
	}
}

static unsigned help_lines;
static char help_text[16384];

static void help_line(void *ctx, const char *line)
{
	size_t n = strlen(help_text);

	assert_ptr_equal(ctx, &config);
	assert_true(strlen(line) < 80);
	assert_true(!line[0] || line[strlen(line) - 1] != ' ');
	snprintf(help_text + n, sizeof(help_text) - n, "%s\n", line);
	help_lines++;
}

/* --cpus: numbers and ranges, counted round. */
static void test_cpus(void **state)
{
	static const char *const wrong[] = {"",	    ",", "1,", "-1",	"1-",	 "3-1",
					    "1,,2", "a", "1x", "99999", "1-2-3", " 1"};

	(void)state;
	assert_int_equal(config_cpu(NULL, 0), -1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(config_cpu(wrong[i], 0), -1);
	assert_int_equal(config_cpu("7", 5), 7);
	assert_int_equal(config_cpu("2,4-6", 0), 2);
	assert_int_equal(config_cpu("2,4-6", 1), 4);
	assert_int_equal(config_cpu("2,4-6", 3), 6);
	assert_int_equal(config_cpu("2,4-6", 4), 2);
}

static void test_help(void **state)
{
	char head[64];

	(void)state;
	help_text[0] = '\0';
	config_help(help_line, &config);
	assert_true(help_lines > config_rows_count);
	for (unsigned i = 0; i < config_rows_count; i++) {
		if (config_rows[i].kind == KIND_GROUP)
			continue;
		snprintf(head, sizeof(head), "--%s", config_rows[i].name);
		assert_non_null(strstr(help_text, head));
	}
}

static void test_failing_allocations(void **state)
{
	unsigned n;

	(void)state;
	for (n = 1; n < 1000; n++) {
		bool failed;
		int r;

		failalloc_start(n);
		r = parse("-i eth0 -i eth1 -n a -n json:x -f udp --source 10.0.0.1 --bind-device e --fields "
			  "1 --stats s "
			  "-p p -u u -t active=3");
		failed = failalloc_stop();
		if (!failed) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		assert_non_null(strstr(diag.text, "memory"));
	}
	assert_true(n > 10);
	config_deinit(&config);
}

static void test_needs_restart(void **state)
{
	static const struct {
		const char *line, *name;
	} rows[] = {
		{"-i eth0 -n a:1 -n json:x", NULL},
		{"-i eth1 -n a:1 -n json:x", "interface"},
		{"-i 7:eth0 -n a:1 -n json:x", "interface"},
		{"-i eth0 -i eth1 -n a:1 -n json:x", "interface"},
		{"-r eth0 -n a:1 -n json:x", "interface"},
		{"-i eth0 -n a:2 -n json:x", "collector"},
		{"-i eth0 -n netflow9://a:1 -n json:x", "collector"},
		{"-i eth0 -n json:x -n a:1", "collector"},
		{"-i eth0 -n a:1", "collector"},
		{"-i eth0 -n a:1 -n json:x -f tcp", "filter"},
		{"-i eth0 -n a:1 -n json:x -m 5", "max-flows"},
		{"-i eth0 -n a:1 -n json:x -T tos", "flow-key"},
		{"-i eth0 -n a:1 -n json:x --source 10.0.0.1", "source"},
		{"-i eth0 -n a:1 -n json:x --source 0.0.0.0:99", "source"},
		{"-i eth0 -n a:1 -n json:x --direction in", "direction"},
		{"-i eth0 -n a:1 -n json:x --no-promiscuous", "no-promiscuous"},
		{"-i eth0 -n a:1 -n json:x --mtu 900", "mtu"},
		{"-i eth0 -n a:1 -n json:x --domain 4", "domain"},
		{"-i eth0 -n a:1 -n json:x -u root", "user"},
		{"-i eth0 -n a:1 -n json:x -w 3", "workers"},
		{"-i eth0 -n a:1 -n json:x -B 1M", "buffer"},
		{"-i eth0 -n a:1 -n json:x -t active=3,inactive=2,tcp-end=off --template-refresh 5 "
		 "--template-packets 6 "
		 "--stats-interval 7 --flush-interval 8 --include-own --quiet --debug",
		 NULL},
	};
	struct config now;

	(void)state;
	good(rows[0].line);
	now = config;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *name;

		good(rows[i].line);
		name = config_needs_restart(&now, &config);
		if (!name != !rows[i].name || (name && strcmp(name, rows[i].name)))
			fail_msg("%s: %s, not %s", rows[i].line, name ? name : "none",
				 rows[i].name ? rows[i].name : "none");
		config_deinit(&config);
	}
	config_deinit(&now);
	good("-r a -r b");
	now = config;
	good("-r a -r b");
	assert_null(config_needs_restart(&now, &config));
	config_deinit(&config);
	good("-r a -r c");
	assert_string_equal(config_needs_restart(&now, &config), "read");
	config_deinit(&config);
	config_deinit(&now);
}

static void test_decapsulate(void **state)
{
	static const struct {
		const char *value;
		uint32_t tunnels; /* 0: refused */
		const char *says;
	} lists[] = {
		{"gre", 1u << TUNNEL_GRE, NULL},
		{"4in4,6in4,vxlan=8472", 1u << TUNNEL_4IN4 | 1u << TUNNEL_6IN4 | 1u << TUNNEL_VXLAN, NULL},
		{"all", (1u << TUNNEL_COUNT) - 1, NULL},
		{"all,vxlan=8472", (1u << TUNNEL_COUNT) - 1, NULL},
		{"ipip", 0, "'ipip' is no tunnel that pitot opens; there are 4in4, 6in4"},
		{"gre=5", 0, "gre has no port"},
		{"vxlan=0", 0, "--decapsulate"},
		{"vxlan=70000", 0, "--decapsulate"},
		{"gre,,vxlan", 0, "empty part"},
		{"", 0, "empty part"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		char value[64];
		char *argv[] = {(char *)"pitot", (char *)"-r", (char *)"x", value};
		int r;

		snprintf(value, sizeof(value), "--decapsulate=%s", lists[i].value);
		r = config_parse_again(&config, 4, argv, &diag);
		if (!lists[i].tunnels) {
			assert_int_equal(r, CONFIG_E_USAGE);
			if (!strstr(diag.text, lists[i].says))
				fail_msg("%s: %s", value, diag.text);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(config.decapsulate, lists[i].tunnels);
		assert_int_equal(config.tunnel_ports[TUNNEL_VXLAN],
				 strstr(lists[i].value, "=8472") ? 8472 : 0);
		config_deinit(&config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decapsulate),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_ways_to_write),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_cpus),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_polite),
		cmocka_unit_test(test_softflowd),
		cmocka_unit_test(test_all_mistakes),
		cmocka_unit_test(test_no_mistake_is_silent),
		cmocka_unit_test(test_too_many_mistakes),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_command_line_wins),
		cmocka_unit_test(test_presets_parse),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_needs_restart),
		cmocka_unit_test(test_failing_allocations),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
