/* Transport headers behind IPv6 extension headers: the code is inline in decode_hot.h. */
#include "decode/decode_hot.h"

void decode_transport(struct packet *p, const uint8_t *at, const uint8_t *end)
{
	decode_transport_header(p, at, end);
}
