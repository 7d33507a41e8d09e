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

int capture_source_open(struct capture_source *s, const char *path, struct diag *diag)
{
	bool is_stdin = strcmp(path, "-") == 0;
	struct stat st;
	int r;

	*s = (struct capture_source){.path = is_stdin ? "(stdin)" : path};
	s->fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		return diag_set(diag, -errno, "--read %s: %s", path, strerror(errno));
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
	if (s->n_head < sizeof(s->head)) {
		r = diag_set(diag, -EBADMSG,
			     s->n_head ? "--read %s: not a capture file: it ends after %zu octets"
				       : "--read %s: the file is empty (%zu octets)",
			     path, s->n_head);
		goto fail;
	}
	s->kind = source_kind(s->head);
	return 0;
fail:
	close(s->fd);
	return r;
}

/* Raw IP has two numbers in files; libpcap's compiler knows the one of the system. */
static int source_dlt(int link_type)
{
	return link_type == 101 || link_type == 14 ? DLT_RAW : link_type;
}

int capture_source_filter(struct bpf_program *program, int link_type, const char *filter, struct diag *diag)
{
	pcap_t *dead = pcap_open_dead(source_dlt(link_type), 262144);
	int r = 0;

	if (!dead)
		return diag_set(diag, -ENOMEM, "--filter \"%s\": out of memory", filter);
	if (pcap_compile(dead, program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		r = diag_set(diag, -EINVAL, "--filter \"%s\": %s", filter, pcap_geterr(dead));
	pcap_close(dead);
	return r;
}
