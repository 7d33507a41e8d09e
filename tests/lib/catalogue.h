/*
 * catalogue: frames of every kind that the decoders know, each with what must be found in it.
 *
 * test_decode.c decodes them whole, test_truncation.c cut at every octet, the fuzz targets begin with them.
 */
#ifndef TEST_CATALOGUE_H
#define TEST_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

#include "frames.h"

struct catalogue_frame {
	const char *name;
	int link_type;
	void (*build)(struct fb *b);
	/* what is found; verdict is an enum packet_verdict */
	int verdict;
	uint8_t ip_version, protocol;
	uint16_t src_port, dst_port;
	uint32_t octets;
	uint16_t vlan, tcp_flags, notes;
	uint8_t fragment;
};

extern const struct catalogue_frame catalogue[];
extern const size_t catalogue_size;

#define SRC4 "192.0.2.1"
#define DST4 "198.51.100.2"
#define SRC6 "2001:db8::1"
#define DST6 "2001:db8:ffff::2"

#endif
