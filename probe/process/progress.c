/* progress: see progress.h. */
#include "progress.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/clock.h"

static const uint64_t first_ns = NS_PER_SEC, again_ns = NS_PER_SEC / 5;

static bool progress_is_welcome(const struct config *c)
{
	if (c->quiet || c->daemon || !isatty(STDERR_FILENO))
		return false;
	for (unsigned i = 0; i < c->n_collectors; i++)
		if (collector_is_stdout(&c->collectors[i]) && isatty(STDOUT_FILENO))
			return false; /* the flows themselves show it */
	return true;
}

void progress_open(struct progress *p, const struct config *c, const struct savefiles *files, uint64_t now_ns)
{
	bool known = true;

	*p = (struct progress){.begun_ns = now_ns, .next_ns = now_ns + first_ns};
	if (!progress_is_welcome(c))
		return;
	p->fds = calloc(c->n_files, sizeof(*p->fds));
	for (unsigned i = 0; p->fds && i < c->n_files; i++) {
		struct stat st;
		int fd = savefiles_file(files, i)->offset_fd;

		p->fds[p->n++] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			p->octets += (uint64_t)st.st_size;
		else
			known = false;
	}
	if (!known)
		p->octets = 0;
}

void progress_text(const struct progress *p, uint64_t done, uint64_t packets, uint64_t now_ns, char *out,
		   size_t size)
{
	double seconds = (double)(now_ns - p->begun_ns) / 1e9;
	double rate = seconds > 0 ? (double)packets / seconds : 0;
	double part = p->octets ? (double)done / (double)p->octets : 0;
	int n;

	if (part > 1) /* a file that grows */
		part = 1;
	n = p->octets ? snprintf(out, size, "%3.0f %%, ", 100 * part) : 0;
	n += snprintf(out + n, size - (size_t)n, "%llu packets, %.0f a second", (unsigned long long)packets,
		      rate);
	if (part > 0)
		snprintf(out + n, size - (size_t)n, ", %.0f s left", seconds / part - seconds);
}

static void progress_put(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* nobody looks */
}

void progress_step(struct progress *p, uint64_t packets, uint64_t now_ns)
{
	char text[128], line[160];
	uint64_t done = 0;

	if (!p->fds || now_ns < p->next_ns)
		return;
	p->next_ns = now_ns + again_ns;
	for (unsigned i = 0; i < p->n; i++) {
		off_t at = lseek(p->fds[i], 0, SEEK_CUR);

		done += at > 0 ? (uint64_t)at : 0;
	}
	progress_text(p, done, packets, now_ns, text, sizeof(text));
	snprintf(line, sizeof(line), "\r%s\033[K\r", text); /* what is logged meanwhile begins its line */
	progress_put(line);
	p->shown = true;
}

void progress_erase(struct progress *p)
{
	if (p->shown)
		progress_put("\r\033[K");
	p->shown = false;
}

void progress_close(struct progress *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	free(p->fds);
	p->fds = NULL;
	p->n = 0;
}
