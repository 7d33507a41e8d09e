/* service: what a service manager reads from its socket. */
#include "cm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service.h"
#include "pitot/clock.h"

static int listener = -1;

static void listen_at(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t size = strlen(name);

	memcpy(at.sun_path, name, size);
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&at,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
}

static void expect(const char *text)
{
	char got[128] = "";
	ssize_t n = recv(listener, got, sizeof(got) - 1, 0);

	if (!text) {
		assert_int_equal(n, -1);
		return;
	}
	assert_string_equal(got, text);
}

static int tear_down(void **state)
{
	(void)state;
	if (listener >= 0)
		close(listener);
	listener = -1;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

static void test_nobody(void **state)
{
	struct service n;

	(void)state;
	service_open(&n);
	assert_int_equal(n.fd, -1);
	service_ready(&n);
	service_watchdog(&n, 1);
	service_stopping(&n);
	service_close(&n);
	setenv("NOTIFY_SOCKET", "relative", 1);
	service_open(&n);
	assert_int_equal(n.fd, -1);
	setenv("NOTIFY_SOCKET", "/no/such/socket", 1);
	service_open(&n);
	assert_int_equal(n.fd, -1);
}

static void test_path(void **state)
{
	char path[] = "/tmp/test_notify.XXXXXX", name[64];
	struct service n;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof(name), "%s/socket", path);
	listen_at(name);
	service_open(&n);
	assert_true(n.fd >= 0);
	service_ready(&n);
	expect("READY=1");
	service_watchdog(&n, 1000 * NS_PER_SEC); /* nobody asked for it */
	expect(NULL);
	service_stopping(&n);
	expect("STOPPING=1");
	close(listener); /* the manager is gone: nothing happens */
	listener = -1;
	service_ready(&n);
	service_close(&n);
	assert_int_equal(n.fd, -1);
	unlink(name);
	rmdir(path);
}

static void test_watchdog(void **state)
{
	char name[64];
	struct service n;

	(void)state;
	snprintf(name, sizeof(name), "@test-notify-%d", getpid());
	listen_at(name);
	setenv("WATCHDOG_USEC", "2000000", 1);
	service_open(&n);
	assert_true(n.fd >= 0);
	service_watchdog(&n, 5 * NS_PER_SEC);
	expect("WATCHDOG=1");
	service_watchdog(&n, 5 * NS_PER_SEC + 999 * NS_PER_MSEC);
	expect(NULL);
	service_watchdog(&n, 6 * NS_PER_SEC);
	expect("WATCHDOG=1");
	service_close(&n);
	setenv("WATCHDOG_PID", "1", 1); /* meant for somebody else */
	service_open(&n);
	service_watchdog(&n, 9 * NS_PER_SEC);
	expect(NULL);
	service_close(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_nobody, tear_down),
		cmocka_unit_test_teardown(test_path, tear_down),
		cmocka_unit_test_teardown(test_watchdog, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
