/* Which interfaces collectors are told of while these change: process/names.c, netif/netif.c. */
#include "cm.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netns.h"
#include "pitot/netif.h"
#include "process/names.h"

static struct names names;

static void ip(const char *command)
{
	char line[200];

	snprintf(line, sizeof(line), "ip %s", command);
	assert_int_equal(system(line), 0);
}

static const struct export_interface *find(uint32_t ifindex)
{
	for (unsigned i = 0; i < names.n_list; i++)
		if (names.list[i].ifindex == ifindex)
			return &names.list[i];
	return NULL;
}

static void expect(uint32_t ifindex, const char *name, bool gone)
{
	const struct export_interface *e = find(ifindex);

	assert_non_null(e);
	assert_string_equal(e->name, name);
	assert_int_equal(e->gone, gone);
}

static void begin(const char *first, const char *second)
{
	assert_int_equal(names_init(&names, 2, 256), 0);
	names_add(&names, first, 0);
	if (second)
		names_add(&names, second, 77);
	assert_true(names_look(&names));
}

static void test_renamed(void **state)
{
	uint32_t index;

	(void)state;
	netns_veth("pna", "pnb");
	index = if_nametoindex("pna");
	begin("pna", "pnb");
	expect(index, "pna", false);
	expect(77, "pnb", false); /* the user's number */
	assert_false(names_look(&names));
	ip("link set pna down");
	ip("link set pna name lan0");
	assert_true(names_look(&names));
	expect(index, "lan0", false);
	netns_set_alias("lan0", "to the lab");
	assert_true(names_look(&names));
	assert_string_equal(find(index)->description, "to the lab");
	/* another one with the old name is not the one that is measured */
	netns_veth("pna", "pnc");
	assert_false(names_look(&names));
	names_deinit(&names);
	netns_delete("lan0");
	netns_delete("pna");
}

static void test_made_anew(void **state)
{
	uint32_t was, now;

	(void)state;
	netns_veth("pna", "pnb");
	was = if_nametoindex("pna");
	begin("pna", NULL);
	netns_delete("pna");
	names_forget(&names, was);
	assert_true(names_look(&names));
	expect(was, "pna", true); /* records may still have it */
	netns_veth("other", "others");
	netns_veth("pna", "pnb");
	now = if_nametoindex("pna");
	assert_int_not_equal(was, now);
	assert_true(names_look(&names));
	expect(was, "pna", true);
	expect(now, "pna", false);
	netns_delete("pna");
	names_forget(&names, now);
	ip("link add other2 index 1234 type veth peer name pnb index 1235"); /* a number of another one */
	(void)names_look(&names);
	assert_null(find(1234));
	names_deinit(&names);
	netns_delete("other");
	netns_delete("other2");
}

/* The number of one that is gone is another's name by now. */
static void test_number_is_used_again(void **state)
{
	(void)state;
	ip("link add pna index 1300 type veth peer name pnb index 1301");
	begin("pna", NULL);
	expect(1300, "pna", false);
	netns_delete("pna");
	names_forget(&names, 1300);
	ip("link add pnx index 1300 type veth peer name pny index 1301");
	ip("link add pna index 1400 type veth peer name pnb index 1401");
	assert_true(names_look(&names));
	expect(1400, "pna", false);
	expect(1300, "pna", true);
	names_deinit(&names);
	netns_delete("pna");
	netns_delete("pnx");
}

static void test_many_go(void **state)
{
	(void)state;
	begin("any", NULL);
	for (unsigned i = 0; i < NAMES_GONE + 10; i++) {
		netns_veth("pna", "pnb");
		(void)names_look(&names);
		netns_delete("pna");
		(void)names_look(&names);
	}
	assert_int_equal(names.n_gone, NAMES_GONE);
	names_deinit(&names);
}

static void test_any(void **state)
{
	struct netif n;
	struct diag diag;

	(void)state;
	begin("any", NULL);
	expect(if_nametoindex("lo"), "lo", false);
	netns_veth("pna", "pnb");
	assert_true(names_look(&names));
	expect(if_nametoindex("pnb"), "pnb", false);
	assert_int_equal(netif_get_index(&n, if_nametoindex("pnb"), &diag), 0);
	assert_string_equal(n.name, "pnb");
	assert_true(netif_get_index(&n, 999999, &diag) < 0);
	names_deinit(&names);
	netns_delete("pna");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_renamed), cmocka_unit_test(test_made_anew),
					   cmocka_unit_test(test_number_is_used_again),
					   cmocka_unit_test(test_many_go), cmocka_unit_test(test_any)};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
