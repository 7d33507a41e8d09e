/*
 * flow_key: what makes two packets belong to one flow (RFC 7011 §2, Flow Key).
 *
 * One shape for IPv4 and IPv6.  It is hashed and compared as memory, so every octet that a key does not use
 * is zero: an IPv4 address takes the first 4 octets of 16.  Numbers are in host byte order.
 *
 * --flow-key can make blocks of the record part of the key, too: record_layout.key_blocks.
 */
#ifndef PITOT_FLOW_KEY_H
#define PITOT_FLOW_KEY_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct flow_key {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t src_port;
	uint16_t dst_port; /* ICMP, ICMPv6: type * 256 + code */
	uint8_t protocol;
	uint8_t ip_version; /* 4 or 6 */
	uint8_t tos;	    /* 0 unless --flow-key tos */
	uint8_t point_high; /* of point */
	uint16_t vlan;	    /* outermost VLAN id; 0 unless --flow-key vlan */
	uint16_t point;	    /* observation point: number or index of the interface; 0 when there is one */
};

static_assert(sizeof(struct flow_key) == 44, "hashed and compared as memory: no implicit padding");

#endif
