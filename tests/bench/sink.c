/*
 * sink: counts what an exporter really sent.
 *
 *     sink -p PORT       UDP on 127.0.0.1 until SIGTERM and nothing more waits; "ready" is said at the
 * beginning sink -f FILE       an IPFIX file (RFC 5655)
 *
 * NetFlow v5, v9 (RFC 3954) and IPFIX (RFC 7011).  On standard output: messages=, records= (flow records),
 * packets= and octets= (their sums), options=, unknown= (sets without a template), gaps= (records or, in v9,
 * messages that sequence numbers say are missing), bad= (messages that cannot be read).
 *
 * It is an instrument of the benches, and no judge of what is exported: the foreign decoders of the tests
 * are.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include "bench_file.h"

enum {
	MESSAGES = 64,
	MESSAGE_MAX = 65536,
	STREAMS_MAX = 256,
	VARIABLE = 65535,
	FIELDS_MAX = 128,
	WAIT_MS = 100
};

enum meaning { OTHER, PACKETS, OCTETS };

struct layout {
	bool options, variable;
	uint16_t n, least; /* fields; octets of the shortest record */
	struct {
		uint16_t length;
		uint16_t meaning;
	} fields[FIELDS_MAX];
};

/* One observation domain of one exporting port. */
struct stream {
	uint32_t domain, next;
	uint16_t port, version;
	bool known;
	struct layout *layouts[65536];
};

static struct stream *streams[STREAMS_MAX];
static unsigned n_streams;
static uint64_t messages, records, packets, octets, options, unknown, gaps, bad;
static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static struct stream *stream_of(uint16_t port, uint16_t version, uint32_t domain)
{
	struct stream *s;

	for (unsigned i = 0; i < n_streams; i++)
		if (streams[i]->domain == domain && streams[i]->port == port &&
		    streams[i]->version == version)
			return streams[i];
	s = n_streams < STREAMS_MAX ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		bench_die("sink", "too many exporters");
	s->domain = domain;
	s->port = port;
	s->version = version;
	streams[n_streams++] = s;
	return s;
}

static void stream_number(struct stream *s, uint32_t number, uint32_t step)
{
	if (s->known && number != s->next && number - s->next < 0x80000000u)
		gaps += number - s->next;
	s->known = true;
	s->next = number + step;
}

/* ---- templates */

static bool layout_field(struct layout *l, const uint8_t **at, const uint8_t *end, bool v9)
{
	uint16_t id, length;
	bool enterprise;

	if (end - *at < 4 || l->n == FIELDS_MAX)
		return false;
	id = (uint16_t)get(*at, 2);
	length = (uint16_t)get(*at + 2, 2);
	enterprise = !v9 && id & 0x8000;
	*at += enterprise ? 8 : 4;
	if (*at > end)
		return false;
	l->variable |= !v9 && length == VARIABLE;
	l->least = (uint16_t)(l->least + (!v9 && length == VARIABLE ? 1 : length));
	l->fields[l->n].length = length;
	l->fields[l->n++].meaning = enterprise ? OTHER : id == 2 ? PACKETS : id == 1 ? OCTETS : OTHER;
	return true;
}

/* Template records of a set; option templates of v9 count their fields in octets (RFC 3954 §6.1). */
static void read_templates(struct stream *s, const uint8_t *at, const uint8_t *end, bool of_options)
{
	bool v9 = s->version == 9;

	while (end - at >= (of_options ? 6 : 4)) {
		uint16_t id = (uint16_t)get(at, 2), n = (uint16_t)get(at + 2, 2);
		struct layout l = {.options = of_options};

		if (of_options && v9)
			n = (uint16_t)((n + get(at + 4, 2)) / 4);
		at += of_options ? 6 : 4;
		if (id < 256)
			return; /* padding */
		for (unsigned i = 0; i < n; i++)
			if (!layout_field(&l, &at, end, v9)) {
				bad++;
				return;
			}
		if (!s->layouts[id])
			s->layouts[id] = malloc(sizeof(l));
		if (!s->layouts[id])
			bench_die("sink", "out of memory");
		*s->layouts[id] = l;
	}
}

/* ---- records */

/* The octets of a record at p; 0 when it is not whole. */
static size_t read_record(const struct layout *l, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *at = p;

	for (unsigned i = 0; i < l->n; i++) {
		size_t length = l->fields[i].length;

		if (length == VARIABLE && l->variable) {
			if (end - at < 3)
				return 0;
			length = *at++;
			if (length == 255) {
				length = get(at, 2);
				at += 2;
			}
		}
		if ((size_t)(end - at) < length)
			return 0;
		if (!l->options && l->fields[i].meaning == PACKETS)
			packets += get(at, (unsigned)length);
		else if (!l->options && l->fields[i].meaning == OCTETS)
			octets += get(at, (unsigned)length);
		at += length;
	}
	return (size_t)(at - p);
}

static uint32_t read_data(const struct layout *l, const uint8_t *at, const uint8_t *end)
{
	uint32_t n = 0;
	size_t size;

	while (l->least && end - at >= l->least && (size = read_record(l, at, end)) > 0) {
		at += size;
		n++;
	}
	if (l->options)
		options += n;
	else
		records += n;
	return n;
}

static void read_sets(uint16_t version, const uint8_t *m, size_t size, uint16_t port)
{
	bool v9 = version == 9;
	const uint8_t *at = m + (v9 ? 20 : 16), *end = m + size;
	struct stream *s = stream_of(port, version, (uint32_t)get(m + (v9 ? 16 : 12), 4));
	uint32_t n = 0;

	while (end - at >= 4) {
		uint16_t id = (uint16_t)get(at, 2), length = (uint16_t)get(at + 2, 2);

		if (length < 4 || length > end - at) {
			bad++;
			break;
		}
		if (id == (v9 ? 0 : 2) || id == (v9 ? 1 : 3))
			read_templates(s, at + 4, at + length, id & 1);
		else if (id >= 256 && s->layouts[id])
			n += read_data(s->layouts[id], at + 4, at + length);
		else
			unknown++;
		at += length;
	}
	stream_number(s, (uint32_t)get(m + (v9 ? 12 : 8), 4), v9 ? 1 : n);
}

static void read_v5(const uint8_t *m, size_t size, uint16_t port)
{
	unsigned n = (unsigned)get(m + 2, 2);

	if (size < 24 + 48 * (size_t)n) {
		bad++;
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		packets += get(m + 24 + 48 * i + 16, 4);
		octets += get(m + 24 + 48 * i + 20, 4);
	}
	records += n;
	stream_number(stream_of(port, 5, (uint32_t)get(m + 20, 2)), (uint32_t)get(m + 16, 4), n);
}

static void read_message(const uint8_t *m, size_t size, uint16_t port)
{
	uint16_t version = size >= 24 || (size >= 16 && m[1] == 10) ? (uint16_t)get(m, 2) : 0;

	messages++;
	if (version == 5)
		read_v5(m, size, port);
	else if (version == 9 || (version == 10 && get(m + 2, 2) == size))
		read_sets(version, m, size, port);
	else
		bad++;
}

/* ---- where they come from */

static void sink_file(const char *path)
{
	static uint8_t m[MESSAGE_MAX];
	FILE *in = fopen(path, "rb");

	if (!in)
		bench_die(path, strerror(errno));
	while (fread(m, 1, 16, in) == 16) {
		size_t size = get(m + 2, 2);

		if (size < 16 || fread(m + 16, 1, size - 16, in) != size - 16) {
			bad++;
			break;
		}
		read_message(m, size, 0);
	}
	fclose(in);
}

static int sink_open(uint16_t port)
{
	struct sockaddr_in here = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct timeval wait = {.tv_usec = WAIT_MS * 1000};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 256 << 20;

	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)))
		bench_die("sink", strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	return fd;
}

static void sink_udp(uint16_t port)
{
	static uint8_t room[MESSAGES][MESSAGE_MAX];
	static struct sockaddr_in from[MESSAGES];
	struct mmsghdr headers[MESSAGES];
	struct iovec vectors[MESSAGES];
	struct sigaction stop = {.sa_handler = on_signal};
	int fd = sink_open(port);

	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n;

		for (unsigned i = 0; i < MESSAGES; i++) {
			vectors[i] = (struct iovec){.iov_base = room[i], .iov_len = MESSAGE_MAX};
			headers[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
							     .msg_iovlen = 1,
							     .msg_name = &from[i],
							     .msg_namelen = sizeof(from[i])};
		}
		n = recvmmsg(fd, headers, MESSAGES, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			read_message(room[i], headers[i].msg_len, ntohs(from[i].sin_port));
		if (n <= 0 && stopping)
			return;
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "-p"))
		sink_udp((uint16_t)bench_number(argv[2], 1, 65535));
	else if (argc == 3 && !strcmp(argv[1], "-f"))
		sink_file(argv[2]);
	else
		bench_die("usage", "sink -p PORT | sink -f FILE");
	printf("messages=%" PRIu64 " records=%" PRIu64 " packets=%" PRIu64 " octets=%" PRIu64
	       " options=%" PRIu64 " unknown=%" PRIu64 " gaps=%" PRIu64 " bad=%" PRIu64 "\n",
	       messages, records, packets, octets, options, unknown, gaps, bad);
	return 0;
}
