/*
 * ie: information elements, the table that ie.def expands to.
 *
 * Templates, data records, --fields, --list-fields and JSON member names all come from these rows.
 */
#ifndef PITOT_IE_H
#define PITOT_IE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Formats: bits of a row's protocols. */
enum ie_protocol { P5 = 1, P9 = 2, PX = 4 };

/* A length that stands before each value (RFC 7011 §7). */
#define IE_VARIABLE 65535

#define IE_CORE 255 /* block */

enum ie_encode {
	IE_ENCODE_UINT,	     /* big-endian; saturates and is counted where the width is too small */
	IE_ENCODE_INDEX,     /* likewise, but 0 (unknown) where it does not fit: never another interface */
	IE_ENCODE_FLOAT,     /* float64: IEEE 754, big-endian (RFC 7011 §6.1.3) */
	IE_ENCODE_BYTES,     /* as they stand */
	IE_ENCODE_UPTIME,    /* instant -> ms of sysUptime, mod 2^32 */
	IE_ENCODE_SEC,	     /* dateTimeSeconds: mod 2^32 */
	IE_ENCODE_MSEC,	     /* dateTimeMilliseconds */
	IE_ENCODE_USEC,	     /* dateTimeMicroseconds: NTP, low 11 bits of the fraction zero */
	IE_ENCODE_NSEC,	     /* dateTimeNanoseconds: NTP */
	IE_ENCODE_DURATION,  /* last - first in ms */
	IE_ENCODE_TCP_BITS,  /* of TCP only, data offset bits zero (RFC 9565) */
	IE_ENCODE_ICMP,	     /* type * 256 + code, of protocol 1 only */
	IE_ENCODE_ICMP6,     /* of protocol 58 only */
	IE_ENCODE_DIRECTION, /* 0 or 1, nothing else (RFC 5102 §5.11.6) */
	IE_ENCODE_STRING,    /* UTF-8; fixed lengths are padded with zeros */
	IE_ENCODE_INTERFACE, /* ifIndex -> the interface's name */
	IE_ENCODE_RATE,	     /* of a selector: one packet of so many */
	IE_ENCODE_CONST,
};

enum ie_group {
	IE_GROUP_BASE = 1,
	IE_GROUP_IP4 = 2,
	IE_GROUP_IP6 = 4,
	IE_GROUP_ETHERNET = 8,
	IE_GROUP_DIRECTION = 16,
	IE_GROUP_TUNNEL = 32, /* in any */
	IE_GROUP_OUTER4 = 64, /* over IPv4 */
	IE_GROUP_OUTER6 = 128,
	IE_GROUP_SELECTOR = 256, /* packets are selected by one of several */
};

struct ie {
	const char *name;
	uint32_t pen;
	uint16_t id;
	uint16_t id9;	   /* NetFlow v9 */
	uint16_t length;   /* IPFIX; IE_VARIABLE */
	uint16_t length9;  /* NetFlow v9 */
	uint8_t block;	   /* enum record_block; IE_CORE: of the record itself */
	uint16_t offset;   /* of the member in its struct */
	uint16_t size;	   /* of the member */
	uint8_t encode;	   /* enum ie_encode */
	uint16_t group;	   /* enum ie_group */
	uint8_t protocols; /* enum ie_protocol bits */
	uint64_t constant;
};

/* Rows of flow records, by name. */
enum ie_index {
#define IE(name, ...)	    IE_##name,
#define IE_CONST(name, ...) IE_##name,
#define IE_FACT(...)
#define IE_PAIR(...)
#define IE_ASKS(...)
#include "pitot/ie.def"
	IE_COUNT
};

/* Rows of options data, by member of struct export_facts. */
enum ie_fact {
#define IE(...)
#define IE_CONST(...)
#define IE_FACT(name, pen, id, len, len9, encode, member) FACT_##member,
#define IE_PAIR(...)
#define IE_ASKS(...)
#include "pitot/ie.def"
	FACT_COUNT
};

/* What options data are made of; filled anew before each use. */
struct export_facts {
	uint32_t domain;
	uint32_t process_id;
	uint32_t sampling_interval;
	uint8_t sampling_algorithm;
	uint32_t active_s;
	uint32_t inactive_s;
	uint8_t sampler_id, sampler_mode;
	uint32_t sampler_interval;
	uint64_t selector_id;
	uint16_t selector_algorithm;
	uint32_t selector_size;
	uint32_t selector_population;
	uint32_t selector_take, selector_skip;
	double selector_probability;
	uint64_t hash_offset, hash_size;
	uint64_t hash_output_min, hash_output_max;
	uint64_t hash_selected_min, hash_selected_max;
	uint64_t hash_initial;
	uint64_t sequence_id, point_id;
	uint64_t observed_packets, selected_packets;
	uint32_t ifindex;
	char ifname[64];
	char ifdescription[128];
	uint64_t start_ns;
	uint64_t messages;
	uint64_t records;
	uint64_t octets;
	uint64_t ignored_packets;
	uint64_t ignored_octets;
	uint64_t first_ignored_ns;
	uint64_t last_ignored_ns;
	uint64_t dropped_packets;
	uint64_t not_sent_records;
	uint64_t not_sent_packets;
	uint64_t not_sent_octets;
	uint64_t first_not_sent_ns;
	uint64_t last_not_sent_ns;
	uint16_t template_id;
	uint64_t flow_key_indicator;
};

/* A member of size octets, 1 to 8, in host byte order. */
static inline uint64_t ie_load_uint(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	switch (size) { /* constant sizes: one load each */
	case 1:
		return *p;
	case 2: {
		uint16_t v16;
		memcpy(&v16, p, sizeof(v16));
		return v16;
	}
	case 4: {
		uint32_t v32;
		memcpy(&v32, p, sizeof(v32));
		return v32;
	}
	default:
		if (size <= sizeof(v))
			memcpy((uint8_t *)&v + (BYTE_ORDER == BIG_ENDIAN ? sizeof(v) - size : 0), p, size);
		return v;
	}
}

extern const struct ie ie_table[IE_COUNT];
extern const struct ie ie_facts[FACT_COUNT];

/* By IANA name (length octets of text, case-insensitive) or number; NULL if there is none. */
const struct ie *ie_find(const char *text, unsigned length);
/* The blocks (1 << enum record_block) that records need to have it, when it is named. */
uint32_t ie_blocks(const struct ie *ie);
/* The row that says the same where this one cannot be; NULL if there is none. */
const struct ie *ie_counterpart(const struct ie *ie);
#endif
