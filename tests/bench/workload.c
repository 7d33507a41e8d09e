/*
 * workload: a pcap file that looks to a flow probe like traffic with a given number of flows.
 *
 *     workload -o FILE [-n PACKETS] [-f FLOWS] [-z SKEW] [-p 64|imix] [-6 PERCENT] [-r PPS] [-l SNAPLEN]
 *              [-s SEED] [-S]
 *
 * The same options make the same octets.  A flow is one direction of a connection; which packet is whose is
 * drawn evenly, or by Zipf's law with -z.  68 % of the flows are TCP, 30 % UDP, 2 % ICMP.  -S is a scan: each
 * packet is a SYN of a flow of its own.  Times are those of a Poisson process of the rate -r.  TCP
 * connections begin with SYN when their first packet is drawn and never end.  Frames of 64 octets are 60
 * here, because the FCS is not in a capture.  UDP, TCP and ICMP checksums are left 0.
 *
 * On standard output: packets=, flows= (that have at least one packet), ip_octets=, seconds=.
 */
#include <inttypes.h>
#include <math.h>

#include "bench_file.h"

enum { ETHERNET = 14, IP4 = 20, IP6 = 40, TCP = 20, DATAGRAM = 8, FRAME_LEAST = 60, HEADERS_MAX = 80 };
enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58 };

#define FLOWS_MAX    (UINT64_C(1) << 24) /* as many as have a source address of their own */
#define GUIDE_BITS   16
#define START_SECOND 1700000000u
#define OUT_SIZE     ((size_t)1 << 20)

static struct options {
	const char *path;
	uint64_t packets, flows, percent6, pps, snaplen, seed;
	double skew;
	bool imix, scan;
} opt = {.packets = 1000000, .flows = 10000, .pps = 200000, .snaplen = 96, .seed = 1};

/* What is known of a flow by its number alone. */
struct endpoint_pair {
	bool six;
	uint8_t protocol;
	uint32_t src, dst; /* the part of the addresses that differs */
	uint16_t src_port, dst_port;
};

/* ---- numbers that look random */

static uint64_t scramble(uint64_t v)
{
	v ^= v >> 33;
	v *= UINT64_C(0xff51afd7ed558ccd);
	v ^= v >> 33;
	v *= UINT64_C(0xc4ceb9fe1a85ec53);
	return v ^ v >> 33;
}

static uint64_t draw(void)
{
	static uint64_t count;

	return scramble(opt.seed * UINT64_C(0x9e3779b97f4a7c15) + ++count * UINT64_C(0xd1342543de82ef95));
}

static double draw_unit(void) /* above 0, at most 1 */
{
	return (double)((draw() >> 11) + 1) / 9007199254740992.0;
}

static uint64_t draw_below(uint64_t n)
{
	__extension__ unsigned __int128 m = (unsigned __int128)draw() * n;

	return (uint64_t)(m >> 64);
}

/* ---- which flow a packet belongs to */

static uint64_t *zipf_sum;			   /* of the shares of the flows up to each, of 2^63 */
static uint32_t zipf_guide[(1 << GUIDE_BITS) + 1]; /* the first flow for each value of the upper bits */

static void zipf_prepare(void)
{
	double total = 0, sum = 0;
	uint64_t at = 0;

	zipf_sum = calloc(opt.flows, sizeof(*zipf_sum));
	if (!zipf_sum)
		bench_die("workload", "out of memory");
	for (uint64_t i = 0; i < opt.flows; i++)
		total += pow((double)(i + 1), -opt.skew);
	for (uint64_t i = 0; i < opt.flows; i++) {
		sum += pow((double)(i + 1), -opt.skew);
		zipf_sum[i] = (uint64_t)(sum / total * 9223372036854774784.0);
	}
	zipf_sum[opt.flows - 1] = UINT64_MAX;
	for (uint64_t g = 0; g <= 1 << GUIDE_BITS; g++) {
		while (at < opt.flows - 1 && zipf_sum[at] < g << (63 - GUIDE_BITS))
			at++;
		zipf_guide[g] = (uint32_t)at;
	}
}

static uint64_t zipf_draw(void)
{
	uint64_t v = draw() >> 1, low = zipf_guide[v >> (63 - GUIDE_BITS)],
		 high = zipf_guide[(v >> (63 - GUIDE_BITS)) + 1];

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (zipf_sum[middle] <= v)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct endpoint_pair pair_of(uint64_t flow)
{
	uint64_t h = scramble(flow + opt.seed * UINT64_C(0x632be59bd9b4e019)), kind = h % 50;
	/* an odd factor keeps the 24 bits of different flows different */
	struct endpoint_pair e = {.src = (uint32_t)((flow * 0x5bd1e995u + opt.seed) & (FLOWS_MAX - 1)),
				  .dst = (uint32_t)(h >> 40) & 0xfffff,
				  .protocol = PROTO_TCP};

	e.six = (h >> 8) % 100 < opt.percent6;
	if (!opt.scan && kind < 15)
		e.protocol = PROTO_UDP;
	else if (!opt.scan && kind == 15)
		e.protocol = e.six ? PROTO_ICMP6 : PROTO_ICMP;
	e.src_port = (uint16_t)(1024 + (h >> 24) % 60000);
	e.dst_port = opt.scan ? (uint16_t)(h >> 16) : (uint16_t[]){443, 80, 53, 8080}[h >> 62];
	return e;
}

/* ---- a packet */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static void put_ip4(uint8_t *ip, const struct endpoint_pair *e, unsigned length, uint64_t nth)
{
	uint32_t sum = 0;

	put16(ip, 0x4500);
	put16(ip + 2, length);
	put16(ip + 4, (unsigned)nth & 0xffff);
	put16(ip + 6, 0x4000);
	ip[8] = 60;
	ip[9] = e->protocol;
	put32(ip + 12, 0x0a000000 | e->src);
	put32(ip + 16, 0xac100000 | e->dst);
	for (unsigned i = 0; i < IP4; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
}

static void put_ip6(uint8_t *ip, const struct endpoint_pair *e, unsigned length)
{
	put32(ip, 0x60000000);
	put16(ip + 4, length - IP6);
	ip[6] = e->protocol;
	ip[7] = 60;
	put32(ip + 8, 0x20010db8);
	put32(ip + 20, e->src);
	put32(ip + 24, 0x20010db8);
	ip[31] = 1;
	put32(ip + 36, e->dst);
}

/* Headers of a frame of about `wanted` octets, all others zero; its length on the wire, and that of the IP
 * packet. */
static unsigned put_headers(uint8_t h[HEADERS_MAX], const struct endpoint_pair *e, uint64_t nth,
			    unsigned wanted, unsigned *ip_length)
{
	unsigned network = e->six ? IP6 : IP4, transport = e->protocol == PROTO_TCP ? TCP : DATAGRAM;
	uint8_t *t = h + ETHERNET + network;
	/* a TCP segment in the shortest frame has no data: what is left of the frame is padding */
	unsigned length = wanted == FRAME_LEAST && transport == TCP ? 0 : wanted - ETHERNET;

	if (length < network + transport)
		length = network + transport;
	memset(h, 0, HEADERS_MAX);
	h[0] = h[6] = 2;
	h[5] = 1;
	h[11] = 2;
	put16(h + 12, e->six ? 0x86dd : 0x0800);
	if (e->six)
		put_ip6(h + ETHERNET, e, length);
	else
		put_ip4(h + ETHERNET, e, length, nth);
	if (e->protocol == PROTO_ICMP || e->protocol == PROTO_ICMP6) {
		t[0] = e->six ? 128 : 8; /* echo request */
		put16(t + 6, (unsigned)nth & 0xffff);
	} else {
		put16(t, e->src_port);
		put16(t + 2, e->dst_port);
	}
	if (e->protocol == PROTO_UDP)
		put16(t + 4, length - network);
	if (e->protocol == PROTO_TCP) {
		put32(t + 4, (uint32_t)nth);
		put16(t + 12, nth ? 0x5010 : 0x5002);
		put16(t + 14, 0xffff);
	}
	*ip_length = length;
	return length + ETHERNET < FRAME_LEAST ? FRAME_LEAST : length + ETHERNET;
}

static unsigned wanted_length(void)
{
	uint64_t d;

	if (!opt.imix)
		return FRAME_LEAST;
	d = draw_below(12); /* 7 : 4 : 1 */
	return d < 7 ? 60 : d < 11 ? 590 : 1514;
}

/* ---- the file */

static uint8_t out[OUT_SIZE];
static size_t out_used;
static int out_fd;

static void out_flush(void)
{
	for (size_t done = 0; done < out_used;) {
		ssize_t n = write(out_fd, out + done, out_used - done);

		if (n <= 0)
			bench_die(opt.path, "cannot be written");
		done += (size_t)n;
	}
	out_used = 0;
}

static void out_open(void)
{
	const uint32_t header[] = {PCAP_MAGIC_USEC, 2 | 4u << 16, 0, 0, (uint32_t)opt.snaplen, 1};

	out_fd = open(opt.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (out_fd < 0)
		bench_die(opt.path, "cannot be created");
	memcpy(out, header, sizeof(header));
	out_used = sizeof(header);
}

static void out_packet(const uint8_t *headers, uint32_t length, double seconds)
{
	uint32_t cap = length < opt.snaplen ? length : (uint32_t)opt.snaplen, whole = (uint32_t)seconds;
	uint32_t record[] = {START_SECOND + whole, (uint32_t)((seconds - whole) * 1e6), cap, length};
	uint32_t held = cap < HEADERS_MAX ? cap : HEADERS_MAX;

	if (OUT_SIZE - out_used < sizeof(record) + cap)
		out_flush();
	memcpy(out + out_used, record, sizeof(record));
	memcpy(out + out_used + sizeof(record), headers, held);
	memset(out + out_used + sizeof(record) + held, 0, cap - held);
	out_used += sizeof(record) + cap;
}

static void generate(void)
{
	uint32_t *count = calloc(opt.scan ? 1 : opt.flows, sizeof(*count));
	uint64_t seen = 0, ip_octets = 0;
	uint8_t headers[HEADERS_MAX];
	double seconds = 0;

	if (!count)
		bench_die("workload", "out of memory");
	out_open();
	for (uint64_t i = 0; i < opt.packets; i++) {
		uint64_t flow = opt.scan ? i : opt.skew > 0 ? zipf_draw() : draw_below(opt.flows);
		struct endpoint_pair e = pair_of(flow);
		unsigned ip_length, length;
		uint64_t nth = opt.scan ? 0 : count[flow]++;

		seen += nth == 0;
		length = put_headers(headers, &e, nth, opt.scan ? FRAME_LEAST : wanted_length(), &ip_length);
		out_packet(headers, length, seconds);
		ip_octets += ip_length;
		seconds -= log(draw_unit()) / (double)opt.pps;
	}
	out_flush();
	if (close(out_fd))
		bench_die(opt.path, "cannot be closed");
	free(count);
	printf("packets=%" PRIu64 " flows=%" PRIu64 " ip_octets=%" PRIu64 " seconds=%.3f\n", opt.packets,
	       seen, ip_octets, seconds);
}

int main(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "o:n:f:z:p:6:r:l:s:S")) != -1;) {
		switch (c) {
		case 'o':
			opt.path = optarg;
			break;
		case 'n':
			opt.packets = bench_number(optarg, 1, UINT32_MAX);
			break;
		case 'f':
			opt.flows = bench_number(optarg, 1, FLOWS_MAX);
			break;
		case 'z':
			opt.skew = strtod(optarg, NULL);
			break;
		case 'p':
			opt.imix = !strcmp(optarg, "imix");
			break;
		case '6':
			opt.percent6 = bench_number(optarg, 0, 100);
			break;
		case 'r':
			opt.pps = bench_number(optarg, 1, UINT32_MAX);
			break;
		case 'l':
			opt.snaplen = bench_number(optarg, 1, 65535);
			break;
		case 's':
			opt.seed = bench_number(optarg, 0, UINT32_MAX);
			break;
		case 'S':
			opt.scan = true;
			break;
		default:
			return 2;
		}
	}
	if (!opt.path || (opt.scan && opt.packets > FLOWS_MAX))
		bench_die("workload", "-o FILE is missing, or a scan has more packets than there are flows");
	if (opt.skew > 0 && !opt.scan)
		zipf_prepare();
	generate();
	return 0;
}
