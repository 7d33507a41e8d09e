/* capture_filter_error: which word of an expression is the wrong one.  Needs no privilege. */
#include "cm.h"

#include <errno.h>
#include <string.h>

#include "capture/capture_filter_internal.h"

static void error_names_the_word(void **state)
{
	static const struct {
		const char *expression, *at;
	} cases[] = {
		{"tcp porrt 80", ", at \"porrt\" (character 5)"},
		{"  tcp  and\tand udp", ", at \"and\" (character 12)"},
		{"host 1.2.3.4.5 and tcp", ", at \"1.2.3.4.5\" (character 6)"},
		{"port 70000 or tcp", ", at \"70000\" (character 6)"},
		{"tcp or vlan 4444 and udp", ", at \"4444\" (character 13)"},
		{"len > = 5", ", at \"=\" (character 7)"},
		{"tcp&&||udp", ", at \"||\" (character 6)"},
		{"ip6 host 1.2.3.4", ", at \"1.2.3.4\" (character 10)"},
		{"tcp)", ", at \")\" (character 4)"},
		{"(tcp", ", at its end"},
		{"tcp[13", ", at its end"},
		{"port 80 and host", ", at its end"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
		struct bpf_program program;
		struct diag diag = {""};

		assert_true(pcap_compile(p, &program, cases[i].expression, 1, PCAP_NETMASK_UNKNOWN) < 0);
		assert_int_equal(filter_explain(&diag, cases[i].expression, p), -EINVAL);
		assert_non_null(strstr(diag.text, cases[i].at));
		assert_non_null(strstr(diag.text, cases[i].expression));
		assert_null(strstr(diag.text, "999"));
		pcap_close(p);
	}
}

static void error_keeps_to_its_room(void **state)
{
	char expression[3000];
	struct bpf_program program;
	struct diag diag = {""};
	pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);

	(void)state;
	memset(expression, 'x', sizeof(expression));
	expression[sizeof(expression) - 1] = 0;
	assert_true(pcap_compile(p, &program, expression, 1, PCAP_NETMASK_UNKNOWN) < 0);
	assert_int_equal(filter_explain(&diag, expression, p), -EINVAL);
	assert_non_null(strstr(diag.text, "(character 1)"));
	pcap_close(p);
}

static void word_is_a_whole_one(void **state)
{
	(void)state;
	assert_true(filter_names("vlan", "vlan"));
	assert_true(filter_names("not(vlan)", "vlan"));
	assert_true(filter_names("tcp||vlan&&udp", "vlan"));
	assert_true(filter_names("!vlan 5", "vlan"));
	assert_false(filter_names("host vlan.example.org", "vlan"));
	assert_false(filter_names("host my-vlan", "vlan"));
	assert_false(filter_names("host \\vlan", "vlan")); /* escaped: a name */
	assert_false(filter_names("", "vlan"));
	assert_true(filter_names("ether[0] = 1", "ether"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_names_the_word),
		cmocka_unit_test(error_keeps_to_its_room),
		cmocka_unit_test(word_is_a_whole_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
