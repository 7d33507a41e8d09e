/*
 * floor: what reading alone costs, the least that a probe can.
 *
 *     floor pcap FILE          libpcap's loop over a savefile, one octet of each frame read
 *     floor walk FILE          large read(2)s, the headers that a flow key needs read where they are
 *     floor live IFACE         libpcap's loop over an interface until SIGTERM
 *
 * On standard output: packets=, and received= and dropped= live.
 */
#include <inttypes.h>
#include <pcap/pcap.h>
#include <signal.h>

#include "bench_file.h"

enum {
	CHUNK = 1 << 18,
	LONGEST = 1 << 18,
	LIVE_SNAPLEN = 128,
	LIVE_BUFFER = 64 << 20,
	LIVE_TIMEOUT_MS = 100
};

static uint64_t packets, seen;
static pcap_t *handle;

static void on_packet(u_char *ctx, const struct pcap_pkthdr *h, const u_char *data)
{
	(void)ctx;
	packets++;
	seen += h->caplen > 23 ? data[23] : 0;
}

static void on_signal(int number)
{
	(void)number;
	pcap_breakloop(handle);
}

static int floor_pcap(const char *path)
{
	char why[PCAP_ERRBUF_SIZE];

	handle = pcap_open_offline(path, why);
	if (!handle)
		bench_die(path, why);
	if (pcap_loop(handle, -1, on_packet, NULL) < 0)
		bench_die(path, pcap_geterr(handle));
	pcap_close(handle);
	return 0;
}

/* The octets of addresses, protocol and ports of an IPv4 packet, or those of an IPv6 packet in the same
 * places. */
static void walk_packet(const uint8_t *frame, uint32_t length)
{
	uint64_t a, b;

	if (length < 42)
		return;
	memcpy(&a, frame + 23, sizeof(a));
	memcpy(&b, frame + 30, sizeof(b));
	seen += a ^ b;
	packets++;
}

static int floor_walk(const char *path)
{
	static uint8_t buffer[CHUNK + LONGEST];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0, at = PCAP_HEADER;
	ssize_t n;

	if (fd < 0)
		bench_die(path, "cannot be read");
	while ((n = read(fd, buffer + have, CHUNK)) > 0) {
		have += (size_t)n;
		while (have - at >= PCAP_RECORD) {
			uint32_t cap;

			memcpy(&cap, buffer + at + 8, sizeof(cap));
			if (cap > LONGEST - PCAP_RECORD)
				bench_die(path, "is damaged");
			if (have - at < PCAP_RECORD + cap)
				break;
			walk_packet(buffer + at + PCAP_RECORD, cap);
			at += PCAP_RECORD + cap;
		}
		memmove(buffer, buffer + at, have - at);
		have -= at;
		at = 0;
	}
	close(fd);
	return 0;
}

static int floor_live(const char *interface)
{
	struct sigaction stop = {.sa_handler = on_signal};
	char why[PCAP_ERRBUF_SIZE];
	struct pcap_stat stat = {0};

	handle = pcap_create(interface, why);
	if (!handle)
		bench_die(interface, why);
	pcap_set_snaplen(handle, LIVE_SNAPLEN);
	pcap_set_promisc(handle, 1);
	pcap_set_timeout(handle, LIVE_TIMEOUT_MS);
	pcap_set_buffer_size(handle, LIVE_BUFFER);
	if (pcap_activate(handle) < 0)
		bench_die(interface, pcap_geterr(handle));
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	while (pcap_dispatch(handle, -1, on_packet, NULL) >= 0)
		;
	pcap_stats(handle, &stat);
	printf("received=%u dropped=%u ", stat.ps_recv, stat.ps_drop);
	pcap_close(handle);
	return 0;
}

int main(int argc, char **argv)
{
	int r = 2;

	if (argc == 3 && !strcmp(argv[1], "pcap"))
		r = floor_pcap(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "walk"))
		r = floor_walk(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "live"))
		r = floor_live(argv[2]);
	else
		fprintf(stderr, "usage: floor pcap|walk FILE | floor live INTERFACE\n");
	if (r == 0)
		printf("packets=%" PRIu64 " seen=%" PRIx64 "\n", packets, seen);
	return r;
}
