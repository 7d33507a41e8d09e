/* capture_interface: facts by name and by index. */
#include "cm.h"

#include <errno.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture/capture_interface.h"
#include "netns.h"

static void interface_facts(void **state)
{
	struct capture_interface itf;
	struct diag diag = {""};

	(void)state;
	assert_int_equal(capture_interface_get(&itf, "lo", &diag), 0);
	assert_int_equal(itf.arphrd, ARPHRD_LOOPBACK);
	assert_true(itf.loopback);
	assert_true(itf.up);
	assert_int_equal(itf.mtu, 65536);
	assert_int_equal(itf.index, if_nametoindex("lo"));
	netns_veth("pia", "pib");
	assert_int_equal(capture_interface_get(&itf, "pia", &diag), 0);
	assert_int_equal(itf.arphrd, ARPHRD_ETHER);
	assert_false(itf.loopback);
	netns_delete("pia");
	assert_int_equal(capture_interface_get(&itf, "pia", &diag), -ENODEV);
	assert_string_equal(diag.text, "interface \"pia\" does not exist");
	assert_int_equal(capture_interface_get(&itf, "", &diag), -ENODEV);
	assert_int_equal(capture_interface_get(&itf, "sixteen-octets-x", &diag), -ENODEV);
}

static void interface_up_and_down(void **state)
{
	struct capture_interface itf;
	struct diag diag = {""};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	(void)state;
	netns_veth("pia", "pib");
	assert_int_equal(capture_interface_get(&itf, "pia", &diag), 0);
	assert_true(capture_interface_is_up(fd, itf.index));
	netns_set_up("pia", false);
	assert_false(capture_interface_is_up(fd, itf.index));
	assert_int_equal(capture_interface_get(&itf, "pia", &diag), -ENETDOWN);
	assert_non_null(strstr(diag.text, "ip link set pia up"));
	netns_delete("pia");
	assert_false(capture_interface_is_up(fd, itf.index));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interface_facts),
		cmocka_unit_test(interface_up_and_down),
	};
	int r = netns_enter();

	return r ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
