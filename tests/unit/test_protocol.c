/* protocol: names of IP protocols, both ways.  Covers base/protocol.c. */
#include "cm.h"

#include <stdlib.h>

#include "pitot/protocol.h"

static void protocol_is_found_by_what_it_is_called(void **state)
{
	unsigned with_ports = 0;

	(void)state;
	for (unsigned number = 0; number < 256; number++) {
		char text[PROTOCOL_TEXT];
		const char *word = protocol_word(text, (uint8_t)number);
		const struct protocol *p = protocol_by_word(word);

		if (p)
			assert_int_equal(p->number, number);
		else
			assert_int_equal(strtoul(word, NULL, 10), number);
		with_ports += protocol_has_ports((uint8_t)number);
	}
	assert_int_equal(with_ports, 5); /* TCP, UDP, DCCP, SCTP, UDP-Lite */
	assert_null(protocol_by_word(""));
	assert_null(protocol_by_word("TCP"));
}

static void protocol_has_names(void **state)
{
	char text[PROTOCOL_TEXT];

	(void)state;
	assert_string_equal(protocol_word(text, 6), "tcp");
	assert_string_equal(protocol_title(text, 58), "ICMPv6");
	assert_string_equal(protocol_word(text, 58), "icmp6");
	assert_int_equal(protocol_by_word("icmp6")->family, 6);
	assert_string_equal(protocol_word(text, 47), "gre");
	assert_string_equal(protocol_title(text, 41), "IPv6");
	assert_string_equal(protocol_word(text, 41), "41");
	assert_string_equal(protocol_title(text, 255), "255");
	assert_true(protocol_has_type(1) && protocol_has_type(58) && !protocol_has_type(6));
	assert_false(protocol_has_ports(1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protocol_is_found_by_what_it_is_called),
		cmocka_unit_test(protocol_has_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
