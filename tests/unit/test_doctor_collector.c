/* What the doctor finds out of a collector by itself, on loopback.  Covers doctor/doctor_collector.c. */
#include "cm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pitot/doctor.h"

static struct doctor_collector c;

/* Listens on 127.0.0.1 alone. */
static int listener(uint16_t *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static void add_address(const char *text)
{
	struct resolve_result one;

	assert_true(resolve_numeric(&one, text, c.config.port, SOCK_STREAM));
	c.found.addresses[c.found.n] = one.addresses[0];
	c.found.sizes[c.found.n++] = one.sizes[0];
}

static void name(enum transport_kind transport, const char *host, uint16_t port)
{
	c = (struct doctor_collector){.config = {.transport = transport, .port = port}};
	snprintf(c.config.host, sizeof(c.config.host), "%s", host);
}

/* A name with several addresses: one that nobody listens on is no fault where another one has a collector. */
static void test_second_address(void **state)
{
	uint16_t port;
	int fd = listener(&port);

	(void)state;
	name(TRANSPORT_TCP, "collector.example", port);
	add_address("127.0.0.2");
	add_address("127.0.0.1");
	doctor_probe_collector(&c, NULL, NULL);
	assert_int_equal(c.probe_error, 0);
	assert_string_equal(c.address, "127.0.0.1");
	close(fd);
	name(TRANSPORT_TCP, "collector.example", port);
	add_address("127.0.0.2");
	add_address("127.0.0.1");
	doctor_probe_collector(&c, NULL, NULL);
	assert_int_equal(c.probe_error, ECONNREFUSED);
}

static void test_look(void **state)
{
	uint16_t port;
	int fd = listener(&port);

	(void)state;
	name(TRANSPORT_TCP, "127.0.0.1", port);
	doctor_look_collector(&c);
	assert_string_equal(c.name_error, "");
	assert_string_equal(c.address, "127.0.0.1");
	assert_int_equal(c.route_error, 0);
	assert_true(c.route_mtu > 0);
	close(fd);
	name(TRANSPORT_UDP, "127.0.0.1", port); /* nobody has it */
	doctor_look_collector(&c);
	doctor_probe_collector(&c, NULL, NULL);
	assert_int_equal(c.probe_error, ECONNREFUSED);
	assert_false(c.host_silent);
}

/* Looked at is the way that pitot takes: from its --source, through its --bind-device. */
static void test_origin(void **state)
{
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	uint16_t port;
	int fd = listener(&port), peer;

	(void)state;
	name(TRANSPORT_TCP, "127.0.0.1", port);
	c.source = "127.0.0.5";
	c.device = "lo";
	doctor_look_collector(&c);
	doctor_probe_collector(&c, NULL, NULL);
	assert_int_equal(c.route_error, 0);
	assert_int_equal(c.probe_error, 0);
	peer = accept(fd, (struct sockaddr *)&from, &size);
	assert_true(peer >= 0);
	assert_int_equal(from.sin_addr.s_addr, inet_addr("127.0.0.5"));
	close(peer);
	c.source = "192.0.2.1"; /* an address that this host does not have */
	doctor_look_collector(&c);
	assert_int_equal(c.route_error, EADDRNOTAVAIL);
	c.source = "::1";
	doctor_look_collector(&c);
	assert_int_equal(c.route_error, EAFNOSUPPORT);
	c.source = "";
	c.device = "pitot-gone0";
	doctor_look_collector(&c);
	assert_int_equal(c.route_error, ENODEV);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_second_address),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
