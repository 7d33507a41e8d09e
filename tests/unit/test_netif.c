/* netif: what rtnetlink says about an interface, and what is said when there is none. */
#include "cm.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lacking.h"
#include "netif/netif_internal.h"
#include "netns.h"
#include "pitot/netif.h"
#include "refused.h"

static void netif_loopback(void **state)
{
	struct diag diag = {""};
	struct netif n;

	(void)state;
	assert_int_equal(netif_get(&n, "lo", &diag), 0);
	assert_string_equal(n.name, "lo");
	assert_int_equal(n.index, if_nametoindex("lo"));
	assert_int_equal(n.mtu, 65536);
	assert_int_equal(n.arphrd, ARPHRD_LOOPBACK);
	assert_true(n.loopback && n.up && n.running);
	assert_int_equal(n.speed, 0);
	assert_string_equal(n.alias, "");
}

static void netif_veth(void **state)
{
	struct diag diag = {""};
	struct netif n;

	(void)state;
	netns_veth("pna", "pnb");
	netns_set_alias("pna", "to the \"core\"");
	assert_int_equal(netif_get(&n, "pna", &diag), 0);
	assert_int_equal(n.arphrd, ARPHRD_ETHER);
	assert_int_equal(n.mtu, 1500);
	assert_true(n.up && n.running && !n.loopback);
	assert_int_equal(n.speed, UINT64_C(10000000000)); /* what the veth driver says */
	assert_string_equal(n.alias, "to the \"core\"");
	netns_set_up("pnb", false); /* the cable is out */
	assert_int_equal(netif_get(&n, "pna", &diag), 0);
	assert_true(n.up && !n.running);
	netns_set_up("pna", false);
	assert_int_equal(netif_get(&n, "pna", &diag), 0);
	assert_true(!n.up && !n.running);
	netns_delete("pna");
}

static void netif_missing_lists_what_there_is(void **state)
{
	struct diag diag = {""};
	struct netif n;

	(void)state;
	assert_int_equal(netif_get(&n, "eth9", &diag), -ENODEV);
	assert_string_equal(diag.text, "interface \"eth9\" does not exist (there are: lo)");
	assert_int_equal(netif_get(&n, "eth8,eth9", &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "(there are: lo); each needs a --interface (-i) of its own"));
	netns_veth("pna", "pnb");
	assert_int_equal(netif_get(&n, "eth9", &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "pna"));
	assert_non_null(strstr(diag.text, "pnb"));
	netns_delete("pna");
	assert_int_equal(netif_get(&n, "", &diag), -ENODEV);
	assert_int_equal(netif_get(&n, "a-name-that-is-longer-than-any", &diag), -ENODEV);
	assert_non_null(strstr(diag.text, "a-name-that-is-longer-than-any"));
}

/* More interfaces than a sentence holds. */
static void netif_missing_with_many(void **state)
{
	struct diag diag = {""};
	struct netif n;
	char a[16], b[16];

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(a, sizeof(a), "pmany-a%u", i);
		snprintf(b, sizeof(b), "pmany-b%u", i);
		netns_veth(a, b);
	}
	assert_int_equal(netif_get(&n, "eth9", &diag), -ENODEV);
	assert_non_null(strstr(diag.text, ", ...)"));
	for (unsigned i = 0; i < 30; i++) {
		snprintf(a, sizeof(a), "pmany-a%u", i);
		netns_delete(a);
	}
}

static void netif_errors(void **state)
{
	static const int same[][2] = {{0, 0},
				      {NLE_NODEV, -ENODEV},
				      {NLE_OBJ_NOTFOUND, -ENODEV},
				      {NLE_NOMEM, -ENOMEM},
				      {NLE_PERM, -EPERM},
				      {NLE_NOACCESS, -EPERM},
				      {NLE_AGAIN, -EAGAIN},
				      {NLE_INTR, -EINTR},
				      {NLE_BAD_SOCK, -EIO}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(netif_errno(same[i][0]), same[i][1]);
		assert_int_equal(netif_errno(-same[i][0]), same[i][1]);
	}
}

static void take_none(void *ctx, const struct netif *n)
{
	(void)n;
	++*(unsigned *)ctx;
}

/* In a child: each question has its own answer to a socket that cannot be had, or that does not carry it. */
static int ask_all(int error, const char *connecting)
{
	struct netif_routes *routes = NULL;
	struct netif_watch *watch = NULL;
	struct diag diag;
	struct netif n;
	unsigned taken = 0, wrong = 0;

	wrong += netif_get(&n, "lo", &diag) != error || n.index != 0;
	wrong += strncmp(diag.text, connecting ? connecting : "lo: rtnetlink: ", 11) != 0;
	wrong += netif_get_index(&n, 1, &diag) != error || n.index != 0;
	wrong += strncmp(diag.text, connecting ? connecting : "interface 1: rtnetlink: ", 11) != 0;
	wrong += netif_each(take_none, &taken, &diag) != (connecting ? error : -EAGAIN) || taken != 0;
	wrong += strcmp(diag.text, connecting ? connecting : "rtnetlink: the kernel does not answer") != 0;
	if (!connecting) /* libnl does not see that it could not send that: it ends all the same */
		return (int)wrong;
	wrong += netif_routes_open(&routes, &diag) != error || routes;
	wrong += strcmp(diag.text, "routes: rtnetlink: Too many open files") != 0;
	wrong += netif_watch_open(&watch, &diag) != error || watch;
	wrong += strcmp(diag.text, "link events: rtnetlink: Too many open files") != 0;
	return (int)wrong;
}

static void run_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		lacking_here("no seccomp in this kernel");
	assert_int_equal(status, 0);
}

static int run_without_descriptors(void)
{
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
	return ask_all(-EIO, "rtnetlink: Too many open files");
}

static int run_without_sending(void)
{
	return refused_from_now_on(SYS_sendmsg, EPERM) ? ask_all(-EPERM, NULL) : 77;
}

/* What the interface is like is told without its speed where that cannot be asked for. */
static int run_without_ethtool(void)
{
	struct diag diag;
	struct netif n;

	if (!refused_with_argument(SYS_socket, AF_UNIX, EACCES))
		return 77;
	return netif_get(&n, "pna", &diag) != 0 || n.mtu != 1500 || n.speed != 0;
}

static void netif_poor_kernels(void **state)
{
	(void)state;
	run_child(run_without_descriptors);
	run_child(run_without_sending);
	netns_veth("pna", "pnb");
	run_child(run_without_ethtool);
	netns_delete("pna");
}

static void netif_speeds(void **state)
{
	struct ethtool_cmd cmd = {0};

	(void)state;
	ethtool_cmd_speed_set(&cmd, 400000);
	assert_int_equal(netif_ethtool_speed(&cmd), UINT64_C(400000000000));
	ethtool_cmd_speed_set(&cmd, UINT16_MAX); /* unknown, in old drivers */
	assert_int_equal(netif_ethtool_speed(&cmd), 0);
	ethtool_cmd_speed_set(&cmd, (uint32_t)SPEED_UNKNOWN);
	assert_int_equal(netif_ethtool_speed(&cmd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(netif_errors),
		cmocka_unit_test(netif_loopback),
		cmocka_unit_test(netif_veth),
		cmocka_unit_test(netif_missing_lists_what_there_is),
		cmocka_unit_test(netif_missing_with_many),
		cmocka_unit_test(netif_poor_kernels),
		cmocka_unit_test(netif_speeds),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
