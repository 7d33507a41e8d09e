/* netif: what rtnetlink says about an interface, and what is said when there is none. */
#include "cm.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>

#include <netlink/errno.h>

#include "netif/netif_internal.h"
#include "netns.h"
#include "pitot/netif.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(netif_errors),
		cmocka_unit_test(netif_loopback),
		cmocka_unit_test(netif_veth),
		cmocka_unit_test(netif_missing_lists_what_there_is),
		cmocka_unit_test(netif_missing_with_many),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
