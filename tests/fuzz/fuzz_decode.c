/* One frame: the first octet picks the link type, the second the options, the third how much longer the wire
 * was, and whether tunnels are opened. */
#include "fuzz.h"

#include "exact.h"
#include "pitot/decode.h"

static const int link_types[] = {1,   0,   9,	12,  14,  50,  51,  101, 104,
				 105, 107, 108, 113, 127, 228, 229, 239, 276};
enum { LINK_TYPES = sizeof(link_types) / sizeof(link_types[0]) };

static void check_packet(const struct packet *p, const struct exact *x)
{
	FUZZ_CHECK(p->verdict < PACKET_VERDICTS);
	FUZZ_CHECK(p->link_octets ==
		   x->frame.wire_len + (x->frame.flags & FRAME_VLAN ? 4 : 0)); /* the tag was there */
	if (p->verdict != PACKET_METERED)
		return;
	FUZZ_CHECK(p->key.ip_version == 4 || p->key.ip_version == 6);
	FUZZ_CHECK(p->octets >= (p->key.ip_version == 4 ? 20 : 40));
	FUZZ_CHECK(x->frame.cap_len >= (p->key.ip_version == 4 ? 20 : 40));
	FUZZ_CHECK(p->fragment <= PACKET_FRAGMENT_LATER);
	if (p->fragment == PACKET_FRAGMENT_LATER)
		FUZZ_CHECK(p->key.src_port == 0 && p->key.dst_port == 0 && p->tcp_flags == 0);
	if (p->tcp_flags)
		FUZZ_CHECK(p->key.protocol == 6);
	if (p->key.ip_version == 4) /* an IPv4 address takes 4 of 16 octets, the rest is hashed as zeros */
		for (unsigned i = 4; i < 16; i++)
			FUZZ_CHECK(p->key.src[i] == 0 && p->key.dst[i] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct decode_config config;
	struct decoder *d = NULL;
	struct packet p;
	struct exact x;
	struct diag diag;

	if (size < 3 || size > 70000)
		return 0;
	config = (struct decode_config){
		.key_tos = data[1] & 1, .key_vlan = data[1] & 2, .max_layers = data[1] >> 2};
	if (data[2] & 1) /* tunnels are opened */
		config.tunnels = UINT32_MAX;
	if (!decode_knows_link_type(link_types[data[0] % LINK_TYPES]))
		return 0;
	FUZZ_CHECK(decoder_new(&d, link_types[data[0] % LINK_TYPES], &config, &diag) == 0);
	exact_init(&x, data + 3, size - 3, size - 3 + data[2]);
	if (data[1] & 4) {
		x.frame.flags = FRAME_VLAN | FRAME_INGRESS;
		x.frame.vlan_tci = (uint16_t)(data[2] << 8 | data[0]);
	}
	memset(&p, 0xa5, sizeof(p));
	decode_frame(d, &x.frame, &p);
	check_packet(&p, &x);
	exact_deinit(&x);
	decoder_free(d);
	return 0;
}
