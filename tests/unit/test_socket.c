/*
 * Sockets to a collector, on loopback: transport/socket.c: where they send from, when another one would be
 * made, and what is known of a stream.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cm.h"
#include "transport/socket.h"

static struct sockaddr_storage address(const char *host)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct sockaddr_storage ss = {0};

	assert_int_equal(inet_pton(AF_INET, host, &at.sin_addr), 1);
	memcpy(&ss, &at, sizeof(at));
	return ss;
}

/* A socket that has this address and a port of the system's choice, which peer has then. */
static int bound(int type, const char *host, struct sockaddr_storage *peer)
{
	socklen_t size = sizeof(struct sockaddr_in);
	int fd = socket(AF_INET, type, 0), on = 1;

	*peer = address(host);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)peer, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)peer, &size), 0);
	return fd;
}

static uint16_t port_of(const struct sockaddr_storage *peer)
{
	return ntohs(((const struct sockaddr_in *)peer)->sin_port);
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

static short wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	assert_int_equal(poll(&p, 1, -1), 1);
	return p.revents;
}

static void test_origin(void **state)
{
	struct transport_config config = {.source_host = "127.0.0.2", .source_port = 7, .ttl = 9};
	struct socket_origin from;
	struct diag diag = {""};
	char text[100] = "";

	(void)state;
	assert_int_equal(socket_check_origin(&config, &diag), 0);
	socket_init_origin(&from, &config);
	assert_string_equal(from.host, "127.0.0.2");
	assert_string_equal(from.device, "");
	assert_int_equal(from.port, 7);
	assert_int_equal(from.ttl, 9);
	assert_false(socket_is_missing(&from, ENODEV, text, sizeof(text)));
	assert_true(socket_is_missing(&from, EADDRNOTAVAIL, text, sizeof(text)));
	assert_string_equal(text, "--source 127.0.0.2: not an address of this host");
	config = (struct transport_config){.bind_device = "eth0"};
	socket_init_origin(&from, &config);
	assert_false(socket_is_missing(&from, EADDRNOTAVAIL, text, sizeof(text)));
	assert_true(socket_is_missing(&from, ENODEV, text, sizeof(text)));
	assert_string_equal(text, "--bind-device eth0: no such interface");
	config.bind_device = "sixteen-letters-";
	assert_int_equal(socket_check_origin(&config, &diag), -EINVAL);
	assert_string_equal(diag.text, "--bind-device sixteen-letters-: no interface has such a long name");
	config = (struct transport_config){.source_host = "localhost"};
	assert_int_equal(socket_check_origin(&config, &diag), -EINVAL);
	assert_string_equal(diag.text, "--source localhost: not an IPv4 or IPv6 address");
}

/* Datagrams are whole, go out as they are told to, and are noticed when they would go otherwise. */
static void test_datagrams(void **state)
{
	struct socket_origin from = {.host = "127.0.0.2", .ttl = 7};
	struct sockaddr_storage peer, own;
	int listener = bound(SOCK_DGRAM, "127.0.0.1", &peer), keeper = bound(SOCK_DGRAM, "127.0.0.4", &own);
	struct transport_local self;
	int fd, other;

	(void)state;
	fd = socket_open(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in));
	assert_true(fd >= 0);
	assert_int_equal(option(fd, IPPROTO_IP, IP_TTL), 7);
	assert_int_equal(option(fd, IPPROTO_IP, IP_MULTICAST_TTL), 7);
	assert_int_equal(option(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DO);
	assert_int_equal(socket_family(fd), AF_INET);
	assert_int_equal(socket_path_mtu(fd), option(fd, IPPROTO_IP, IP_MTU));
	assert_int_equal(socket_device_of(fd), 0);
	socket_note_self(fd, IPPROTO_UDP, &self);
	assert_int_equal(self.family, AF_INET);
	assert_int_equal(self.protocol, IPPROTO_UDP);
	assert_memory_equal(self.local, "\x7f\0\0\2", 4);
	assert_memory_equal(self.remote, "\x7f\0\0\1", 4);
	assert_int_equal(self.remote_port, port_of(&peer));
	assert_true(self.local_port);
	assert_int_equal(
		socket_look(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in), &self, 0, &other), 0);
	assert_int_equal(other, -1);
	assert_int_equal(
		socket_look(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in), &self, 1, &other),
		SOCKET_E_MOVED); /* the device of that name is another one */
	close(other);
	from = (struct socket_origin){.host = "127.0.0.4", .port = port_of(&own)};
	assert_int_equal(
		socket_look(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in), &self, 0, &other),
		SOCKET_E_MOVED);
	socket_note_self(other, IPPROTO_UDP, &self);
	assert_memory_equal(self.local, "\x7f\0\0\4", 4);
	assert_int_equal(self.local_port, port_of(&own));
	close(other);
	from = (struct socket_origin){.host = "192.0.2.1"};
	assert_int_equal(
		socket_look(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in), &self, 0, &other),
		-EADDRNOTAVAIL);
	from = (struct socket_origin){.host = "::1"};
	assert_int_equal(socket_open(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in)), -EAFNOSUPPORT);
	from = (struct socket_origin){.device = "pitot-is-none"};
	assert_int_equal(socket_open(&from, SOCK_DGRAM, 0, &peer, sizeof(struct sockaddr_in)), -ENODEV);
	close(fd);
	close(keeper);
	close(listener);
}

static int connected(int listener, const struct sockaddr_storage *peer, int *accepted)
{
	const struct socket_origin from = {.host = ""};
	int fd = socket_open(&from, SOCK_STREAM, IPPROTO_TCP, peer, sizeof(struct sockaddr_in));

	assert_true(fd >= 0);
	wait_for(fd, POLLOUT);
	assert_int_equal(socket_is_connected(fd), 1);
	*accepted = accept(listener, NULL, NULL);
	assert_true(*accepted >= 0);
	return fd;
}

static void test_stream(void **state)
{
	const uint8_t octets[] = "octets";
	struct sockaddr_storage peer;
	int listener = bound(SOCK_STREAM, "127.0.0.1", &peer), accepted, fd;
	uint8_t got[10];

	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	fd = connected(listener, &peer, &accepted);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(socket_drop(fd), 0);
	assert_int_equal(socket_send(fd, octets, 6), 6);
	assert_int_equal(recv(accepted, got, sizeof(got), 0), 6);
	while (socket_unacked(fd) != 0) /* the system acknowledges when it wants to */
		poll(NULL, 0, 1);
	assert_int_equal(send(accepted, octets, 6, 0), 6);
	wait_for(fd, POLLIN);
	assert_int_equal(socket_drop(fd), 0);
	assert_false(socket_is_reset(fd, false));
	socket_shut(fd);
	assert_int_equal(recv(accepted, got, sizeof(got), 0), 0);
	close(accepted);
	wait_for(fd, POLLIN);
	assert_int_equal(socket_drop(fd), SOCKET_E_CLOSED);
	assert_false(socket_is_reset(fd, false));
	close(fd);
	close(listener);
}

static void test_reset(void **state)
{
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	const struct socket_origin from = {.host = ""};
	struct sockaddr_storage peer;
	int listener = bound(SOCK_STREAM, "127.0.0.1", &peer), accepted, fd, r;

	(void)state;
	assert_int_equal(listen(listener, 1), 0);
	fd = connected(listener, &peer, &accepted);
	assert_int_equal(setsockopt(accepted, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(accepted);
	wait_for(fd, POLLIN);
	assert_true(socket_is_reset(fd, false));
	assert_int_equal(socket_drop(fd), -ECONNRESET);
	close(fd);
	close(listener);
	listener = bound(SOCK_STREAM, "127.0.0.1", &peer); /* which does not listen */
	fd = socket_open(&from, SOCK_STREAM, IPPROTO_TCP, &peer, sizeof(struct sockaddr_in));
	r = fd;
	if (fd >= 0) {
		wait_for(fd, POLLOUT);
		r = socket_is_connected(fd);
		close(fd);
	}
	assert_int_equal(r, -ECONNREFUSED);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin),
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests_name("socket", tests, NULL, NULL);
}
