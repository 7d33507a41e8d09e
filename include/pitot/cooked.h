/*
 * cooked: what is special about VLAN tags in Linux cooked captures (LINKTYPE_LINUX_SLL and SLL2).
 *
 * Since Linux 6.11 the header of such a frame has the EtherType of the packet even when tags are in front of
 * it.  What is there of a tag is its value and the EtherType that follows it; the last one is the packet's
 * once more.  The header does not say that they are there, so it is told from the packet itself.
 */
#ifndef PITOT_COOKED_H
#define PITOT_COOKED_H

#include <stdbool.h>
#include <stdint.h>

#include "pitot/tag.h"

enum { COOKED_TAGS_MAX = 8 };

static inline uint16_t cooked_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Whether an IP packet begins at p: its version, and a length that the frame has.  Too little of it is there:
 * not at `other`, which is of another version. */
static inline bool cooked_is_packet(uint16_t type, const uint8_t *other, const uint8_t *p, uint64_t cap_len,
				    uint64_t wire_len)
{
	uint8_t version = type == 0x0800 ? 4 : 6;

	if (cap_len < 20)
		return other[0] >> 4 != version && (cap_len == 0 || p[0] >> 4 == version);
	if (p[0] >> 4 != version)
		return false;
	if (version == 6)
		return 40u + cooked_u16(p + 4) <= wire_len;
	return (p[0] & 15) >= 5 && cooked_u16(p + 2) >= 20 && cooked_u16(p + 2) <= wire_len;
}

/* type is what the frame says is at p.  How many octets of tags are in front of an IP packet there; 0: none.
 */
static inline uint32_t cooked_rest_of_tags(uint16_t type, const uint8_t *p, uint64_t cap_len,
					   uint64_t wire_len)
{
	if (type != 0x0800 && type != 0x86dd)
		return 0;
	for (uint32_t at = 0; at < 4 * COOKED_TAGS_MAX && cap_len >= at + 4 && wire_len >= cap_len; at += 4) {
		uint16_t inner = cooked_u16(p + at + 2);

		if (inner == type)
			return cooked_is_packet(type, p, p + at + 4, cap_len - at - 4, wire_len - at - 4)
				       ? at + 4
				       : 0;
		if (!tag_is_type(inner))
			return 0;
	}
	return 0;
}

#endif
