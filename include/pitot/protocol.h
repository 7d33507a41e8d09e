/* protocol: numbers and names of IP protocols (protocols.def). */
#ifndef PITOT_PROTOCOL_H
#define PITOT_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum protocol_number {
#define PROTOCOL(name, word, title, number, kind, family) PROTO_##name = number,
#include "pitot/protocols.def"
};

enum protocol_kind { PROTOCOL_NOTHING, PROTOCOL_PORTS, PROTOCOL_FLAGS, PROTOCOL_TYPE };

struct protocol {
	const char *word; /* NULL: none */
	const char *title;
	uint8_t number;
	uint8_t family; /* 4, 6; 0: both */
};

enum { PROTOCOL_TEXT = 8 };

/* NULL: no row has this word. */
const struct protocol *protocol_by_word(const char *word);
/* How it is written; its number in text where it has no name. */
const char *protocol_word(char text[PROTOCOL_TEXT], uint8_t number);
const char *protocol_title(char text[PROTOCOL_TEXT], uint8_t number);

/* A flow's src_port and dst_port are ports. */
static inline bool protocol_has_ports(uint8_t protocol)
{
	switch (protocol) {
#define PROTOCOL(name, word, title, number, kind, family)                                                    \
	case number:                                                                                         \
		return PROTOCOL_##kind == PROTOCOL_PORTS || PROTOCOL_##kind == PROTOCOL_FLAGS;
#include "pitot/protocols.def"
	default:
		return false;
	}
}

/* A flow's dst_port is a type and a code, as in ICMP. */
static inline bool protocol_has_type(uint8_t protocol)
{
	return protocol == PROTO_ICMP || protocol == PROTO_ICMP6;
}

#endif
