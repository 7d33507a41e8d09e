/* capture_source: see capture_source.h. */
#include "capture/capture_source.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum capture_source_kind source_kind(const uint8_t *h)
{
	static const uint8_t section[4] = {0x0a, 0x0d, 0x0d, 0x0a};
	static const uint8_t order[2][4] = {{0x4d, 0x3c, 0x2b, 0x1a}, {0x1a, 0x2b, 0x3c, 0x4d}};
	static const uint8_t magic[4][4] = {{0xd4, 0xc3, 0xb2, 0xa1},
					    {0xa1, 0xb2, 0xc3, 0xd4},
					    {0x4d, 0x3c, 0xb2, 0xa1},
					    {0xa1, 0xb2, 0x3c, 0x4d}};

	for (unsigned i = 0; i < 4; i++) {
		bool little = i % 2 == 0;

		if (memcmp(h, magic[i], 4) ==
		    0) /* older versions have their lengths swapped: libpcap's business */
			return h[little ? 4 : 5] == 2 && h[little ? 5 : 4] == 0 && h[little ? 6 : 7] == 4 &&
					       h[little ? 7 : 6] == 0
				       ? CAPTURE_SOURCE_PCAP
				       : CAPTURE_SOURCE_OTHER;
	}
	return !memcmp(h, section, 4) && (!memcmp(h + 8, order[0], 4) || !memcmp(h + 8, order[1], 4))
		       ? CAPTURE_SOURCE_PCAPNG
		       : CAPTURE_SOURCE_OTHER;
}

uint32_t capture_source_fraction_ns(const struct capture_source *s)
{
	static const uint8_t magic[2][4] = {{0x4d, 0x3c, 0xb2, 0xa1}, {0xa1, 0xb2, 0x3c, 0x4d}};

	return !memcmp(s->head, magic[0], 4) || !memcmp(s->head, magic[1], 4) ? 1 : 1000;
}

int capture_source_link_type(const struct capture_source *s, int *link_type, struct diag *diag)
{
	const uint8_t *h = s->head + 20;
	bool big = s->head[0] == 0xa1; /* of all kinds */
	uint32_t field = big ? (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3]
			     : (uint32_t)h[3] << 24 | (uint32_t)h[2] << 16 | (uint32_t)h[1] << 8 | h[0];

	/* draft-ietf-opsawg-pcap §4: 16 bits are the type, those from 26 on tell of a frame check sequence */
	if (field & 0x03ff0000)
		return diag_set(diag, -EBADMSG,
				"--read %s: reserved bits of the link type field are set (0x%08x): the file "
				"header is damaged, or of a kind that pitot does not know",
				s->path, field);
	*link_type = (int)(field & 0xffff);
	return 0;
}

/* Files that are no savefiles, by their first octets: what they are and what makes a savefile of them. */
static const struct source_foreign {
	uint8_t n;
	const char *octets;
	const char *what;
	const char *unpack; /* NULL: of another program, and editcap converts it */
} source_foreign[] = {
	{2, "\x1f\x8b", "gzip", "zcat"},
	{2, "\x1f\x9d", "compress", "zcat"},
	{4, "\x28\xb5\x2f\xfd", "zstd", "zstdcat"},
	{6, "\xfd\x37zXZ\0", "xz", "xzcat"},
	{5, "\x5d\0\0\x80\0", "lzma", "xzcat"},
	{4, "LZIP", "lzip", "lzip -dc"},
	{3, "BZh", "bzip2", "bzcat"},
	{4, "\x04\x22\x4d\x18", "lz4", "lz4cat"},
	{4, "\x02\x21\x4c\x18", "lz4", "lz4cat"},
	{4, "PK\3\4", "zip", "unzip -p"},
	{6, "7z\xbc\xaf\x27\x1c", "7-Zip", "7z x -so"},
	{8, "snoop\0\0\0", "snoop", NULL},
	{8, "btsnoop\0", "btsnoop", NULL},
	{4, "GMBU", "Microsoft Network Monitor", NULL},
	{4, "RTSS", "Microsoft Network Monitor", NULL},
	{16, "TRSNIFF data    ", "Sniffer", NULL},
	{4, "XCP\0", "NetXray or Sniffer for Windows", NULL},
	{11, "iptrace 1.0", "AIX iptrace", NULL},
	{11, "iptrace 2.0", "AIX iptrace", NULL},
	{8, "\x05VNF\0\0\0", "Visual Networks", NULL},
	{4, "\xaa\xaa\xaa\xaa", "5Views", NULL},
	{4, "\x54\x52\x00\x64", "HP-UX nettl", NULL},
	{2, "\x7fV", "WildPackets EtherPeek", NULL},
	{4, "\x7fver", "WildPackets OmniPeek", NULL},
};

/* Endace's ERF has no magic number: a time stamp, a type, flags, two lengths. */
static bool source_is_erf(const struct capture_source *s)
{
	const uint8_t *h = s->head;
	uint32_t seconds = (uint32_t)h[4] | (uint32_t)h[5] << 8 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 24;
	unsigned type = h[8] & 0x7f, record = (unsigned)h[10] << 8 | h[11];

	return s->n_head >= 16 && seconds > UINT32_C(631152000) && type >= 1 && type <= 48 && record >= 16 &&
	       (h[14] || h[15]);
}

/* A sentence for what is no savefile; 0 when it is nothing that is known. */
static int source_refuse_foreign(const struct capture_source *s, const char *path, struct diag *diag)
{
	bool is_stdin = strcmp(path, "-") == 0;
	const char *what = source_is_erf(s) ? "Endace ERF" : NULL;

	for (size_t i = 0; i < sizeof(source_foreign) / sizeof(source_foreign[0]); i++) {
		const struct source_foreign *f = &source_foreign[i];

		if (s->n_head < f->n || memcmp(s->head, f->octets, f->n) != 0)
			continue;
		if (f->unpack)
			return diag_set(diag, -EBADMSG,
					"--read %s: the file is compressed by %s: use %s %s | pitot -r -",
					path, f->what, f->unpack, is_stdin ? "FILE" : path);
		what = f->what;
	}
	if (!what)
		return 0;
	return diag_set(diag, -EBADMSG,
			"--read %s: this is a file of %s, not pcap or pcapng: editcap -F pcap %s OUT.pcap "
			"converts it",
			path, what, is_stdin ? "FILE" : path);
}

int capture_source_open(struct capture_source *s, const char *path, struct diag *diag)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct stat st;
	int r;

	*s = (struct capture_source){.path = is_stdin ? "(stdin)" : path};
	s->fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		return diag_set(diag, -errno, "--read %s: %s", path, strerror(errno));
	if (is_stdin && (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
		r = diag_set(diag, -EBADF, "--read -: standard input is closed");
		goto fail;
	}
	if (fstat(s->fd, &st) < 0 || S_ISDIR(st.st_mode)) {
		r = diag_set(diag, -EISDIR, "--read %s: is a directory, not a capture file", path);
		goto fail;
	}
	s->is_file = S_ISREG(st.st_mode);
	while (s->n_head < sizeof(s->head)) {
		ssize_t n = read(s->fd, s->head + s->n_head, sizeof(s->head) - s->n_head);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = diag_set(diag, -errno, "--read %s: %s", path, strerror(errno));
			goto fail;
		}
		if (n == 0)
			break;
		s->n_head += (size_t)n;
	}
	s->kind = s->n_head == sizeof(s->head) ? source_kind(s->head) : CAPTURE_SOURCE_OTHER;
	if (s->kind == CAPTURE_SOURCE_OTHER) {
		r = source_refuse_foreign(s, path, diag);
		if (r < 0)
			goto fail;
	}
	if (s->n_head < sizeof(s->head)) {
		r = diag_set(diag, -EBADMSG,
			     s->n_head ? "--read %s: not a capture file: it ends after %zu octets"
				       : "--read %s: the file is empty (%zu octets)",
			     path, s->n_head);
		goto fail;
	}
	return 0;
fail:
	close(s->fd);
	return r;
}
