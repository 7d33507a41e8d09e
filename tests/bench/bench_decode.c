/*
 * bench_decode: ns per frame from octets to flow key, for frames of one kind and for a mixture, in the cache.
 */
#include <stdio.h>
#include <string.h>

#include "frames.h"
#include "pitot/clock.h"
#include "pitot/decode.h"

enum { ROUNDS = 30000, REPEATS = 3 };

static struct frame_batch batch;
static struct packet packets[BATCH_MAX];

static void tcp4(struct fb *b)
{
	fb_tcp(b, 40000, 443, 0x10);
	fb_ip4(b, "10.0.0.1", "192.0.2.1");
}

static void udp4(struct fb *b)
{
	fb_udp(b, 40000, 53);
	fb_ip4(b, "10.0.0.1", "192.0.2.1");
}

static void icmp4(struct fb *b)
{
	fb_icmp(b, 1, 8, 0);
	fb_ip4(b, "10.0.0.1", "192.0.2.1");
}

static void tcp6(struct fb *b)
{
	fb_tcp(b, 40000, 443, 0x10);
	fb_ip6(b, "2001:db8::1", "2001:db8::2");
}

static void tcp6_options(struct fb *b)
{
	fb_tcp(b, 40000, 443, 0x10);
	fb_ext6(b, 0, 8);
	fb_ip6(b, "2001:db8::1", "2001:db8::2");
}

static void vlan(struct fb *b)
{
	tcp4(b);
	fb_vlan(b, 0x8100, 7);
}

static void mpls(struct fb *b)
{
	tcp4(b);
	fb_mpls(b, 100, 1);
	fb_mpls(b, 200, 0);
}

static void pppoe(struct fb *b)
{
	tcp4(b);
	fb_pppoe(b);
}

static const struct kind {
	const char *name;
	void (*build)(struct fb *b);
} kinds[] = {
	{"TCP, IPv4", tcp4},
	{"UDP, IPv4", udp4},
	{"ICMP", icmp4},
	{"TCP, IPv6", tcp6},
	{"TCP, IPv6, options", tcp6_options},
	{"TCP, IPv4, VLAN", vlan},
	{"TCP, IPv4, 2 MPLS", mpls},
	{"TCP, IPv4, PPPoE", pppoe},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct fb built[KINDS];

static void bench(const struct decoder *d, const char *name)
{
	uint64_t best_ns = UINT64_MAX;

	for (unsigned r = 0; r < REPEATS; r++) {
		uint64_t begin_ns = clock_monotonic_ns(), spent_ns;

		for (unsigned i = 0; i < ROUNDS; i++) {
			decode_batch(d, &batch, packets);
			__asm__ volatile("" : : "r"(packets) : "memory");
		}
		spent_ns = clock_monotonic_ns() - begin_ns;
		if (spent_ns < best_ns)
			best_ns = spent_ns;
	}
	printf("%-20s %6.1f ns a packet, batches of %u\n", name,
	       (double)best_ns / (ROUNDS * (double)BATCH_MAX), batch.n);
}

static void put(unsigned place, const struct fb *b)
{
	batch.frames[place] = (struct frame){.data = b->at,
					     .cap_len = (uint32_t)b->len,
					     .wire_len = (uint32_t)b->len,
					     .time_ns = NS_PER_SEC + place};
}

int main(void)
{
	struct decode_config config = {.max_layers = 16};
	struct decoder *d;
	struct diag diag;

	if (decoder_new(&d, 1, &config, &diag) < 0) {
		fprintf(stderr, "%s\n", diag.text);
		return 1;
	}
	batch.n = BATCH_MAX;
	for (unsigned k = 0; k < KINDS; k++) {
		fb_init(&built[k]);
		fb_payload(&built[k], 20);
		kinds[k].build(&built[k]);
		fb_ether(&built[k]);
		for (unsigned i = 0; i < BATCH_MAX; i++)
			put(i, &built[k]);
		bench(d, kinds[k].name);
		if (packets[0].verdict != PACKET_METERED) {
			fprintf(stderr, "%s: not metered\n", kinds[k].name);
			return 1;
		}
	}
	for (unsigned i = 0; i < BATCH_MAX; i++)
		put(i, &built[(i * 0x9e3779b1u >> 13) % 4]);
	bench(d, "the first four mixed");
	decoder_free(d);
	return 0;
}
