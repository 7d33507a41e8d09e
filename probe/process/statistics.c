/* statistics: see statistics.h. */
#include "statistics.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pitot/clock.h"
#include "pitot/log.h"

enum { READER_MS = 100 };

char *statistics_text(void (*report)(FILE *out, const struct ledger *l), const struct ledger *l)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	report(out, l);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int statistics_put(int fd, const char *text, size_t size)
{
	while (size) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		ssize_t n = write(fd, text, size);

		if (n < 0 && errno == EAGAIN && poll(&p, 1, READER_MS) > 0)
			continue;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int statistics_put_and_close(int fd, const char *path, const char *text, struct diag *diag)
{
	int r = text ? statistics_put(fd, text, strlen(text)) : -ENOMEM;

	if (close(fd) < 0 && r == 0 && errno != EINTR)
		r = -errno;
	return r == 0 ? 0
		      : diag_set(diag, r, "%.400s: %s", path,
				 r == -EAGAIN ? "whoever reads it does not read" : strerror(-r));
}

int statistics_write(struct opener *o, const char *path, void (*report)(FILE *out, const struct ledger *l),
		     const struct ledger *l, struct diag *diag)
{
	bool part;
	int fd = opener_rewrite(o, path, &part, diag), r;
	char *text;

	if (fd < 0)
		return fd;
	text = statistics_text(report, l);
	r = statistics_put_and_close(fd, path, text, diag);
	free(text);
	return r == 0 && part ? opener_finish(o, path, diag) : r;
}

void statistics_print(void (*report)(FILE *out, const struct ledger *l), const struct ledger *l,
		      uint64_t wait_ns)
{
	char *text = statistics_text(report, l);

	if (text)
		log_text(text, (unsigned)(wait_ns / NS_PER_MSEC));
	free(text);
}
