/* IPv4 (RFC 791 §3.1) and IPv6 (RFC 8200 §3) as layers, and which it is where the link layer does not tell.
 */
#include "decode/decode_hot.h"

enum decode_layer decode_ip(struct cursor *c)
{
	if (cursor_left(c) < 1)
		return decode_stop(c, PACKET_CUT_IP);
	switch (c->at[0] >> 4) {
	case 4:
		return LAYER_IP4;
	case 6:
		return LAYER_IP6;
	default:
		return decode_stop(c, PACKET_BAD_VERSION);
	}
}

enum decode_layer decode_ip4(struct cursor *c)
{
	return decode_ip4_header(c);
}

enum decode_layer decode_ip6(struct cursor *c)
{
	return decode_ip6_header(c);
}
