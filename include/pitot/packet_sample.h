/*
 * packet_sample: a packet that was drawn, as sFlow and PSAMP report it: its first octets, and of how many it
 * is one.
 *
 * Everything that does not change from sample to sample (the size of a slot, the longest header) is chosen at
 * start.
 */
#ifndef PITOT_PACKET_SAMPLE_H
#define PITOT_PACKET_SAMPLE_H

#include <stdint.h>

#define PACKET_SAMPLE_HEADER_MAX 256

/* What the header begins with: header_protocol of sFlow version 5. */
enum packet_sample_protocol {
	PACKET_SAMPLE_ETHERNET = 1,
	PACKET_SAMPLE_FRAME_RELAY = 4,
	PACKET_SAMPLE_PPP = 7,
	PACKET_SAMPLE_IP4 = 11,
	PACKET_SAMPLE_IP6 = 12,
	PACKET_SAMPLE_MPLS = 13,
};

#define PACKET_SAMPLE_NO_VLAN UINT16_MAX

struct packet_sample {
	uint64_t time_ns;
	/* since the last sample of this source and producer: packets that could have been drawn, this one
	 * included, and samples that were drawn and found no room */
	uint32_t pool;
	uint32_t drops;
	uint32_t source;    /* ifIndex of the data source; 0: a savefile */
	uint32_t rate;	    /* one packet in so many was drawn when this one was */
	uint32_t input;	    /* ifIndex; 0 unknown */
	uint32_t output;    /* ifIndex; 0 unknown */
	uint32_t frame_len; /* octets on the wire, without the frame check sequence */
	uint16_t protocol;  /* enum packet_sample_protocol */
	uint16_t vlan;	    /* VLAN id of the frame; 0 untagged, PACKET_SAMPLE_NO_VLAN: not known */
	uint16_t priority;  /* 802.1p */
	uint16_t header_len;
	uint8_t header[PACKET_SAMPLE_HEADER_MAX];
};

#endif
