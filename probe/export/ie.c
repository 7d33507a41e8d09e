/* ie: see include/pitot/ie.h. */
#include "pitot/ie.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "pitot/flow_record.h"

#define VARIABLE	 IE_VARIABLE
#define SIZE_OF(type, m) sizeof(((const type *)0)->m)

/* What rows have members of; declared for their types alone. */
enum { BLOCK_CORE = IE_CORE };
extern const struct flow_record ie_of_CORE;
#define BLOCK(name, record, facts, key, start, count) extern const record ie_of_##name;
#define BLOCK_OF_HOST(name, record)		      extern const record ie_of_##name;
#include "pitot/blocks.def"

const struct ie ie_table[IE_COUNT] = {
#define IE(n, p, i, i9, len, l9, enc, b, m, g, proto)                                                        \
	[IE_##n] = {.name = #n,                                                                              \
		    .pen = p,                                                                                \
		    .id = i,                                                                                 \
		    .id9 = i9,                                                                               \
		    .length = len,                                                                           \
		    .length9 = l9,                                                                           \
		    .block = BLOCK_##b,                                                                      \
		    .offset = offsetof(__typeof__(ie_of_##b), m),                                            \
		    .size = sizeof(ie_of_##b.m),                                                             \
		    .encode = IE_ENCODE_##enc,                                                               \
		    .group = IE_GROUP_##g,                                                                   \
		    .protocols = proto},
#define IE_CONST(n, p, i, len, l9, value, g, proto)                                                          \
	[IE_##n] = {.name = #n,                                                                              \
		    .pen = p,                                                                                \
		    .id = i,                                                                                 \
		    .id9 = i,                                                                                \
		    .length = len,                                                                           \
		    .length9 = l9,                                                                           \
		    .block = IE_CORE,                                                                        \
		    .encode = IE_ENCODE_CONST,                                                               \
		    .group = IE_GROUP_##g,                                                                   \
		    .protocols = proto,                                                                      \
		    .constant = value},
#define IE_FACT(...)
#define IE_PAIR(...)
#define IE_ASKS(...)
#include "pitot/ie.def"
};

const struct ie ie_facts[FACT_COUNT] = {
#define IE(...)
#define IE_CONST(...)
#define IE_FACT(n, p, i, len, len9, enc, m)                                                                  \
	[FACT_##m] = {.name = #n,                                                                            \
		      .pen = p,                                                                              \
		      .id = i,                                                                               \
		      .id9 = i,                                                                              \
		      .block = IE_CORE,                                                                      \
		      .length = len,                                                                         \
		      .length9 = len9,                                                                       \
		      .offset = offsetof(struct export_facts, m),                                            \
		      .size = SIZE_OF(struct export_facts, m),                                               \
		      .encode = IE_ENCODE_##enc,                                                             \
		      .group = IE_GROUP_BASE,                                                                \
		      .protocols = P9 | PX},
#define IE_PAIR(...)
#define IE_ASKS(...)
#include "pitot/ie.def"
};

static const enum ie_index ie_pairs[][2] = {
#define IE(...)
#define IE_CONST(...)
#define IE_FACT(...)
#define IE_PAIR(one, other) {IE_##one, IE_##other},
#define IE_ASKS(...)
#include "pitot/ie.def"
};

static const struct ie_ask {
	enum ie_index ie;
	enum record_block block;
} ie_asks[] = {
#define IE(...)
#define IE_CONST(...)
#define IE_FACT(...)
#define IE_PAIR(...)
#define IE_ASKS(name, block) {IE_##name, BLOCK_##block},
#include "pitot/ie.def"
};

uint32_t ie_blocks(const struct ie *ie)
{
	uint32_t blocks = ie->block != IE_CORE ? UINT32_C(1) << ie->block : 0;

	for (unsigned i = 0; i < sizeof(ie_asks) / sizeof(ie_asks[0]); i++)
		if (ie == &ie_table[ie_asks[i].ie])
			blocks |= UINT32_C(1) << ie_asks[i].block;
	return blocks;
}

const struct ie *ie_find(const char *text, unsigned length)
{
	uint32_t number = 0;
	bool numeric = length > 0 && length <= 5;

	for (unsigned i = 0; i < length; i++) {
		numeric = numeric && isdigit((unsigned char)text[i]);
		number = number * 10 + (uint32_t)(text[i] - '0');
	}
	for (unsigned i = 0; i < IE_COUNT; i++) {
		const struct ie *ie = &ie_table[i];

		if (!(ie->protocols & (P9 | PX)))
			continue;
		if (numeric ? ie->id == number
			    : strlen(ie->name) == length && strncasecmp(ie->name, text, length) == 0)
			return ie;
	}
	return NULL;
}

const struct ie *ie_counterpart(const struct ie *ie)
{
	for (unsigned i = 0; i < sizeof(ie_pairs) / sizeof(ie_pairs[0]); i++) {
		if (ie == &ie_table[ie_pairs[i][0]])
			return &ie_table[ie_pairs[i][1]];
		if (ie == &ie_table[ie_pairs[i][1]])
			return &ie_table[ie_pairs[i][0]];
	}
	return NULL;
}
