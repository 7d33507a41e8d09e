/*
 * Transport headers: TCP (RFC 9293 §3.1), UDP, UDP-Lite, SCTP, DCCP ports; ICMP and ICMPv6 type and code.
 *
 * Only the octets that are both captured and inside the IP length count; without them ports stay 0.
 */
#include "decode/decode_internal.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_DCCP = 33, PROTO_ICMP6 = 58, PROTO_SCTP = 132, PROTO_UDPLITE = 136 };

void decode_transport(struct packet *p, const uint8_t *at, const uint8_t *end)
{
	size_t left = end > at ? (size_t)(end - at) : 0;

	switch (p->key.protocol) {
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_DCCP:
	case PROTO_SCTP:
	case PROTO_UDPLITE:
		if (left < 4)
			break;
		p->key.src_port = load16(at);
		p->key.dst_port = load16(at + 2);
		if (p->key.protocol != PROTO_TCP)
			return;
		if (left < 14)
			break;
		p->tcp_flags = load16(at + 12) & 0x0fff; /* RFC 9565 §3: the data offset is no control bit */
		return;
	case PROTO_ICMP:
	case PROTO_ICMP6:
		if (left < 2)
			break;
		p->key.dst_port = load16(at);
		return;
	default:
		return;
	}
	p->notes |= PACKET_NOTE_CUT_TRANSPORT;
}
