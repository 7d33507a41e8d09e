/*
 * blast: sends the frames of a pcap file over a veth interface, over and over.
 *
 *     blast -i IFACE -f FILE [-r PPS] [-t SECONDS | -n PACKETS]
 *
 * PPS 0 is as fast as it goes.  Only veth interfaces: others may have somebody at the other end.  On standard
 * output: sent=, failed=, seconds=, pps=.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#include "bench_file.h"
#include "pitot/clock.h"

enum { BATCH = 64 };

struct frames {
	struct iovec *vectors;
	size_t n;
};

static bool is_veth(int fd, const char *interface)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (char *)&info};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCETHTOOL, &request) == 0 && !strcmp(info.driver, "veth");
}

static int blast_open(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1; /* protocol 0: nothing is received */

	if (fd < 0)
		bench_die(interface, strerror(errno));
	if (!is_veth(fd, interface))
		bench_die(interface, "is not a veth interface");
	address.sll_ifindex = (int)if_nametoindex(interface);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		bench_die(interface, strerror(errno));
	return fd;
}

static struct frames blast_load(const char *path)
{
	struct frames f = {.n = 0};
	size_t size, at = PCAP_HEADER;
	const uint8_t *file = bench_map(path, &size);

	f.vectors = calloc(size / PCAP_RECORD, sizeof(*f.vectors));
	if (!f.vectors)
		bench_die(path, "out of memory");
	while (size - at >= PCAP_RECORD) {
		uint32_t cap;

		memcpy(&cap, file + at + 8, sizeof(cap));
		if (size - at - PCAP_RECORD < cap)
			break;
		f.vectors[f.n++] = (struct iovec){.iov_base = (void *)(uintptr_t)(file + at + PCAP_RECORD),
						  .iov_len = cap};
		at += PCAP_RECORD + cap;
	}
	if (f.n < BATCH)
		bench_die(path, "has too few packets");
	f.n -= f.n % BATCH;
	return f;
}

/* One batch from *at on; the frames that left. */
static unsigned blast_batch(int fd, const struct frames *f, size_t *at, uint64_t *failed)
{
	static struct mmsghdr headers[BATCH];
	unsigned done = 0, sent = 0;

	for (unsigned i = 0; i < BATCH; i++)
		headers[i].msg_hdr = (struct msghdr){.msg_iov = &f->vectors[*at + i], .msg_iovlen = 1};
	*at = *at + BATCH == f->n ? 0 : *at + BATCH;
	while (done < BATCH) {
		int n = sendmmsg(fd, headers + done, BATCH - done, 0);

		if (n > 0) {
			done += (unsigned)n;
			sent += (unsigned)n;
		} else {
			done++;
			(*failed)++;
		}
	}
	return sent;
}

static void blast(int fd, const struct frames *f, uint64_t pps, uint64_t seconds, uint64_t most)
{
	uint64_t begun_ns = clock_monotonic_ns(), end_ns = begun_ns + seconds * NS_PER_SEC, now_ns = begun_ns;
	uint64_t sent = 0, failed = 0;
	size_t at = 0;

	while (now_ns < end_ns && sent + failed < most) {
		uint64_t due_ns = pps ? begun_ns + (sent + failed) * NS_PER_SEC / pps : 0;

		now_ns = clock_monotonic_ns();
		if (now_ns >= due_ns)
			sent += blast_batch(fd, f, &at, &failed);
	}
	printf("sent=%" PRIu64 " failed=%" PRIu64 " seconds=%.3f pps=%.0f\n", sent, failed,
	       (double)(now_ns - begun_ns) / 1e9, (double)sent * 1e9 / (double)(now_ns - begun_ns));
}

int main(int argc, char **argv)
{
	const char *interface = NULL, *path = NULL;
	uint64_t pps = 0, seconds = 5, most = UINT64_MAX;
	struct frames f;
	int fd;

	for (int c; (c = getopt(argc, argv, "i:f:r:t:n:")) != -1;) {
		switch (c) {
		case 'i':
			interface = optarg;
			break;
		case 'f':
			path = optarg;
			break;
		case 'r':
			pps = bench_number(optarg, 0, 100000000);
			break;
		case 't':
			seconds = bench_number(optarg, 1, 3600);
			break;
		case 'n':
			most = bench_number(optarg, BATCH, UINT32_MAX); /* in whole batches */
			break;
		default:
			return 2;
		}
	}
	if (!interface || !path)
		bench_die("blast", "-i INTERFACE or -f FILE is missing");
	fd = blast_open(interface);
	f = blast_load(path);
	blast(fd, &f, pps, seconds, most);
	return 0;
}
