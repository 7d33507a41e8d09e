/* netif_watch: what happens to links is told as it happens. */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lacking.h"
#include "netns.h"
#include "pitot/netif.h"
#include "refused.h"

struct heard {
	unsigned n;
	bool gone;
	bool up;
	uint32_t index;
};

static void on_link(void *ctx, const struct netif *n, bool gone)
{
	struct heard *heard = ctx;

	if (strcmp(n->name, "pwa") != 0)
		return;
	heard->n++;
	heard->gone = gone;
	heard->up = n->up;
	heard->index = n->index;
}

static struct heard hear(struct netif_watch *w)
{
	struct pollfd pfd = {.fd = netif_watch_fd(w), .events = POLLIN};
	struct heard heard = {0};

	while (poll(&pfd, 1, 50) > 0)
		assert_int_equal(netif_watch_read(w, on_link, &heard), 0);
	return heard;
}

static struct netif_watch *open_watch(void)
{
	struct netif_watch *w = NULL;
	struct diag diag = {""};

	assert_int_equal(netif_watch_open(&w, &diag), 0);
	return w;
}

static void watch_tells(void **state)
{
	struct netif_watch *w = open_watch();
	struct diag diag;
	struct netif n;
	struct heard heard;

	(void)state;
	assert_int_equal(hear(w).n, 0);
	netns_veth("pwa", "pwb");
	heard = hear(w);
	assert_true(heard.n > 0 && heard.up && !heard.gone);
	assert_int_equal(netif_get(&n, "pwa", &diag), 0);
	assert_int_equal(heard.index, n.index);
	netns_set_up("pwa", false);
	heard = hear(w);
	assert_true(heard.n > 0 && !heard.up && !heard.gone);
	netns_delete("pwa");
	heard = hear(w);
	assert_true(heard.n > 0 && heard.gone);
	assert_int_equal(heard.index, n.index);
	netif_watch_close(w);
	netif_watch_close(NULL);
}

static void watch_read_does_not_wait(void **state)
{
	struct netif_watch *w = open_watch();
	struct heard heard = {0};

	(void)state;
	assert_int_equal(netif_watch_read(w, on_link, &heard), 0);
	netif_watch_close(w);
}

static void watch_tells_that_it_lost(void **state)
{
	struct netif_watch *w = open_watch();
	struct heard heard = {0};
	int small = 1, large = 100000;

	(void)state;
	netns_veth("pwa", "pwb");
	assert_int_equal(setsockopt(netif_watch_fd(w), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (unsigned i = 0; i < 200; i++)
		netns_set_up("pwa", i & 1);
	assert_int_equal(netif_watch_read(w, on_link, &heard), NETIF_E_LOST);
	/* and it goes on, given room; the kernel may still be telling of what was lost before */
	assert_int_equal(setsockopt(netif_watch_fd(w), SOL_SOCKET, SO_RCVBUF, &large, sizeof(large)), 0);
	while (netif_watch_read(w, on_link, &heard) == NETIF_E_LOST)
		;
	hear(w);
	netns_set_up("pwa", false);
	heard = hear(w);
	assert_true(heard.n > 0 && !heard.up);
	netif_watch_close(w);
	netns_delete("pwa");
}

/* Addresses and routes change without a word about links. */
static void watch_tells_of_addresses(void **state)
{
	struct netif_watch *w = open_watch();
	struct heard heard = {0};

	(void)state;
	netns_veth("pwa", "pwb");
	hear(w);
	assert_true(netif_watch_changed(w));
	assert_false(netif_watch_changed(w));
	for (unsigned i = 0; i < 3; i++) {
		static const char *const commands[] = {
			"ip addr add 192.0.2.1/24 dev pwa",
			"ip route add 198.51.100.0/24 via 192.0.2.2",
			"ip addr del 192.0.2.1/24 dev pwa",
		};

		assert_int_equal(system(commands[i]), 0);
		assert_int_equal(netif_watch_read(w, on_link, &heard), 0);
		assert_true(netif_watch_changed(w));
	}
	netif_watch_close(w);
	netns_delete("pwa");
}

/* A port that leaves its bridge is told as deleted, by the bridge: the interface is still there. */
static void watch_tells_nothing_of_bridges(void **state)
{
	struct netif_watch *w;
	struct heard heard;

	(void)state;
	netns_veth("pwa", "pwb");
	if (system("ip link add pwbr type bridge 2>/dev/null") != 0) {
		netns_delete("pwa");
		lacking_here("this kernel has no bridge");
	}
	assert_int_equal(system("ip link set pwbr up; ip link set pwa master pwbr"), 0);
	w = open_watch();
	assert_int_equal(system("ip link set pwa nomaster"), 0);
	heard = hear(w);
	assert_true(heard.n > 0 && !heard.gone);
	netif_watch_close(w);
	netns_delete("pwa");
	netns_delete("pwbr");
}

static int fails_with(int error)
{
	struct netif_watch *w = open_watch();
	struct heard heard = {0};
	int r;

	if (!refused_from_now_on(SYS_recvmsg, error))
		return 77;
	netif_watch_changed(w);
	r = netif_watch_read(w, on_link, &heard);
	/* what could not be read may have been a change */
	if (heard.n || !netif_watch_changed(w))
		return 1;
	netif_watch_close(w);
	return r != (error == ENOBUFS ? NETIF_E_LOST : -EPERM);
}

/* Whatever the kernel says reading ends, and what is said of it is true. */
static void watch_ends(void **state)
{
	static const int errors[] = {ENOBUFS, EPERM};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		int status;
		pid_t pid = fork();

		if (pid == 0)
			_exit(fails_with(errors[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			lacking_here("no seccomp in this kernel");
		assert_int_equal(status, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(watch_tells),
		cmocka_unit_test(watch_read_does_not_wait),
		cmocka_unit_test(watch_tells_that_it_lost),
		cmocka_unit_test(watch_tells_of_addresses),
		cmocka_unit_test(watch_tells_nothing_of_bridges),
		cmocka_unit_test(watch_ends),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
