/*
 * A spool's directory: whatever the files hold, it opens, what is counted as found can be sent, in order,
 * each message once, and a second run finds the same.
 *
 * Input: an octet of flags, 32 octets for the file "position" (flag 1), 2 octets with the size of the first
 * segment file, its octets, the octets of the second.  With flag 2 the checksums are made right wherever
 * there is a head, so that what lies behind them is reached.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fuzz.h"

#include "pitot/spool.h"
#include "spool/spool_internal.h"

static struct spool_crc crc;
static char root[64];
static char path[96]; /* root/c */
static const char *const files[] = {"position", "00000000000000000001.ipfix", "00000000000000001000.ipfix"};

static void put_file(const char *name, const uint8_t *data, size_t size)
{
	char text[160];
	int fd;

	snprintf(text, sizeof(text), "%s/%s", path, name);
	fd = open(text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(write(fd, data, size) == (ssize_t)size);
	close(fd);
}

static void put_u32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void mend_segment(uint8_t *data, size_t size)
{
	for (size_t at = 0; at + BLOCK_HEAD <= size; at++) {
		uint8_t *p = data + at;
		size_t left = size - at - BLOCK_HEAD, length;

		if (memcmp(p + 20, "pitotspl", 8) != 0)
			continue;
		length = (size_t)p[36] << 24 | (size_t)p[37] << 16 | (size_t)p[38] << 8 | p[39];
		put_u32(p + 60, spool_crc(&crc, p + BLOCK_HEAD, length < left ? length : left));
		put_u32(p + 64, spool_crc(&crc, p, BLOCK_HEAD - 4));
	}
}

static void clean_up(void)
{
	DIR *d = opendir(path); /* the spool makes segments of its own names */
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(path);
	rmdir(root);
}

static void set_up(void)
{
	const char *directory = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/XXXXXX", directory ? directory : "/tmp");
	FUZZ_CHECK(mkdtemp(root));
	snprintf(path, sizeof(path), "%s/c", root);
	FUZZ_CHECK(mkdir(path, 0700) == 0);
	atexit(clean_up);
	spool_crc_init(&crc);
}

static struct spool *open_spool(struct spool_stats *stats)
{
	struct spool_config config = {.dir = root, .name = "c", .max_octets = 1 << 20, .memory_octets = 1};
	struct diag diag = {""};
	struct spool *s = NULL;

	FUZZ_CHECK(spool_open(&s, &config, &diag) == 0);
	spool_get_stats(s, stats);
	FUZZ_CHECK(stats->unsent.messages == stats->held.messages);
	FUZZ_CHECK(stats->recovered.messages == stats->held.messages + stats->dropped.messages);
	return s;
}

static struct spool_totals send_all(struct spool *s)
{
	struct spool_totals sum = {0};
	const struct spool_message *m;
	volatile uint8_t touched = 0;
	uint64_t last = 0;

	while ((m = spool_next(s))) {
		FUZZ_CHECK(m->size > 0 && m->size <= SPOOL_MESSAGE_MOST);
		for (size_t i = 0; i < m->size; i++)
			touched = (uint8_t)(touched + m->data[i]);
		FUZZ_CHECK(m->preamble || m->number > last);
		if (!m->preamble) {
			last = m->number;
			sum.messages++;
			sum.flows.records += m->records;
			sum.flows.packets += m->packets;
			sum.flows.octets += m->octets;
		}
		spool_mark_sent(s, sum.messages, 1);
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct spool_stats stats, again;
	struct spool_totals sum;
	static uint8_t copy[1 << 19];
	struct spool *s;
	size_t first;

	if (size < 35 || size > sizeof(copy))
		return 0;
	if (!root[0])
		set_up();
	memcpy(copy, data, size);
	first = (size_t)data[33] << 8 | data[34];
	first = first > size - 35 ? size - 35 : first;
	if (data[0] & 2) {
		put_u32(copy + 25, spool_crc(&crc, copy + 1, 24));
		mend_segment(copy + 35, first);
		mend_segment(copy + 35 + first, size - 35 - first);
	}
	put_file(files[0], copy + 1, data[0] & 1 ? 32 : 0);
	put_file(files[1], copy + 35, first);
	put_file(files[2], copy + 35 + first, size - 35 - first);
	s = open_spool(&stats);
	sum = send_all(s);
	FUZZ_CHECK(stats.dropped.messages || !memcmp(&sum, &stats.recovered, sizeof(sum)));
	FUZZ_CHECK(spool_append(s, data, size < SPOOL_MESSAGE_MOST ? size : SPOOL_MESSAGE_MOST, 1, 2, 3) ==
		   0);
	spool_close(s);
	s = open_spool(&again);
	/* near the last number that a file can claim what follows is not found again: no run comes there */
	if (stats.tail < FOUND_NUMBER_MOST / 2) {
		FUZZ_CHECK(again.recovered.messages == sum.messages + 1);
		FUZZ_CHECK(again.recovered.flows.octets == sum.flows.octets + 3);
		FUZZ_CHECK(again.torn_octets == 0 || stats.torn_octets > 0);
	}
	send_all(s);
	spool_acked(s, UINT64_MAX);
	spool_rewind(s, true);
	spool_close(s);
	return 0;
}
