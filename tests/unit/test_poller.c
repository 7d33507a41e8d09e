/* poller: each interface in its turn, and one that was made anew. */
#include "cm.h"

#include <net/if.h>
#include <string.h>

#include "netns.h"
#include "pitot/clock.h"
#include "poller.h"

static struct interface_counters told[64];
static unsigned n_told;

static void tell(void *ctx, const struct interface_counters *c)
{
	(void)ctx;
	told[n_told++] = *c;
}

static void test_turns(void **state)
{
	struct names_interface interfaces[2] = {{.name = "ppa"}, {.name = "ppb", .shown = 77}};
	struct names names = {.interfaces = interfaces, .n_interfaces = 2};
	struct diag diag = {""};
	struct poller p;

	(void)state;
	netns_veth("ppa", "ppb");
	interfaces[0].index = if_nametoindex("ppa");
	interfaces[1].index = if_nametoindex("ppb");
	assert_int_equal(poller_init(&p, 20 * NS_PER_SEC, &diag), 0);
	n_told = 0;
	poller_step(&p, &names, NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 1); /* the other one half an interval later */
	assert_int_equal(told[0].index, interfaces[0].index);
	assert_true(told[0].anew);
	poller_step(&p, &names, 10 * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 1);
	poller_step(&p, &names, 11 * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 2);
	assert_int_equal(told[1].index, 77);
	for (uint64_t s = 12; s <= 60; s++)
		poller_step(&p, &names, s * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 2 + 2 + 2);
	assert_false(told[2].anew);
	/* gone, and back with another index */
	netns_delete("ppa");
	interfaces[0].index = interfaces[1].index = 0;
	for (uint64_t s = 61; s <= 100; s++)
		poller_step(&p, &names, s * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 6);
	netns_veth("ppa", "ppb");
	interfaces[0].index = if_nametoindex("ppa");
	interfaces[1].index = if_nametoindex("ppb");
	for (uint64_t s = 101; s <= 120; s++)
		poller_step(&p, &names, s * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 8);
	assert_true(told[6].anew && told[7].anew);
	/* a long sleep is one reading, not many */
	poller_step(&p, &names, 1000 * NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 10);
	poller_deinit(&p);
	netns_delete("ppa");
}

static void test_off(void **state)
{
	struct names names = {0};
	struct diag diag = {""};
	struct poller p;

	(void)state;
	assert_int_equal(poller_init(&p, 0, &diag), 0);
	n_told = 0;
	poller_step(&p, &names, NS_PER_SEC, tell, NULL);
	assert_int_equal(n_told, 0);
	poller_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_turns), cmocka_unit_test(test_off)};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
