/*
 * What the doctor says of facts: nothing of healthy ones, and of each fault the one verdict that names it.
 * Covers doctor/doctor_checks.c.
 */
#include "cm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pitot/doctor.h"

static char said[512], verdicts[2048];
static unsigned doubts;

static void say(void *ctx, const struct doctor_finding *f)
{
	(void)ctx;
	strcat(strcat(said, said[0] ? " " : ""), f->check);
	strcat(verdicts, f->verdict);
	doubts += f->severity == DOCTOR_DOUBT;
	assert_true(f->verdict[0] && f->advice[0] && f->about[0]);
}

static struct doctor_facts facts;

static void healthy(void)
{
	facts = (struct doctor_facts){
		.capture = {.running = true,
			    .snap_len = 256,
			    .promiscuous = true,
			    .received = 1000,
			    .seen = 100},
		.clock = {.known = true, .synchronised = true},
		.n_interfaces = 1,
		.n_collectors = 1,
		.n_paths = 1,
		.paths = {{.option = "tls-ca", .path = "/etc/ca.pem"}},
		.interfaces = {{.name = "eth0",
				.exists = true,
				.up = true,
				.carrier = true,
				.promiscuous = true,
				.ethtool = true,
				.gro = true,
				.strips_vlan = true,
				.counted = 100}},
		.collectors = {{.config = {.url = "ipfix://c:4739",
					   .format = FORMAT_IPFIX,
					   .host = "c",
					   .port = 4739},
				.address = "192.0.2.1",
				.route_mtu = 1500,
				.tls_days = -1,
				.running = true,
				.up = true,
				.records = 10,
				.templates = 4}},
	};
}

static unsigned examine(void)
{
	said[0] = verdicts[0] = '\0';
	doubts = 0;
	return doctor_check(&facts, say, NULL);
}

static void test_healthy(void **state)
{
	(void)state;
	healthy();
	assert_int_equal(examine(), 0);
	assert_string_equal(said, "");
	facts.interfaces[0] = (struct doctor_interface){.name = "any", .any = true};
	facts.collectors[0].config.transport = TRANSPORT_FILE;
	facts.clock.known = false;
	assert_int_equal(examine(), 0);
	assert_string_equal(said, "");
	/* before the start nothing was counted yet */
	healthy();
	facts.capture = (struct doctor_capture){.snap_len = 256, .promiscuous = true};
	facts.collectors[0].running = facts.collectors[0].up = false;
	facts.interfaces[0].promiscuous = false;
	assert_int_equal(examine(), 0);
	assert_string_equal(said, "");
}

#define FAULT(change, check, words)                                                                          \
	do {                                                                                                 \
		healthy();                                                                                   \
		change;                                                                                      \
		if (examine() != 1 || strcmp(said, check) != 0 || !strstr(verdicts, words) || doubts)        \
			fail_msg("%s: %s: %s", #change, said, verdicts);                                     \
	} while (0)
#define DOUBT(change, check, words)                                                                          \
	do {                                                                                                 \
		healthy();                                                                                   \
		change;                                                                                      \
		if (examine() != 0 || strcmp(said, check) != 0 || !strstr(verdicts, words) || doubts != 1)   \
			fail_msg("%s: %s: %s", #change, said, verdicts);                                     \
	} while (0)

static void test_interfaces(void **state)
{
	struct doctor_interface *i = &facts.interfaces[0];
	struct doctor_capture *c = &facts.capture;

	(void)state;
	FAULT(i->exists = i->up = i->carrier = false, "exists", "no such interface");
	FAULT(i->up = i->carrier = false, "up", "is down");
	FAULT(i->carrier = false, "carrier", "no carrier");
	FAULT(i->promiscuous = false, "promiscuous", "not promiscuous");
	FAULT(c->seen = 0; c->filter = "host x", "traffic", "filter 'host x'");
	FAULT(c->seen = 0, "traffic", "given none of them");
	FAULT(c->paused = true, "traffic", "stop-gather");
	FAULT(c->xdp = c->wants_vlan = true, "vlan", "VLAN tags");
	FAULT(c->oversized = 5, "merged", "(5 were longer than the MTU)");
	DOUBT(i->dropped = 7, "drops", "7 packets");
	FAULT(c->dropped_by_kernel = 9, "ring", "9 packets were lost");
	FAULT(c->cut = 3, "snaplen", "3 of 1000 packets");
	FAULT(facts.clock.synchronised = false;
	      facts.clock.max_error_us = 16000000, "synchronised", "16.0 s");
	FAULT(strcpy(facts.paths[0].error, "No such file"), "usable", "--tls-ca: No such file");
	/* a link on which nothing happens is no fault */
	healthy();
	i->counted = c->seen = 0;
	assert_int_equal(examine(), 0);
}

static void test_collectors(void **state)
{
	struct doctor_collector *c = &facts.collectors[0];

	(void)state;
	FAULT(strcpy(c->name_error, "Name or service not known"), "name", "has no address: Name");
	FAULT(c->route_error = ENETUNREACH, "route", "Network is unreachable");
	FAULT(c->route_error = ENETUNREACH;
	      c->device = "eth9", "route", "through eth9: Network is unreachable");
	FAULT(c->route_error = EAFNOSUPPORT;
	      c->source = "::1", "route", "from --source ::1: that is an address");
	FAULT(c->no_sctp = true, "route", "this kernel has no SCTP");
	FAULT(c->mtu = 1500; c->route_mtu = 1000, "mtu", "--mtu 1500 is more than");
	FAULT(c->probe_error = ECONNREFUSED, "port", "nobody listens on port 4739");
	FAULT(c->probe_error = EPERM, "port", "firewall of this host");
	FAULT(c->probe_error = ETIMEDOUT, "port", "no answer from port 4739");
	FAULT(c->probe_error = EHOSTUNREACH, "port", "cannot be reached: No route");
	DOUBT(c->host_silent = true, "port", "nothing comes back");
	FAULT(strcpy(c->said, "SSH-2.0"), "protocol", "'SSH-2.0'");
	FAULT(strcpy(c->tls_error, "bad purpose"), "certificate", "is not accepted: bad purpose");
	FAULT(strcpy(c->tls_error, "self-signed certificate");
	      c->tls_certificate = DOCTOR_CERTIFICATE_AUTHORITY, "certificate",
	      "no authority of --tls-ca vouches for the collector's certificate: self-signed");
	FAULT(c->tls_certificate = DOCTOR_CERTIFICATE_EXPIRED, "certificate", "has expired");
	FAULT(c->tls_certificate = DOCTOR_CERTIFICATE_EARLY, "certificate", "not valid yet");
	FAULT(strcpy(c->tls_error, "hostname mismatch"); c->tls_certificate = DOCTOR_CERTIFICATE_NAME;
	      c->tls_name = "b", "certificate", "for another name than b: hostname mismatch");
	DOUBT(c->tls_days = 3, "certificate", "in 3 days");
	FAULT(c->handshake_silent = true, "handshake", "never answers");
	FAULT(c->templates = 0, "templates", "no template");
	FAULT(c->up = false; c->pending = 4;
	      strcpy(c->last_error, "reset"), "delivery", "4 records wait: reset");
	DOUBT(c->not_sent = 2, "delivery", "2 records were not sent");
	FAULT(strcpy(c->path_error, "/x: No such file"), "file", "/x");
	/* the formats that have no templates */
	healthy();
	c->templates = 0;
	c->config.format = FORMAT_NETFLOW5;
	assert_int_equal(examine(), 0);
}

static char printed[4096];

static void print(void *ctx, const char *line)
{
	(void)ctx;
	strcat(strcat(printed, line), "\n");
}

static void print_finding(void *ctx, const struct doctor_finding *f)
{
	doctor_print(f, print, ctx);
}

static void test_print(void **state)
{
	(void)state;
	healthy();
	facts.interfaces[0].up = false;
	printed[0] = '\0';
	doctor_sum(doctor_check(&facts, print_finding, NULL), 0, print, NULL);
	assert_string_equal(printed, "WRONG  eth0: the interface is down (up)\n"
				     "       ip link set eth0 up\n"
				     "1 wrong, 0 that may be\n");
	printed[0] = '\0';
	doctor_sum(0, 0, print, NULL);
	assert_string_equal(printed, "Nothing is wrong, as far as can be seen from here.\n");
}

/* Says what keeps path from being written, as a user who may make files nowhere sees it. */
static int look_as_nobody(const char *path)
{
	char error[192] = "";
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		doctor_look_output(error, sizeof(error), path);
		_exit(error[0] != '\0');
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void test_output(void **state)
{
	(void)state;
	assert_int_equal(look_as_nobody("/dev/null"), 0); /* no file is made beside a device */
	assert_int_equal(look_as_nobody("/dev/new"), 1);
	assert_int_equal(look_as_nobody("/tmp/pitot-doctor-is-not-there"), 0);
	assert_int_equal(look_as_nobody("/tmp"), 1);
	assert_int_equal(look_as_nobody("/no/such/folder"), 1);
	assert_int_equal(look_as_nobody("-"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_healthy), cmocka_unit_test(test_interfaces),
					   cmocka_unit_test(test_collectors), cmocka_unit_test(test_print),
					   cmocka_unit_test(test_output)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
