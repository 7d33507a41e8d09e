/* tag: which EtherTypes are a VLAN tag's (tags.def). */
#ifndef PITOT_TAG_H
#define PITOT_TAG_H

#include <stdbool.h>
#include <stdint.h>

static const uint16_t tag_types[] = {
#define TAG(number, standard) number,
#include "pitot/tags.def"
};

enum { TAG_TYPES = sizeof(tag_types) / sizeof(tag_types[0]) };

static inline bool tag_is_type(uint16_t type)
{
	switch (type) {
#define TAG(number, standard) case number:
#include "pitot/tags.def"
		return true;
	default:
		return false;
	}
}

#endif
